"""Chapter 4 - Answers: where they stand, when there is none, and when to be silent.

A citation is a place in a source, not a decoration: ``source[start:end] == quote``. It is found
after the answer was written, by looking for the answer in the passages that the model was given.
A system abstains for one of two reasons: the best passage is too far from the question (a score
below a threshold chosen on questions kept for that), or the model says that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_utils.evaluation.answers import normalize_answer
from course_utils.rag.metrics import content_words

ABSTENTION = "I don't have enough information to answer that question."
SUPPORTED = 0.5  # share of the answer's content words that a sentence must hold to be cited
_REFUSALS = re.compile(
    r"^(sorry,? )?(i (do not|don't|cannot|can't) (know|answer|have|find|tell)|unknown\b|"
    r"not (mentioned|stated|given|specified|provided|enough information)|"
    r"no (answer|information)|the passages? (do|does) not|none of the passages)",
    re.IGNORECASE,
)


def clean_answer(text: str) -> str:
    """The first line of what a model said, without a label in front or a number of a passage."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    first = re.sub(r"^(answer|a)\s*:\s*", "", lines[0], flags=re.IGNORECASE)
    return re.sub(r"\s*\[\d+\]", "", first).strip(' ":')


def is_refusal(answer: str) -> bool:
    """Whether an answer says that there is none."""
    return not normalize_answer(answer) or bool(_REFUSALS.match(answer.strip()))


def cite(answer: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Places in the sources that support an answer: at most one per passage, best first.

    The sentence that holds the answer word for word; else the sentence with the largest share of
    the answer's content words, if that is at least a half.

    Args:
        answer: what the model said.
        rows: retrieved passages with ``id``, ``document`` (the chunk's text) and ``start`` (its
            offset in the source).

    Returns:
        Dictionaries ``{id, start, end, quote}``; start and end are offsets in the source ``id``.
    """
    words = set(content_words(answer))
    if is_refusal(answer) or not words:
        return []
    found = []
    for rank, row in enumerate(rows):
        start, end, support = _best_sentence(answer, words, row["document"])
        if support >= SUPPORTED:
            found.append((-support, rank, _citation(row, start, end)))
    best = min((f[0] for f in found), default=0.0)
    # a passage that holds the answer word for word makes half-matches elsewhere superfluous
    return [quote for support, _, quote in sorted(found, key=lambda f: f[:2]) if support == best]


def _citation(row: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    offset = row.get("start", 0)
    quote = row["document"][start:end]
    return {"id": row["id"], "start": offset + start, "end": offset + end, "quote": quote}


def _best_sentence(answer: str, words: set[str], passage: str) -> tuple[int, int, float]:
    """Start, end and support of the sentence that supports the answer best; 2 = word for word."""
    from course_utils.text.sentences import punkt_splitter

    wanted, best = f" {normalize_answer(answer)} ", (0, 0, 0.0)
    for start, end in punkt_splitter().span_tokenize(passage):
        sentence = passage[start:end]
        support = len(words & set(content_words(sentence))) / len(words)
        if wanted in f" {normalize_answer(sentence)} ":
            support = 2.0
        if support > best[2]:
            best = (start, end, support)
    return best


@dataclass(frozen=True)
class Abstention:
    """How well a system knows when to be silent.

    Attributes:
        threshold: it answers from this score on.
        precision: of the questions it was silent on, the share that cannot be answered.
        recall: of the questions that cannot be answered, the share it was silent on.
        coverage: of the questions that can be answered, the share it did answer.
    """

    threshold: float
    precision: float
    recall: float
    coverage: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def balanced(self) -> float:
        """Mean of recall and coverage: 0.5 for a coin, however rare one kind of question is."""
        return (self.recall + self.coverage) / 2


def abstention_report(
    scores: Sequence[float], answerable: Sequence[bool], threshold: float
) -> Abstention:
    """Precision, recall and coverage of "silent below the threshold".

    Args:
        scores: of the best passage of each question, (N,).
        answerable: whether the collection holds an answer, (N,).
        threshold: it is silent where score < threshold.

    Raises:
        ValueError: different lengths, or only one kind of question.
    """
    score, can = _both_kinds(scores, answerable)
    silent = score < threshold
    precision = float((~can)[silent].mean()) if silent.any() else 0.0
    return Abstention(
        float(threshold), precision, float(silent[~can].mean()), float((~silent)[can].mean())
    )


def calibrate_threshold(
    scores: Sequence[float], answerable: Sequence[bool], *, coverage: float | None = None
) -> Abstention:
    """The threshold that is best on the given questions; report it on *other* questions.

    Args:
        scores, answerable: see :func:`abstention_report`.
        coverage: share of answerable questions that must be answered; the largest threshold
            that still does is taken. By default the best mean of recall and coverage.

    Returns:
        The threshold, half way between two neighbouring scores, and what it does here.

    Source: El-Yaniv & Wiener 2010, "On the Foundations of Noise-free Selective Classification"
    (risk and coverage).
    """
    score, can = _both_kinds(scores, answerable)
    values = np.unique(score)
    places = np.concatenate([values[:1] - 1e-6, (values[1:] + values[:-1]) / 2])
    reports = [abstention_report(score, can, place) for place in places]
    if coverage is None:
        return max(reports, key=lambda r: (round(r.balanced, 12), -r.threshold))
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be above 0 and at most 1, got {coverage}")
    return max((r for r in reports if r.coverage >= coverage), key=lambda r: r.threshold)


def _both_kinds(
    scores: Sequence[float], answerable: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    score, can = np.asarray(scores, dtype=float), np.asarray(answerable, dtype=bool)
    if score.shape != can.shape or score.ndim != 1:
        raise ValueError(f"got scores of shape {score.shape} and verdicts of shape {can.shape}")
    if can.all() or not can.any():
        raise ValueError("need questions with and questions without an answer")
    return score, can
