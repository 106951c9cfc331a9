"""Chapter 4 - Key-value cache: what a decoder need not compute twice.

A new token's query meets the keys and values of all tokens before it, and those do not change
when tokens are added. Keeping them turns a step over S tokens into a step over one. The memory
is reserved once for the longest sequence, so that no step allocates or copies the past.

Letters: B batch, S keys that fit, H_kv key-value heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of every layer, in memory reserved in advance.

    Args:
        layers: number of layers.
        batch: B.
        kv_heads: H_kv; fewer than query heads in grouped-query attention, and the cache shrinks
            by that factor.
        length: S, the longest sequence (prompt and new tokens together).
        head_width: D.
        dtype, device: of the model's activations.

    Source: Shazeer 2019, "Fast Transformer Decoding", section 2.4 (incremental attention).
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        length: int,
        head_width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        shape = (batch, kv_heads, length, head_width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.real = torch.ones(batch, length, dtype=torch.bool, device=device)  # False = padding
        self.filled = 0  # positions that hold tokens of finished steps
        self.padded = False  # True once any row held padding: then every step needs a mask
        self.memory: list[tuple[Tensor, Tensor]] = []  # cross-attention: see families.py

    @property
    def length(self) -> int:
        """S, the number of positions that fit."""
        return self.real.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, used or not."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def reserve(self, batch: int, new: int, padding_mask: Tensor | None) -> Tensor:
        """Note which of the next ``new`` positions are real; call it once before the layers.

        Args:
            padding_mask: (B, new), True = real token, or None for all real.

        Returns:
            boolean (B, filled + new): which keys, old and new, are real.

        Raises:
            ValueError: another batch size than the cache's, or more positions than fit.
        """
        end = self.filled + new
        if batch != len(self.real) or end > self.length:
            raise ValueError(
                f"the cache holds {len(self.real)} rows of {self.length} positions, of which "
                f"{self.filled} are filled; got {batch} rows of {new} new positions"
            )
        if padding_mask is None:
            self.real[:, self.filled : end] = True
        else:
            self.real[:, self.filled : end] = padding_mask
            self.padded = self.padded or not bool(padding_mask.all())
        return self.real[:, :end]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all of that layer so far.

        Args:
            key, value: (B, H_kv, T, D) of the new positions.

        Returns:
            two views (B, H_kv, filled + T, D) into the reserved memory; nothing old is copied.
        """
        keys, values, new = self.keys[layer], self.values[layer], key.shape[2]
        keys.narrow(2, self.filled, new).copy_(key)
        values.narrow(2, self.filled, new).copy_(value)
        return keys.narrow(2, 0, self.filled + new), values.narrow(2, 0, self.filled + new)

    def advance(self, new: int) -> None:
        """Count ``new`` positions as filled; call it once after the last layer."""
        self.filled += new

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` positions (a rejected draft, say)."""
        if not 0 <= length <= self.filled:
            raise ValueError(f"length must lie in 0..{self.filled}, got {length}")
        self.filled = length

    def select(self, rows: Tensor) -> None:
        """Make row i a copy of the old row ``rows[i]``: beams that survive, in their new order."""
        for store in (self.keys, self.values):
            for old in store:
                # subtle: only the filled part is copied; what lies behind it is never read
                kept = old[:, :, : self.filled].index_select(0, rows)
                old[:, :, : self.filled] = kept
        self.real = self.real.index_select(0, rows)

    def repeat(self, times: int) -> None:
        """Each row ``times`` times, neighbours: one prompt, several continuations."""
        for store in (self.keys, self.values):
            store[:] = [old.repeat_interleave(times, dim=0) for old in store]
        self.memory = [
            (key.repeat_interleave(times, dim=0), value.repeat_interleave(times, dim=0))
            for key, value in self.memory
        ]
        self.real = self.real.repeat_interleave(times, dim=0)
