"""Chapter 4 - Lean decoding: the same step, written so that little but the products is left.

With 4-bit weights a step of SmolLM2 spends half of its time in the blocks' products. The rest goes
to hundreds of calls of small modules and to the output matrix, which is one fifth of all weights
and stays in 16 bits. ``LeanDecoder`` treats both:

1. one flat loop over the layers: rotary tables made once, RMSNorm with its scale in one kernel,
   keys and values written straight into the cache;
2. that loop compiled, so that no Python runs between two kernels (a sixth of the time);
3. two looks at the vocabulary: a 4-bit copy of the output matrix ranks all tokens, and the 16-bit
   rows give the exact scores of the best ones (a shortlist, as in search: rank cheaply, then
   score exactly).

Letters: C width, H heads, H_kv key-value heads, D head width, S keys, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.cache import KVCache
from course_utils.nn.families import Decoder
from course_utils.nn.int4 import Int4Linear
from course_utils.nn.sight import rotary_pair


class LeanDecoder:
    """A LLaMA that decodes one unpadded text in a flat loop; anything else goes to the model.

    Follows the protocol of ``generate``. Hidden states equal the model's up to rounding; scores
    of the ``shortlist`` best tokens are exact, those of all others come from 4 bits.

    Args:
        model: a LLaMA on a CPU after ``int4.quantize``; its weights are shared, not copied.
        shortlist: tokens that get exact scores; 0 gives exact scores to all.
        length: longest text (rotary tables are made for it).

    Raises:
        ValueError: the model is no quantized LLaMA.
    """

    def __init__(self, model: Decoder, *, shortlist: int = 64, length: int = 4096) -> None:
        _check(model)
        self.model, self.recipe, self.shortlist = model, model.recipe, shortlist
        linears, norms = _parts(model)
        self.packed = [linear.packed for linear in linears]
        self.scales = [linear.scales for linear in linears]
        self.norms, self.eps, self.group = norms, model.stack.norm.eps, linears[0].group
        self.loop = compiled_loop()
        self.rows = _output_rows(model)  # (V, C)
        self.rank = Int4Linear(self.rows).product() if shortlist else None
        frequencies = model.stack.rotary_frequencies()
        tables = rotary_pair(torch.arange(length), frequencies, self.rows.dtype)
        self.cos, self.sin = (table[0, 0] for table in tables)  # (length, D)

    def __call__(self, ids: Tensor, **options: Tensor | KVCache | None) -> Tensor:
        """Scores (B, T, V) after every position, from the model itself."""
        return self.model(ids, **options)

    def new_cache(self, batch: int, length: int) -> KVCache:
        """The model's cache."""
        return self.model.new_cache(batch, length)

    @torch.inference_mode()
    def next_logits(
        self, ids: Tensor, *, padding_mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """Scores (B, V) of the next token."""
        plain = padding_mask is None and cache is not None and not cache.padded
        if not plain or ids.shape != (1, 1) or cache.filled >= len(self.cos):
            return self.model.next_logits(ids, padding_mask=padding_mask, cache=cache)
        cache.reserve(1, 1, None)
        x = self.step(F.embedding(ids[0], self.model.tokens.weight), cache)
        cache.advance(1)
        return self.scores(rms_norm(x, self.norms[-1], self.eps))

    def step(self, x: Tensor, cache: KVCache) -> Tensor:
        """One token's embedding (1, C) -> its last hidden state (1, C)."""
        at = cache.filled
        weights = self.packed, self.scales, self.norms, self.eps, self.group
        return self.loop(x, at, self.cos[at], self.sin[at], cache.keys, cache.values, *weights)

    def scores(self, x: Tensor) -> Tensor:
        """Hidden state (1, C) -> scores (1, V) in float32, whose argmax is the quicker one."""
        if self.rank is None:
            return self.model.logits(x).float()
        scores = self.rank(x)
        best = scores.topk(self.shortlist, dim=-1, sorted=False).indices[0]
        # a few rows: in float32, whose small products take a tenth of the time
        exact = torch.mv(self.rows[best].float(), x[0].float()).to(scores.dtype)
        return scores.index_copy_(1, best, exact[None]).float()


@lru_cache(maxsize=1)
def compiled_loop() -> Callable[..., Tensor]:
    """:func:`run_blocks` as a program of its own, or as it is where torch cannot compile it.

    TorchScript takes a second, needs no C++ compiler and does not care how long the cache is. Torch
    keeps it but no longer develops it; ``torch.compile``, which it recommends instead, took
    minutes here and started again as the text grew.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.script(run_blocks)
    except (AttributeError, RuntimeError, NotImplementedError):  # gone, or not for this Python
        return run_blocks


def run_blocks(
    x: Tensor,
    at: int,
    cos: Tensor,
    sin: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    packed: list[Tensor],
    scales: list[Tensor],
    norms: list[Tensor],
    eps: float,
    group: int,
) -> Tensor:
    """One token through all blocks, (1, C) -> (1, C); written for TorchScript.

    Args:
        at: its place in the cache. cos, sin: (D,) of this place. keys, values: (1, H_kv, S, D) of
            each layer, written at this place.
        packed, scales: four matrices a layer (qkv, out, up, down), as in ``Int4Linear``.
        norms: two a layer, see :func:`rms_norm`. group: of the 4-bit weights.
    """
    for layer in range(len(keys)):
        first = 4 * layer
        inner = rms_norm(x, norms[2 * layer], eps)
        heads = multiply(inner, packed[first], scales[first], group).view(-1, cos.shape[0])
        mixed = attend(heads, keys[layer], values[layer], at, cos, sin)
        x = x + multiply(mixed, packed[first + 1], scales[first + 1], group)
        inner = rms_norm(x, norms[2 * layer + 1], eps)
        both = multiply(inner, packed[first + 2], scales[first + 2], group)
        half = both.shape[-1] // 2
        gated = F.silu(both[:, :half]).mul_(both[:, half:])
        x = x + multiply(gated, packed[first + 3], scales[first + 3], group)
    return x


def multiply(x: Tensor, packed: Tensor, scales: Tensor, group: int) -> Tensor:
    """The product of ``Int4Linear`` without its module, (1, C_in) -> (1, C_out)."""
    return torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, group, scales)


def attend(
    heads: Tensor, keys: Tensor, values: Tensor, at: int, cos: Tensor, sin: Tensor
) -> Tensor:
    """Attention of one new token, whose key and value are written to place ``at`` of the cache.

    Args:
        heads: (H + 2 H_kv, D), queries, keys and values. keys, values: (1, H_kv, S, D).

    Returns:
        (1, H D).
    """
    groups, width = keys.shape[1], cos.shape[0]
    turning = heads.shape[0] - groups
    turned = heads[:turning]
    turned = torch.addcmul(turned * cos, turned.roll(width // 2, -1), sin)
    keys.select(2, at).copy_(turned[turning - groups :])
    values.select(2, at).copy_(heads[turning:])
    query = turned[: turning - groups].view(1, groups, -1, width)
    seen, read = keys.narrow(2, 0, at + 1), values.narrow(2, 0, at + 1)
    return F.scaled_dot_product_attention(query, seen, read).reshape(1, -1)


def rms_norm(x: Tensor, scale: Tensor, eps: float) -> Tensor:
    """RMSNorm of (1, C) by LayerNorm's kernel, see ``blocks.RMSNorm``.

    Args:
        scale: (2 C,), the norm's weight and zeros.
    """
    both = F.layer_norm(torch.cat([x, -x], dim=-1), [scale.shape[0]], scale, eps=eps)
    return both.narrow(-1, 0, x.shape[-1])


def _parts(model: Decoder) -> tuple[list[Int4Linear], list[Tensor]]:
    """Four linear layers a block in the order of their use, and all norms, the last one's last."""
    linears, norms = [], []
    for block in model.stack.blocks:
        attention, feed_forward = block.attention, block.feed_forward
        linears += [attention.qkv, attention.out, feed_forward.up, feed_forward.down]
        norms += [_norm(block.attention_norm), _norm(block.feed_forward_norm)]
    return linears, [*norms, _norm(model.stack.norm)]


def _norm(norm: nn.Module) -> Tensor:
    weight = norm.weight.detach()
    return torch.cat([weight, torch.zeros_like(weight)])


def _output_rows(model: Decoder) -> Tensor:
    if model.recipe.tied:
        return model.tokens.weight
    return model.head.weight if isinstance(model.head, nn.Linear) else model.head.dense()


def _check(model: Decoder) -> None:
    recipe = model.recipe
    llama = recipe.positions == "rotary" and recipe.norm == "rms" and recipe.gated
    kinds = {type(block.attention.qkv) for block in model.stack.blocks}
    if not llama or recipe.bias or recipe.activation != "silu" or kinds != {Int4Linear}:
        raise ValueError(
            "expected a LLaMA after int4.quantize; got "
            f"positions={recipe.positions!r}, norm={recipe.norm!r}, gated={recipe.gated}, "
            f"bias={recipe.bias}, layers of {sorted(kind.__name__ for kind in kinds)}"
        )
