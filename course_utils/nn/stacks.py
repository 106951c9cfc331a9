"""Chapter 4 - Stacks: attention and feed-forward network as a block, blocks as a stack.

What differs between the models of the last years is data here, not code: a :class:`Design`
names the order of the norm, its kind, the feed-forward network and the positions. (``blocks``
is the same idea made ready for published weights: fused projections, a cache.) Letters:
B batch, T target length, S source length, C model width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from course_utils.nn.attention import MultiHeadAttention
from course_utils.nn.layers import Residual, make_feed_forward, make_norm
from course_utils.nn.positions import RotaryPositions

POSITIONS = ("sinusoidal", "learned", "rotary", "none")


@dataclass(frozen=True)
class Design:
    """The choices that tell one transformer from another.

    Args:
        order: "post" (norm after the residual sum, 2017) or "pre" (before the sub-layer).
        norm: "layer", "rms" or "none".
        feed_forward: "relu", "gelu", "gelu_tanh", "silu" or "swiglu".
        positions: "sinusoidal", "learned", "rotary" or "none".
        residual: False leaves out the residual sum (only to see what breaks).
    """

    order: str = "post"
    norm: str = "layer"
    feed_forward: str = "relu"
    positions: str = "sinusoidal"
    residual: bool = True

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            allowed = ", ".join(POSITIONS)
            raise ValueError(f"positions must be one of {allowed}; got {self.positions!r}")


PAPER = Design()  # Vaswani et al. 2017
GPT2 = Design("pre", "layer", "gelu_tanh", "learned")
LLAMA = Design("pre", "rms", "swiglu", "rotary")


def _attention(hidden_size: int, num_heads: int, design: Design) -> MultiHeadAttention:
    """Self-attention of a block, with rotary positions if the design says so."""
    rotary = None
    if design.positions == "rotary":
        rotary = RotaryPositions(hidden_size // num_heads)
    return MultiHeadAttention(hidden_size, num_heads, rotary=rotary)


def _residual(hidden_size: int, dropout: float, design: Design) -> Residual:
    norm = make_norm(design.norm, hidden_size)
    return Residual(norm, dropout, design.order, add=design.residual)


class TransformerBlock(nn.Module):
    """Positions talk to one another (attention), then each thinks alone (feed-forward).

    post-norm: ``x = norm1(x + attention(x)); x = norm2(x + feed_forward(x))``; in pre-norm the
    norms stand inside the brackets.

    Args:
        hidden_size: C.
        num_heads: H, a divisor of C.
        ff_size: width of the feed-forward network, usually 4 C.
        dropout: on both sub-layers' outputs, in training only (section 5.4; torch's layer also
            drops attention weights and feed-forward activations).
        design: order, norm, feed-forward kind; the 2017 paper's by default.

    Source: Vaswani et al. 2017, section 3.1 and figure 1 (left).
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        ff_size: int,
        dropout: float = 0.1,
        *,
        design: Design = PAPER,
    ) -> None:
        super().__init__()
        self.attention = _attention(hidden_size, num_heads, design)
        self.feed_forward = make_feed_forward(design.feed_forward, hidden_size, ff_size)
        self.residual1 = _residual(hidden_size, dropout, design)
        self.residual2 = _residual(hidden_size, dropout, design)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """(B, T, C) -> (B, T, C); ``mask`` as in attention, ``positions`` for rotary ones."""
        x = self.residual1(x, lambda y: self._attend(y, mask, positions))
        return self.residual2(x, self.feed_forward)

    def _attend(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        return self.attention(x, x, x, mask, need_weights=False, positions=positions)[0]


class DecoderBlock(nn.Module):
    """A block with one more attention between the two: from the target to the source.

    Args:
        as for :class:`TransformerBlock`.

    Source: Vaswani et al. 2017, section 3.1 and figure 1 (right).
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        ff_size: int,
        dropout: float = 0.1,
        *,
        design: Design = PAPER,
    ) -> None:
        super().__init__()
        self.self_attention = _attention(hidden_size, num_heads, design)
        # source and target positions are not on one axis, so nothing rotary here
        self.cross_attention = MultiHeadAttention(hidden_size, num_heads)
        self.feed_forward = make_feed_forward(design.feed_forward, hidden_size, ff_size)
        self.residual1 = _residual(hidden_size, dropout, design)
        self.residual2 = _residual(hidden_size, dropout, design)
        self.residual3 = _residual(hidden_size, dropout, design)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Target x (B, T, C) and encoded source ``memory`` (B, S, C) -> (B, T, C)."""
        x = self.residual1(x, lambda y: self.self_attention(y, y, y, mask, need_weights=False)[0])
        x = self.residual2(x, lambda y: self._read(y, memory, memory_mask))
        return self.residual3(x, self.feed_forward)

    def _read(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Queries from the target; keys and values from the source."""
        return self.cross_attention(x, memory, memory, mask, need_weights=False)[0]


class Encoder(nn.Module):
    """A stack of blocks; pre-norm stacks end in one more norm.

    Args:
        num_layers: how many blocks; the others as for :class:`TransformerBlock`.
    """

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        ff_size: int,
        dropout: float = 0.1,
        *,
        design: Design = PAPER,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden_size, num_heads, ff_size, dropout, design=design)
            for _ in range(num_layers)
        )
        self.norm = _last_norm(hidden_size, design)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        for block in self.blocks:
            x = block(x, mask, positions)
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder blocks; arguments as for :class:`Encoder`."""

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        ff_size: int,
        dropout: float = 0.1,
        *,
        design: Design = PAPER,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DecoderBlock(hidden_size, num_heads, ff_size, dropout, design=design)
            for _ in range(num_layers)
        )
        self.norm = _last_norm(hidden_size, design)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, C) and (B, S, C) -> (B, T, C)."""
        for block in self.blocks:
            x = block(x, memory, mask, memory_mask)
        return self.norm(x)


def _last_norm(hidden_size: int, design: Design) -> nn.Module:
    """In pre-norm the sum itself was never normalised; in post-norm every block ends in it."""
    return make_norm(design.norm if design.order == "pre" else "none", hidden_size)
