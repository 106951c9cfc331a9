"""Chapter 4 - Metrics of retrieval, and one of answers: faithfulness.

A ranking is a list of ids, best first; the gold is the set of ids that answer the question, or a
mapping from ids to grades where some answer it better than others. Every function scores one
question; keep the scores of all questions for intervals and paired comparisons.

An id that stands twice in a ranking (two chunks of one document) counts at its first place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from course_utils.evaluation.answers import normalize_answer

Gold = Collection[Hashable] | Mapping[Hashable, float]
_COMMON = (
    "a an and are as at be been but by for from had has have he her his i in is it its of on or "
    "she that the their they this to was were which who will with not no did do does s"
)
STOP_WORDS = frozenset(_COMMON.split())


def precision_at_k(ranking: Sequence[Hashable], gold: Gold, k: int) -> float:
    """Share of the first k places that hold a gold id: |top k ∩ gold| / k.

    With one gold passage its ceiling is 1 / k. It is not "average precision".
    """
    return len(_relevant(gold) & set(_top(ranking, k))) / k


def recall_at_k(ranking: Sequence[Hashable], gold: Gold, k: int) -> float:
    """Share of the gold ids among the first k: |top k ∩ gold| / |gold|.

    Raises:
        ValueError: no gold (leave unanswerable questions out), or k < 1.
    """
    return len(_relevant(gold) & set(_top(ranking, k))) / len(_relevant(gold))


def hit_at_k(ranking: Sequence[Hashable], gold: Gold, k: int) -> float:
    """1.0 if any gold id is among the first k; with a single gold id this is recall@k."""
    return float(not _relevant(gold).isdisjoint(_top(ranking, k)))


def reciprocal_rank(ranking: Sequence[Hashable], gold: Gold, k: int | None = None) -> float:
    """1 / rank of the first gold id, 0 if it is not in the ranking; MRR is the mean of these.

    >>> reciprocal_rank(["b", "c", "a"], {"a"})
    0.3333333333333333
    """
    wanted = _relevant(gold)
    places = (i for i, name in enumerate(_top(ranking, k), 1) if name in wanted)
    return 1.0 / next(places, math.inf)


def average_precision(ranking: Sequence[Hashable], gold: Gold) -> float:
    """Mean over the gold ids of the precision at each one's place (0 for those not found)."""
    wanted = _relevant(gold)
    places = [i for i, name in enumerate(_top(ranking), 1) if name in wanted]
    return sum(found / place for found, place in enumerate(places, 1)) / len(wanted)


def ndcg_at_k(ranking: Sequence[Hashable], gold: Gold, k: int) -> float:
    """Normalised discounted cumulative gain, 0 to 1: late places count less.

    DCG = sum over places i = 1 … k of grade_i / log2(i + 1);  nDCG = DCG / DCG of the best order

    Args:
        ranking: ids, best first.
        gold: ids (all of grade 1) or a mapping to grades >= 0.
        k: how many places count.

    Source: Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    grades = gold if isinstance(gold, Mapping) else dict.fromkeys(_relevant(gold), 1.0)
    _relevant(gold)
    best = sorted(grades.values(), reverse=True)[:k]
    return _dcg([grades.get(name, 0.0) for name in _top(ranking, k)]) / _dcg(best)


def score_rankings(
    rankings: Sequence[Sequence[Hashable]], golds: Sequence[Gold], k: int
) -> dict[str, np.ndarray]:
    """Scores of all N questions, each (N,): ``hit``, ``recall``, ``precision``, ``rr``, ``ndcg``.

    Args:
        rankings: N lists of ids. golds: N sets of ids. k: places that count, for all of them.

    Raises:
        ValueError: lists of different length, a question without gold, or k < 1.
    """
    if len(rankings) != len(golds):
        raise ValueError(f"got {len(rankings)} rankings for {len(golds)} questions")
    scores = {
        "hit": hit_at_k,
        "recall": recall_at_k,
        "precision": precision_at_k,
        "rr": reciprocal_rank,
        "ndcg": ndcg_at_k,
    }
    return {
        name: np.array([score(r, g, k) for r, g in zip(rankings, golds, strict=True)], dtype=float)
        for name, score in scores.items()
    }


def content_words(text: str) -> list[str]:
    """Words and numbers in lower case without the commonest ones; a measure's raw material."""
    return [w for w in re.findall(r"\w+", text.lower()) if w not in STOP_WORDS]


def faithfulness(answer: str, passages: Sequence[str]) -> float:
    """Share of the answer's content words that stand in the passages, 0 to 1.

    An upper bound of what the passages support: words can be there and be put together wrongly.
    An answer without content words claims nothing and counts 1.

    >>> faithfulness("It is 324 m tall.", ["The tower is 330 m high."])
    0.3333333333333333
    """
    words = content_words(answer)
    known = set(content_words(" ".join(passages)))
    return sum(word in known for word in words) / len(words) if words else 1.0


def grounded(answer: str, passages: Sequence[str]) -> bool:
    """Whether the answer stands word for word in one of the passages (after normalisation)."""
    wanted = normalize_answer(answer)
    return any(f" {wanted} " in f" {normalize_answer(passage)} " for passage in passages)


def _relevant(gold: Gold) -> set[Hashable]:
    if isinstance(gold, str):
        raise TypeError("expected a set or list of ids as gold, got one text")
    wanted = {g for g in gold if gold[g] > 0} if isinstance(gold, Mapping) else set(gold)
    if not wanted:
        raise ValueError("a question without gold has no retrieval score: leave it out")
    return wanted


def _top(ranking: Sequence[Hashable], k: int | None = None) -> list[Hashable]:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return list(dict.fromkeys(ranking))[:k]


def _dcg(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(place + 1) for place, grade in enumerate(grades, 1))
