"""Chapter 4 - Attention: from one weighted average to grouped-query heads.

| letter | meaning                | letter | meaning                       |
|--------|------------------------|--------|-------------------------------|
| B      | batch                  | C      | model width (``hidden_size``) |
| T      | query length           | H      | heads                         |
| S      | key and value length   | D      | head width, C / H             |

Masks are boolean and **True means "may attend"**. The number of dimensions says what a mask
is, never a guess from sizes:

====================  =======================================
two                   (T, S), the same for all rows
three                 (B, 1, S) or (B, T, S)
four                  (B, 1, T, S) or (B, H, T, S)
====================  =======================================

Everything else is refused. A padding mask as tokenizers return it is (B, S): give it the
missing axis with :func:`expand_padding_mask`. (With B == T it cannot be told from (T, S) and
is read as (T, S).)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Average the values, weighted by how well each key matches the query.

    ``softmax(Q K^T / sqrt(D) + bias) V``, with the softmax over the keys that the mask allows.
    A query that may attend to nothing gets zeros, in output and weights (never NaN).

    Args:
        query: (T, D), (B, T, D) or (B, H, T, D).
        key: (S, D), (B, S, D) or (B, H or H_kv, S, D); with H_kv < H, each key head serves
            H / H_kv neighbouring query heads.
        value: like ``key``; its last axis may differ.
        mask: boolean, True = may attend; see the module's table.
        scale: factor on the products, ``1 / sqrt(D)`` by default (T5 uses 1).
        bias: added to the scaled products, broadcast to the scores' shape (T5's positions).
        dropout: share of weights set to zero before averaging; 0 outside training.

    Returns:
        output like ``query`` with the values' last axis, and weights (..., T, S), the latter
        before dropout. Softmax runs in float32 for half-precision inputs.

    Raises:
        ValueError, TypeError: shapes or mask do not fit; the message names both shapes.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1, equation 1.

    >>> x = torch.eye(2)
    >>> scaled_dot_product_attention(x, x, x, causal_mask(2))[1]
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    _check_shapes(query, key, value)
    key, value = repeat_heads(key, query), repeat_heads(value, query)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)  # (..., T, S)
    if bias is not None:
        scores = scores + bias
    weights = masked_softmax(scores, mask)
    dropped = F.dropout(weights, dropout) if dropout else weights
    return dropped @ value, weights


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the last axis, with exact zeros where the mask forbids.

    Args:
        scores: (T, S), (B, T, S) or (B, H, T, S).
        mask: boolean, True = may attend; see the module's table.

    Returns:
        weights like ``scores``; a row without any allowed key is all zeros.
    """
    wide = torch.float32 if scores.dtype in (torch.float16, torch.bfloat16) else scores.dtype
    if mask is None:
        return torch.softmax(scores, dim=-1, dtype=wide).to(scores.dtype)
    allowed = fit_mask(mask, scores.shape)
    # subtle: a row of -inf alone would be 0/0 in the softmax, and NaN in every gradient behind
    # it. Such rows keep their scores here and are zeroed afterwards.
    hidden = ~allowed & allowed.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1, dtype=wide)
    return weights.masked_fill(~allowed, 0.0).to(scores.dtype)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """The output of :func:`scaled_dot_product_attention` by torch's fused kernel.

    Same arguments and mask rules; the (T, S) weights are never stored, so none are returned.

    Source: Dao et al. 2022, "FlashAttention", algorithm 1 (the idea behind the kernel).
    """
    _check_shapes(query, key, value)
    if mask is not None:
        mask = fit_mask(mask, (*query.shape[:-1], key.shape[-2]))
    if 0 in (query.shape[-2], key.shape[-2]):  # nothing to fuse
        return query.new_zeros(*query.shape[:-1], value.shape[-1])
    grouped = key.dim() == 4 and key.shape[1] != query.shape[1]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, enable_gqa=grouped
    )


