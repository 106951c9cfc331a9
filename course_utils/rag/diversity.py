"""Chapter 4 - Diversity: five passages that say the same are one passage and four wasted places."""

from __future__ import annotations

import numpy as np


def maximal_marginal_relevance(
    query: np.ndarray, vectors: np.ndarray, top_k: int, balance: float = 0.5
) -> list[int]:
    """Greedy choice of rows that are near to the query and far from those already chosen.

    next = argmax over rows i not chosen:  balance · q · d_i - (1 - balance) · max_j d_j · d_i

    with j over the chosen ones. ``balance = 1`` is the plain ranking; 0 after the first choice
    looks at difference only.

    Args:
        query: (C,). vectors: (N, C); all of length one.
        top_k: K; at most N rows come back.
        balance: λ of the paper, 0 to 1.

    Returns:
        row numbers in the order of choice.

    Source: Carbonell & Goldstein 1998, "The Use of MMR, Diversity-Based Reranking for Reordering
    Documents and Producing Summaries", section 2.
    """
    if not 0 <= balance <= 1 or top_k < 1:
        raise ValueError(f"need 0 <= balance <= 1 and top_k >= 1, got {balance} and {top_k}")
    relevance = vectors @ query  # (N,)
    chosen: list[int] = []
    closest = np.full(len(vectors), -np.inf)
    for _ in range(min(top_k, len(vectors))):
        # the first one has nothing to differ from
        redundancy = closest if chosen else np.zeros(len(vectors))
        gain = balance * relevance - (1 - balance) * redundancy
        if not chosen:
            gain = relevance.astype(float).copy()
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        closest = np.maximum(closest, vectors @ vectors[best])
    return chosen


def redundancy(vectors: np.ndarray) -> float:
    """Mean cosine between different rows, (N, C) of length one: how much a list repeats itself."""
    count = len(vectors)
    if count < 2:
        return 0.0
    cosines = vectors @ vectors.T
    return float((cosines.sum() - np.trace(cosines)) / (count * (count - 1)))
