"""Chapter 1 – Word embeddings: a table of word vectors, its neighbours, analogies and grades.

Everything here is indifferent to how the vectors were made: counted, trained, or taken from
a pre-trained model.

Notation: V words, C width of a vector, K number of answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

METHODS = ("3cosadd", "3cosmul")
_EPSILON = 1e-3  # Levy and Goldberg (2014), equation 4: keeps the product from dividing by zero


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: V distinct words; the order is the rows' order.
        matrix: (V, C).
    """

    words: tuple[str, ...]
    matrix: np.ndarray

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise ValueError(
                f"{len(self.words)} words need a matrix ({len(self.words)}, C), "
                f"got shape {self.matrix.shape}"
            )
        if len(self.index) != len(self.words):
            raise ValueError("words must be distinct")

    @cached_property
    def index(self) -> dict[str, int]:
        """From a word to its row."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def unit(self) -> np.ndarray:
        """The vectors scaled to length 1 (a zero vector stays zero), (V, C)."""
        return normalise(self.matrix)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> np.ndarray:
        return self.matrix[self._row(word)]

    def _row(self, word: str) -> int:
        if word not in self.index:
            raise KeyError(f"{word!r} is not among the {len(self)} words of this table")
        return self.index[word]

    def similarity(self, first: str, second: str) -> float:
        """Cosine of the angle between two words' vectors, -1 to 1."""
        return float(self.unit[self._row(first)] @ self.unit[self._row(second)])

    def subset(self, words: Iterable[str]) -> WordVectors:
        """The table with only those of the words that it has, in the given order."""
        kept = tuple(dict.fromkeys(word for word in words if word in self.index))
        return WordVectors(kept, self.matrix[[self.index[word] for word in kept]])

    def centred(self) -> WordVectors:
        """The table with the mean vector taken off every row."""
        return WordVectors(self.words, self.matrix - self.matrix.mean(axis=0))

    def without_top_components(self, count: int) -> WordVectors:
        """Centred, and without its ``count`` strongest principal directions."""
        return WordVectors(self.words, remove_top_components(self.matrix, count))


def normalise(matrix: np.ndarray) -> np.ndarray:
    """Scale each row (the last axis) to length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(matrix, axis=-1, keepdims=True)
    return matrix / np.where(lengths > 0, lengths, 1)


def remove_top_components(matrix: np.ndarray, count: int) -> np.ndarray:
    """Take off the mean and the strongest shared directions of a cloud of vectors.

    ``x' = x - m - sum over i of (u_i . (x - m)) u_i``, u_i the leading principal directions

    Args:
        matrix: (N, C).
        count: how many directions; 0 only takes off the mean.

    Returns:
        (N, C), a new array.

    Source: Mu and Viswanath (2018), "All-but-the-Top", algorithm 1.
    """
    if not 0 <= count <= min(matrix.shape):
        raise ValueError(f"count must lie in 0..{min(matrix.shape)}, got {count}")
    centred = matrix - matrix.mean(axis=0)
    if count == 0:
        return centred
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    top = directions[:count]
    return centred - centred @ top.T @ top


def mean_cosine(matrix: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows: 0 if directions are spread evenly.

    ``(|sum of u_i| ** 2 - N) / (N (N - 1))``, u_i the rows at length 1; so it takes no
    N x N table. Near 1, all vectors point the same way (anisotropy).

    Args:
        matrix: (N, C), N at least 2, no row zero.
    """
    if len(matrix) < 2:
        raise ValueError(f"need at least two rows, got {len(matrix)}")
    unit = normalise(np.asarray(matrix, dtype=float))
    total = unit.sum(axis=0)
    return float((total @ total - (unit**2).sum()) / (len(unit) * (len(unit) - 1)))


def nearest(
    vectors: WordVectors, target: str | np.ndarray, k: int = 10, *, exclude: Sequence[str] = ()
) -> list[tuple[str, float]]:
    """The K words closest to a word or to a vector, by cosine.

    Args:
        vectors: the table.
        target: a word of it (then it is excluded itself) or a vector (C,).
        k: how many answers.
        exclude: words that may not be answers.

    Returns:
        (word, cosine) pairs, closest first; ties in the table's order.

    Raises:
        KeyError: for a word that the table lacks.
    """
    if isinstance(target, str):
        query, exclude = vectors[target], (*exclude, target)
    else:
        query = np.asarray(target)
    if query.shape != (vectors.matrix.shape[1],):
        raise ValueError(f"expected a vector {vectors.matrix.shape[1:]}, got {query.shape}")
    return _best(vectors, vectors.unit @ normalise(query), k, exclude)


