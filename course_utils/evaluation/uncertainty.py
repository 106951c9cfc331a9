"""Chapter 4 - Does the model know that it guesses? Semantic entropy and AUROC.

Ask the same question ten times. If the answers mean the same in other words, the model knows
something, right or wrong; if their meanings scatter, it makes them up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def meaning_clusters(answers: Sequence[str], same: Callable[[str, str], bool]) -> list[list[int]]:
    """Group answers of one meaning: each joins the first group whose first member means the same.

    Args:
        answers: texts, N.
        same: whether two answers mean the same; see :func:`same_by_cosine`.

    Returns:
        groups of indices, largest meaning not first but in order of appearance.

    Source: Kuhn, Gal & Farquhar 2023, "Semantic Uncertainty", algorithm 1.
    """
    groups: list[list[int]] = []
    for i, answer in enumerate(answers):
        home = next((group for group in groups if same(answers[group[0]], answer)), None)
        if home is None:
            groups.append([i])
        else:
            home.append(i)
    return groups


def semantic_entropy(
    answers: Sequence[str],
    same: Callable[[str, str], bool],
    log_probabilities: Sequence[float] | None = None,
) -> float:
    """Entropy over meanings in nats: 0 if all answers agree, log N if no two do.

    H = -sum over meanings c of p(c) log p(c), p(c) the share of the answers in c, or, with their
    log-probabilities, their normalised probability mass

    Args:
        answers: samples at temperature > 0, N.
        same: see :func:`meaning_clusters`.
        log_probabilities: log P of each answer, (N,); without them each sample counts 1 / N.

    Raises:
        ValueError: if there is no answer or the lengths differ.

    Source: Farquhar et al. 2024, "Detecting Hallucinations in Large Language Models Using Semantic
    Entropy" (discrete form); Kuhn et al. 2023, equation 4.
    """
    logs = np.zeros(len(answers)) if log_probabilities is None else np.asarray(log_probabilities)
    if not len(answers) or len(logs) != len(answers):
        raise ValueError(f"got {len(answers)} answers and {len(logs)} log-probabilities")
    mass = np.exp(logs - logs.max())
    shares = [mass[group].sum() / mass.sum() for group in meaning_clusters(answers, same)]
    return -math.fsum(p * math.log(p) for p in shares if p > 0) + 0.0


def same_by_cosine(
    vectors: Callable[[Sequence[str]], np.ndarray], threshold: float = 0.8
) -> Callable[[str, str], bool]:
    """Two texts mean the same if their vectors' cosine reaches a threshold.

    A stand-in for the entailment model of the paper; negations fool it. Vectors are computed once
    for each text.

    Args:
        vectors: from texts to (N, C).
        threshold: chosen on other questions.
    """
    known: dict[str, np.ndarray] = {}

    def unit(text: str) -> np.ndarray:
        """The text's vector of length 1, (C,), computed at its first use."""
        if text not in known:
            vector = np.asarray(vectors([text]), dtype=float)[0]
            known[text] = vector / np.linalg.norm(vector)
        return known[text]

    return lambda first, second: float(unit(first) @ unit(second)) >= threshold


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Chance that a random positive item has a higher score than a random negative one.

    (sum of the positives' ranks - P (P + 1) / 2) / (P N), equal scores sharing their rank; 0.5 is
    guessing, and no threshold has to be chosen.

    Args:
        scores: such as an entropy, (N,).
        positive: such as "the answer is wrong", (N,).

    Raises:
        ValueError: if all items are of one kind.

    Source: Hanley & McNeil 1982; equal to the Mann-Whitney statistic divided by its maximum.
    """
    from scipy.stats import rankdata

    labels = np.asarray(positive, dtype=bool)
    ones, zeros = int(labels.sum()), int((~labels).sum())
    if not ones or not zeros or len(scores) != len(labels):
        raise ValueError(f"need both kinds for {len(scores)} scores, got {ones} and {zeros}")
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))
