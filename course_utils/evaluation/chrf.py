"""Chapter 4 - chrF: F-score of character n-grams, kinder to inflected words than BLEU.

Equal to sacrebleu's chrF2 (and chrF2++ with ``word_order=2``). No tokenizer takes part, so there
is none to disagree about.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from course_utils.text.ngrams import ngrams

PUNCTUATION = frozenset(string.punctuation)


def chrf_stats(
    hypothesis: str,
    references: Sequence[str],
    *,
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2.0,
) -> np.ndarray:
    """Sums that chrF is computed from, (orders, 3): hypothesis, reference, common n-grams.

    Of several references the one with the best score is taken. Rows add up over sentences.

    Raises:
        TypeError: if ``references`` is one string.
        ValueError: if there is no reference.
    """
    if isinstance(references, str):
        raise TypeError("references must be a list of texts, got one string: put it in a list")
    if not references:
        raise ValueError("a hypothesis needs at least one reference")
    ours = _counts(hypothesis, char_order, word_order)
    tables = [_overlap(ours, _counts(text, char_order, word_order)) for text in references]
    return max(tables, key=lambda table: chrf_score(table, beta=beta))  # the first of equals


def chrf_score(stats: np.ndarray, *, beta: float = 2.0) -> float:
    """chrF from its sums.

    F = 100 (1 + beta²) P R / (beta² P + R), P and R the means of the precisions and recalls over
    those orders for which both texts are long enough; beta = 2 counts recall more.

    Args:
        stats: (orders, 3) sums of :func:`chrf_stats`.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", section 2.
    """
    usable = stats[(stats[:, 0] > 0) & (stats[:, 1] > 0)].astype(float)
    if not usable[:, 2].any():
        return 0.0
    precision = (usable[:, 2] / usable[:, 0]).mean()
    recall = (usable[:, 2] / usable[:, 1]).mean()
    return float(100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall))


def sentence_chrf(hypothesis: str, references: Sequence[str], **options: float) -> float:
    """chrF of one sentence, 0 to 100.

    Args:
        options: ``char_order`` (6), ``word_order`` (0; 2 makes it chrF++) and ``beta`` (2).
    """
    beta = options.get("beta", 2.0)
    return chrf_score(chrf_stats(hypothesis, references, **options), beta=beta)


def corpus_chrf(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: float
) -> float:
    """chrF of a test set, 0 to 100: sums first, as in :func:`~course_utils.evaluation.bleu`.

    Args:
        hypotheses: N texts.
        references: N lists of references.
        options: see :func:`sentence_chrf`.
    """
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(f"got {len(hypotheses)} hypotheses and {len(references)} reference lists")
    pairs = zip(hypotheses, references, strict=True)
    total = sum(chrf_stats(h, r, **options) for h, r in pairs)
    return chrf_score(total, beta=options.get("beta", 2.0))


def _counts(text: str, char_order: int, word_order: int) -> list[Counter]:
    """N-grams of characters (white space removed), then of words."""
    characters, words = "".join(text.split()), _words(text)
    return [
        *(Counter(ngrams(characters, n)) for n in range(1, char_order + 1)),
        *(Counter(ngrams(words, n)) for n in range(1, word_order + 1)),
    ]


def _overlap(ours: list[Counter], theirs: list[Counter]) -> np.ndarray:
    pairs = list(zip(ours, theirs, strict=True))
    # orders beyond the reference's length are left out, also where they are summed in a corpus
    return np.array([[a.total() if b else 0, b.total(), (a & b).total()] for a, b in pairs])


def _words(text: str) -> list[str]:
    """Split at spaces, one mark of punctuation taken off the end or else the start of a word.

    >>> _words("(hi) well, ok")
    ['(hi', ')', 'well', ',', 'ok']
    """
    found: list[str] = []
    for word in text.split():
        if len(word) > 1 and word[-1] in PUNCTUATION:
            found += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in PUNCTUATION:
            found += [word[0], word[1:]]
        else:
            found.append(word)
    return found
