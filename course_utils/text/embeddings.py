"""Chapter 1 – Word embeddings by prediction: skip-gram and CBOW with negative sampling.

A word vector is good if it can tell the words that really stood nearby from words drawn by
chance. Both models here, and :mod:`course_utils.text.fasttext`, differ only in what goes in
(one word, the mean of a window, the mean of a word's pieces); the training loop is the same.

Notation: n running words, V vocabulary, C width of a vector, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from course_utils.text.cooccurrence import Corpus, Vocabulary
from course_utils.text.negative_sampling import Noise, own_noise_step, shared_noise_step
from course_utils.text.similarity import WordVectors


@dataclass(frozen=True)
class Word2VecOptions:
    """How to train; the defaults are word2vec's and gensim's.

    Attributes:
        dim: C, width of the vectors.
        window: largest distance between a word and its neighbour.
        negative: k, noise words for each true pair.
        epochs: passes over the corpus.
        learning_rate: step at the start; falls in a straight line to ``min_learning_rate``.
        sample: a word with relative frequency f is kept with probability
            ``sqrt(sample / f) + sample / f`` (0: keep all).
        batch_size: B, pairs in one step. Their updates are added up, not averaged, so the
            step of each pair does not depend on B.
        shared_noise: K > 0 draws K noise words for the whole batch and gives each the weight
            k / K: the same expected gradient, with two matrix products in place of B k dot
            products. 0 draws k for each pair, as the paper does.
        seed: of everything drawn.
    """

    dim: int = 100
    window: int = 5
    negative: int = 5
    epochs: int = 5
    learning_rate: float = 0.025
    min_learning_rate: float = 1e-4
    sample: float = 1e-3
    batch_size: int = 1024
    shared_noise: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "window", "negative", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.shared_noise < 0 or self.sample < 0:
            raise ValueError("shared_noise and sample must not be negative")


@dataclass
class Word2Vec:
    """A trained model: two vectors a word, one as input and one as output.

    Attributes:
        vocabulary: the V words.
        input: (V, C), what people call the word vectors.
        output: (V, C), what the inputs were compared with.
        losses: mean loss a pair in nats, one value an epoch.
    """

    vocabulary: Vocabulary
    input: Tensor
    output: Tensor
    losses: list[float] = field(default_factory=list)

    @cached_property
    def vectors(self) -> WordVectors:
        """The input vectors as a table with neighbours, analogies and grades."""
        return WordVectors(self.vocabulary.words, self.input.numpy())


def keep_probability(counts: np.ndarray, sample: float) -> np.ndarray:
    """Chance that an occurrence of each word survives subsampling, (V,).

    ``min(1, sqrt(sample / f) + sample / f)``, f the relative frequency. The paper prints
    ``sqrt(sample / f)``; this is what word2vec's and gensim's code does.
    """
    if sample == 0:
        return np.ones(len(counts))
    ratio = sample / (counts / counts.sum())
    return np.minimum(1.0, np.sqrt(ratio) + ratio)


def subsample(
    corpus: Corpus, vocabulary: Vocabulary, sample: float, rng: np.random.Generator
) -> Corpus:
    """Drop occurrences of frequent words at random, see :func:`keep_probability`."""
    keep = keep_probability(vocabulary.counts, sample)[corpus.tokens]
    return corpus.select(rng.random(len(corpus)) < keep)


def skip_gram_pairs(
    corpus: Corpus, window: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """All (centre, neighbour) pairs of one pass, shuffled.

    Each position draws its own window from 1..window, so near neighbours come up more often.

    Returns:
        two arrays of word numbers, (pairs,).
    """
    centres, neighbours = _neighbouring_positions(corpus, window, rng)
    order = rng.permutation(len(centres))
    return corpus.tokens[centres[order]], corpus.tokens[neighbours[order]]


def grouped_skip_gram_pairs(
    corpus: Corpus, window: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs, all pairs of one position side by side, the positions shuffled.

    A batch then holds fewer different centres, which pays where a centre is expensive.
    """
    centres, neighbours = _neighbouring_positions(corpus, window, rng)
    order = np.argsort(rng.permutation(len(corpus))[centres], kind="stable")
    return corpus.tokens[centres[order]], corpus.tokens[neighbours[order]]


