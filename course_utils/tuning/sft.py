"""Chapter 4 - Supervised fine-tuning (SFT): packed batches, what trains, the loop, the replies.

::

    rows -> packed batches -> (states below the first layer that trains, computed once)
         -> loss on the replies' tokens -> AdamW on the chosen weights

Everything below the lowest layer that trains computes the same at every step, so it is computed
once and kept: training the upper fifth of a model costs a fifth. The output matrix is one fifth of
SmolLM2's weights; it is multiplied only where a token is learned.

Letters: B rows, T length of a row, C width, V vocabulary, L layers.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import config
from course_utils.nn.families import Decoder
from course_utils.nn.generation import generate
from course_utils.nn.sight import Sight, rotary_pair
from course_utils.tuning.adapters import inject_adapters
from course_utils.tuning.instructions import IGNORED, InstructionDatasetBuilder
from course_utils.tuning.lora import inject_lora
from course_utils.tuning.packing import Row, block_mask, collate_packed, pack
from course_utils.tuning.surgery import freeze

METHODS = ("full", "layers", "LoRA", "adapters")
MATRICES = r"(attention\.(qkv|out)|feed_forward\.(up|down))"
OUTPUTS = r"(attention\.out|feed_forward\.down)"
Batch = dict[str, Any]


def choose(
    model: Decoder,
    method: str,
    *,
    first: int = 0,
    r: int = 8,
    bottleneck: int = 16,
    generator: torch.Generator | None = None,
) -> Decoder:
    """Decide what trains; all other weights are frozen.

    =========== ===================================================================
    full        all weights, embeddings included; ``first`` must be 0
    layers      all weights of the blocks from ``first`` on
    LoRA        rank-``r`` corrections of all matrices of these blocks, alpha = 2 r
    adapters    a ``bottleneck`` behind attention and feed-forward of these blocks
    =========== ===================================================================

    Args:
        model: plain layers (``pack=False``); changed in place.
        generator: source of the corrections' and adapters' first values.

    Raises:
        ValueError: an unknown method, or ``first`` is no layer of the model.
    """
    layers = len(model.stack.blocks)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 <= first < layers or (method == "full" and first):
        raise ValueError(f"{method} cannot begin at layer {first} of {layers}")
    blocks = rf"stack\.blocks\.({'|'.join(map(str, range(first, layers)))})\."
    if method == "LoRA":
        return inject_lora(model, blocks + MATRICES, r=r, alpha=2 * r, generator=generator)
    if method == "adapters":
        with torch.random.fork_rng():
            torch.manual_seed(0 if generator is None else generator.initial_seed())
            return inject_adapters(model, blocks + OUTPUTS, bottleneck)
    freeze(model)
    chosen = model if method == "full" else model.stack.blocks[first:]
    for weight in chosen.parameters():
        weight.requires_grad_(True)
    return model


def copy_above(model: Decoder, first: int) -> Decoder:
    """A copy that shares the embeddings and the blocks below ``first`` with the model.

    For methods that leave those alone: a copy costs the memory of what is above.
    """
    parts = (model.tokens, *model.stack.blocks[:first], *([model.head] if model.head else []))
    shared = [weight for part in parts for weight in part.parameters()]
    return copy.deepcopy(model, {id(weight): weight for weight in shared})


# -- batches ------------------------------------------------------------------------------------


def packed_batches(
    rows: Sequence[Row], length: int, batch_size: int, pad_id: int, *, seed: int | None = None
) -> list[Batch]:
    """Rows packed to ``length`` tokens and put together in batches; the last may be smaller.

    Args:
        rows: with ``input_ids`` and ``labels``.
        batch_size: packed rows in a batch, B.
        seed: shuffles the packed rows; None keeps their order.
    """
    packed = pack(rows, length)
    if seed is not None:
        random.Random(seed).shuffle(packed)
    groups = [packed[i : i + batch_size] for i in range(0, len(packed), batch_size)]
    return [dict(collate_packed(group, pad_id)) for group in groups]


@torch.no_grad()
def with_states(model: Decoder, batches: Sequence[Batch], first: int) -> list[Batch]:
    """The batches with the states (B, T, C) that enter block ``first``, computed once.

    Valid as long as nothing below that block trains: the embeddings neither.
    """
    found = []
    for batch in batches:
        with _precision(model):
            states = _blocks(model, _embedded(model, batch), batch, 0, first)
        found.append({**batch, "states": states, "first": first})
    return found


def _embedded(model: Decoder, batch: Mapping[str, Any]) -> Tensor:
    device = model.tokens.weight.device
    x = model.tokens(batch["input_ids"].to(device))
    places = model.stack.places
    return x if places is None else x + places(batch["position_ids"].to(device))


def _blocks(model: Decoder, x: Tensor, batch: Mapping[str, Any], start: int, stop: int) -> Tensor:
    """States after blocks ``start`` to ``stop - 1``, no conversation seeing its neighbours."""
    stack, mask = model.stack, block_mask(batch["segments"].to(x.device))
    sight = Sight(mask)
    if stack.recipe.positions == "rotary":
        frequencies = stack.rotary_frequencies().to(x.device)
        positions = batch["position_ids"].to(x.device)
        sight = Sight(mask, rotary_pair(positions, frequencies, x.dtype))
    for block in stack.blocks[start:stop]:
        x = block(x, sight)
    return x


def _precision(model: nn.Module) -> AbstractContextManager:
    """Products in bfloat16 where this device is faster with it; the weights stay float32."""
    kind = next(model.parameters()).device.type
    return torch.autocast(kind, torch.bfloat16, enabled=config.compute_dtype() == torch.bfloat16)


# -- the loss -----------------------------------------------------------------------------------


def learned_log_probs(model: Decoder, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Log probability in nats of each learned token, and where it stands.

    Returns:
        values (n,) and places (n, 2): row and column of the token in the batch.

    Raises:
        ValueError: no token of the batch is learned.
    """
    kept, first = batch.get("states"), batch.get("first", 0)
    x = _embedded(model, batch) if kept is None else kept
    with _precision(model):
        x = _blocks(model, x, batch, first, len(model.stack.blocks))
        x = x if model.stack.norm is None else model.stack.norm(x)
        targets = batch["labels"].to(x.device)[:, 1:]
        learned = targets != IGNORED
        if not bool(learned.any()):
            raise ValueError("no token of this batch is learned: every label is -100")
        logits = model.logits(x[:, :-1][learned])  # (n, V): only where something is learned
    values = -F.cross_entropy(logits.float(), targets[learned], reduction="none")
    return values, learned.nonzero() + torch.tensor([0, 1], device=x.device)


