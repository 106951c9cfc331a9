"""Chapter 4 - Lean decoding: the same step, written so that little but the products is left.

With 4-bit weights a step of SmolLM2 spends less than half of its time in the blocks' products. The
rest goes to hundreds of calls of small modules and to the output matrix, which is one fifth of
all weights and stays in 16 bits. ``LeanDecoder`` treats both:

1. one flat loop over the layers: rotary tables made once, RMSNorm with its scale in one kernel,
   keys and values written straight into the cache;
2. two looks at the vocabulary: a 4-bit copy of the output matrix ranks all tokens, and the 16-bit
   rows give the exact scores of the best ones (a shortlist, as in search: rank cheaply, then
   score exactly).

Letters: C width, H heads, H_kv key-value heads, D head width, S keys, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.cache import KVCache
from course_utils.nn.families import Decoder
from course_utils.nn.int4 import Int4Linear
from course_utils.nn.sight import rotary_pair

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One block as five products and two norms, ready to be called without modules."""

    norm: tuple[Tensor, float]
    qkv: Product
    out: Product
    feed_forward_norm: tuple[Tensor, float]
    up: Product
    down: Product


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
        self.layers = [_layer(block) for block in model.stack.blocks]
        self.norm = _norm(model.stack.norm)
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
        return self.scores(rms_norm(x, *self.norm))

    def step(self, x: Tensor, cache: KVCache) -> Tensor:
        """One token's embedding (1, C) -> its last hidden state (1, C)."""
        at = cache.filled
        cos, sin = self.cos[at], self.sin[at]
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            heads = layer.qkv(rms_norm(x, *layer.norm)).view(-1, len(cos))
            mixed = attend(heads, keys, values, at, cos, sin)
            x = x + layer.out(mixed)
            inner = layer.up(rms_norm(x, *layer.feed_forward_norm))
            half = inner.shape[-1] // 2
            x = x + layer.down(F.silu(inner[:, :half]).mul_(inner[:, half:]))
        return x

    def scores(self, x: Tensor) -> Tensor:
        """Hidden state (1, C) -> scores (1, V) in float32, whose argmax is the quicker one."""
        if self.rank is None:
            return self.model.logits(x).float()
        scores = self.rank(x)
        best = scores.topk(self.shortlist, dim=-1, sorted=False).indices[0]
        # a few rows: in float32, whose small products take a tenth of the time
        exact = torch.mv(self.rows[best].float(), x[0].float()).to(scores.dtype)
        return scores.index_copy_(1, best, exact[None]).float()


def attend(
    heads: Tensor, keys: Tensor, values: Tensor, at: int, cos: Tensor, sin: Tensor
) -> Tensor:
    """Attention of one new token, whose key and value are written to place ``at`` of the cache.

    Args:
        heads: (H + 2 H_kv, D), queries, keys and values. keys, values: (1, H_kv, S, D).

    Returns:
        (1, H D).
    """
    groups, width = keys.shape[1], len(cos)
    turning = len(heads) - groups
    turned = heads[:turning]
    turned = torch.addcmul(turned * cos, turned.roll(width // 2, dims=-1), sin)
    query, key = turned.split([turning - groups, groups])
    keys.select(2, at).copy_(key)
    values.select(2, at).copy_(heads[turning:])
    mixed = F.scaled_dot_product_attention(
        query.view(1, groups, -1, width), keys.narrow(2, 0, at + 1), values.narrow(2, 0, at + 1)
    )
    return mixed.reshape(1, -1)


def rms_norm(x: Tensor, scale: Tensor, eps: float) -> Tensor:
    """RMSNorm of (1, C) by LayerNorm's kernel, see ``blocks.RMSNorm``.

    Args:
        scale: (2 C,), the norm's weight and zeros.
    """
    both = F.layer_norm(torch.cat([x, -x], dim=-1), scale.shape, scale, eps=eps)
    return both.narrow(-1, 0, x.shape[-1])


def _layer(block: nn.Module) -> Layer:
    attention, feed_forward = block.attention, block.feed_forward
    return Layer(
        _norm(block.attention_norm),
        attention.qkv.product(),
        attention.out.product(),
        _norm(block.feed_forward_norm),
        feed_forward.up.product(),
        feed_forward.down.product(),
    )


def _norm(norm: nn.Module) -> tuple[Tensor, float]:
    weight = norm.weight.detach()
    return torch.cat([weight, torch.zeros_like(weight)]), norm.eps


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
