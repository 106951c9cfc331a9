"""Chapter 4 - BM25: which texts share rare words with the query, and share them often?

    score(q, d) = sum over words w of q:  idf(w) · f (k1 + 1) / (f + k1 (1 - b + b |d| / average))

with f = how often w stands in d. A word counts more the rarer it is; the tenth occurrence counts
less than the second; a long text must say it more often than a short one.

The values are those of the package rank_bm25 (class BM25Okapi). That one looks at every text for
every word of a query; here each word knows its texts and its share of their scores (an inverted
index), so a query costs what its words' lists are long.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

WORD = re.compile(r"\w+")
K1, B, EPSILON = 1.5, 0.75, 0.25


def words(text: str) -> list[str]:
    """Words and numbers in lower case: "art" is not found in "start".

    >>> words("The Start-Up's 2nd art.")
    ['the', 'start', 'up', 's', '2nd', 'art']
    """
    return WORD.findall(text.lower())


def inverse_document_frequency(
    counts: dict[str, int], total: int, epsilon: float = EPSILON
) -> dict[str, float]:
    """How much a word says: idf(w) = ln(N - n + 0.5) - ln(n + 0.5), n texts of N hold it.

    A word in more than half of the texts would count against them; it gets ``epsilon`` times the
    average idf instead, as in rank_bm25.

    Args:
        counts: n of each word. total: N. epsilon: of the floor.
    """
    idf = {w: math.log(total - n + 0.5) - math.log(n + 0.5) for w, n in counts.items()}
    floor = epsilon * sum(idf.values()) / len(idf) if idf else 0.0
    return {w: floor if value < 0 else value for w, value in idf.items()}


class BM25:
    """An inverted index over texts.

    Args:
        texts: N of them.
        tokenize: from a text to its words, for texts and queries alike.
        k1: how fast repetition stops to count; 0 counts a word once.
        b: how much length is held against a text, 0 to 1.
        epsilon: see :func:`inverse_document_frequency`.

    Source: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond",
    section 3.4; Trotman et al. 2014, "Improvements to BM25 and Language Models Examined" (the
    variant with the floor).
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        tokenize: Callable[[str], list[str]] = words,
        k1: float = K1,
        b: float = B,
        epsilon: float = EPSILON,
    ) -> None:
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, got one text: put it into a list")
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"need k1 >= 0 and 0 <= b <= 1, got {k1} and {b}")
        self.tokenize, self.size = tokenize, len(texts)
        counted = [Counter(tokenize(text)) for text in texts]
        self.lengths = np.array([sum(c.values()) for c in counted], dtype=float)
        found = Counter(word for c in counted for word in c)
        self.idf = inverse_document_frequency(found, self.size, epsilon)
        self._lists = self._inverted(counted, k1, b)

    def __len__(self) -> int:
        """N."""
        return self.size

    def scores(self, query: str) -> np.ndarray:
        """The score of each text, (N,); 0 where no word of the query stands."""
        total = np.zeros(self.size)
        for word in self.tokenize(query):  # a word twice in the query counts twice
            rows, shares = self._lists.get(word, ((), ()))
            if len(rows):
                total[rows] += shares
        return total

    def search(self, query: str, top_k: int = 10) -> list[tuple[int, float]]:
        """Rows and scores of the best texts that share a word with the query, best first.

        Raises:
            ValueError: top_k < 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        scores = self.scores(query)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [(int(i), float(scores[i])) for i in order if scores[i] != 0]

    def coverage(self, query: str, row: int) -> float:
        """How much of a query stands in a text, rare words counting more: between 0 and 1.

        sum of idf over the query's different words in the text / sum of idf over all of them

        A word that stands in no text weighs as much as the rarest one. Where even the best text
        covers little, the query speaks in other words than the collection.

        Args:
            query: words. row: number of the text.

        Raises:
            ValueError: there is no such text.
        """
        if not 0 <= row < self.size:
            raise ValueError(f"expected the number of a text, 0 to {self.size - 1}, got {row}")
        rarest = max(self.idf.values(), default=1.0)
        weights = {word: self.idf.get(word, rarest) for word in self.tokenize(query)}
        here = sum(weights[w] for w in weights if row in self._lists.get(w, ((), ()))[0])
        return float(here / sum(weights.values())) if weights else 0.0

    def _inverted(self, counted: list[Counter], k1: float, b: float) -> dict[str, tuple]:
        """For each word the rows that hold it, and what it adds to their scores."""
        average = self.lengths.mean() if self.size and self.lengths.any() else 1.0
        norm = k1 * (1 - b + b * self.lengths / average)
        lists: dict[str, tuple[list[int], list[int]]] = {}
        for row, counts in enumerate(counted):
            for word, f in counts.items():
                rows, often = lists.setdefault(word, ([], []))
                rows.append(row)
                often.append(f)
        done = {}
        for word, (rows, often) in lists.items():
            at, f = np.array(rows), np.array(often, dtype=float)
            done[word] = at, self.idf[word] * f * (k1 + 1) / (f + norm[at])
        return done
