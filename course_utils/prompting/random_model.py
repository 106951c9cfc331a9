"""Chapter 4 - A "model" whose scores are random numbers: what must hold for it, holds for all."""

from __future__ import annotations

import torch
from torch import Tensor

from course_utils.nn.cache import KVCache


class RandomScores:
    """Gives normal random scores to every token at every step, whatever was written.

    Args:
        vocab_size: V.
        scale: standard deviation of the scores; larger means surer of its nonsense.
        seed: of the random numbers.
    """

    def __init__(self, vocab_size: int, *, scale: float = 3.0, seed: int = 0) -> None:
        self.vocab_size, self.scale = vocab_size, scale
        self.generator = torch.Generator().manual_seed(seed)

    def new_cache(self, batch: int, length: int) -> KVCache:
        """A cache that only counts positions."""
        return KVCache(0, batch, 1, length, 1)

    def next_logits(
        self, ids: Tensor, *, padding_mask: Tensor | None = None, cache: KVCache
    ) -> Tensor:
        """Random scores (B, V)."""
        cache.reserve(*ids.shape, padding_mask)
        cache.advance(ids.shape[1])
        shape = (len(ids), self.vocab_size)
        return self.scale * torch.randn(shape, generator=self.generator)
