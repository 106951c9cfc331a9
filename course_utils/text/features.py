"""Chapter 1 – Features: documents as sparse vectors of counts, weights and hashes.

A document becomes a row of a sparse matrix X of shape (N, V): N documents, V terms. The classes
follow scikit-learn's vectorizers option by option and give the same matrices, so that what is
learned here holds there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import regex
from scipy import sparse

# two or more word characters: this is why "I" and "a" vanish
TOKEN_PATTERN = r"(?u)\b\w\w+\b"
ANALYZERS = ("word", "char", "char_wb")
_SPACES = regex.compile(r"\s\s+")


def word_ngrams(words: Sequence[str], low: int, high: int) -> list[str]:
    """Runs of ``low`` to ``high`` neighbouring words, joined by spaces; shorter ones first.

    >>> word_ngrams(["not", "so", "bad"], 1, 2)
    ['not', 'so', 'bad', 'not so', 'so bad']
    """
    _check_range(low, high)
    return [
        " ".join(words[i : i + n]) for n in range(low, high + 1) for i in range(len(words) - n + 1)
    ]


def char_ngrams(text: str, low: int, high: int) -> list[str]:
    """Runs of ``low`` to ``high`` characters, spaces included, white space squeezed.

    >>> char_ngrams("ab c", 2, 2)
    ['ab', 'b ', ' c']
    """
    _check_range(low, high)
    text = _SPACES.sub(" ", text)
    return [text[i : i + n] for n in range(low, high + 1) for i in range(len(text) - n + 1)]


def char_ngrams_in_words(text: str, low: int, high: int) -> list[str]:
    """Character n-grams that stay inside words; each word is padded by one space on each side.

    A padded word shorter than n is one feature by itself, once.

    >>> char_ngrams_in_words("a cat", 3, 3)
    [' a ', ' ca', 'cat', 'at ']
    """
    _check_range(low, high)
    return [gram for word in text.split() for gram in _padded_ngrams(word, low, high)]


def _padded_ngrams(word: str, low: int, high: int) -> tuple[str, ...]:
    padded = f" {word} "
    high = max(low, min(high, len(padded)))  # longer n would only repeat the whole word
    return tuple(
        padded[i : i + n] for n in range(low, high + 1) for i in range(max(len(padded) - n, 0) + 1)
    )


def make_analyzer(
    analyzer: str = "word",
    ngram_range: tuple[int, int] = (1, 1),
    *,
    lowercase: bool = True,
    stop_words: Iterable[str] = (),
    token_pattern: str = TOKEN_PATTERN,
) -> Callable[[str], list[str]]:
    """A function from a text to its list of features.

    Args:
        analyzer: ``"word"``, ``"char"`` (across words) or ``"char_wb"`` (inside words).
        ngram_range: smallest and largest n.
        lowercase: lower-case the text first.
        stop_words: words to leave out before n-grams are formed (``"word"`` only).
        token_pattern: what a word is (``"word"`` only).
    """
    if analyzer not in ANALYZERS:
        raise ValueError(f"analyzer must be one of {', '.join(ANALYZERS)}; got {analyzer!r}")
    if isinstance(stop_words, str):
        raise TypeError(f"stop_words must be a collection of words, got {stop_words!r}")
    low, high = ngram_range
    _check_range(low, high)
    find, stopped = regex.compile(token_pattern).findall, frozenset(stop_words)

    def words(text: str) -> list[str]:
        found = find(text)
        return word_ngrams([w for w in found if w not in stopped] if stopped else found, low, high)

    @lru_cache(maxsize=1 << 16)  # words repeat, so most are cut only once
    def inside(word: str) -> tuple[str, ...]:
        return _padded_ngrams(word, low, high)

    cut = {
        "word": words,
        "char": lambda text: char_ngrams(text, low, high),
        "char_wb": lambda text: [gram for word in text.split() for gram in inside(word)],
    }[analyzer]
    return (lambda text: cut(text.lower())) if lowercase else cut


class BagOfWords:
    """Documents as term counts: X[i, j] = how often term j stands in document i.

    Args:
        analyzer, ngram_range, lowercase, stop_words, token_pattern: see :func:`make_analyzer`.
        min_df, max_df: terms in fewer or more documents are dropped; whole numbers count
            documents, fractions are shares of N.
        max_features: keep only the terms with the highest total count (ties fall as numpy's sort
            leaves them, in scikit-learn too: do not rely on them).
        binary: 1 instead of the count.

    Source: equals ``sklearn.feature_extraction.text.CountVectorizer``.
    """

    def __init__(
        self,
        analyzer: str = "word",
        ngram_range: tuple[int, int] = (1, 1),
        *,
        lowercase: bool = True,
        stop_words: Iterable[str] = (),
        token_pattern: str = TOKEN_PATTERN,
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        binary: bool = False,
    ) -> None:
        self.analyze = make_analyzer(
            analyzer,
            ngram_range,
            lowercase=lowercase,
            stop_words=stop_words,
            token_pattern=token_pattern,
        )
        self.min_df, self.max_df = min_df, max_df
        self.max_features, self.binary = max_features, binary
        self.vocabulary: dict[str, int] = {}

    def fit(self, documents: Iterable[str]) -> BagOfWords:
        """Choose the vocabulary: the terms in alphabetical order.

        Raises:
            ValueError: if no term is left.
        """
        self.fit_transform(documents)
        return self

    def fit_transform(self, documents: Iterable[str]) -> sparse.csr_matrix:
        """Choose the vocabulary and count; one pass over the documents."""
        bags = [Counter(self.analyze(text)) for text in as_documents(documents)]
        self.vocabulary = self._choose(bags)
        return self._matrix(bags)

    def transform(self, documents: Iterable[str]) -> sparse.csr_matrix:
        """Counts of the known terms, (N, V); unknown terms are ignored."""
        if not self.vocabulary:
            raise ValueError("the vocabulary is empty: call fit() before transform()")
        return self._matrix([Counter(self.analyze(text)) for text in as_documents(documents)])

    def get_feature_names_out(self) -> np.ndarray:
        """The terms in column order."""
        return np.array(sorted(self.vocabulary, key=self.vocabulary.__getitem__), dtype=object)

    def _choose(self, bags: Sequence[Counter[str]]) -> dict[str, int]:
        documents_with = Counter(term for bag in bags for term in bag)
        low, high = (_as_count(limit, len(bags)) for limit in (self.min_df, self.max_df))
        kept = sorted(term for term, df in documents_with.items() if low <= df <= high)
        if self.max_features is not None and len(kept) > self.max_features:
            totals = self._totals(bags)
            order = np.argsort([-totals[term] for term in kept])
            kept = [kept[i] for i in sorted(order[: self.max_features])]
        if not kept:
            raise ValueError(f"no term is left from {len(bags)} documents; loosen min_df or max_df")
        return {term: column for column, term in enumerate(kept)}

    def _totals(self, bags: Iterable[Counter[str]]) -> Counter[str]:
        totals: Counter[str] = Counter()
        for bag in bags:
            totals.update(bag.keys() if self.binary else bag)
        return totals

    def _matrix(self, bags: Sequence[Counter[str]]) -> sparse.csr_matrix:
        """Rows in compressed form: the columns and values of each row, one after the other."""
        columns: list[int] = []
        values: list[int] = []
        ends = [0]
        for bag in bags:
            known = sorted((self.vocabulary[t], n) for t, n in bag.items() if t in self.vocabulary)
            columns.extend(column for column, _ in known)
            values.extend(1 if self.binary else n for _, n in known)
            ends.append(len(columns))
        shape = (len(bags), len(self.vocabulary))
        return sparse.csr_matrix((np.array(values, dtype=np.int64), columns, ends), shape=shape)


class TfIdf:
    """Counts weighted by how rare a term is: w(t, d) = tf(t, d) · idf(t), rows normalised.

    idf(t) = ln((1 + N) / (1 + df(t))) + 1, df = number of documents with the term.

    Args:
        smooth_idf: the 1s inside the logarithm, one imaginary document with every term.
        sublinear_tf: 1 + ln(count) instead of the count.
        use_idf: False leaves the counts unweighted.
        norm: ``"l2"``, ``"l1"`` or None: what each row is divided by.

    Attributes:
        idf: weight of each column, (V,).

    Source: Spärck Jones (1972); equals ``sklearn.feature_extraction.text.TfidfTransformer``.
    """

    def __init__(
        self,
        *,
        smooth_idf: bool = True,
        sublinear_tf: bool = False,
        use_idf: bool = True,
        norm: str | None = "l2",
    ) -> None:
        check_norm(norm)
        self.smooth_idf, self.sublinear_tf = smooth_idf, sublinear_tf
        self.use_idf, self.norm = use_idf, norm
        self.idf: np.ndarray | None = None

    def fit(self, counts: sparse.spmatrix) -> TfIdf:
        """Learn the idf weights from a matrix of counts, (N, V)."""
        self.idf = inverse_document_frequency(counts, smooth=self.smooth_idf)
        return self

    def transform(self, counts: sparse.spmatrix) -> sparse.csr_matrix:
        """Weight and normalise counts, (N, V) -> (N, V)."""
        if self.idf is None:
            raise ValueError("the idf weights are unknown: call fit() before transform()")
        if counts.shape[1] != len(self.idf):
            raise ValueError(f"counts have {counts.shape[1]} columns, expected {len(self.idf)}")
        weights = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
        if self.sublinear_tf:
            weights.data = 1.0 + np.log(weights.data)
        if self.use_idf:
            weights = weights @ sparse.diags(self.idf, format="csr")
        return normalise_rows(weights, self.norm)

    def fit_transform(self, counts: sparse.spmatrix) -> sparse.csr_matrix:
        """:meth:`fit` and :meth:`transform` on the same counts."""
        return self.fit(counts).transform(counts)


def inverse_document_frequency(counts: sparse.spmatrix, *, smooth: bool = True) -> np.ndarray:
    """idf of each column: ln((N + s) / (df + s)) + 1, s = 1 if smooth else 0; (V,).

    Without smoothing a column that is empty has an infinite weight.
    """
    added = int(smooth)
    frequency = np.bincount(sparse.csr_matrix(counts).indices, minlength=counts.shape[1])
    with np.errstate(divide="ignore"):
        return np.log((counts.shape[0] + added) / (frequency + added)) + 1.0


def normalise_rows(matrix: sparse.spmatrix, norm: str | None = "l2") -> sparse.csr_matrix:
    """Divide each row by its length (``"l2"``) or sum of absolute values (``"l1"``).

    Empty rows stay empty.
    """
    check_norm(norm)
    rows = sparse.csr_matrix(matrix, dtype=np.float64)
    if norm is None:
        return rows
    powers = abs(rows) if norm == "l1" else rows.multiply(rows)
    lengths = np.asarray(powers.sum(axis=1)).ravel()
    lengths = np.sqrt(lengths) if norm == "l2" else lengths
    lengths[lengths == 0] = 1.0
    return sparse.csr_matrix(sparse.diags(1.0 / lengths, format="csr") @ rows)


def cosine_similarity(a: sparse.spmatrix, b: sparse.spmatrix) -> np.ndarray:
    """Cosine of the angle between every row of ``a`` and every row of ``b``, (N, M)."""
    return (normalise_rows(a) @ normalise_rows(b).T).toarray()


def top_terms(weights: np.ndarray, names: Sequence[str], k: int = 10) -> list[str]:
    """The ``k`` names with the highest weights, the highest first; ties in column order."""
    if len(weights) != len(names):
        raise ValueError(f"{len(weights)} weights for {len(names)} names")
    order = np.argsort(-np.asarray(weights), kind="stable")[:k]
    return [str(names[i]) for i in order]


def as_documents(documents: Iterable[str]) -> Iterable[str]:
    """The documents themselves; one string would be read as documents of one letter each."""
    if isinstance(documents, str):
        raise TypeError("documents must be an iterable of strings, got one string")
    return documents


def _as_count(limit: float, documents: int) -> float:
    """A share of the documents as a number of documents; whole numbers stay."""
    return limit if isinstance(limit, int) else limit * documents


def _check_range(low: int, high: int) -> None:
    if not 1 <= low <= high:
        raise ValueError(f"ngram_range must satisfy 1 <= low <= high, got ({low}, {high})")


def check_norm(norm: str | None) -> None:
    """Refuse a norm that :func:`normalise_rows` does not know."""
    if norm not in ("l1", "l2", None):
        raise ValueError(f"norm must be 'l1', 'l2' or None, got {norm!r}")
