"""Chapter 4 - Sight: who may look at whom, and where each token stands.

Worked out once per call, for all layers: the causal triangle, padding on either side, keys that
lie in a cache, rotary tables, and T5's distances.

Letters: B batch, T query length, S key length, H heads, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.nn.attention import causal_mask
from course_utils.nn.cache import KVCache
from course_utils.nn.positions import rotary_tables


@dataclass(frozen=True)
class Sight:
    """What the positions of one call may look at, worked out once for all layers.

    Args:
        mask: None (everything), boolean (1 or B, 1, T, S) with True = may attend, or a float
            bias (1 or B, H, T, S) with -inf where it may not (T5).
        rotary: cosines and signed sines (1 or B, 1, T, D), or None.
    """

    mask: Tensor | None = None
    rotary: tuple[Tensor, Tensor] | None = None


def rotary_pair(
    positions: Tensor, frequencies: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines for ``blocks.rotate``: both halves of a head side by side.

    Args:
        positions: (T,) or (B, T). frequencies: (D/2,).

    Returns:
        ``(cos, cos)`` and ``(-sin, sin)``, each (1 or B, 1, T, D).
    """
    cos, sin = rotary_tables(positions, frequencies)
    both = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)  # (..., T, D)
    shape = (-1, 1, *both[0].shape[-2:])
    return both[0].to(dtype).view(shape), both[1].to(dtype).view(shape)


def visible(
    x: Tensor,
    padding_mask: Tensor | None,
    positions: Tensor | None,
    cache: KVCache | None,
    *,
    causal: bool,
) -> tuple[Tensor, Tensor | None]:
    """Positions of the new tokens, and which keys they may see.

    Positions count real tokens only, so padding on the left changes nothing.

    Args:
        x: (B, T, C), only its shape and device are read.
        padding_mask: (B, T), True or 1 = real token.
        positions: (T,) or (B, T) to use instead.

    Returns:
        positions (T,) or (B, T), and a mask (1 or B, 1, T, S) or None when all is visible.

    Raises:
        ValueError: the padding mask has another shape than (B, T).
    """
    batch, new = x.shape[:2]
    real = _check_padding(padding_mask, batch, new)
    past = 0 if cache is None else cache.filled
    keys = real if cache is None else cache.reserve(batch, new, real)
    if real is None and not (cache is not None and cache.padded):
        keys = None  # every key is real
    if positions is None:
        if keys is None:
            positions = torch.arange(past, past + new, device=x.device)
        else:
            positions = (keys.cumsum(1) - 1).clamp(min=0)[:, past:]  # (B, T)
    mask = None
    if causal and new > 1:
        mask = causal_mask(new, past, device=x.device)[None, None]  # (1, 1, T, S)
    if keys is not None:
        mask = keys[:, None, None] if mask is None else mask & keys[:, None, None]
    return positions, mask


def _check_padding(padding_mask: Tensor | None, batch: int, new: int) -> Tensor | None:
    if padding_mask is None:
        return None
    if padding_mask.shape != (batch, new):
        raise ValueError(
            f"padding_mask must have the shape of ids, (B, T) = {(batch, new)}; "
            f"got {tuple(padding_mask.shape)}"
        )
    return padding_mask.bool()


class RelativePositions(nn.Module):
    """T5's positions: one learned number per head for each *bucket* of distances.

    Distances below 8 (16 in a decoder) have a bucket each; larger ones share buckets that grow
    logarithmically up to 128, and everything farther is one bucket. Shared by all layers.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.1.
    """

    def __init__(
        self, heads: int, causal: bool, buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.causal, self.buckets, self.max_distance = causal, buckets, max_distance
        self.bias = nn.Embedding(buckets, heads)

    def forward(self, past: int, new: int) -> Tensor:
        """Bias (1, H, T, S) for queries past .. past+new-1 and all keys before their end."""
        device = self.bias.weight.device
        queries = torch.arange(past, past + new, device=device)
        keys = torch.arange(past + new, device=device)
        return self.bias(self.bucket(keys - queries[:, None])).permute(2, 0, 1)[None]

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of key position minus query position, elementwise."""
        half = self.buckets
        start = torch.zeros_like(distance)
        if self.causal:
            distance = (-distance).clamp(min=0)
        else:  # half of the buckets for keys on the right
            half //= 2
            start = (distance > 0).long() * half
            distance = distance.abs()
        exact = half // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact)
        steps = ratio / torch.log(torch.tensor(self.max_distance / exact)) * (half - exact)
        far = (exact + steps.long()).clamp(max=half - 1)
        return start + torch.where(distance < exact, distance, far)
