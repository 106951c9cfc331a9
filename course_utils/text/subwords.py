"""Chapter 1 – WordPiece and Unigram: two other ways to cut words into known pieces.

BPE replays its merges. WordPiece takes the longest piece that fits, again and again. Unigram
gives every piece a probability and looks for the most probable cut of the whole text.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping

Words = Mapping[tuple[str, ...], int]


def wordpiece(
    word: str,
    vocabulary: Collection[str],
    *,
    unknown: str = "[UNK]",
    prefix: str = "##",
    max_characters: int = 100,
) -> list[str]:
    """Cut a word greedily: the longest known piece from the left, then the rest.

    Pieces inside a word are spelled with ``prefix``. If at some place no piece fits, the whole
    word is unknown, not only that place.

    Args:
        word: one word without spaces, normalised as the vocabulary is.
        vocabulary: known pieces; a set or dict, since it is asked often.
        max_characters: longer words are unknown.

    Source: Wu et al. (2016), section 4.1, as in BERT's tokenizer.

    >>> wordpiece("hugs", {"hu", "hug", "##g", "##s"})
    ['hug', '##s']
    """
    if len(word) > max_characters:
        return [unknown]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        mark = prefix if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if mark + word[start:e] in vocabulary), None)
        if end is None:
            return [unknown]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


def wordpiece_scores(words: Words) -> dict[tuple[str, str], float]:
    """What WordPiece training merges by: count(a b) / (count(a) · count(b)).

    BPE takes the most frequent pair; this takes the pair that is most frequent *for how
    frequent its parts are*, the pair whose merge raises the likelihood of the corpus most.

    Args:
        words: words as tuples of pieces, with their frequencies.

    Source: Schuster & Nakajima (2012), section 2, as in the Hugging Face course, chapter 6.
    """
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for pieces, frequency in words.items():
        for piece in pieces:
            singles[piece] += frequency
        for pair in itertools.pairwise(pieces):
            pairs[pair] += frequency
    return {(a, b): count / (singles[a] * singles[b]) for (a, b), count in pairs.items()}


def unigram_segment(
    text: str, log_probabilities: Mapping[str, float], *, unknown: float | None = None
) -> tuple[list[str], float]:
    """The most probable cut of a text into known pieces, by dynamic programming (Viterbi).

    best(e) = max over s < e of best(s) + log P(text[s:e]); the cut is read from the end.

    Args:
        text: the text; SentencePiece writes its spaces as ``▁`` first.
        log_probabilities: log P of each piece (any base).
        unknown: score of a single character that is no piece; None refuses such a text.

    Returns:
        The pieces and the sum of their scores. Among equals the longer last piece wins.

    Raises:
        ValueError: if no cut exists.

    Source: Kudo (2018), section 3.2.
    """
    longest = max(map(len, log_probabilities), default=1)
    best = [0.0] + [-math.inf] * len(text)
    cut_from = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end):
            score = log_probabilities.get(text[start:end])
            if score is None and unknown is not None and end - start == 1:
                score = unknown
            if score is not None and best[start] + score > best[end]:
                best[end], cut_from[end] = best[start] + score, start
    if best[-1] == -math.inf:
        raise ValueError(f"no cut into known pieces exists for {text[:40]!r}")
    pieces, end = [], len(text)
    while end:
        pieces.append(text[cut_from[end] : end])
        end = cut_from[end]
    return pieces[::-1], best[-1]


def unigram_expected_counts(
    text: str, probabilities: Mapping[str, float]
) -> tuple[dict[str, float], float]:
    """How often each piece occurs on average over all cuts, and the text's probability.

    ahead(e) sums the probability of all cuts of text[:e], behind(s) of all cuts of text[s:];
    a piece at [s, e) is used with probability ahead(s) P(piece) behind(e) / ahead(end).
    This is the E step of the training; dividing the counts by their sum is the M step.

    Args:
        text: one word.
        probabilities: P of each piece, not its logarithm.

    Source: Kudo (2018), section 3.2.
    """
    size = len(text)
    spans = [(s, e) for e in range(1, size + 1) for s in range(e) if text[s:e] in probabilities]
    ahead, behind = [1.0] + [0.0] * size, [0.0] * size + [1.0]
    for s, e in spans:  # ordered by end: ahead[s] is complete
        ahead[e] += ahead[s] * probabilities[text[s:e]]
    for s, e in sorted(spans, reverse=True):  # by falling start: behind[e] is complete
        behind[s] += probabilities[text[s:e]] * behind[e]
    counts: dict[str, float] = {}
    for s, e in spans:
        share = ahead[s] * probabilities[text[s:e]] * behind[e]
        counts[text[s:e]] = counts.get(text[s:e], 0.0) + (share / ahead[-1] if share else 0.0)
    return counts, ahead[-1]
