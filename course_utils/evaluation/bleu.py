"""Chapter 4 - BLEU: n-gram precision against references, clipped, with a penalty for brevity.

BLEU is made for a corpus: matches and lengths are summed over all sentences before any division.
:class:`BleuStats` holds these sums, so that a corpus score, a sentence score and a bootstrap
sample are the same few lines on different sums.

Equal to sacrebleu 2 (Post 2018, "A Call for Clarity in Reporting BLEU Scores"): the tokenizer is
part of the metric, and two papers' BLEU compare only if it is the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.text.ngrams import ngrams

ORDER = 4
SMOOTHING_VALUES = {"none": 0.0, "exp": 0.0, "floor": 0.1, "add-k": 1.0}
ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
RULES_13A = (
    (re.compile(r"""([ !"#$%&()*+/:;<=>?@\[\\\]^_`{|}~])"""), r" \1 "),  # ASCII but ' - , .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # full stop or comma not after a digit
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),  # … not before a digit: 3.14 stays whole
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def tokenize_13a(text: str) -> list[str]:
    """Cut a text as ``mteval-v13a.pl`` does, the default tokenizer of sacrebleu.

    >>> tokenize_13a("It's 3.14, isn't it?")
    ["It's", '3.14', ',', "isn't", 'it', '?']
    """
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, replacement in RULES_13A:
        text = pattern.sub(replacement, text)
    return text.split()


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "13a": tokenize_13a,
    "none": str.split,
    "char": lambda text: " ".join(text.strip()).split(),
}


@dataclass(frozen=True)
class BleuStats:
    """The sums that BLEU is computed from; they add up over sentences.

    Attributes:
        length: tokens of the hypothesis.
        reference_length: tokens of the reference whose length is closest to it.
        matches: n-grams also found in a reference, clipped, for n = 1 … 4.
        totals: n-grams of the hypothesis, for n = 1 … 4.
    """

    length: int
    reference_length: int
    matches: tuple[int, ...]
    totals: tuple[int, ...]

    def __add__(self, other: BleuStats) -> BleuStats:
        return BleuStats.from_row(self.row() + other.row())

    def row(self) -> np.ndarray:
        """All sums as one array (2 + 2 · order,), to be summed or resampled."""
        return np.array([self.length, self.reference_length, *self.matches, *self.totals])

    @classmethod
    def from_row(cls, row: np.ndarray) -> BleuStats:
        """The inverse of :meth:`row`."""
        order = (len(row) - 2) // 2
        length, reference_length, *counts = (int(x) for x in row)
        return cls(length, reference_length, tuple(counts[:order]), tuple(counts[order:]))


@dataclass(frozen=True)
class Bleu:
    """A BLEU score and its parts.

    Attributes:
        score: 0 to 100.
        precisions: clipped n-gram precisions in percent, smoothed, n = 1 … 4.
        brevity_penalty: 0 to 1; 1 if the hypotheses are not shorter than the references.
        stats: the sums behind them.
    """

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    stats: BleuStats


def bleu_stats(
    hypothesis: str, references: Sequence[str], *, tokenize: str = "13a", order: int = ORDER
) -> BleuStats:
    """Count one sentence's n-grams and those that a reference shares.

    A match is clipped: an n-gram counts at most as often as in the reference that has it most.

    Args:
        hypothesis: the text to judge.
        references: one or more right texts.
        tokenize: "13a" (sacrebleu's default), "none" (split at spaces) or "char".
        order: longest n-gram.

    Raises:
        TypeError: if ``references`` is one string.
        ValueError: if there is no reference, or the tokenizer is not known.

    Source: Papineni et al. 2002, "BLEU", sections 2.1-2.1.1 (modified n-gram precision).
    """
    words, *others = _tokenized([hypothesis, *_several(references)], tokenize)
    matches, totals = [], []
    for n in range(1, order + 1):
        counts = Counter(ngrams(words, n))
        allowed: Counter = Counter()
        for other in others:
            allowed |= Counter(ngrams(other, n))  # the largest count of each n-gram
        matches.append((counts & allowed).total())
        totals.append(counts.total())
    closest = min((abs(len(other) - len(words)), len(other)) for other in others)[1]
    return BleuStats(len(words), closest, tuple(matches), tuple(totals))