def _best(
    vectors: WordVectors, scores: np.ndarray, k: int, exclude: Sequence[str]
) -> list[tuple[str, float]]:
    scores = scores.astype(float)  # a copy
    scores[[vectors.index[word] for word in exclude if word in vectors]] = -np.inf
    order = np.argsort(-scores, kind="stable")[:k]
    return [(vectors.words[i], float(scores[i])) for i in order if np.isfinite(scores[i])]


def analogy(
    vectors: WordVectors, a: str, a_star: str, b: str, k: int = 1, *, method: str = "3cosadd"
) -> list[tuple[str, float]]:
    """Answer "a is to a* as b is to ...?"; the three given words cannot be answers.

    ``3cosadd``: ``cos(x, a*) - cos(x, a) + cos(x, b)``;
    ``3cosmul``: ``cos(x, a*) cos(x, b) / (cos(x, a) + 0.001)``, cosines moved to 0..1

    Args:
        vectors: the table; must hold a, a_star and b.
        k: how many answers.
        method: one of the two.

    Source: Levy and Goldberg (2014), "Linguistic Regularities", equations 3 and 4.
    """
    rows = np.stack([vectors.unit[vectors._row(word)] for word in (a, a_star, b)])
    scores = _analogy_scores(vectors.unit, rows[None], method)[0]
    return _best(vectors, scores, k, (a, a_star, b))


def _analogy_scores(unit: np.ndarray, questions: np.ndarray, method: str) -> np.ndarray:
    """Scores (Q, V) of every word for questions (Q, 3, C) of unit vectors a, a*, b."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    a, a_star, b = (questions[:, i] @ unit.T for i in range(3))  # each (Q, V)
    if method == "3cosadd":
        return a_star - a + b
    a, a_star, b = ((1 + cosines) / 2 for cosines in (a, a_star, b))
    return a_star * b / (a + _EPSILON)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its uncertainty and what it was computed on.

    Attributes:
        rho: Spearman's rank correlation, -1 to 1.
        low, high: ends of the 95 % bootstrap interval over the pairs.
        covered: pairs for which the table has both words.
        total: pairs in the list.
    """

    rho: float
    low: float
    high: float
    covered: int
    total: int

    def __str__(self) -> str:
        return f"{self.rho:.3f} [{self.low:.3f}, {self.high:.3f}] on {self.covered} of {self.total}"


