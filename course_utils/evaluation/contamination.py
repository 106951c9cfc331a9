"""Chapter 4 - Contamination: test items that stood in the training text.

The benchmark is small and the corpus is not, so the n-grams of the benchmark are held in memory and
the corpus streams past them once. Paraphrases and translations are not found: a clean report means
that no copy was found, no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.text.ngrams import ngrams

WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Overlap:
    """What of one test item was found in the corpus.

    Attributes:
        words: length of the item.
        ngrams: how many n-grams it has; 0 if it is shorter than n, then nothing can be found.
        spans: word ranges [start, end) covered by found n-grams, overlapping ones joined.
        found: how many of its n-grams occur in the corpus.
        documents: numbers of the corpus documents that hold one, at most ``max_documents`` each.
    """

    words: int
    ngrams: int
    spans: tuple[tuple[int, int], ...]
    found: int
    documents: tuple[int, ...]

    @property
    def dirty(self) -> bool:
        """GPT-3's rule: one common n-gram is enough."""
        return self.found > 0

    @property
    def share(self) -> float:
        """Share of the n-grams that were found; PaLM's rule calls an item dirty from 0.7 of 8."""
        return self.found / self.ngrams if self.ngrams else 0.0

    @property
    def covered(self) -> float:
        """Share of the words that lie in a found n-gram."""
        return sum(end - start for start, end in self.spans) / self.words if self.words else 0.0


def plain_words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits: case, punctuation and spacing hide no copy.

    >>> plain_words("The U.S. won, 3-1!")
    ['the', 'u', 's', 'won', '3', '1']
    """
    return WORD.findall(text.lower())


def choose_n(examples: Iterable[str], *, low: int = 8, high: int = 13) -> int:
    """n for a benchmark: the 5th percentile of its items' lengths in words, within limits.

    Shorter n-grams are found by chance, longer ones do not fit into short items.

    Source: Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C.
    """
    lengths = [len(plain_words(text)) for text in examples]
    if not lengths:
        raise ValueError("there is no example to measure")
    return int(np.clip(np.percentile(lengths, 5), low, high))


def find_overlaps(
    examples: Sequence[str],
    corpus: Iterable[str],
    *,
    n: int = 13,
    max_documents: int = 10,
) -> list[Overlap]:
    """Look for every n-gram of every test item in a corpus.

    Args:
        examples: the texts of the test items.
        corpus: the training documents, read once.
        n: words in a row; see :func:`choose_n`.
        max_documents: an n-gram in more documents than this is a common phrase and not counted.

    Returns:
        one overlap for each example.

    Source: Brown et al. 2020, appendix C (13-grams; those in more than ten documents are ignored).
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    items = [plain_words(text) for text in examples]
    wanted = {gram for words in items for gram in ngrams(words, n)}
    seen = _documents_of(wanted, corpus, n, max_documents)
    return [_overlap(words, n, seen) for words in items]


def scores_by_overlap(
    scores: Sequence[float], overlaps: Sequence[Overlap], *, from_share: float = 0.0
) -> dict[str, tuple[float, int]]:
    """Mean score and number of the items: all, clean, dirty.

    A gap does not prove that memory helped: dirty items may be easier, such as famous quotations.

    Args:
        scores: of the items, (N,).
        overlaps: of the same items.
        from_share: an item is dirty if it has a found n-gram and at least this share of them.

    Returns:
        {"all": (mean, count), …}; the mean of no item is NaN.
    """
    values = np.asarray(scores, dtype=float)
    if len(values) != len(overlaps):
        raise ValueError(f"got {len(values)} scores for {len(overlaps)} overlaps")
    dirty = np.array([o.dirty and o.share >= from_share for o in overlaps], dtype=bool)
    parts = {"all": values, "clean": values[~dirty], "dirty": values[dirty]}
    return {
        name: (float(part.mean()) if len(part) else float("nan"), len(part))
        for name, part in parts.items()
    }


def _documents_of(
    wanted: set[tuple], corpus: Iterable[str], n: int, most: int
) -> dict[tuple, list[int]]:
    """In which documents each wanted n-gram occurs, without those that occur in too many."""
    seen: dict[tuple, list[int]] = {}
    for number, text in enumerate(corpus):
        for gram in wanted.intersection(ngrams(plain_words(text), n)):
            places = seen.setdefault(gram, [])
            if len(places) <= most:  # one too many is enough to know
                places.append(number)
    return {gram: places for gram, places in seen.items() if len(places) <= most}


def _overlap(words: list[str], n: int, seen: dict[tuple, list[int]]) -> Overlap:
    grams = ngrams(words, n)
    hits = [i for i, gram in enumerate(grams) if gram in seen]
    spans: list[tuple[int, int]] = []
    for i in hits:
        if spans and i <= spans[-1][1]:
            spans[-1] = (spans[-1][0], i + n)
        else:
            spans.append((i, i + n))
    documents = sorted({number for i in hits for number in seen[grams[i]]})
    return Overlap(len(words), len(grams), tuple(spans), len(hits), tuple(documents))
