"""Chapter 4 - Blocks: one transformer block from which five families are made.

A *recipe* lists what a family decides: which norm and where, which activation, whether there is
a gate, how positions enter, who may look at whom. Everything else is shared. The lesson
04_llms/02_transformer builds these parts one by one; here they are put together for real weights
and for speed: query, key and value come from one product, gate and up from another, and keys and
values can be kept in a cache.

Letters: B batch, T query length, S key length, C width, H heads, D head width, F feed-forward
width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.attention import merge_heads, split_heads
from course_utils.nn.positions import RotaryScaling
from course_utils.nn.sight import Sight

Store = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# torch's own kernels: one pass over memory each. nn/layers.py spells out what they compute.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


@dataclass(frozen=True)
class Recipe:
    """What one half of a transformer family decides.

    Args:
        vocab_size: V. hidden_size: C. layers: number of blocks. heads: H. ff_size: F.
        context: number of positions (0: no table, so no hard limit).
        kv_heads: key and value heads; None means H, fewer is grouped-query attention.
        head_size: D; None means C / H.
        causal: True = a position sees itself and what stands before it.
        positions: "learned" (added once), "rotary" (turn q and k), "relative" (added to scores).
        norm: "layer" or "rms". order: "post" (2017) or "pre" (GPT-2 on).
        activation: relu, gelu, gelu_tanh or silu. gated: the network has a gate (GLU).
        bias: whether linear layers have one.
        scale_scores: divide scores by sqrt(D); T5 folds it into its initial weights.
        norm_embeddings: one more norm straight after the embeddings (BERT, BART).
        tied: the output matrix is the token embedding.
        cross: every block also looks at an encoder's output.
        rotary_base, rotary_scaling, norm_eps: numbers of those parts.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    ff_size: int
    context: int = 0
    kv_heads: int | None = None
    head_size: int | None = None
    causal: bool = True
    positions: str = "learned"
    norm: str = "layer"
    order: str = "pre"
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    scale_scores: bool = True
    norm_embeddings: bool = False
    tied: bool = True
    cross: bool = False
    rotary_base: float = 10_000.0
    rotary_scaling: RotaryScaling | None = None
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.head_size is None and self.hidden_size % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.hidden_size}")
        if self.heads % self.key_heads:
            raise ValueError(
                f"query heads must be a multiple of key heads: {self.heads}, {self.key_heads}"
            )
        for name, value, known in (
            ("positions", self.positions, ("learned", "rotary", "relative")),
            ("norm", self.norm, ("layer", "rms")),
            ("order", self.order, ("pre", "post")),
            ("activation", self.activation, tuple(ACTIVATIONS)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")

    @property
    def key_heads(self) -> int:
        """H_kv."""
        return self.kv_heads or self.heads

    @property
    def width(self) -> int:
        """D, the width of one head."""
        return self.head_size or self.hidden_size // self.heads

    def kv_bytes_per_token(self, bytes_per_number: int = 2) -> int:
        """Cache bytes that one more token costs: ``2 L H_kv D`` numbers (a key and a value)."""
        return 2 * self.layers * self.key_heads * self.width * bytes_per_number


def make_norm(recipe: Recipe) -> nn.Module:
    """The recipe's norm over C numbers; nn/layers.py spells out what both compute."""
    kind = nn.LayerNorm if recipe.norm == "layer" else RMSNorm
    return kind(recipe.hidden_size, eps=recipe.norm_eps)


class RMSNorm(nn.Module):
    """``layers.RMSNorm`` with a short cut for decoding steps on a CPU.

    torch puts its RMSNorm together from about ten small operations, and has one fused kernel for
    LayerNorm. ``(x, -x)`` has mean 0 and, as variance, the mean square of x; so LayerNorm of it
    divides x by ``sqrt(mean(x^2) + eps)``, which is RMSNorm. For one position at a time that
    takes 5 % off a 16-bit or 4-bit step of SmolLM2; for long inputs torch's own form is faster.

    Args:
        hidden_size: C.
        eps: keeps the root away from zero.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        width = x.shape[-1]
        if x.shape[-2] > 1 or not x.is_cpu:  # a GPU has a fused kernel for both
            return F.rms_norm(x, (width,), self.weight, self.eps)
        both = F.layer_norm(torch.cat([x, -x], dim=-1), (2 * width,), eps=self.eps)
        return both.narrow(-1, 0, width) * self.weight


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Attention by torch's fused kernel, without ever repeating a grouped key head.

    Args:
        query: (B, H, T, D). key, value: (B, H_kv, S, D). mask: see :class:`Sight`.

    Returns:
        (B, H, T, D); a query that may look at nothing gets zeros.
    """
    batch, heads, length, width = query.shape
    groups = heads // key.shape[1]
    if groups > 1 and length == 1:
        # One new token: the queries that share a key head are rows of one product. No key is
        # repeated, which is where grouped heads save memory traffic.
        rows = query.reshape(batch, key.shape[1], groups, width)
        mixed = F.scaled_dot_product_attention(rows, key, value, attn_mask=mask, scale=scale)
        return mixed.reshape(batch, heads, 1, width)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=groups > 1
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of every query and key: ``positions.apply_rotary`` in 3 passes.

    ``(a, b) -> (a, b) * (cos, cos) + (b, a) * (-sin, sin)``, where (b, a) is a roll by D/2.

    Args:
        x: (B, H, T, D).
        cos, sin: (1 or B, 1, T, D), sines with their signs: see ``sight.rotary_pair``.
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


class SelfAttention(nn.Module):
    """Attention of a sequence to itself; q, k and v come from one product with one matrix.

    Args:
        recipe: H, H_kv, D, bias and scale are read from it.

    Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 (grouped heads).
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.heads, self.kv_heads = recipe.heads, recipe.key_heads
        self.scale = None if recipe.scale_scores else 1.0
        inner = recipe.heads * recipe.width
        columns = (recipe.heads + 2 * recipe.key_heads) * recipe.width
        self.qkv = nn.Linear(recipe.hidden_size, columns, bias=recipe.bias)
        self.out = nn.Linear(inner, recipe.hidden_size, bias=recipe.bias)

    def forward(self, x: Tensor, sight: Sight, store: Store | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); ``store`` puts new keys and values behind the cached ones."""
        all_heads = split_heads(self.qkv(x), self.heads + 2 * self.kv_heads)
        turned, value = all_heads.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if sight.rotary is not None:
            turned = rotate(turned, *sight.rotary)  # q and k in one go
        query, key = turned.split([self.heads, self.kv_heads], dim=1)
        if store is not None:
            key, value = store(key, value)
        return self.out(merge_heads(attend(query, key, value, sight.mask, self.scale)))


class CrossAttention(nn.Module):
    """Attention of a decoder to an encoder's output, whose keys and values never change.

    Source: Vaswani et al. 2017, section 3.2.3, first item.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.heads = recipe.heads
        self.scale = None if recipe.scale_scores else 1.0
        inner = recipe.heads * recipe.width
        self.query = nn.Linear(recipe.hidden_size, inner, bias=recipe.bias)
        self.kv = nn.Linear(recipe.hidden_size, 2 * inner, bias=recipe.bias)
        self.out = nn.Linear(inner, recipe.hidden_size, bias=recipe.bias)

    def remember(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, D) of the encoder's output (B, S, C): once per input."""
        key, value = split_heads(self.kv(encoded), 2 * self.heads).chunk(2, dim=1)
        return key, value

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """(B, T, C) and remembered (B, H, S, D) twice -> (B, T, C)."""
        query = split_heads(self.query(x), self.heads)
        return self.out(merge_heads(attend(query, *memory, mask, self.scale)))


class FeedForward(nn.Module):
    """Two layers for each position alone, with or without a gate.

    plain: ``W_down f(W_up x)``      gated: ``W_down (f(W_gate x) * W_up x)``, both from one product

    Source: Vaswani et al. 2017, section 3.3; Shazeer 2020, equation 6 (gated).
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.gated, self.activation = recipe.gated, ACTIVATIONS[recipe.activation]
        columns = recipe.ff_size * (2 if recipe.gated else 1)
        self.up = nn.Linear(recipe.hidden_size, columns, bias=recipe.bias)
        self.down = nn.Linear(recipe.ff_size, recipe.hidden_size, bias=recipe.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if not self.gated:
            return self.down(self.activation(self.up(x)))
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate) * up)


class Block(nn.Module):
    """Self-attention, cross-attention if the recipe has it, feed-forward; norms before or after.

    pre: ``x + f(norm(x))``      post: ``norm(x + f(x))``
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.pre = recipe.order == "pre"
        self.attention = SelfAttention(recipe)
        self.attention_norm = make_norm(recipe)
        self.cross = CrossAttention(recipe) if recipe.cross else None
        self.cross_norm = make_norm(recipe) if recipe.cross else None
        self.feed_forward = FeedForward(recipe)
        self.feed_forward_norm = make_norm(recipe)

    def forward(
        self,
        x: Tensor,
        sight: Sight,
        store: Store | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = self._around(self.attention_norm, x, lambda y: self.attention(y, sight, store))
        if self.cross is not None and self.cross_norm is not None:
            if memory is None:
                raise ValueError("this block looks at an encoder's output, but got none")
            look = self.cross
            x = self._around(self.cross_norm, x, lambda y: look(y, memory, memory_mask))
        return self._around(self.feed_forward_norm, x, self.feed_forward)

    def _around(self, norm: nn.Module, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        return x + part(norm(x)) if self.pre else norm(x + part(x))
