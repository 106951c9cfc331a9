"""Chapter 4 - Scaling laws: a straight line in a plot with two logarithmic axes.

``L(N) = floor + (scale / N)^exponent``: the loss above a floor falls by the same factor with each
doubling of the size N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PowerLaw(NamedTuple):
    """``L(N) = floor + (scale / N)^exponent``."""

    exponent: float
    scale: float
    floor: float = 0.0

    def __call__(self, size: float | np.ndarray) -> np.ndarray:
        """The loss at a size."""
        return self.floor + (self.scale / np.asarray(size, dtype=float)) ** self.exponent


def fit_power_law(
    sizes: Sequence[float], losses: Sequence[float], *, floor: float = 0.0
) -> PowerLaw:
    """Least squares in the logarithms: ``log(L - floor) = exponent (log scale - log N)``.

    Args:
        sizes: N, at least two different ones (parameters, tokens or FLOPs).
        losses: one each, all above the floor.
        floor: what no size can go below; it must be known, four points cannot tell it.

    Raises:
        ValueError: too few sizes, or a loss at or below the floor.

    Source: Kaplan et al. 2020, "Scaling Laws for Neural Language Models", equation 1.1 (no
    floor); Hoffmann et al. 2022, equation 2 (with one).

    >>> law = fit_power_law([10, 1000], [4.0, 2.0])
    >>> round(law.exponent, 4), round(float(law(100_000)), 4)
    (0.1505, 1.0)
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.asarray(losses, dtype=float) - floor
    if x.shape != y.shape or len(np.unique(x)) < 2:
        raise ValueError(f"need one loss for each of two sizes or more, got {len(x)} and {len(y)}")
    if (y <= 0).any():
        raise ValueError(f"a loss lies at or below the floor {floor}: {np.min(losses)}")
    slope, intercept = np.polyfit(x, np.log(y), 1)
    if slope == 0:
        raise ValueError("the losses do not change with size: no power law fits")
    return PowerLaw(float(-slope), float(np.exp(-intercept / slope)), floor)


def bootstrap_power_law(
    sizes: Sequence[float],
    losses: np.ndarray,
    weights: np.ndarray,
    *,
    floor: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
) -> list[PowerLaw]:
    """Laws fitted again and again, to documents drawn with replacement and to one seed a size.

    So both kinds of luck are in the spread: which texts were held out, and how a run began.

    Args:
        sizes: N, (S,).
        losses: summed over each document, (S, runs, D); runs are repeats with other seeds.
        weights: what each document's sum is divided by in the end, bytes or tokens, (D,).
        resamples: how many laws.
    """
    losses, weights = np.asarray(losses, dtype=float), np.asarray(weights, dtype=float)
    count, runs, documents = losses.shape
    rng = np.random.default_rng(seed)
    laws = []
    for _ in range(resamples):
        drawn = rng.integers(documents, size=documents)
        run = rng.integers(runs, size=count)
        means = losses[np.arange(count), run][:, drawn].sum(axis=1) / weights[drawn].sum()
        laws.append(fit_power_law(sizes, means, floor=floor))
    return laws
