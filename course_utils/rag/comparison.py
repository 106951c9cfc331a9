"""Chapter 4 - Comparison: what does a component add, on the same questions, and is it chance?

Every variant is a list of rankings, one a question. Its scores are kept question by question, so
that differences can be paired, and questions about one article are drawn together, since they
rise and fall together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from course_utils.evaluation.significance import Comparison, paired_bootstrap
from course_utils.rag.metrics import Gold, score_rankings

Rankings = Sequence[Sequence[Hashable]]
Scores = dict[str, np.ndarray]  # measure -> one number a question


def rank_by(scores: np.ndarray, names: Sequence[Hashable], depth: int = 50) -> list[list]:
    """Names in the order of their scores, best first; equal ones in the order of the names.

    Args:
        scores: (questions, N). names: N of them. depth: places that are kept.
    """
    if scores.shape[1] != len(names):
        raise ValueError(f"got scores of shape {scores.shape} for {len(names)} names")
    orders = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return [[names[i] for i in order] for order in orders]


def rerank(rankings: Rankings, scores: Sequence[Sequence[float]]) -> list[list]:
    """The first places of each ranking in the order of new scores; what has no score stays behind.

    Args:
        rankings: lists of names. scores: for each the new scores of its first places.
    """
    found = []
    for ranking, own in zip(rankings, scores, strict=True):
        order = np.argsort(-np.asarray(own, dtype=float), kind="stable")
        found.append([ranking[i] for i in order] + list(ranking[len(own) :]))
    return found


def score_table(rankings: Rankings, golds: Sequence[Gold]) -> Scores:
    """Three scores of each question: recall@3, reciprocal rank, nDCG@10."""
    near, far = score_rankings(rankings, golds, 3), score_rankings(rankings, golds, 10)
    return {"recall@3": near["recall"], "reciprocal rank": far["rr"], "nDCG@10": far["ndcg"]}


def means(scores: Scores) -> dict[str, float]:
    """The mean of each measure, rounded to show."""
    return {name: round(float(values.mean()), 3) for name, values in scores.items()}


def gains(
    runs: Mapping[str, Scores], baseline: str, clusters: Sequence[Hashable] | None = None
) -> dict[tuple[str, str], Comparison]:
    """Each run's difference to the baseline with its interval, by (run, measure).

    Args:
        runs: scores by name, the baseline among them. baseline: its name.
        clusters: which questions belong together, such as their articles.
    """
    base = runs[baseline]
    return {
        (name, key): paired_bootstrap(own[key], base[key], clusters=clusters)
        for name, own in runs.items()
        if name != baseline
        for key in base
    }


def verdict(gain: Comparison) -> str:
    """ "helps" or "hurts" if the interval leaves out zero, else "not shown"."""
    return "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "not shown"
