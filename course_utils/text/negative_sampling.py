"""Chapter 1 – Word embeddings by prediction: true neighbours against words drawn by chance.

The loss, its gradients by hand, the noise, and one training step in two versions. The model
that calls them is in :mod:`course_utils.text.embeddings`.

Notation: V vocabulary, C width of a vector, B batch, k noise words a pair, K noise words
shared by a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

NOISE_POWER = 0.75  # Mikolov et al. (2013b), section 2.2
_TABLE_SIZE = 1_000_000


def sgns_loss(centre: Tensor, positive: Tensor, noise: Tensor) -> Tensor:
    """Loss of skip-gram with negative sampling, mean over the batch, in nats.

    ``-ln s(v . u) - sum over the k noise words of ln s(-v . u_noise)``, s the sigmoid

    Args:
        centre: v, input vectors (B, C).
        positive: u, output vectors of true neighbours (B, C).
        noise: output vectors of noise words (B, k, C).

    Source: Mikolov et al. (2013b), "Distributed Representations", equation 4.
    """
    if noise.ndim != 3 or centre.shape != positive.shape or noise[:, 0].shape != centre.shape:
        raise ValueError(
            "expected (B, C), (B, C) and (B, k, C), got "
            f"{tuple(centre.shape)}, {tuple(positive.shape)} and {tuple(noise.shape)}"
        )
    true = F.logsigmoid((centre * positive).sum(-1))
    false = F.logsigmoid(-(noise @ centre[:, :, None])[:, :, 0]).sum(-1)
    return -(true + false).mean()


def sgns_gradients(
    centre: Tensor, positive: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of each pair's own loss, by hand: error times the other vector.

    ``dv = (s(v . u) - 1) u + sum of s(v . u_noise) u_noise``; ``du = (s(v . u) - 1) v``;
    ``du_noise = s(v . u_noise) v``

    Args and shapes as in :func:`sgns_loss`; the gradients have the shapes of the arguments
    and are *not* divided by B.
    """
    true = torch.sigmoid((centre * positive).sum(-1, keepdim=True)) - 1  # (B, 1)
    false = torch.sigmoid(noise @ centre[:, :, None])  # (B, k, 1)
    d_centre = true * positive + (false * noise).sum(1)
    return d_centre, true * centre, false * centre[:, None]


class Noise:
    """Draws words in proportion to their count to the power 3/4."""

    def __init__(self, counts: np.ndarray, *, power: float = NOISE_POWER) -> None:
        shares = np.asarray(counts, dtype=float) ** power
        self.probabilities = torch.from_numpy(shares / shares.sum())
        # a table of words in the right proportions: drawing is one random index
        ends = torch.cumsum(self.probabilities, 0)
        spots = (torch.arange(_TABLE_SIZE, dtype=torch.float64) + 0.5) / _TABLE_SIZE
        self._table = torch.searchsorted(ends, spots).clamp_(max=len(shares) - 1)

    def draw(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Row numbers of the given shape, int64."""
        return self._table[torch.randint(_TABLE_SIZE, shape, generator=generator)]


def own_noise_step(
    hidden: Tensor, output: Tensor, positives: Tensor, noise: Tensor, rate: float
) -> tuple[Tensor, float]:
    """One step for a batch where each row has its own k noise words.

    Args:
        hidden: (B, C), what the input side made of the batch.
        output: (V, C), changed in place.
        positives: true words (B,). noise: noise words (B, k); where it equals the true word
            it is skipped, as word2vec does.
        rate: learning rate.

    Returns:
        the change to add to ``hidden`` (B, C), and the summed loss in nats.
    """
    targets = torch.cat([positives[:, None], noise], dim=1)  # (B, 1 + k)
    vectors = output[targets]
    scores = torch.bmm(vectors, hidden[:, :, None])[:, :, 0]
    counted = torch.ones_like(scores)
    counted[:, 1:] = noise != positives[:, None]
    scores[:, 1:].neg_()  # now every score should be large
    loss = -(F.logsigmoid(scores) * counted).sum().item()
    push = torch.sigmoid(-scores) * counted * rate
    push[:, 1:].neg_()
    change = torch.bmm(push[:, None], vectors)[:, 0]
    updates = (push[:, :, None] * hidden[:, None]).reshape(-1, hidden.shape[1])
    output.index_add_(0, targets.reshape(-1), updates)
    return change, loss


def shared_noise_step(
    hidden: Tensor, output: Tensor, positives: Tensor, noise: Tensor, rate: float, weight: float
) -> tuple[Tensor, float]:
    """One step for a batch that shares K noise words, each counted ``weight`` = k / K times.

    Arguments and result as in :func:`own_noise_step`, but ``noise`` is (K,).
    """
    true, false = output[positives], output[noise]
    true_scores = (hidden * true).sum(1)
    false_scores = hidden @ false.T  # (B, K)
    counted = (noise[None] != positives[:, None]) * weight
    loss = -F.logsigmoid(true_scores).sum() - (F.logsigmoid(-false_scores) * counted).sum()
    pull = torch.sigmoid(-true_scores)[:, None] * rate  # (B, 1)
    push = torch.sigmoid(false_scores) * counted * -rate  # (B, K)
    change = pull * true + push @ false
    output.index_add_(0, positives, pull * hidden)
    output.index_add_(0, noise, push.T @ hidden)
    return change, loss.item()