def bleu_score(
    stats: BleuStats,
    *,
    smoothing: str = "exp",
    value: float | None = None,
    effective_order: bool = False,
) -> Bleu:
    """BLEU from its sums.

    BLEU = 100 · BP · exp(mean over n of log p_n), p_n = matches_n / totals_n,
    BP = 1 if c > r else exp(1 - r / c), c and r the two lengths

    A corpus without any 4-gram match would score 0; smoothing gives p_n = 0 a small value.

    Args:
        stats: sums over one sentence or a corpus.
        smoothing: "exp" (the k-th zero becomes 1 / (2^k totals), sacrebleu's default),
            "floor" (value / totals), "add-k" (value added above and below for n > 1), "none".
        value: of "floor" (default 0.1) or "add-k" (default 1).
        effective_order: average only over the orders that the hypothesis is long enough for;
            wanted for single sentences.

    Source: Papineni et al. 2002, section 2.3; Chen & Cherry 2014, "A Systematic Comparison of
    Smoothing Techniques for Sentence-Level BLEU", methods 1-3.
    """
    if smoothing not in SMOOTHING_VALUES:
        raise ValueError(f"smoothing must be one of {', '.join(SMOOTHING_VALUES)}; got {smoothing}")
    penalty = brevity_penalty(stats.length, stats.reference_length)
    if not any(stats.matches):
        return Bleu(0.0, (0.0,) * len(stats.matches), penalty, stats)
    value = SMOOTHING_VALUES[smoothing] if value is None else value
    precisions = _precisions(stats, smoothing, value)
    used = precisions if effective_order else _filled(precisions, len(stats.matches))
    score = 0.0
    if min(used) > 0:
        score = penalty * math.exp(math.fsum(map(math.log, used)) / len(used))
    return Bleu(score, tuple(_filled(precisions, len(stats.matches))), penalty, stats)


def brevity_penalty(length: int, reference_length: int) -> float:
    """BP = 1 if c >= r else exp(1 - r / c): a precision alone would reward saying little.

    >>> brevity_penalty(12, 9), round(brevity_penalty(5, 10), 4)
    (1.0, 0.3679)
    """
    if length >= reference_length:
        return 1.0
    return math.exp(1 - reference_length / length) if length else 0.0


def corpus_bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    smoothing: str = "exp",
    value: float | None = None,
) -> Bleu:
    """BLEU of a whole test set: sums first, one division at the end.

    The mean of the sentences' scores is another, lower number; papers report this one.

    Args:
        hypotheses: one text a sentence, N.
        references: for each of them its references, N lists.
        tokenize, smoothing, value: see :func:`bleu_stats` and :func:`bleu_score`.
    """
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(f"got {len(hypotheses)} hypotheses and {len(references)} reference lists")
    pairs = zip(hypotheses, references, strict=True)
    rows = [bleu_stats(h, r, tokenize=tokenize).row() for h, r in pairs]
    return bleu_score(BleuStats.from_row(sum(rows)), smoothing=smoothing, value=value)


def sentence_bleu(
    hypothesis: str,
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    smoothing: str = "exp",
    value: float | None = None,
) -> Bleu:
    """BLEU of one sentence: smoothed, and only over the orders that it is long enough for.

    Equal to ``sacrebleu.sentence_bleu``. Noisy: use it to sort examples, not to compare systems.
    """
    stats = bleu_stats(hypothesis, references, tokenize=tokenize)
    return bleu_score(stats, smoothing=smoothing, value=value, effective_order=True)


def _precisions(stats: BleuStats, smoothing: str, value: float) -> list[float]:
    """Percentages for the orders that have an n-gram at all."""
    found, zeros = [], 0
    for n, (match, total) in enumerate(zip(stats.matches, stats.totals, strict=True), start=1):
        if smoothing == "add-k" and n > 1:
            match, total = match + value, total + value
        if total == 0:
            break
        if match == 0 and smoothing == "exp":
            zeros += 1
            match = 0.5**zeros
        elif match == 0 and smoothing == "floor":
            match = value
        found.append(100 * match / total)
    return found


def _filled(precisions: list[float], order: int) -> list[float]:
    return precisions + [0.0] * (order - len(precisions))


def _several(references: Sequence[str]) -> Sequence[str]:
    if isinstance(references, str):
        raise TypeError("references must be a list of texts, got one string: put it in a list")
    if not references:
        raise ValueError("a hypothesis needs at least one reference")
    return references


def _tokenized(texts: Sequence[str], name: str) -> list[list[str]]:
    if name not in TOKENIZERS:
        raise ValueError(f"tokenize must be one of {', '.join(TOKENIZERS)}; got {name!r}")
    return [TOKENIZERS[name](text.rstrip()) for text in texts]
