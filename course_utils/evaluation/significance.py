"""Chapter 4 - Significance: is one system better than another, or was it the choice of items?

Both systems answer the same items, so each comparison is paired: hard items are hard for both, and
pairing takes that part of the chance away. Two intervals may overlap although the difference is
sure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.evaluation.intervals import Statistic, quantiles, resampled

EXACT = 20_000  # so many arrangements are listed; more are sampled
BLOCK = 2_000_000  # signs made at a time


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same items.

    Attributes:
        first, second: their scores.
        low, high: ends of the interval of ``first - second``.
        wins: share of bootstrap samples in which the first is better, ties counted half.
    """

    first: float
    second: float
    low: float
    high: float
    wins: float

    @property
    def difference(self) -> float:
        """first - second."""
        return self.first - self.second

    def __str__(self) -> str:
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class PermutationResult:
    """What a test found.

    Attributes:
        difference: the observed first - second.
        p_value: chance of a difference at least as large, either way, if labels meant nothing.
        exact: True if all arrangements were counted, False if they were sampled.
        arrangements: how many were looked at.
    """

    difference: float
    p_value: float
    exact: bool
    arrangements: int


def paired_bootstrap(
    first: np.ndarray | Sequence,
    second: np.ndarray | Sequence,
    statistic: Statistic | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Interval of the difference: both systems are scored on the same drawn items each time.

    Args:
        first, second: what each item gives, (N,) scores or (N, …) sums for corpus metrics.
        statistic: maps drawn rows to a score; by default the mean.
        clusters, resamples, level, seed: see ``intervals.bootstrap_interval``.

    Raises:
        ValueError: if the shapes differ or there is no item.

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation",
    paired bootstrap resampling.
    """
    first, second = _pair(first, second)
    options = {"clusters": clusters, "resamples": resamples, "seed": seed}
    ours, theirs = (resampled(rows, statistic, **options) for rows in (first, second))
    gaps = ours - theirs  # the same seed drew the same items for both
    wins = float((gaps > 0).mean() + (gaps == 0).mean() / 2)
    scores = (_value(statistic, rows) for rows in (first, second))
    return Comparison(*scores, *quantiles(gaps, level), wins)


def permutation_test(
    first: np.ndarray | Sequence,
    second: np.ndarray | Sequence,
    statistic: Statistic | None = None,
    *,
    paired: bool = True,
    samples: int = 9999,
    seed: int = 0,
) -> PermutationResult:
    """If the systems were the same, swapping their labels would change nothing. Does it?

    p = share of arrangements whose |difference| is at least the observed one. All 2^N swaps (or
    all C(N + M, N) splits of unpaired groups) are counted if they are at most 20,000; otherwise
    random ones are, and p = (count + 1) / (samples + 1), which is never 0.

    Args:
        first, second: (N,) scores or (N, …) sums; unpaired groups may differ in size.
        statistic: maps rows to a score; by default the mean.
        paired: swap within items (True) or mix all items (False).
        samples: random arrangements.
        seed: of these.

    Source: Noreen 1989, approximate randomization; Phipson & Smyth 2010, "Permutation P-values
    Should Never Be Zero".
    """
    first, second = _pair(first, second, same=paired)
    rng = np.random.default_rng(seed)
    total = 2 ** len(first) if paired else math.comb(len(first) + len(second), len(first))
    exact = total <= EXACT
    wanted = total if exact else samples
    if paired:
        gaps = _swapped(first, second, statistic, _signs(rng, len(first), wanted, exact))
    else:
        gaps = _mixed(first, second, statistic, _splits(rng, first, second, wanted, exact))
    observed = _value(statistic, first) - _value(statistic, second)
    # equal differences may differ in the last digits: another order of the same sum
    extreme = int((np.abs(gaps) >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    p_value = extreme / total if exact else (extreme + 1) / (wanted + 1)
    return PermutationResult(observed, p_value, exact, wanted)


def mcnemar(
    first: Sequence[bool], second: Sequence[bool], *, exact: bool = True
) -> tuple[int, int, float]:
    """Do two classifiers differ? Only items that exactly one of them gets right can say so.

    Under no difference each of these b + c items is a fair coin:
    p = min(1, 2 sum over i <= min(b, c) of C(b + c, i) / 2^(b + c));
    for large counts chi² = (|b - c| - 1)² / (b + c) with one degree of freedom.

    Args:
        first, second: whether each item was answered right, (N,).
        exact: the binomial form; otherwise the chi-squared approximation.

    Returns:
        b (only the first right), c (only the second right), two-sided p-value.

    Source: McNemar 1947; Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised
    Classification Learning Algorithms", section 3.1.
    """
    first, second = _pair(first, second)
    ours, theirs = first.astype(bool), second.astype(bool)
    b, c = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    if b + c == 0:
        return b, c, 1.0
    if exact:
        tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1))
        return b, c, min(1.0, 2 * tail / 2 ** (b + c))
    chi2 = max(0, abs(b - c) - 1) ** 2 / (b + c)
    return b, c, math.erfc(math.sqrt(chi2 / 2))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values made honest for several comparisons: the smallest times m, the next times m - 1 …

    Twenty comparisons of equal systems show a difference "at 5 %" once on average. Holm's
    correction bounds the chance of even one such error, and never loses to Bonferroni's.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty_like(p)
    found[order] = np.minimum(stepped, 1)
    return found


def _pair(first, second, *, same: bool = True) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first), np.asarray(second)
    fits = first.shape == second.shape if same else first.shape[1:] == second.shape[1:]
    if not fits or not first.size or not second.size:
        raise ValueError(
            f"the systems must score the same items, got {first.shape}, {second.shape}"
        )
    return first, second


def _value(statistic: Statistic | None, rows: np.ndarray) -> float:
    return float(rows.mean() if statistic is None else statistic(rows))


def _signs(rng: np.random.Generator, items: int, wanted: int, exact: bool) -> Iterator[np.ndarray]:
    """Which items are swapped: blocks (block, N) of True and False."""
    size = max(1, BLOCK // items)
    for start in range(0, wanted, size):
        count = min(size, wanted - start)
        if exact:
            numbers = np.arange(start, start + count)[:, None]
            yield (numbers >> np.arange(items)) % 2 == 1
        else:
            yield rng.random((count, items)) < 0.5


def _swapped(first, second, statistic: Statistic | None, blocks: Iterator) -> np.ndarray:
    """The difference of the scores after each of the swaps."""
    if statistic is None and first.ndim == 1:
        half = (first - second) / len(first)
        return np.concatenate([np.where(block, -half, half).sum(axis=1) for block in blocks])
    found = []
    for swap in itertools.chain.from_iterable(blocks):
        chosen = swap.reshape(-1, *[1] * (first.ndim - 1))
        pair = np.where(chosen, second, first), np.where(chosen, first, second)
        found.append(_value(statistic, pair[0]) - _value(statistic, pair[1]))
    return np.array(found)


def _splits(
    rng: np.random.Generator, first: np.ndarray, second: np.ndarray, wanted: int, exact: bool
) -> Iterator[np.ndarray]:
    """Orders of all items; the first len(first) of them play the first group."""
    everything = np.arange(len(first) + len(second))
    if not exact:
        yield from (rng.permutation(everything) for _ in range(wanted))
        return
    for chosen in itertools.combinations(everything, len(first)):
        yield np.concatenate([chosen, np.setdiff1d(everything, chosen)])


def _mixed(first, second, statistic: Statistic | None, orders: Iterator) -> np.ndarray:
    rows, cut = np.concatenate([first, second]), len(first)
    return np.array(
        [_value(statistic, rows[o[:cut]]) - _value(statistic, rows[o[cut:]]) for o in orders]
    )
