"""Chapter 4 - Packing: training rows as batches, padded or packed without cross-talk.

Conversations have different lengths. Padding fills the short ones up, and the model computes on
the filling. Packing puts several into one row: positions begin again with each conversation, and
a block-diagonal mask keeps each from seeing its neighbours, so that it computes what it would
alone.

Letters: B rows, T length of a row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.families import Decoder
from course_utils.nn.sight import Sight, rotary_pair
from course_utils.tuning.instructions import IGNORED

Row = Mapping[str, Sequence[int]]


def collate(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Rows of any length as one batch, padded on the right.

    Args:
        rows: with ``input_ids`` and ``labels``.
        pad_id: fills ``input_ids``; it may be the end token's id, whose labels stay learned.

    Returns:
        ``input_ids``, ``attention_mask`` (1 = real token) and ``labels`` (-100 under padding),
        each (B, T).
    """
    fills = {"input_ids": pad_id, "attention_mask": 0, "labels": IGNORED}
    full = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]
    return {name: _padded([row[name] for row in full], fill) for name, fill in fills.items()}


def _padded(rows: Iterable[Sequence[int]], fill: int) -> Tensor:
    tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def pack(rows: Sequence[Row], length: int) -> list[dict[str, list[int]]]:
    """Put rows together into rows of at most ``length`` tokens: first fit, longest first.

    Args:
        rows: with ``input_ids`` and ``labels``.

    Returns:
        rows with ``input_ids``, ``labels``, ``position_ids`` (0, 1, 2 … in each conversation)
        and ``segments`` (1, 2, 3 …: which conversation). A conversation's first token is never
        a label: it would be predicted from the conversation before.

    Raises:
        ValueError: a row is longer than ``length``.

    Source: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination",
    section 3 (packing) and 3.2 (masks and positions).
    """
    bins: list[list[Row]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -len(row["input_ids"])):
        size = len(row["input_ids"])
        if size > length:
            raise ValueError(f"a row of {size} tokens does not fit into {length}")
        fits = next((i for i, left in enumerate(room) if left >= size), len(bins))
        if fits == len(bins):
            bins.append([])
            room.append(length)
        bins[fits].append(row)
        room[fits] -= size
    return [_join(rows) for rows in bins]


def _join(rows: list[Row]) -> dict[str, list[int]]:
    joined: dict[str, list[int]] = {
        name: [] for name in ("input_ids", "labels", "position_ids", "segments")
    }
    for number, row in enumerate(rows, start=1):
        size = len(row["input_ids"])
        joined["input_ids"] += row["input_ids"]
        joined["labels"] += [IGNORED, *row["labels"][1:]]
        joined["position_ids"] += range(size)
        joined["segments"] += [number] * size
    return joined


def collate_packed(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Packed rows as one batch: ``input_ids``, ``labels``, ``position_ids``, ``segments`` (B, T).

    Padding is segment 0.
    """
    fills = {"input_ids": pad_id, "labels": IGNORED, "position_ids": 0, "segments": 0}
    return {name: _padded([row[name] for row in rows], fill) for name, fill in fills.items()}


def block_mask(segments: Tensor) -> Tensor:
    """Who may look at whom: earlier tokens of the same segment.

    Args:
        segments: (B, T).

    Returns:
        (B, 1, T, T), True = may attend: triangles along the diagonal. Padding sees padding only,
        so that no row is empty.
    """
    same = segments[:, :, None] == segments[:, None, :]
    return same.tril()[:, None]


def packed_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Logits (B, T, V) of a packed batch: for each conversation those it would get alone.

    Args:
        model: our ``Decoder`` or a causal model of transformers (with ``sdpa`` or ``eager``
            attention).
        batch: from :func:`collate_packed`.
    """
    mask, places = block_mask(batch["segments"]), batch["position_ids"]
    if isinstance(model, Decoder):
        return model.logits(_through(model, batch["input_ids"], places, mask))
    dtype = next(w.dtype for w in model.parameters() if w.is_floating_point())
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    bias = bias.masked_fill(~mask, torch.finfo(dtype).min)  # eager attention adds its mask
    inputs = {"attention_mask": bias, "position_ids": places, "use_cache": False}
    return model(input_ids=batch["input_ids"], **inputs).logits


def _through(model: Decoder, ids: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """Our stack's forward pass with a mask of our own: hidden states (B, T, C)."""
    stack, x = model.stack, model.tokens(ids)
    if stack.places is not None:
        x = x + stack.places(places)
    sight = Sight(mask)
    if stack.recipe.positions == "rotary":
        frequencies = stack.rotary_frequencies().to(x.device)
        sight = Sight(mask, rotary_pair(places, frequencies, x.dtype))
    for block in stack.blocks:
        x = block(x, sight)
    return x if stack.norm is None else stack.norm(x)


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of ``-log p(token t+1 | tokens to t)`` over the learned tokens.

    Args:
        logits: (B, T, V). labels: (B, T), -100 where nothing is learned.

    Raises:
        ValueError: no token of the batch is learned.
    """
    targets = labels[:, 1:]
    if not bool((targets != IGNORED).any()):
        raise ValueError("no token of this batch is learned: every label is -100")
    scores = logits[:, :-1].float().flatten(0, 1)
    return F.cross_entropy(scores, targets.flatten(), ignore_index=IGNORED)


def filled_share(rows: Sequence[Row], length: int) -> float:
    """Share of the places in rows of this length that hold tokens: 1 wastes nothing."""
    return sum(len(row["input_ids"]) for row in rows) / (len(rows) * length)
