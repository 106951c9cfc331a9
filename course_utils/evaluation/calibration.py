"""Chapter 4 - Calibration: of the answers given with 80 % confidence, are 80 % right?

A model can be accurate and still have untrue probabilities. Bins show it, the expected calibration
error sums it up, and one temperature mends much of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram draws; bins without an item have NaN means.

    Attributes:
        edges: limits of the bins, (M + 1,); bin m holds edges[m] < confidence <= edges[m + 1].
        count: items in each bin, (M,).
        confidence: mean confidence in each bin, (M,).
        accuracy: share of right answers in each bin, (M,).
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def gaps(self) -> np.ndarray:
        """|accuracy - confidence| of the bins that hold an item."""
        filled = self.count > 0
        return np.abs(self.accuracy[filled] - self.confidence[filled])

    @property
    def expected_error(self) -> float:
        """ECE = sum over bins of n_m / N · |accuracy_m - confidence_m| (Guo et al. 2017, eq. 3)."""
        return float(np.average(self.gaps, weights=self.count[self.count > 0]))

    @property
    def largest_error(self) -> float:
        """MCE = the largest gap of any bin (Guo et al. 2017, equation 5)."""
        return float(self.gaps.max())


def reliability(
    confidence: Sequence[float],
    correct: Sequence[bool],
    *,
    bins: int = 15,
    equal_counts: bool = False,
) -> Reliability:
    """Sort predictions into bins by confidence and compare confidence with accuracy in each.

    The number depends on the bins: always report how many, and on how many items. On few items
    the error of a perfectly calibrated model is well above 0, because accuracy in a bin is noisy.

    Args:
        confidence: probability given to the chosen answer, 0 to 1, (N,).
        correct: whether it was right, (N,).
        bins: M.
        equal_counts: limits at quantiles of the confidences instead of equal widths.

    Raises:
        ValueError: if lengths differ or are 0, a confidence is outside 0 to 1, or bins < 1.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equations 1-3.
    """
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if p.shape != right.shape or p.ndim != 1 or not p.size:
        raise ValueError(f"got confidences of shape {p.shape} and verdicts of shape {right.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"confidences must be from 0 to 1, got {p.min():.4g} to {p.max():.4g}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    steps = np.linspace(0, 1, bins + 1)
    edges = np.quantile(p, steps) if equal_counts else steps
    place = np.searchsorted(edges[1:-1], p, side="left")  # a value on a limit goes below it
    count = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=values, minlength=bins) for values in (p, right))
    means = [np.divide(s, count, out=np.full(bins, np.nan), where=count > 0) for s in sums]
    return Reliability(edges, count, *means)


def expected_calibration_error(
    confidence: Sequence[float], correct: Sequence[bool], *, bins: int = 15
) -> float:
    """ECE with equally wide bins, 0 to 1; see :func:`reliability`."""
    return reliability(confidence, correct, bins=bins).expected_error


def brier_score(probabilities: np.ndarray, labels: Sequence[int]) -> float:
    """Mean squared distance between the probabilities and the one-hot truth, 0 to 2.

    1/N sum over items and classes of (p_ik - y_ik)². Unlike ECE it cannot be made small by always
    answering with the base rate, and it needs no bins.

    Args:
        probabilities: (N, K), rows summing to one.
        labels: right class of each item, (N,).

    Source: Brier 1950, "Verification of Forecasts Expressed in Terms of Probability", equation 2.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(f"got probabilities {probabilities.shape} for {len(labels)} labels")
    truth = np.eye(probabilities.shape[1])[np.asarray(labels)]  # (N, K)
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p = z - log sum exp z along the last axis, safe for large logits."""
    shifted = np.asarray(logits, dtype=float)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def fit_temperature(logits: np.ndarray, labels: Sequence[int]) -> float:
    """The T for which softmax(logits / T) gives held-out labels the highest likelihood.

    T > 1 softens an overconfident model. The ranking, and so the accuracy, does not change. Fit
    it on other items than those on which the calibration is then reported.

    Args:
        logits: (N, K).
        labels: right class of each item, (N,).

    Source: Guo et al. 2017, section 4.2, equation 9.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(f"got logits {logits.shape} for {len(labels)} labels")
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t))[rows, labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))
