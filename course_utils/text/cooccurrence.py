"""Chapter 1 – Word embeddings by counting: co-occurrence, PPMI, truncated SVD.

A word is known by the company it keeps (Firth, 1957). This module writes the company down:
how often each pair of words stands close together, how surprising that is, and a short
vector per word that keeps most of the surprise.

Notation: n running words, V vocabulary, C width of a word vector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

WEIGHTINGS = ("flat", "linear", "harmonic")


@dataclass(frozen=True)
class Vocabulary:
    """The words that get a vector, commonest first, with their counts.

    Attributes:
        words: V distinct words.
        counts: how often each occurs in the corpus, (V,).
    """

    words: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def build(
        cls, sentences: Iterable[Sequence[str]], *, min_count: int = 5, max_size: int | None = None
    ) -> Vocabulary:
        """Count words, drop the rare ones, order by count and then by spelling.

        Raises:
            ValueError: if no word occurs ``min_count`` times.

        >>> Vocabulary.build([["a", "b", "a"]], min_count=1).words
        ('a', 'b')
        """
        totals = Counter(word for sentence in sentences for word in sentence)
        kept = sorted(((-n, word) for word, n in totals.items() if n >= min_count))[:max_size]
        if not kept:
            raise ValueError(f"no word occurs min_count={min_count} times; got {len(totals)} words")
        return cls(tuple(word for _, word in kept), np.array([-n for n, _ in kept]))

    @cached_property
    def index(self) -> dict[str, int]:
        """From a word to its row."""
        return {word: row for row, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentences: Iterable[Sequence[str]]) -> Corpus:
        """Turn words into row numbers; words outside the vocabulary vanish.

        A gap closes: the neighbours of a dropped word become neighbours of each other, as
        in word2vec and gensim.
        """
        index = self.index
        rows = [[index[word] for word in sentence if word in index] for sentence in sentences]
        tokens = np.array([row for sentence in rows for row in sentence], dtype=np.int64)
        lengths = [len(sentence) for sentence in rows]
        return Corpus(tokens, np.repeat(np.arange(len(rows)), lengths))


@dataclass(frozen=True)
class Corpus:
    """A text as numbers: two arrays of the same length n.

    Attributes:
        tokens: the row in the vocabulary of each running word, (n,).
        sentence_ids: the sentence each belongs to, never decreasing, (n,).
    """

    tokens: np.ndarray
    sentence_ids: np.ndarray

    def __post_init__(self) -> None:
        if self.tokens.shape != self.sentence_ids.shape or self.tokens.ndim != 1:
            raise ValueError(
                "tokens and sentence_ids must be two lists of one length, got shapes "
                f"{self.tokens.shape} and {self.sentence_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def select(self, keep: np.ndarray) -> Corpus:
        """The corpus without the positions where the boolean array ``keep`` (n,) is False."""
        return Corpus(self.tokens[keep], self.sentence_ids[keep])

    def same_sentence(self, offset: int) -> np.ndarray:
        """True at i where words i and i + offset share a sentence; (n - offset,)."""
        return self.sentence_ids[offset:] == self.sentence_ids[: len(self) - offset]


def distance_weight(offset: int, window: int, weighting: str) -> float:
    """What a neighbour at a distance counts.

    ``flat`` 1; ``harmonic`` 1/offset (GloVe, section 4.2); ``linear``
    (window + 1 - offset) / window, which is the chance that word2vec's randomly shortened
    window still reaches that far.

    >>> [distance_weight(d, 4, "linear") for d in (1, 2, 3, 4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}; got {weighting!r}")
    if not 1 <= offset <= window:
        raise ValueError(f"offset must lie in 1..window={window}, got {offset}")
    return {"flat": 1.0, "harmonic": 1 / offset, "linear": (window + 1 - offset) / window}[
        weighting
    ]


def cooccurrence_counts(
    corpus: Corpus, vocabulary_size: int, *, window: int = 5, weighting: str = "linear"
) -> sparse.csr_matrix:
    """Count how often two words stand within a window, in the same sentence.

    ``X[i, j] = sum over positions p, q with 0 < |p - q| <= window of weight(|p - q|)
    * [token p = i] * [token q = j]``

    Args:
        corpus: the encoded text.
        vocabulary_size: V.
        window: how many words to look at on each side.
        weighting: see :func:`distance_weight`.

    Returns:
        Symmetric sparse matrix (V, V).
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    shape = (vocabulary_size, vocabulary_size)
    one_sided = sparse.csr_matrix(shape)
    for offset in range(1, min(window, len(corpus) - 1) + 1):
        near = corpus.same_sentence(offset)
        left, right = corpus.tokens[:-offset][near], corpus.tokens[offset:][near]
        weights = np.full(len(left), distance_weight(offset, window, weighting))
        one_sided = one_sided + sparse.csr_matrix((weights, (left, right)), shape=shape)
    return (one_sided + one_sided.T).tocsr()


def ppmi(
    counts: sparse.csr_matrix, *, context_smoothing: float = 1.0, shift: float = 0.0
) -> sparse.csr_matrix:
    """Positive pointwise mutual information of a co-occurrence matrix, in nats.

    ``PPMI[i, j] = max(0, ln(p(i, j) / (p(i) q(j))) - shift)`` with
    ``q(j) ~ count(j) ** context_smoothing``

    Args:
        counts: non-negative (V, S); rows are words, columns contexts.
        context_smoothing: 0.75 dampens the luck of rare contexts.
        shift: ``ln k`` gives the matrix that skip-gram with k negatives factorises implicitly.

    Returns:
        Sparse (V, S) of the cells above zero.

    Source: Levy, Goldberg and Dagan (2015), sections 2.1 and 3.1.
    """
    cells = counts.tocoo()
    total = cells.data.sum()
    if total <= 0 or cells.data.min() < 0:
        raise ValueError("counts must be non-negative and not all zero")
    rows = np.asarray(counts.sum(axis=1)).ravel()
    columns = np.asarray(counts.sum(axis=0)).ravel() ** context_smoothing
    expected = rows[cells.row] * (columns / columns.sum())[cells.col]
    seen = cells.data > 0  # a stored zero has no logarithm
    values = np.log(cells.data[seen] / expected[seen]) - shift
    above = values > 0
    places = cells.row[seen][above], cells.col[seen][above]
    return sparse.csr_matrix((values[above], places), shape=counts.shape)


def svd_embeddings(
    matrix: sparse.csr_matrix, dim: int, *, singular_power: float = 0.5, seed: int = 0
) -> np.ndarray:
    """Short word vectors: the leading left singular vectors, scaled.

    ``M ~ U S Vᵀ`` (rank ``dim``), ``vectors = U * S ** singular_power``

    Args:
        matrix: (V, S), for example from :func:`ppmi`.
        dim: C, smaller than both sides.
        singular_power: 1 is the classical choice; 0.5 shares S between words and contexts,
            as skip-gram does, and is usually better for similarity.
        seed: of the random projection that starts the computation.

    Returns:
        (V, C), float64. Signs are fixed: the largest entry of each column is positive.

    Source: Levy, Goldberg and Dagan (2015), section 3.3; Halko, Martinsson and Tropp (2011)
    for the randomised algorithm.
    """
    if not 1 <= dim < min(matrix.shape):
        raise ValueError(f"dim must lie in 1..{min(matrix.shape) - 1}, got {dim}")
    from sklearn.utils.extmath import randomized_svd

    left, values, _ = randomized_svd(matrix, dim, n_iter=4, random_state=seed)
    largest = np.abs(left).argmax(axis=0)
    signs = np.sign(left[largest, np.arange(dim)])
    return left * signs * values**singular_power
