"""Chapter 4 - Sampling: from a model's scores to the next token.

Each function takes scores (B, V) and returns new ones; a token that may not be chosen gets -inf.
They compose in the order of :func:`filtered`, which is the order of the transformers library.

Letters: B batch, T tokens so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def temperature_scaled(logits: Tensor, temperature: float) -> Tensor:
    """Scores divided by a temperature: below 1 sharpens the distribution, above 1 flattens it.

    ``p_i = exp(z_i / t) / sum_j exp(z_j / t)``: as t falls to 0 this becomes the argmax.

    Raises:
        ValueError: temperature is not above 0 (0 means greedy, which divides by nothing).

    Source: Ackley et al. 1985, "A Learning Algorithm for Boltzmann Machines", equation 5.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return logits / temperature


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep the k best scores of each row, and ties with the last of them.

    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.4.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    worst_kept = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < worst_kept, -math.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest best tokens whose probabilities add up to at least p (the nucleus).

    The best token is always kept. The size of the nucleus follows the distribution: one token
    where the model is sure, hundreds where it is not.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", equation 2.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {p}")
    # Worst first, as the library does it: a token goes if it and all worse ones hold at most
    # 1 - p. Summing from this side adds small numbers to small numbers.
    ascending, order = logits.sort(dim=-1)
    drop = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    drop[..., -1] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -math.inf)


def min_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep tokens with at least p times the probability of the best one.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must lie in [0, 1], got {p}")
    probabilities = logits.softmax(dim=-1)
    floor = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < floor, -math.inf)


def repetition_penalised(
    logits: Tensor, history: Tensor, penalty: float, real: Tensor | None = None
) -> Tensor:
    """Lower the score of every token that occurs in the history: once, however often it occurs.

    ``z / penalty`` for positive scores, ``z * penalty`` for negative ones.

    Args:
        logits: (B, V). history: (B, T) token ids so far, prompt included.
        penalty: above 1 discourages repetition, 1 changes nothing.
        real: (B, T), True = real token. Padding is not history; the library counts it, which
            punishes the end-of-text token wherever that is also the padding.

    Source: Keskar et al. 2019, "CTRL", section 4.1.
    """
    if not penalty > 0:
        raise ValueError(f"repetition_penalty must be above 0, got {penalty}")
    seen = torch.zeros_like(logits, dtype=torch.bool)
    present = torch.ones_like(history, dtype=torch.bool) if real is None else real
    # Written where real and as False elsewhere; amax lets one real occurrence win.
    seen = torch.zeros_like(logits).scatter_reduce(1, history, present.to(logits), "amax") > 0
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lowered, logits)


def banned_by_ngrams(history: Sequence[int], size: int) -> set[int]:
    """Tokens that would complete an n-gram which the history already holds.

    >>> banned_by_ngrams([7, 8, 9, 7, 8], 3)
    {9}

    Source: Paulus et al. 2018, "A Deep Reinforced Model for Abstractive Summarization",
    section 2.5 (trigrams).
    """
    if size < 1:
        raise ValueError(f"no_repeat_ngram_size must be at least 1, got {size}")
    start = tuple(history[len(history) - size + 1 :])
    windows = zip(*(history[i:] for i in range(size)), strict=False)
    return {window[-1] for window in windows if window[:-1] == start}


def without_repeated_ngrams(
    logits: Tensor, history: Tensor, size: int, real: Tensor | None = None
) -> Tensor:
    """Forbid every token that would repeat an n-gram of its own row.

    Args:
        logits: (B, V). history, real: (B, T), see :func:`repetition_penalised`.
        size: n.
    """
    banned = torch.zeros_like(logits, dtype=torch.bool)
    for row, ids in enumerate(history):
        own = ids if real is None else ids[real[row]]
        banned[row, list(banned_by_ngrams(own.tolist(), size))] = True
    return logits.masked_fill(banned, -math.inf)


def filtered(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Temperature, then top-k, then top-p, then min-p; each sees what the last one left.

    Args:
        logits: (..., V).

    Returns:
        scores (..., V); ``softmax`` of them is the distribution that is sampled.
    """
    logits = temperature_scaled(logits, temperature)
    if top_k is not None:
        logits = top_k_filter(logits, top_k)
    if top_p is not None:
        logits = top_p_filter(logits, top_p)
    if min_p is not None:
        logits = min_p_filter(logits, min_p)
    return logits


def draw(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token per row (B,), drawn from ``softmax(logits)`` of (B, V)."""
    # float32: in bfloat16 the 49,152 probabilities of a real model do not add up to one
    probabilities = logits.float().softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def distinct_n(sequences: Sequence[Sequence[int]], n: int) -> float:
    """Share of different n-grams among all n-grams of the sequences, 0 to 1 (1: none repeats).

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation
    Models", section 4.3.

    >>> distinct_n([[1, 2, 1, 2]], 2)  # (1,2) (2,1) (1,2)
    0.6666666666666666
    """
    grams = [gram for ids in sequences for gram in _ngrams(ids, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repeated_share(ids: Sequence[int], n: int) -> float:
    """Share of n-grams of one sequence that occurred earlier in it, 0 to 1.

    >>> repeated_share([1, 2, 1, 2, 1], 2)  # (1,2) (2,1) and both once more
    0.5
    """
    grams = _ngrams(ids, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _ngrams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return list(zip(*(ids[i:] for i in range(n)), strict=False))
