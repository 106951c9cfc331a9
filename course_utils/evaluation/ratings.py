"""Chapter 4 - Ratings: one scale of strength from many pairwise verdicts (Bradley-Terry).

The model behind chatbot arenas: the chance that a system wins depends on the difference of two
strengths, and, if wanted, on who was shown first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.evaluation.intervals import Interval, quantiles
from course_utils.evaluation.judging import FIRST, SECOND, TIE, Verdict

ELO_SCALE, ELO_CENTRE = 400 / np.log(10), 1000.0
RESULTS = {FIRST: 1.0, SECOND: 0.0, TIE: 0.5}


@dataclass(frozen=True)
class Ratings:
    """Strengths in log odds, mean 0.

    Attributes:
        systems: names, K.
        strengths: (K,).
        position: log odds that the first place is worth; 0 if it was not fitted.
    """

    systems: tuple[str, ...]
    strengths: np.ndarray
    position: float

    @property
    def elo(self) -> dict[str, float]:
        """The same on the chess scale: 400 points are odds of 10 to 1, the mean is 1000."""
        points = ELO_CENTRE + ELO_SCALE * self.strengths
        return dict(zip(self.systems, points.tolist(), strict=True))

    def win_probability(self, system: str, other: str) -> float:
        """P(system beats other), the first place's bonus left out: 1 / (1 + exp(s_other - s))."""
        gap = self.strengths[self.systems.index(other)] - self.strengths[self.systems.index(system)]
        return float(1 / (1 + np.exp(gap)))


def bradley_terry(
    verdicts: Sequence[Verdict],
    *,
    position: bool = True,
    ridge: float = 0.01,
    systems: Sequence[str] | None = None,
) -> Ratings:
    """The strengths under which the verdicts are most likely.

    P(first wins) = 1 / (1 + exp(-(s_first - s_second + b))), b the bonus of the first place; found
    by Newton's method, a tie counting as half a win for each side

    Args:
        verdicts: invalid ones are left out.
        position: fit b; otherwise b = 0.
        ridge: weight of |s|² / 2, so that a system that won every time gets a finite strength.
        systems: their order; by default all that occur, sorted.

    Raises:
        ValueError: if no verdict is valid.

    Source: Bradley & Terry 1952, "Rank Analysis of Incomplete Block Designs"; Chiang et al. 2024,
    "Chatbot Arena", section 4.
    """
    valid = [verdict for verdict in verdicts if verdict.verdict in RESULTS]
    if not valid:
        raise ValueError("there is no valid verdict")
    if systems is None:
        systems = sorted({name for verdict in valid for name in verdict.systems})
    design, results = _design(valid, {name: i for i, name in enumerate(systems)}, position)
    return _ratings(tuple(systems), _newton(design, results, ridge), position)


def rating_intervals(
    verdicts: Sequence[Verdict],
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    **options: float,
) -> dict[str, Interval]:
    """Elo points of each system with a bootstrap interval over items.

    Args:
        verdicts: all of them; the verdicts about one item are drawn together.
        resamples, level, seed: of the bootstrap.
        options: ``position`` and ``ridge`` of :func:`bradley_terry`.
    """
    whole = bradley_terry(verdicts, **options)
    items: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        items.setdefault(verdict.item, []).append(verdict)
    groups = list(items.values())
    draws = np.random.default_rng(seed).integers(0, len(groups), (resamples, len(groups)))
    points = []
    for draw in draws:
        sample = [verdict for i in draw for verdict in groups[i]]
        points.append(list(bradley_terry(sample, systems=whole.systems, **options).elo.values()))
    columns = np.array(points).T  # (K, resamples)
    pairs = zip(whole.elo.items(), columns, strict=True)
    return {name: Interval(value, *quantiles(column, level)) for (name, value), column in pairs}


def online_elo(verdicts: Sequence[Verdict], *, step: float = 32.0) -> dict[str, float]:
    """Elo as in chess: after each verdict the winner takes points from the loser.

    r_first += step (result - expected), expected = 1 / (1 + 10^((r_second - r_first) / 400))

    The last games count most and the order of the verdicts matters, although a model, unlike a
    chess player, does not change: prefer :func:`bradley_terry`.

    Source: Elo 1978, "The Rating of Chessplayers, Past and Present".
    """
    points: dict[str, float] = {}
    for verdict in verdicts:
        first, second = (points.setdefault(name, ELO_CENTRE) for name in verdict.systems)
        if verdict.verdict in RESULTS:
            expected = 1 / (1 + 10 ** ((second - first) / 400))
            change = step * (RESULTS[verdict.verdict] - expected)
            points[verdict.systems[0]] += change
            points[verdict.systems[1]] -= change
    return points


def _design(
    verdicts: Sequence[Verdict], places: dict[str, int], position: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, K + 1) of +1 and -1 for the systems, then 1 for the first place; results (N,)."""
    design = np.zeros((len(verdicts), len(places) + 1))
    rows = np.arange(len(verdicts))
    design[rows, [places[v.systems[0]] for v in verdicts]] += 1
    design[rows, [places[v.systems[1]] for v in verdicts]] -= 1
    design[:, -1] = position
    return design, np.array([RESULTS[v.verdict] for v in verdicts])


def _newton(design: np.ndarray, results: np.ndarray, ridge: float) -> np.ndarray:
    """Minimum of the log loss plus ridge · |s|² / 2, (K + 1,)."""
    weights, penalty = np.zeros(design.shape[1]), np.full(design.shape[1], ridge)
    penalty[-1] = 1e-9  # the bonus of the place is not shrunk, only kept solvable when not fitted
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (p - results) + penalty * weights
        curve = (design.T * (p * (1 - p))) @ design + np.diag(penalty)
        change = np.linalg.lstsq(curve, slope, rcond=None)[0]  # also where only gaps are known
        weights -= np.clip(change, -2, 2)  # far from the minimum a full step can overshoot
        if np.abs(change).max() < 1e-10:
            break
    return weights


def _ratings(systems: tuple[str, ...], weights: np.ndarray, position: bool) -> Ratings:
    strengths = weights[:-1] - weights[:-1].mean()
    return Ratings(systems, strengths, float(weights[-1]) if position else 0.0)
