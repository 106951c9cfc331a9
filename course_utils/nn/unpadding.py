"""Chapter 4 - Unpadding: a batch of unequal texts as one long row, without padding.

Everything in an encoder except attention works on each token alone, so the tokens of all texts
can stand in one row of N real tokens. Only attention has to know where a text begins and ends.

Letters: B texts, T length of the longest one, N real tokens of the batch, C width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.nn.attention import merge_heads, split_heads
from course_utils.nn.blocks import SelfAttention, attend
from course_utils.nn.families import Encoder


@dataclass(frozen=True)
class Packed:
    """A batch without padding.

    Args:
        ids: (N,) token ids, text after text.
        lengths: real tokens of each of the B texts; they sum to N.
    """

    ids: Tensor
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or len(self.ids) != sum(self.lengths):
            raise ValueError(
                f"ids must be one row of {sum(self.lengths)} tokens, got {tuple(self.ids.shape)}"
            )
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"every text needs a token, got the lengths {self.lengths}")

    @property
    def positions(self) -> Tensor:
        """(N,) place of each token in its own text: 0 1 2 0 1 0 1 2 3 …"""
        return torch.cat([torch.arange(n, device=self.ids.device) for n in self.lengths])

    @property
    def owner(self) -> Tensor:
        """(N,) number of the text that each token belongs to."""
        numbers = torch.arange(len(self.lengths), device=self.ids.device)
        return numbers.repeat_interleave(torch.tensor(self.lengths, device=self.ids.device))

    @property
    def mask(self) -> Tensor:
        """(N, N), True where two tokens belong to the same text: blocks on the diagonal."""
        return self.owner[:, None] == self.owner[None, :]


def pack(rows: Sequence[Sequence[int]]) -> Packed:
    """Put the token ids of B texts of any length behind one another."""
    ids = torch.tensor([i for row in rows for i in row], dtype=torch.long)
    return Packed(ids, tuple(len(row) for row in rows))


def unpad(ids: Tensor, mask: Tensor) -> Packed:
    """Leave the padding out of a padded batch.

    Args:
        ids: (B, T) token ids. mask: (B, T), True or 1 = real token, on whichever side.

    Raises:
        ValueError: shapes that differ, or a text without a token.
    """
    if ids.shape != mask.shape:
        raise ValueError(f"ids are {tuple(ids.shape)} but the mask is {tuple(mask.shape)}")
    real = mask.bool()
    return Packed(ids[real], tuple(real.sum(dim=1).tolist()))


def repad(values: Tensor, mask: Tensor) -> Tensor:
    """Put packed vectors (N, C) back into a padded batch (B, T, C), zeros where nothing is."""
    padded = values.new_zeros(*mask.shape, values.shape[-1])
    padded[mask.bool()] = values
    return padded


def bucket_order(lengths: Sequence[int], batch_size: int, seed: int = 0) -> list[int]:
    """Row numbers such that each slice of ``batch_size`` has like lengths, slices in random order.

    Rows that fill no whole batch are left out; which ones depends on the seed.

    Args:
        lengths: tokens of each row. seed: of the order of slices and of rows of one length.

    Raises:
        ValueError: fewer rows than one batch needs.
    """
    if len(lengths) < batch_size:
        raise ValueError(f"{len(lengths)} rows do not fill a batch of {batch_size}")
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(lengths), generator=generator)
    kept = shuffled[: len(lengths) // batch_size * batch_size]
    by_length = torch.as_tensor(lengths)[kept].argsort(stable=True)
    batches = kept[by_length].reshape(-1, batch_size)
    return batches[torch.randperm(len(batches), generator=generator)].flatten().tolist()


def mean_pool(values: Tensor, packed: Packed) -> Tensor:
    """Mean vector of each text (B, C), from packed vectors (N, C)."""
    sums = values.new_zeros(len(packed.lengths), values.shape[-1])
    sums.index_add_(0, packed.owner, values)
    return sums / torch.tensor(packed.lengths, device=values.device)[:, None]


def encode_packed(model: Encoder, packed: Packed) -> Tensor:
    """The hidden states of a post-norm encoder (BERT) for a packed batch.

    The same numbers as ``model(ids, padding_mask=mask)`` at the real positions, from N instead
    of B·T tokens.

    Args:
        model: such as :class:`course_utils.nn.bert.Bert`, learned positions, post-norm.

    Returns:
        hidden states (N, C).

    Raises:
        ValueError: an encoder of another build.

    Source: Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT), section 2.1.2.
    """
    stack = model.stack
    if stack.recipe.order != "post" or stack.places is None or stack.embedding_norm is None:
        raise ValueError("encode_packed is written for BERT: post-norm with learned positions")
    x = model.tokens(packed.ids) + stack.places(packed.positions)
    if model.kinds is not None:
        x = x + model.kinds.weight[0]
    x = stack.embedding_norm(x)
    for block in stack.blocks:
        x = _block(block, x, packed.lengths)
    return x


def _block(block: nn.Module, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
    x = block.attention_norm(x + _attention(block.attention, x, lengths))
    return block.feed_forward_norm(x + block.feed_forward(x))


def _attention(attention: SelfAttention, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Projections on all N tokens at once, the attention itself text by text."""
    heads = split_heads(attention.qkv(x)[None], attention.heads + 2 * attention.kv_heads)
    mixed = []
    for part in heads.split(lengths, dim=2):  # (1, 3H, T_b, D), a view
        query, key, value = part.split(
            [attention.heads, attention.kv_heads, attention.kv_heads], dim=1
        )
        mixed.append(attend(query, key, value, None, attention.scale))
    return attention.out(merge_heads(torch.cat(mixed, dim=2))[0])