def causal_mask(length: int, past: int = 0, device: torch.device | str | None = None) -> Tensor:
    """Position t may attend to positions up to and including t.

    Args:
        length: T, the number of queries.
        past: keys that came before the first query (those in a cache).

    Returns:
        boolean (T, past + T), True = may attend; the last query sees every key.

    >>> causal_mask(2, past=1).int()
    tensor([[1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    if length < 0 or past < 0:
        raise ValueError(f"length and past must not be negative, got {length} and {past}")
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)


def padding_mask(lengths: Tensor | Sequence[int], max_length: int | None = None) -> Tensor:
    """Every query of row b may attend to that row's first ``lengths[b]`` keys.

    Args:
        lengths: (B,) number of real tokens in each row.
        max_length: S; by default the longest of the rows.

    Returns:
        boolean (B, 1, S), True = may attend.

    >>> padding_mask([1, 3], 3).int().tolist()
    [[[1, 0, 0]], [[1, 1, 1]]]
    """
    lengths = torch.as_tensor(lengths)
    if lengths.dim() != 1 or lengths.is_floating_point():
        got = f"{lengths.dtype} of shape {tuple(lengths.shape)}"
        raise ValueError(f"lengths must be whole numbers of shape (B,), got {got}")
    longest = int(lengths.max()) if len(lengths) else 0
    max_length = longest if max_length is None else max_length
    if longest > max_length or (len(lengths) and int(lengths.min()) < 0):
        raise ValueError(f"lengths must lie in 0..{max_length}, got {lengths.tolist()}")
    positions = torch.arange(max_length, device=lengths.device)
    return (positions < lengths[:, None])[:, None, :]  # (B, 1, S)


def expand_padding_mask(real: Tensor) -> Tensor:
    """Turn a tokenizer's ``attention_mask`` (B, S) into the mask (B, 1, S) of this module.

    Args:
        real: (B, S) of booleans or of the numbers 0 and 1; True or 1 = real token.
    """
    if real.dim() != 2:
        raise ValueError(f"expected a padding mask of shape (B, S), got {tuple(real.shape)}")
    if real.dtype != torch.bool and bool(((real != 0) & (real != 1)).any()):
        raise ValueError("a padding mask holds only 0 (padding) and 1 (real token)")
    return real.bool()[:, None, :]


def combine_masks(*masks: Tensor | None) -> Tensor | None:
    """Allow what every mask allows; None allows everything.

    Masks of two and three dimensions give three, any of four dimensions gives four.
    """
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    heads = max(mask.dim() for mask in given) == 4
    result = _to_heads(given[0]) if heads else given[0]
    for mask in given[1:]:
        result = result & (_to_heads(mask) if heads else mask)
    return result


def _to_heads(mask: Tensor) -> Tensor:
    """(B, 1 or T, S) -> (B, 1, 1 or T, S); other numbers of dimensions stay."""
    return mask[:, None] if mask.dim() == 3 else mask


def fit_mask(mask: Tensor, scores_shape: Sequence[int]) -> Tensor:
    """Check a mask against the scores' shape and give it axes that broadcast to it.

    Args:
        mask: boolean, True = may attend; see the module's table.
        scores_shape: (T, S), (B, T, S) or (B, H, T, S).

    Raises:
        TypeError: the mask is not boolean.
        ValueError: its shape is not one of the table's; the message names both.
    """
    if mask.dtype != torch.bool:
        hint = "write mask.bool() if it holds 0 and 1"
        raise TypeError(f"a mask must be boolean (True = may attend), got {mask.dtype}; {hint}")
    *lead, length, keys = scores_shape
    batch = lead[0] if lead else None
    heads = lead[1] if len(lead) == 2 else 1
    fitting = {
        2: [(length, keys)],
        3: [(batch, 1, keys), (batch, length, keys)],
        4: [(batch, 1, length, keys), (batch, heads, length, keys)],
    }
    if tuple(mask.shape) not in fitting.get(mask.dim(), []) or (mask.dim() > 2 and not lead):
        raise ValueError(_mask_message(tuple(mask.shape), tuple(scores_shape)))
    if mask.dim() == 3 and len(lead) == 2:
        return mask[:, None]  # (B, 1, 1 or T, S)
    if mask.dim() == 4 and len(lead) == 1:
        return mask[:, 0]  # (B, T, S): these scores have no head axis
    return mask


def _mask_message(mask: tuple[int, ...], scores: tuple[int, ...]) -> str:
    names = {2: "T, S", 3: "B, T, S", 4: "B, H, T, S"}[len(scores)]
    text = (
        f"a mask of shape {mask} does not fit scores ({names}) = {scores}: two dimensions mean "
        "(T, S), three (B, 1 or T, S), four (B, 1 or H, T, S)"
    )
    if len(mask) == 2 and len(scores) > 2 and mask == (scores[0], scores[-1]):
        text += ". This looks like a padding mask (B, S): pass expand_padding_mask(mask)"
    return text


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Refuse what would fail later, or broadcast into a wrong answer."""
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if not query.dim() == key.dim() == value.dim() or query.dim() not in (2, 3, 4):
        raise ValueError(f"expected (T, D), (B, T, D) or (B, H, T, D) three times, got {shapes}")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"query and key must have the same width D, got {shapes}")
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(f"every key needs one value, got {shapes}")
    if query.dim() > 2 and query.shape[0] != key.shape[0]:
        raise ValueError(f"query and key must have the same batch size B, got {shapes}")
    if query.dim() == 4 and (key.shape[1] == 0 or query.shape[1] % key.shape[1]):
        raise ValueError(f"the query heads must be a multiple of the key heads, got {shapes}")


