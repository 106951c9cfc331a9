"""Chapter 4 - Positions: three ways to tell a transformer the order of its tokens.

Attention alone treats its input as a set. Sinusoidal and learned positions are vectors added
to the token embeddings once; rotary positions turn queries and keys inside every attention.
Letters: B batch, T length, C model width, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LAYOUTS = ("half", "interleaved")


def sinusoidal_table(length: int, hidden_size: int, base: float = 10_000.0) -> Tensor:
    """One vector of sines and cosines for each position.

    ``P[t, 2i] = sin(t / base^(2i/C))`` and ``P[t, 2i+1] = cos(t / base^(2i/C))``.

    Args:
        length: T, positions 0 .. T-1.
        hidden_size: C, an even number.
        base: the longest wavelength is ``2 pi base`` positions.

    Returns:
        float32 (T, C).

    Source: Vaswani et al. 2017, section 3.5.

    >>> sinusoidal_table(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    angles = torch.arange(length)[:, None] * rotary_frequencies(hidden_size, base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (T, C/2, 2) -> (T, C)


class SinusoidalPositions(nn.Module):
    """Position vectors by formula: nothing to learn, and any two differ by a fixed rotation.

    Args:
        max_length: longest sequence.
        hidden_size: C, an even number.
    """

    def __init__(self, max_length: int, hidden_size: int) -> None:
        super().__init__()
        table = sinusoidal_table(max_length, hidden_size)
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Position numbers (T,) or (B, T) -> vectors (T, C) or (B, T, C)."""
        _check_positions(positions, len(self.table))
        return self.table[positions]


class LearnedPositions(nn.Module):
    """One trained vector for each position (GPT-2, BERT): simple, and ends at max_length.

    Args:
        max_length: longest sequence.
        hidden_size: C.
    """

    def __init__(self, max_length: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, hidden_size)

    def forward(self, positions: Tensor) -> Tensor:
        """Position numbers (T,) or (B, T) -> vectors (T, C) or (B, T, C)."""
        _check_positions(positions, self.embedding.num_embeddings)
        return self.embedding(positions)


def _check_positions(positions: Tensor, max_length: int) -> None:
    if positions.numel() and not 0 <= int(positions.min()) <= int(positions.max()) < max_length:
        raise ValueError(
            f"positions must lie in 0..{max_length - 1}, got {int(positions.min())} to "
            f"{int(positions.max())}: the input is longer than max_length = {max_length}"
        )


def rotary_frequencies(head_size: int, base: float = 10_000.0) -> Tensor:
    """The angle, in radians per position, by which each pair of numbers turns.

    ``theta_i = base^(-2i/D)`` for i = 0 .. D/2 - 1.

    Returns:
        float32 (D/2,), from 1 down to nearly 1/base.

    Raises:
        ValueError: D is odd, so that one number would have no partner.

    Source: Su et al. 2021, "RoFormer", section 3.2.2.
    """
    if head_size < 2 or head_size % 2:
        raise ValueError(f"pairs need an even width, got {head_size}")
    return 1.0 / base ** (torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)


def rotary_tables(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles.

    Args:
        positions: (T,) or (B, T).
        frequencies: (D/2,).

    Returns:
        two float32 tensors (T, D/2) or (B, T, D/2).
    """
    angles = positions[..., None].float() * frequencies.float()
    return angles.cos(), angles.sin()


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor, layout: str = "half") -> Tensor:
    """Turn each pair of numbers of a query or key by its position's angle.

    ``(a, b) -> (a cos - b sin, a sin + b cos)``. Then a query at t and a key at s have a
    product that depends on t - s only.

    Args:
        x: (B, H, T, D).
        cos, sin: (T, D/2) or (B, T, D/2), see :func:`rotary_tables`.
        layout: which numbers are partners. "half": i and i + D/2 (LLaMA as published by
            Hugging Face, GPT-NeoX); "interleaved": 2i and 2i + 1 (the paper, Meta's LLaMA).

    Source: Su et al. 2021, equation 34 (interleaved).
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    if cos.shape[-2:] != (x.shape[-2], x.shape[-1] // 2):
        raise ValueError(
            f"x of shape {tuple(x.shape)} needs tables (..., {x.shape[-2]}, {x.shape[-1] // 2}), "
            f"got {tuple(cos.shape)}"
        )
    if cos.dim() == 3:
        cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, D/2): the same for every head
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if layout == "half":
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def interleaved_to_half(weight: Tensor, num_heads: int) -> Tensor:
    """Reorder a query or key projection trained with one layout for use with the other.

    Within each head, rows 0, 2, 4, ... come first, then 1, 3, 5, ...; attention scores do not
    change, because queries and keys are reordered alike.

    Args:
        weight: (H * D, C), or a bias (H * D,).
        num_heads: H (for a key projection, the number of key heads).
    """
    heads = weight.unflatten(0, (num_heads, -1, 2))  # (H, D/2, 2, ...)
    return heads.transpose(1, 2).reshape(weight.shape)


class RotaryPositions(nn.Module):
    """Rotary position embedding (RoPE): called on queries and on keys, holds no weights.

    Args:
        head_size: D, an even number.
        base: ``rope_theta`` of a configuration; a larger one turns more slowly.
        layout: "half" or "interleaved", see :func:`apply_rotary`.
        scaling: how to read longer inputs than in training; None leaves the angles alone.

    Source: Su et al. 2021, "RoFormer", section 3.
    """

    def __init__(
        self,
        head_size: int,
        base: float = 10_000.0,
        layout: str = "half",
        scaling: RotaryScaling | None = None,
    ) -> None:
        super().__init__()
        frequencies = rotary_frequencies(head_size, base)
        if scaling is not None:
            frequencies = scaling.apply(frequencies, base)
        # subtle: not a buffer, because model.to(torch.bfloat16) would round the angles
        self.frequencies = frequencies
        self.layout = layout

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Turn x (B, H, T, D) by its positions, (T,) or (B, T); 0 .. T-1 by default."""
        if positions is None:
            positions = torch.arange(x.shape[-2], device=x.device)
        self.frequencies = self.frequencies.to(x.device)
        cos, sin = rotary_tables(positions, self.frequencies)
        return apply_rotary(x, cos, sin, self.layout)


@dataclass(frozen=True)
class RotaryScaling:
    """Stretch the angles so that a model reads further than it was trained to.

    kind "linear": every angle is divided by the factor (Chen et al. 2023, "Position
    Interpolation"): all positions fall into the trained range, neighbours look closer.
    kind "ntk": the base grows, so that the slowest pair is divided by the factor and the
    fastest is not touched (the NTK-aware variant, described in Peng et al. 2023, "YaRN",
    section 3.1).
    kind "llama3": slow pairs are divided, fast pairs are kept, and those between are blended
    (LLaMA 3.1's recipe; ``original_length``, ``low`` and ``high`` as in its configuration).

    Args:
        factor: how many times longer, 1 or more.
        original_length: positions in training ("llama3" only).
        low, high: a pair that turns less than ``low`` times within ``original_length`` is
            slow, one that turns more than ``high`` times is fast ("llama3" only).
    """

    kind: str
    factor: float
    original_length: int = 8192
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "ntk", "llama3"):
            raise ValueError(f"kind must be 'linear', 'ntk' or 'llama3', got {self.kind!r}")
        if self.factor < 1 or self.high <= self.low:
            raise ValueError(f"need factor >= 1 and low < high, got {self}")

    def apply(self, frequencies: Tensor, base: float) -> Tensor:
        """The scaled frequencies (D/2,); ``base`` is the one they were made with."""
        if self.kind == "linear":
            return frequencies / self.factor
        if self.kind == "ntk":
            head_size = 2 * len(frequencies)
            exponent = head_size / max(head_size - 2, 1)
            return rotary_frequencies(head_size, base * self.factor**exponent)
        turns = self.original_length * frequencies / (2 * math.pi)
        keep = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return keep * frequencies + (1 - keep) * frequencies / self.factor