def evaluate_similarity(
    vectors: WordVectors,
    pairs: Iterable[tuple[str, str, float]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Spearman correlation of our cosines with people's ratings.

    Pairs with a word outside the table are left out and counted: a score without its
    coverage cannot be compared with another one.

    Args:
        vectors: the table; words are looked up as they are, then lower-cased.
        pairs: (word, word, rating), as in WordSim-353 or SimLex-999.
        resamples: bootstrap samples for the interval.
        seed: of the bootstrap.

    Raises:
        ValueError: if fewer than three pairs are covered.
    """
    cosines, ratings, total = covered_pairs(vectors, pairs)
    if len(cosines) < 3:
        raise ValueError(f"only {len(cosines)} of {total} pairs are covered; need 3")
    draws = np.random.default_rng(seed).integers(0, len(cosines), (resamples, len(cosines)))
    sample = np.sort([spearman(cosines[d], ratings[d]) for d in draws])
    low, high = np.quantile(sample, [0.025, 0.975])
    return Correlation(spearman(cosines, ratings), float(low), float(high), len(cosines), total)


@dataclass(frozen=True)
class Difference:
    """How much better one table agrees with people than another, on the same pairs.

    Attributes:
        first, second: the two rank correlations.
        low, high: ends of the 95 % interval of ``first - second``, both tables graded on
            the same resampled pairs each time.
        covered: pairs that both tables cover.
    """

    first: float
    second: float
    low: float
    high: float
    covered: int

    @property
    def gain(self) -> float:
        """first - second."""
        return self.first - self.second


def compare_similarity(
    first: WordVectors,
    second: WordVectors,
    pairs: Iterable[tuple[str, str, float]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap of two tables' Spearman correlations.

    Two wide intervals may overlap while the difference is sure: hard pairs are hard for
    both tables, and pairing takes that part of the chance away.

    Raises:
        ValueError: if both tables together cover fewer than three pairs.
    """
    shared = [pair for pair in pairs if all(_covers(table, pair) for table in (first, second))]
    if len(shared) < 3:
        raise ValueError(f"only {len(shared)} pairs are covered by both tables; need 3")
    x, ratings, _ = covered_pairs(first, shared)
    y, _, _ = covered_pairs(second, shared)
    draws = np.random.default_rng(seed).integers(0, len(shared), (resamples, len(shared)))
    gains = [spearman(x[d], ratings[d]) - spearman(y[d], ratings[d]) for d in draws]
    low, high = (float(end) for end in np.quantile(gains, [0.025, 0.975]))
    return Difference(spearman(x, ratings), spearman(y, ratings), low, high, len(shared))


def _covers(vectors: WordVectors, pair: tuple[str, str, float]) -> bool:
    return all(_known_form(vectors, word) is not None for word in pair[:2])


def covered_pairs(
    vectors: WordVectors, pairs: Iterable[tuple[str, str, float]]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cosines (P,) and ratings (P,) of the covered pairs, and the number of all pairs."""
    found, total = [], 0
    for first, second, rating in pairs:
        total += 1
        first, second = (_known_form(vectors, word) for word in (first, second))
        if first is not None and second is not None:
            found.append((vectors.similarity(first, second), rating))
    table = np.array(found, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1], total


def _known_form(vectors: WordVectors, word: str) -> str | None:
    return next((form for form in (word, word.lower()) if form in vectors), None)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their rank.

    >>> round(spearman([1, 2, 3], [10, 20, 15]), 3)
    0.5
    """
    from scipy.stats import rankdata

    if len(first) != len(second):
        raise ValueError(f"lists must have one length, got {len(first)} and {len(second)}")
    x, y = rankdata(first), rankdata(second)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


@dataclass(frozen=True)
class AnalogyScore:
    """How many analogy questions were answered, by section.

    Attributes:
        correct, covered, total: questions over all sections; covered ones have all four words.
        sections: name -> (correct, covered, total).
    """

    correct: int
    covered: int
    total: int
    sections: dict[str, tuple[int, int, int]]

    @property
    def accuracy(self) -> float:
        """Correct answers among the covered questions, 0 to 1."""
        return self.correct / self.covered if self.covered else 0.0


def evaluate_analogies(
    vectors: WordVectors,
    questions: Iterable[tuple[str, str, str, str, str]],
    *,
    method: str = "3cosadd",
    allow_given_words: bool = False,
) -> AnalogyScore:
    """Accuracy on analogy questions "a : a* = b : b*".

    Args:
        vectors: the table; its words are the candidates.
        questions: (section, a, a_star, b, b_star); looked up lower-cased.
        method: see :func:`analogy`.
        allow_given_words: let a, a* and b be answers too, which the usual score forbids.

    Source: Mikolov et al. (2013), "Efficient Estimation of Word Representations", section 4.1.
    """
    by_section: dict[str, list[list[int] | None]] = {}
    for section, *words in questions:
        rows = [vectors.index.get(word.lower()) for word in words]
        by_section.setdefault(section, []).append(None if None in rows else rows)
    sections = {}
    for section, asked in by_section.items():
        covered = np.array([rows for rows in asked if rows is not None], dtype=int).reshape(-1, 4)
        hits = _count_right(vectors.unit, covered, method, allow_given_words)
        sections[section] = (hits, len(covered), len(asked))
    correct, covered, total = (sum(row[i] for row in sections.values()) for i in range(3))
    return AnalogyScore(correct, covered, total, sections)


def _count_right(unit: np.ndarray, questions: np.ndarray, method: str, given: bool) -> int:
    right = 0
    for start in range(0, len(questions), 256):  # 256 rows of V scores at a time
        rows = questions[start : start + 256]
        scores = _analogy_scores(unit, unit[rows[:, :3]], method)
        if not given:
            np.put_along_axis(scores, rows[:, :3], -np.inf, axis=1)
        right += int((scores.argmax(axis=1) == rows[:, 3]).sum())
    return right
