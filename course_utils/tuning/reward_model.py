"""Chapter 4 - Reward model: one number for a text, learned from what people preferred.

A trunk turns the text into states (a language model as in Ziegler et al. 2019, or a small window
of words), a linear head reads their mean. Two kinds of judgement train the same head: a label for
one text (good or not), or a pair (this one is better). With labels the score is the log-odds of
"good"; with pairs only differences of scores have a meaning.

Letters: B texts, T tokens, C width, N texts or pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.families import Decoder
from course_utils.nn.fitting import by_length, fit, logits_by_length, pad_rows


class WordWindow(nn.Module):
    """A small trunk: each token's embedding and what a window of tokens up to it says.

    With some thousand labels it beats a small language model's hidden states, and costs a
    hundredth of them.

    Args:
        vocab_size: V. width: C. window: tokens that one state sees.

    Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2.
    """

    def __init__(self, vocab_size: int, width: int = 64, window: int = 3) -> None:
        super().__init__()
        self.width, self.window = width, window
        self.tokens = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.mix = nn.Conv1d(width, width, window)

    def hidden(self, ids: Tensor) -> Tensor:
        """States (B, T, C) of ids (B, T); each sees its own token and those just before."""
        x = self.tokens(ids)
        before = F.pad(x.transpose(1, 2), (self.window - 1, 0))  # (B, C, T), causal
        return x + F.gelu(self.mix(before)).transpose(1, 2)


class RewardModel(nn.Module):
    """A text encoder with one output: scores (B,) of texts.

    Args:
        trunk: ``WordWindow`` or a decoder of this course; used as it is, so pass a copy if it is
            needed elsewhere.
        dropout: share of the pooled features set to zero in training.
        pad_id: the id that is no token of a text (right of its end).

    Source: Ziegler et al. 2019, section 2 (a linear output on the language model); the mean over
    tokens instead of the last one is ours: it learns faster from few texts.
    """

    def __init__(
        self, trunk: Decoder | WordWindow, *, dropout: float = 0.1, pad_id: int = 0
    ) -> None:
        super().__init__()
        self.trunk, self.pad_id = trunk, pad_id
        self.dropout = nn.Dropout(dropout)
        width = trunk.width if isinstance(trunk, WordWindow) else trunk.recipe.hidden_size
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # scores are shifted and scaled to what a reference earns: see normalise
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, ids: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Scores (B,) of ids (B, T), padded on the right.

        Args:
            mask: (B, T), True = token of the text; by default all that is not ``pad_id``.
        """
        real = (ids != self.pad_id) if mask is None else mask.bool()
        states = self.trunk.hidden(ids)  # causal: padding on the right changes nothing before it
        weights = real / real.sum(dim=1, keepdim=True).clamp(min=1)
        pooled = (states * weights[..., None]).sum(dim=1)  # (B, C)
        return (self.head(self.dropout(pooled))[:, 0] - self.centre) / self.spread

    @torch.no_grad()
    def normalise(self, scores: Tensor) -> RewardModel:
        """Shift and scale, so that texts with these scores get mean 0 and variance 1.

        Source: Ziegler et al. 2019, section 2.1 (before training the policy).
        """
        if scores.numel() < 2:
            raise ValueError("normalise needs the scores of at least two texts")
        self.centre += scores.mean() * self.spread
        self.spread *= scores.std()
        return self

    def score(self, rows: list[list[int]], batch_size: int = 64) -> Tensor:
        """Scores (N,) of rows of ids, in evaluation mode, without gradients."""
        return logits_by_length(self, rows, batch_size, self.pad_id)


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, *, centre: float = 0.0
) -> Tensor:
    """``-log sigmoid(s_chosen - s_rejected - margin)``, mean over pairs.

    Args:
        chosen, rejected: scores (N,).
        margin: by how much the better one should win, per pair or for all.
        centre: weight of ``(s_chosen + s_rejected)^2``, which keeps scores around 0.

    Source: Bradley and Terry 1952; Ouyang et al. 2022, equation 1; the margin: Touvron et al. 2023
    (Llama 2), equation 2; centring: Eisenstein et al. 2023, section 2.
    """
    if chosen.shape != rejected.shape:
        raise ValueError(f"got {tuple(chosen.shape)} chosen and {tuple(rejected.shape)} rejected")
    loss = -F.logsigmoid(chosen - rejected - margin).mean()
    return loss + centre * (chosen + rejected).square().mean()


def label_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of scores (N,), read as log-odds, against labels (N,) of 0 and 1."""
    return F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype))


def fit_labels(
    model: RewardModel,
    rows: list[list[int]],
    labels: Sequence[int],
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """Train on single judgements; the loss of every step."""
    batches = _batches(rows, steps, batch_size, seed)
    targets = torch.tensor(list(labels))

    def loss_of(step: int) -> Tensor:
        part = batches[step]
        scores = model(pad_rows([rows[i] for i in part], model.pad_id))
        return label_loss(scores, targets[part])

    return fit(model, loss_of, steps, learning_rate=learning_rate, weight_decay=weight_decay)


def fit_pairs(
    model: RewardModel,
    better: list[list[int]],
    worse: list[list[int]],
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """Train on pairs, the i-th of ``better`` against the i-th of ``worse``; the losses."""
    if len(better) != len(worse):
        raise ValueError(f"pairs need equal numbers, got {len(better)} and {len(worse)}")
    batches = _batches(better, steps, batch_size // 2, seed)

    def loss_of(step: int) -> Tensor:
        both = [better[i] for i in batches[step]] + [worse[i] for i in batches[step]]
        scores = model(pad_rows(both, model.pad_id))
        return bradley_terry_loss(*scores.chunk(2))

    return fit(model, loss_of, steps, learning_rate=learning_rate, weight_decay=weight_decay)


def _batches(rows: list[list[int]], steps: int, batch_size: int, seed: int) -> list[list[int]]:
    make = torch.Generator().manual_seed(seed)
    batches: list[list[int]] = []
    while len(batches) < steps:
        batches += by_length(rows, batch_size, make)
    return batches


def pair_accuracy(good: Tensor, bad: Tensor) -> float:
    """Share of all pairs (one good, one bad text) in which the good one scores higher.

    With ties counted half this is the area under the ROC curve.

    Args:
        good: (N,) scores. bad: (M,) scores.
    """
    gaps = good[:, None] - bad[None]
    return float(((gaps > 0).float() + 0.5 * (gaps == 0).float()).mean())
