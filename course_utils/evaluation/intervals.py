"""Chapter 4 - Intervals: how far a score could lie from the truth, had other items been drawn.

A score on N test items is an estimate. Four intervals for it: normal (needs many items), Wilson
(for shares, good also near 0 and 1), bootstrap (for any statistic, BLEU included), and each with
clusters where items belong together. :func:`coverage` measures whether they keep their promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], float]
BLOCK = 2_000_000  # random indices drawn at a time: 16 MB


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def standard_error(scores: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float:
    """Standard error of the mean score.

    SE² = sum (s_i - mean)² / (N (N - 1)); with clusters plus the sum over pairs i ≠ j of one
    cluster of (s_i - mean) (s_j - mean) / N²

    Five questions about one passage are not five independent items; without clusters the error
    comes out too small.

    Args:
        scores: one a test item, (N,).
        clusters: which items belong together, (N,); by default none do.

    Source: Miller 2024, "Adding Error Bars to Evals" (arXiv 2411.00640), clustered standard errors.
    """
    values = _scores(scores)
    if len(values) < 2:
        raise ValueError("a standard error needs at least two scores")
    off = values - values.mean()
    variance = off @ off / (len(off) * (len(off) - 1))
    if clusters is not None:
        sums = np.array([off[rows].sum() for rows in _groups(clusters, len(off))])
        variance += (sums @ sums - off @ off) / len(off) ** 2  # never below 0 in all
    return math.sqrt(variance)


def normal_interval(
    scores: Sequence[float], *, level: float = 0.95, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """mean ± z · SE, z = 1.96 for 95 %: the central limit theorem, so many items are needed."""
    mean, half = float(_scores(scores).mean()), _z(level) * standard_error(scores, clusters)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(successes: int, total: int, *, level: float = 0.95) -> Interval:
    """Interval of a share that stays within 0 to 1 and is not empty at 0 or all successes.

    centre (p + z² / 2n) / (1 + z² / n), half width z sqrt(p (1 - p) / n + z² / 4n²) / (1 + z² / n)

    20 right of 20 gives [0.84, 1], where the normal interval says [1, 1].

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, "Interval Estimation for a Binomial
    Proportion", section 3.1.1.
    """
    if not 0 <= successes <= total or total < 1:
        raise ValueError(f"need 0 <= successes <= total and total >= 1, got {successes}, {total}")
    z, share = _z(level), successes / total
    shrink = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / shrink
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / shrink
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap_interval(
    rows: np.ndarray | Sequence,
    statistic: Statistic | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap: draw N items with replacement, compute the score, again and again.

    Args:
        rows: what each item gives, (N,) scores or (N, …) sums such as ``BleuStats.row()``.
        statistic: maps drawn rows to a number; by default the mean.
        clusters: (N,); whole clusters are drawn where items belong together.
        resamples: how many draws.
        level: share of the draws between the ends.
        seed: of the draws.

    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    rows = np.asarray(rows)
    if not len(rows):
        raise ValueError("there is no item to draw from")
    values = resampled(rows, statistic, clusters=clusters, resamples=resamples, seed=seed)
    return Interval(_value(statistic, rows), *quantiles(values, level))


def resampled(
    rows: np.ndarray,
    statistic: Statistic | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """The statistic on each bootstrap sample, (resamples,); see :func:`bootstrap_interval`."""
    rng = np.random.default_rng(seed)
    plain_mean = statistic is None and rows.ndim == 1
    if clusters is not None:
        groups = _groups(clusters, len(rows))
        draws = rng.integers(0, len(groups), (resamples, len(groups)))
        if plain_mean:
            sums = np.array([rows[group].sum() for group in groups])
            sizes = np.array([len(group) for group in groups])
            return sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
        samples = (np.concatenate([groups[i] for i in draw]) for draw in draws)
    elif plain_mean:
        return np.concatenate([rows[block].mean(axis=1) for block in _draws(rng, rows, resamples)])
    else:
        samples = (draw for block in _draws(rng, rows, resamples) for draw in block)
    return np.array([_value(statistic, rows[sample]) for sample in samples])


def quantiles(values: np.ndarray, level: float) -> tuple[float, float]:
    """Ends that leave (1 - level) / 2 of the values outside on each side."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def coverage(
    make_interval: Callable[[np.ndarray], Interval],
    draw: Callable[[np.random.Generator], np.ndarray],
    truth: float,
    *,
    trials: int = 1000,
    seed: int = 0,
) -> float:
    """How often an interval holds the truth, over fresh test sets; 0.95 is the promise.

    Args:
        make_interval: from the scores of one test set to its interval.
        draw: draws the scores of one test set.
        truth: the mean of what ``draw`` draws from.

    Returns:
        a share with standard error sqrt(0.95 · 0.05 / trials), 0.007 for 1,000.
    """
    rng = np.random.default_rng(seed)
    found = (make_interval(draw(rng)) for _ in range(trials))
    return sum(interval.low <= truth <= interval.high for interval in found) / trials


def items_needed(
    difference: float, spread: float, *, level: float = 0.95, power: float = 0.8
) -> int:
    """How many test items show a true difference with the wanted power.

    N = ((z_level + z_power) · spread / difference)²

    Args:
        difference: of the mean scores, such as 0.02.
        spread: standard deviation of the paired differences s_first - s_second over items.
        level: of the two-sided test.
        power: chance to find the difference.

    Source: Miller 2024, "Adding Error Bars to Evals", power analysis.
    """
    if difference == 0 or spread < 0:
        raise ValueError(
            f"need a difference other than 0 and spread >= 0, {difference=}, {spread=}"
        )
    needed = (_z(level) + NormalDist().inv_cdf(power)) * spread / difference
    return math.ceil(needed**2)


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def _value(statistic: Statistic | None, rows: np.ndarray) -> float:
    return float(rows.mean() if statistic is None else statistic(rows))


def _scores(scores: Sequence[float]) -> np.ndarray:
    values = np.asarray(scores, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"scores must be a list of numbers, got shape {values.shape}")
    return values


def _groups(clusters: Sequence[Hashable], items: int) -> list[np.ndarray]:
    """Row numbers of each cluster."""
    if len(clusters) != items:
        raise ValueError(f"got {len(clusters)} cluster names for {items} items")
    found: dict[Hashable, list[int]] = {}
    for row, name in enumerate(clusters):
        found.setdefault(name, []).append(row)
    return [np.array(rows) for rows in found.values()]


def _draws(rng: np.random.Generator, rows: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """Random row numbers, (block, N) at a time."""
    size = max(1, BLOCK // len(rows))
    for start in range(0, resamples, size):
        yield rng.integers(0, len(rows), (min(size, resamples - start), len(rows)))
