"""Chapter 1 – Word embeddings from counts by regression: GloVe.

GloVe fits the logarithm of each co-occurrence count by a dot product of two vectors. It
stands between the two other families: it reads counts, like PPMI + SVD, and it is trained in
small steps, like skip-gram.

Notation: V vocabulary, C width of a vector, B cells in one step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from course_utils.text.similarity import WordVectors


@dataclass(frozen=True)
class GloveOptions:
    """How to train.

    Attributes:
        dim: C.
        epochs: passes over the non-zero cells.
        learning_rate: of AdaGrad.
        x_max: count from which a cell has full weight. The paper's 100 is for billions of
            words; half a million words hardly have such cells.
        power: alpha of the weight (x / x_max) ** alpha.
        batch_size: B.
        seed: of start values and order.
    """

    dim: int = 100
    epochs: int = 10
    learning_rate: float = 0.05
    x_max: float = 100.0
    power: float = 0.75
    batch_size: int = 4096
    seed: int = 0


@dataclass
class Glove:
    """A trained model: two vectors and two biases a word.

    Attributes:
        word, context: (V, C). word_bias, context_bias: (V,).
        losses: weighted squared error, mean over the cells, one value an epoch.
    """

    word: Tensor
    context: Tensor
    word_bias: Tensor
    context_bias: Tensor
    losses: list[float] = field(default_factory=list)

    def vectors(self, words: Sequence[str]) -> WordVectors:
        """The sum of a word's two vectors, as the paper uses it (section 4.2)."""
        return WordVectors(tuple(words), (self.word + self.context).numpy())


def glove_weight(counts: Tensor, x_max: float = 100.0, power: float = 0.75) -> Tensor:
    """How much a cell matters: ``min(1, (x / x_max) ** power)``.

    Source: Pennington, Socher and Manning (2014), equation 9.
    """
    return (counts / x_max).clamp(max=1.0) ** power


def glove_loss(
    word: Tensor,
    context: Tensor,
    word_bias: Tensor,
    context_bias: Tensor,
    counts: Tensor,
    *,
    x_max: float = 100.0,
    power: float = 0.75,
) -> Tensor:
    """Weighted squared error of each cell's logarithm, (B,).

    ``f(x) (w . c + b_w + b_c - ln x) ** 2``

    Args:
        word, context: (B, C). word_bias, context_bias: (B,).
        counts: x > 0, (B,).

    Source: Pennington, Socher and Manning (2014), equation 8.
    """
    if (counts <= 0).any():
        raise ValueError("GloVe looks at cells above zero only: ln 0 has no value")
    error = (word * context).sum(-1) + word_bias + context_bias - counts.log()
    return glove_weight(counts, x_max, power) * error**2


def train_glove(counts: sparse.spmatrix, options: GloveOptions | None = None) -> Glove:
    """Fit ``ln X`` on the non-zero cells of a co-occurrence matrix (V, V) by AdaGrad.

    Raises:
        FloatingPointError: if training diverges.
    """
    options = options or GloveOptions()
    cells = counts.tocoo()
    if not cells.nnz:
        raise ValueError("the co-occurrence matrix is empty")
    rows, columns = (torch.from_numpy(a.astype(np.int64)) for a in (cells.row, cells.col))
    values = torch.from_numpy(cells.data).float()
    generator = torch.Generator().manual_seed(options.seed)
    tables = [_start(counts.shape[side], options.dim, generator) for side in (0, 1)]
    sums = [torch.ones_like(table) for table in tables]  # AdaGrad's, 1 as in the paper's code
    losses = []
    for epoch in range(options.epochs):
        total = 0.0
        for batch in torch.randperm(len(values), generator=generator).split(options.batch_size):
            total += _step(tables, sums, (rows[batch], columns[batch]), values[batch], options)
        losses.append(total / len(values))
        if not math.isfinite(total):
            raise FloatingPointError(f"training diverged in epoch {epoch + 1}; lower learning_rate")
    (word, word_bias), (context, context_bias) = ((t[:, :-1], t[:, -1]) for t in tables)
    return Glove(word, context, word_bias, context_bias, losses)


def _start(rows: int, dim: int, generator: torch.Generator) -> Tensor:
    """Vectors and, in the last column, biases: (rows, C + 1)."""
    return (torch.rand(rows, dim + 1, generator=generator) - 0.5) / dim


def _step(
    tables: list[Tensor],
    sums: list[Tensor],
    places: tuple[Tensor, Tensor],
    counts: Tensor,
    options: GloveOptions,
) -> float:
    """One AdaGrad step, in place; returns the summed loss."""
    word, context = (table[place] for table, place in zip(tables, places, strict=True))
    score = (word[:, :-1] * context[:, :-1]).sum(1) + word[:, -1] + context[:, -1]
    error = score - counts.log()
    weighted = glove_weight(counts, options.x_max, options.power) * error  # (B,)
    for table, total, place, other in zip(tables, sums, places, (context, word), strict=True):
        gradient = other * weighted[:, None]  # half of the derivative, as in the paper's code
        gradient[:, -1] = weighted
        whole = torch.zeros_like(table).index_add_(0, place, gradient)
        total.addcmul_(whole, whole)
        table.addcdiv_(whole, total.sqrt(), value=-options.learning_rate)
    return float((weighted * error).sum())
