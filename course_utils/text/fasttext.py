"""Chapter 1 – Word embeddings from pieces of words: FastText.

A word's vector is the mean of a vector of its own and the vectors of its character n-grams.
So rare words borrow from their relatives, and a word never seen has a vector too.

Notation: V vocabulary, C width of a vector, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.text.cooccurrence import Corpus, Vocabulary
from course_utils.text.embeddings import (
    InputLayer,
    Word2Vec,
    Word2VecOptions,
    grouped_skip_gram_pairs,
    train,
)
from course_utils.text.similarity import WordVectors

_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193  # Fowler-Noll-Vo hash, 32 bits


def character_ngrams(word: str, smallest: int = 3, largest: int = 6) -> list[str]:
    """All character n-grams of a word between ``<`` and ``>``, without the whole word.

    Source: Bojanowski et al. (2017), section 3.2.

    >>> character_ngrams("cat", 3, 4)
    ['<ca', 'cat', 'at>', '<cat', 'cat>']
    """
    if not 1 <= smallest <= largest:
        raise ValueError(f"need 1 <= smallest <= largest, got {smallest} and {largest}")
    marked = f"<{word}>"
    return [
        marked[start : start + size]
        for size in range(smallest, largest + 1)
        for start in range(len(marked) - size + 1)
        if size < len(marked)
    ]


def fnv1a(text: str) -> int:
    """The 32-bit hash that fastText uses for n-grams.

    As in fastText's published code, bytes from 128 on enter with their sign, so that its
    binary models can be read.
    """
    value = _FNV_OFFSET
    for byte in text.encode("utf-8"):
        signed = byte if byte < 128 else byte | 0xFFFFFF00
        value = ((value ^ signed) * _FNV_PRIME) & 0xFFFFFFFF
    return value


@dataclass(frozen=True)
class Subwords:
    """Which rows of the table make up a word.

    Rows 0..V-1 belong to whole words, the next ``buckets`` rows to hashed n-grams. Two
    n-grams may share a bucket; that is the price of a table of fixed size.
    """

    vocabulary: Vocabulary
    smallest: int = 3
    largest: int = 6
    buckets: int = 50_000

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return len(self.vocabulary) + self.buckets

    def of(self, word: str) -> list[int]:
        """Rows of a word: its own if it is in the vocabulary, then those of its n-grams."""
        own = [self.vocabulary.index[word]] if word in self.vocabulary.index else []
        ngrams = character_ngrams(word, self.smallest, self.largest)
        return own + [len(self.vocabulary) + fnv1a(ngram) % self.buckets for ngram in ngrams]


class SubwordLayer(InputLayer):
    """FastText's input side: the mean of the rows of a word's pieces.

    Each piece gets the whole change, so that the word's vector moves as far as it would in
    skip-gram; the published code does the same.
    """

    def __init__(self, subwords: Subwords, dim: int, generator: torch.Generator) -> None:
        super().__init__(subwords.rows, dim, generator)
        pieces = [subwords.of(word) for word in subwords.vocabulary.words]
        self._flat = torch.tensor([row for rows in pieces for row in rows])
        self._lengths = torch.tensor([len(rows) for rows in pieces])
        self._starts = self._lengths.cumsum(0) - self._lengths

    def forward(self, batch: Tensor) -> Tensor:
        """(B,) word numbers -> (B, C); each distinct word is put together once."""
        distinct, places = batch.unique(return_inverse=True)
        rows, lengths = self._pieces(distinct)
        first = lengths.cumsum(0) - lengths
        return F.embedding_bag(rows, self.table, first, mode="mean")[places]

    def update(self, batch: Tensor, change: Tensor) -> None:
        """Add each row's change (B, C) to all pieces of its word."""
        distinct, places = batch.unique(return_inverse=True)
        sums = torch.zeros(len(distinct), change.shape[1]).index_add_(0, places, change)
        rows, lengths = self._pieces(distinct)
        self.table.index_add_(0, rows, sums.repeat_interleave(lengths, dim=0))

    def _pieces(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of all pieces of these words, one after the other, and how many each has."""
        lengths = self._lengths[words]
        shift = self._starts[words] - (lengths.cumsum(0) - lengths)
        places = torch.arange(int(lengths.sum())) + shift.repeat_interleave(lengths)
        return self._flat[places], lengths


@dataclass
class FastText:
    """A trained model.

    Attributes:
        subwords: which rows belong to which word.
        table: vectors of words and n-grams, (V + buckets, C).
        losses: mean loss a pair in nats, one value an epoch.
    """

    subwords: Subwords
    table: Tensor
    losses: list[float]

    def vector(self, word: str) -> np.ndarray:
        """The vector (C,) of any word, also one that was never seen.

        Raises:
            KeyError: for an unseen word too short to hold an n-gram.
        """
        rows = self.subwords.of(word)
        if not rows:
            raise KeyError(f"{word!r} is unknown and shorter than any n-gram")
        return self.table[rows].mean(0).numpy()

    def vectors(self, words: Sequence[str] | None = None) -> WordVectors:
        """The table of the vocabulary's words, or of any words."""
        words = self.subwords.vocabulary.words if words is None else words
        return WordVectors(tuple(words), np.stack([self.vector(word) for word in words]))


def train_fasttext(
    corpus: Corpus,
    vocabulary: Vocabulary,
    options: Word2VecOptions | None = None,
    *,
    smallest: int = 3,
    largest: int = 6,
    buckets: int = 50_000,
) -> FastText:
    """Skip-gram with negative sampling on words put together from n-grams.

    The paper adds the pieces up; like the published code we take their mean.

    Raises:
        FloatingPointError: if training diverges.

    Source: Bojanowski et al. (2017), "Enriching Word Vectors with Subword Information".
    """
    options = options or Word2VecOptions()
    subwords = Subwords(vocabulary, smallest, largest, buckets)
    layer = SubwordLayer(subwords, options.dim, torch.Generator().manual_seed(options.seed))
    model: Word2Vec = train(corpus, vocabulary, layer, grouped_skip_gram_pairs, options)
    return FastText(subwords, model.input, model.losses)