def reply_loss(model: Decoder, batch: Mapping[str, Any]) -> Tensor:
    """Mean of ``-log p`` over the learned tokens of a packed batch."""
    return -learned_log_probs(model, batch)[0].mean()


# -- the loop -----------------------------------------------------------------------------------


def train(
    model: Decoder,
    batches: Sequence[Batch],
    *,
    steps: int,
    learning_rate: float,
    warm_up: float = 0.1,
    clip: float = 1.0,
    stored_as: torch.dtype | None = None,
) -> list[float]:
    """Train the weights that :func:`choose` left trainable, one batch a step.

    AdamW without weight decay; the rate rises over the first share ``warm_up`` of the steps, then
    falls in a straight line; the gradient's norm is cut at ``clip``.

    Args:
        model: its trained weights must be float32.
        batches: from :func:`packed_batches`, in turn and again from the start.
        stored_as: round the trained weights to this type after each step: what training in pure
            bfloat16 does to them.

    Returns:
        the loss of each step, measured before it.

    Raises:
        ValueError: nothing trains, or a trained weight is not float32.
    """
    weights = [w for w in model.parameters() if w.requires_grad]
    if not weights or any(w.dtype != torch.float32 for w in weights):
        raise ValueError("the weights that train must be float32, and there must be some")
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: rate_at(i, steps, warm_up))
    losses = []
    model.train()
    for step in range(steps):
        loss = reply_loss(model, batches[step % len(batches)])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()
        schedule.step()
        if stored_as is not None:
            _round(weights, stored_as)
        losses.append(loss.item())
    model.eval()
    return losses


def rate_at(step: int, steps: int, warm_up: float) -> float:
    """Share of the learning rate at a step: up to 1 in a straight line, then down.

    >>> [round(rate_at(i, 5, 0.2), 2) for i in range(5)]
    [1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return (steps - step) / max(1, steps - rising)


@torch.no_grad()
def _round(weights: Sequence[nn.Parameter], dtype: torch.dtype) -> None:
    for weight in weights:
        weight.copy_(weight.to(dtype))


# -- measuring ----------------------------------------------------------------------------------


@torch.no_grad()
def row_losses(model: Decoder, batches: Sequence[Batch]) -> np.ndarray:
    """Nats and learned tokens of each conversation, (N, 2), in the order of the packed batches.

    ``a[:, 0].sum() / a[:, 1].sum()`` is the loss; drawing rows gives its interval.
    """
    found: list[tuple[float, int]] = []
    for batch in batches:
        values, places = learned_log_probs(model, batch)
        segments = batch["segments"].to(places.device)[places[:, 0], places[:, 1]]
        owners = torch.stack([places[:, 0], segments], dim=1).tolist()
        sums: dict[tuple[int, int], list[float]] = {}
        for owner, value in zip(owners, values.tolist(), strict=True):
            sums.setdefault(tuple(owner), []).append(-value)
        found += [(sum(nats), len(nats)) for nats in sums.values()]
    return np.array(found)


def mean_loss(rows: np.ndarray) -> float:
    """Nats a token of rows from :func:`row_losses`: long replies count more."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Attributes:
        text: without the end token.
        ended: whether the model stopped by itself.
    """

    text: str
    ended: bool


def replies(
    model: Decoder,
    builder: InstructionDatasetBuilder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    **sampling: Any,
) -> list[Reply]:
    """Answers to prompts of token ids, in their order; greedy unless ``sampling`` says otherwise.

    Prompts of similar length are answered together, so that there is little padding.

    Args:
        prompts: from ``builder.prompt_ids``.
        sampling: ``temperature``, ``top_p``, ``generator`` … of ``nn.generation.generate``.
    """
    end = builder.tokenizer.eos_token_id
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, Reply] = {}
    for start in range(0, len(order), batch_size):
        group = order[start : start + batch_size]
        texts = _answers(model, [prompts[i] for i in group], max_new_tokens, end, sampling)
        for i, ids in zip(group, texts, strict=True):
            ended = end in ids
            said = ids[: ids.index(end)] if ended else ids
            found[i] = Reply(builder.tokenizer.decode(said, skip_special_tokens=True), ended)
    return [found[i] for i in range(len(prompts))]


def _answers(
    model: Decoder, prompts: Sequence[Sequence[int]], room: int, end: int, sampling: dict
) -> Iterator[list[int]]:
    """The new ids of each prompt, filled with the end token where a row had ended."""
    longest, device = max(map(len, prompts)), model.tokens.weight.device
    ids = [[end] * (longest - len(p)) + list(p) for p in prompts]  # padded on the left
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    ids, mask = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
    out = generate(model, ids, room, stop_ids=end, attention_mask=mask, **sampling)
    return (row.tolist() for row in out[:, longest:])