def _neighbouring_positions(
    corpus: Corpus, window: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    radius = rng.integers(1, window + 1, len(corpus))
    centres, neighbours = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for offset in range(1, min(window, len(corpus) - 1) + 1):
        left = np.flatnonzero(corpus.same_sentence(offset))
        for here, there in ((left, left + offset), (left + offset, left)):
            reached = radius[here] >= offset
            centres.append(here[reached])
            neighbours.append(there[reached])
    return np.concatenate(centres), np.concatenate(neighbours)


def cbow_windows(
    corpus: Corpus, window: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each word with the words around it, shuffled.

    Returns:
        contexts (m, 2 * window), -1 where there is no neighbour, and the m words in the
        middle. Words without a neighbour are left out.
    """
    size = len(corpus)
    radius = rng.integers(1, window + 1, size)
    contexts = np.full((size, 2 * window), -1, dtype=np.int64)
    for offset in range(1, min(window, size - 1) + 1):
        together = corpus.same_sentence(offset)
        left, right = np.arange(size - offset), np.arange(offset, size)
        here = together & (radius[offset:] >= offset)
        contexts[right[here], window - offset] = corpus.tokens[left[here]]
        here = together & (radius[:-offset] >= offset)
        contexts[left[here], window + offset - 1] = corpus.tokens[right[here]]
    order = rng.permutation(np.flatnonzero((contexts >= 0).any(axis=1)))
    return contexts[order], corpus.tokens[order]


class InputLayer:
    """Skip-gram's input side: the vector of the word in the middle."""

    def __init__(self, rows: int, dim: int, generator: torch.Generator) -> None:
        self.table = (2 * torch.rand(rows, dim, generator=generator) - 1) / dim  # as gensim

    def forward(self, batch: Tensor) -> Tensor:
        """(B,) word numbers -> (B, C)."""
        return self.table[batch]

    def update(self, batch: Tensor, change: Tensor) -> None:
        """Add each row's change (B, C) to the vectors it was made of."""
        self.table.index_add_(0, batch, change)


class MeanInputLayer(InputLayer):
    """CBOW's input side: the mean of the vectors around the middle; -1 marks an empty place.

    Each of the m words gets the whole change, so that their mean moves by it. That is what
    word2vec and gensim do; the exact gradient is m times smaller (İrsoy, Benton and Stratos,
    2021, "Corrected CBOW performs as well as skip-gram").
    """

    def forward(self, batch: Tensor) -> Tensor:
        """(B, 2 * window) word numbers -> (B, C)."""
        real = (batch >= 0).float()
        shares = real / real.sum(1, keepdim=True)
        return torch.bmm(shares[:, None], self.table[batch.clamp(min=0)])[:, 0]

    def update(self, batch: Tensor, change: Tensor) -> None:
        """Add each row's change (B, C) to every word of its window."""
        rows, places = (batch >= 0).nonzero(as_tuple=True)
        self.table.index_add_(0, batch[rows, places], change[rows])


PairMaker = Callable[[Corpus, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def train_sgns(
    corpus: Corpus, vocabulary: Vocabulary, options: Word2VecOptions | None = None
) -> Word2Vec:
    """Skip-gram with negative sampling: from a word, tell its neighbours from noise.

    Raises:
        FloatingPointError: if training diverges (learning rate or batch too large).

    Source: Mikolov et al. (2013b), section 2.2.
    """
    options = options or Word2VecOptions()
    layer = InputLayer(len(vocabulary), options.dim, _generator(options))
    return train(corpus, vocabulary, layer, skip_gram_pairs, options)


def train_cbow(
    corpus: Corpus, vocabulary: Vocabulary, options: Word2VecOptions | None = None
) -> Word2Vec:
    """Continuous bag of words: from the mean of the neighbours, tell the word from noise.

    Raises:
        FloatingPointError: if training diverges (learning rate or batch too large).

    Source: Mikolov et al. (2013a), section 3.1.
    """
    options = options or Word2VecOptions()
    layer = MeanInputLayer(len(vocabulary), options.dim, _generator(options))
    return train(corpus, vocabulary, layer, cbow_windows, options)


def _generator(options: Word2VecOptions) -> torch.Generator:
    return torch.Generator().manual_seed(options.seed)


def train(
    corpus: Corpus,
    vocabulary: Vocabulary,
    layer: InputLayer,
    make_pairs: PairMaker,
    options: Word2VecOptions,
) -> Word2Vec:
    """The loop that skip-gram, CBOW and FastText share; ``layer`` is trained in place.

    Raises:
        FloatingPointError: as soon as an epoch's loss is no number.
    """
    rng = np.random.default_rng(options.seed)
    generator = torch.Generator().manual_seed(options.seed + 1)  # not the one of the start values
    noise = Noise(vocabulary.counts)
    output = torch.zeros(len(vocabulary), options.dim)
    losses: list[float] = []
    for epoch in range(options.epochs):
        kept = subsample(corpus, vocabulary, options.sample, rng)
        inputs, targets = make_pairs(kept, options.window, rng)
        total = 0.0
        for batch, positives, progress in _batches(inputs, targets, options.batch_size):
            rate = _rate(options, (epoch + progress) / options.epochs)
            hidden = layer.forward(batch)
            change, loss = _step(hidden, output, positives, noise, rate, options, generator)
            layer.update(batch, change)
            total += loss
        losses.append(total / max(len(targets), 1))
        if not math.isfinite(total):
            raise FloatingPointError(
                f"training diverged in epoch {epoch + 1}: the loss is {total}. Take a smaller "
                f"learning_rate (now {options.learning_rate}) or batch_size "
                f"(now {options.batch_size})"
            )
    return Word2Vec(vocabulary, layer.table, output, losses)


def _batches(
    inputs: np.ndarray, targets: np.ndarray, size: int
) -> Iterator[tuple[Tensor, Tensor, float]]:
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    for start in range(0, len(y), size):
        yield x[start : start + size], y[start : start + size], start / len(y)


def _rate(options: Word2VecOptions, progress: float) -> float:
    """The learning rate after a share ``progress`` of the training, 0 to 1."""
    first, last = options.learning_rate, options.min_learning_rate
    return max(last, first + (last - first) * progress)


def _step(
    hidden: Tensor,
    output: Tensor,
    positives: Tensor,
    noise: Noise,
    rate: float,
    options: Word2VecOptions,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    shared = options.shared_noise
    if not shared:
        drawn = noise.draw(len(positives), options.negative, generator=generator)
        return own_noise_step(hidden, output, positives, drawn, rate)
    drawn = noise.draw(shared, generator=generator)
    weight = options.negative / shared
    return shared_noise_step(hidden, output, positives, drawn, rate, weight)
