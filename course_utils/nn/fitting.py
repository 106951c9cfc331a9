"""Chapter 4 - Fitting: the training loop of the small models of this chapter.

One loop for all of them: the caller says what the loss of a step is, the loop does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def fit(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    *,
    learning_rate: float = 3e-3,
    warm_up: float = 0.1,
    clip: float = 1.0,
    weight_decay: float = 0.0,
) -> list[float]:
    """Train with AdamW; the learning rate rises, then falls to zero in a straight line.

    Args:
        model: left in training mode.
        loss_of: the step's number (from 0) -> a loss to minimise, one number.
        steps: updates.
        learning_rate: the highest rate.
        warm_up: share (0-1) of the steps during which the rate rises.
        clip: longest gradient (Euclidean norm); longer ones are scaled down to it.

    Returns:
        the loss of every step; it ends early, with the last value, once a loss is not finite.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, foreach=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: triangle(step, steps, warm_up)
    )
    losses: list[float] = []
    model.train()
    for step in range(steps):
        loss = loss_of(step)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        schedule.step()
    return losses


def triangle(step: int, steps: int, warm_up: float = 0.1) -> float:
    """Factor on the learning rate: up to 1 in the first steps, then down to 0.

    >>> [triangle(step, 10, 0.2) for step in (0, 1, 6)]
    [0.5, 1.0, 0.5]
    """
    peak = max(1, int(warm_up * steps))
    return min((step + 1) / peak, (steps - step) / max(1, steps - peak))


def by_length(
    rows: list[list[int]], batch_size: int, generator: torch.Generator
) -> list[list[int]]:
    """Row numbers in batches of similar length, so that little is padded; batches in random order.

    Rows are shuffled first, so that equal lengths meet other rows in every epoch.
    """
    order = torch.randperm(len(rows), generator=generator).tolist()
    order.sort(key=lambda row: len(rows[row]) // 8)  # roughly: ties keep their random order
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def pad_rows(rows: list[list[int]], pad_id: int = 0) -> Tensor:
    """Lists of ids -> (B, longest), padded on the right.

    >>> pad_rows([[5], [6, 7]]).tolist()
    [[5, 0], [6, 7]]
    """
    return nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in rows],
        batch_first=True,
        padding_value=pad_id,
    )


@torch.no_grad()
def logits_by_length(
    model: Callable[[Tensor], Tensor], rows: list[list[int]], batch_size: int = 64, pad_id: int = 0
) -> Tensor:
    """A classifier's logits (N, classes) for rows of ids, in the order of the rows.

    Rows of similar length share a batch, so that little is padded. A module is put into
    evaluation mode.
    """
    if isinstance(model, nn.Module):
        model.eval()
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    parts = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    logits = torch.cat([model(pad_rows([rows[i] for i in part], pad_id)) for part in parts])
    return logits[torch.tensor(order).argsort()]
