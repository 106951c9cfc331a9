"""Attention: our plain form and our multi-head module against torch's, by length T.

Same work, same sizes, same dtype; medians of several repeats after one warm-up, taken in turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Row = dict[str, float | str]
BATCH, HEADS, WIDTH = 1, 8, 512
LENGTHS = (64, 256, 1024, 2048)
REPEATS = 7


def rows() -> list[Row]:
    """One row for each comparison and length: milliseconds, ratio = other / ours."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        return [row for length in LENGTHS for row in _rows_at(length)]


def _rows_at(length: int) -> list[Row]:
    import torch
    import torch.nn.functional as F

    from course_utils.nn.attention import fused_attention, scaled_dot_product_attention

    q, k, v = (torch.randn(BATCH, HEADS, length, WIDTH // HEADS) for _ in range(3))
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    x, ours, theirs = _modules(length)
    sdpa = F.scaled_dot_product_attention
    return [
        _row(
            f"attention, plain form against SDPA, T={length}",
            lambda: scaled_dot_product_attention(q, k, v, causal),
            lambda: sdpa(q, k, v, attn_mask=causal),
        ),
        _row(
            f"attention, our mask rules around SDPA, T={length}",
            lambda: fused_attention(q, k, v, causal),
            lambda: sdpa(q, k, v, attn_mask=causal),
        ),
        _row(
            f"multi-head module against nn.MultiheadAttention, T={length}",
            lambda: ours(x, x, x, need_weights=False),
            lambda: theirs(x, x, x, need_weights=False),
        ),
    ]


def _modules(length: int):
    """An input, our module and torch's, in evaluation."""
    import torch

    from course_utils.nn.attention import MultiHeadAttention

    ours = MultiHeadAttention(WIDTH, HEADS).eval()
    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    return torch.randn(BATCH, length, WIDTH), ours, theirs


def _row(name: str, ours: Callable[[], object], other: Callable[[], object]) -> Row:
    mine, theirs = _milliseconds(ours, other)
    return {"name": name, "ours": mine, "other": theirs, "ratio": theirs / mine, "unit": "ms"}


def _milliseconds(*functions: Callable[[], object]) -> list[float]:
    """Median time of each; they take turns, so that a busy moment hits both."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(REPEATS + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if repeat:  # the first run warms up
                found.append(1000 * (time.perf_counter() - start))
    return [statistics.median(found) for found in times]