def repeat_heads(key: Tensor, query: Tensor) -> Tensor:
    """Repeat grouped key (or value) heads so that there is one for each query head.

    Query heads h and h + 1 of one group share a key head: (a, b) becomes (a, a, b, b).

    Source: Ainslie et al. 2023, "GQA", section 2.2.
    """
    if key.dim() < 4 or key.shape[1] == query.shape[1]:
        return key
    return key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, H * D) -> (B, H, T, D): each head takes D neighbouring columns."""
    if x.dim() != 3 or x.shape[-1] % num_heads:
        expected = f"(B, T, C) with C a multiple of {num_heads} heads"
        raise ValueError(f"expected {expected}, got {tuple(x.shape)}")
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, H * D), the inverse of :func:`split_heads`."""
    # subtle: without the transpose, flatten would mix positions and heads, with a legal shape
    return x.transpose(1, 2).flatten(2)


class SimpleAttention(nn.Module):
    """Attention with one head and no weights of its own: the queries are used as they come.

    ``softmax(Q K^T / sqrt(C)) V``. One head is as wide as the model, so D is C here.

    Args:
        hidden_size: C, the width of queries and keys.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = _positive("hidden_size", hidden_size)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, C), (B, S, C), (B, S, C) -> output (B, T, C) and weights (B, T, S)."""
        _check_width(self.hidden_size, query=query, key=key)
        return scaled_dot_product_attention(query, key, value, mask)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own projection of the input, then mixed.

    ``Concat(head_1, ..., head_H) W_O`` with ``head_h = Attention(X W_Q, Y W_K, Y W_V)``.

    Args:
        hidden_size: C, width of input and output; a multiple of ``num_heads``.
        num_heads: H, the number of query heads.
        num_kv_heads: key and value heads; H by default, 1 is multi-query attention, and a
            divisor of H is grouped-query attention.
        bias: whether the four projections have one (LLaMA has none).
        dropout: share of attention weights set to zero in training.
        rotary: a module ``rotary(x, positions)`` applied to queries and keys, such as
            :class:`course_utils.nn.positions.RotaryPositions`.

    Source: Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023 for the groups. The paper
    writes the heads as separate matrices; here they are D columns each of one matrix.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        rotary: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = _positive("hidden_size", hidden_size)
        self.num_heads = _positive("num_heads", num_heads)
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        _positive("num_kv_heads", self.num_kv_heads)
        if hidden_size % num_heads or num_heads % self.num_kv_heads:
            raise ValueError(
                "num_heads must divide hidden_size and num_kv_heads must divide num_heads, got "
                f"hidden_size={hidden_size}, num_heads={num_heads}, num_kv_heads={num_kv_heads}"
            )
        self.head_size = hidden_size // num_heads
        kv_size = self.num_kv_heads * self.head_size
        self.query_projection = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.key_projection = nn.Linear(hidden_size, kv_size, bias=bias)
        self.value_projection = nn.Linear(hidden_size, kv_size, bias=bias)
        self.output_projection = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.dropout = dropout
        self.rotary = rotary

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        *,
        need_weights: bool = True,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Let each query position gather from the key positions.

        Args:
            query: (B, T, C). key, value: (B, S, C).
            mask: boolean, True = may attend; see the module's table.
            need_weights: False uses the fused kernel and returns None for the weights.
            positions: (T,) or (B, T) for rotary embeddings; 0 .. T-1 by default.

        Returns:
            output (B, T, C) and weights (B, H, T, S). A query that may attend to nothing
            gets zero weights, so its output is the bias of the output projection.
        """
        _check_width(self.hidden_size, query=query, key=key, value=value)
        q = split_heads(self.query_projection(query), self.num_heads)  # (B, H, T, D)
        k = split_heads(self.key_projection(key), self.num_kv_heads)  # (B, H_kv, S, D)
        v = split_heads(self.value_projection(value), self.num_kv_heads)
        if self.rotary is not None:
            q, k = self.rotary(q, positions), self.rotary(k, positions)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            mixed, weights = scaled_dot_product_attention(q, k, v, mask, dropout=dropout)
        else:
            mixed, weights = fused_attention(q, k, v, mask, dropout), None
        return self.output_projection(merge_heads(mixed)), weights


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def _check_width(width: int, **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.dim() != 3 or tensor.shape[-1] != width:
            got = tuple(tensor.shape)
            raise ValueError(f"{name} must have shape (B, length, {width}), got {got}")
