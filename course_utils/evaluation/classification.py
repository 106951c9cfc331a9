"""Chapter 4 - Labels: precision, recall, F1 and agreement, from one confusion matrix.

Equal to scikit-learn's ``precision_recall_fscore_support``, ``matthews_corrcoef`` and
``cohen_kappa_score``; an undefined ratio (nothing predicted, nothing to find) counts as 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

AVERAGES = ("macro", "micro", "weighted")


@dataclass(frozen=True)
class LabelScores:
    """Scores for each label and their averages.

    Attributes:
        labels: names of the rows, K.
        precision, recall, f1: (K,), 0 to 1.
        support: how often each label is right, (K,).
        matrix: confusion counts (K, K), rows right, columns predicted.
    """

    labels: tuple[Hashable, ...]
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    matrix: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float(np.trace(self.matrix) / self.matrix.sum())

    def average(self, kind: str = "macro") -> tuple[float, float, float]:
        """Precision, recall and F1 over all labels.

        macro: every label counts the same; weighted: by support; micro: every item counts the
        same, which for one label an item makes all three the accuracy.

        Raises:
            ValueError: if the kind is not one of these.
        """
        if kind not in AVERAGES:
            raise ValueError(f"kind must be one of {', '.join(AVERAGES)}; got {kind!r}")
        if kind == "micro":
            return (self.accuracy,) * 3
        weights = self.support if kind == "weighted" else np.ones(len(self.labels))
        columns = (self.precision, self.recall, self.f1)
        return tuple(float(np.average(column, weights=weights)) for column in columns)


def confusion(
    truth: Sequence[Hashable], predicted: Sequence[Hashable], labels: Sequence[Hashable]
) -> np.ndarray:
    """Counts (K, K): entry (i, j) is how often label i was taken for label j."""
    if len(truth) != len(predicted) or len(truth) == 0:
        raise ValueError(f"got {len(truth)} right labels and {len(predicted)} predictions")
    place = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(place), len(place)), dtype=int)
    rows, columns = ([place[label] for label in given] for given in (truth, predicted))
    np.add.at(matrix, (rows, columns), 1)
    return matrix


def label_scores(
    truth: Sequence[Hashable],
    predicted: Sequence[Hashable],
    labels: Sequence[Hashable] | None = None,
) -> LabelScores:
    """Precision, recall and F1 of every label.

    precision = right / predicted, recall = right / support, F1 = 2 right / (predicted + support)

    Args:
        truth, predicted: N labels each.
        labels: their order; by default all that occur, sorted.

    Raises:
        ValueError: if the lengths differ or are 0.
    """
    labels = _all_labels(truth, predicted) if labels is None else tuple(labels)
    matrix = confusion(truth, predicted, labels)
    right, found, support = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    f1 = _ratio(2 * right, found + support)
    return LabelScores(labels, _ratio(right, found), _ratio(right, support), f1, support, matrix)


def matthews(truth: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """Matthews' correlation, -1 to 1: 0 for any constant guess, whatever the class sizes.

    (N right - sum p_k t_k) / sqrt((N² - sum p_k²) (N² - sum t_k²)), p and t the label counts

    Source: Gorodkin 2004, the K-category form; the metric of CoLA in GLUE.
    """
    matrix = confusion(truth, predicted, _all_labels(truth, predicted)).astype(float)
    total, found, support = matrix.sum(), matrix.sum(axis=0), matrix.sum(axis=1)
    above = total * np.trace(matrix) - found @ support
    below = np.sqrt((total**2 - found @ found) * (total**2 - support @ support))
    return float(above / below) if below else 0.0


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement of two raters beyond chance, (p_o - p_e) / (1 - p_e); 1 is complete.

    Two judges who both say "A" nine times in ten agree on 82 % by chance alone.

    Returns:
        kappa; NaN if both always give one and the same label.

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales", equation 1.
    """
    matrix = confusion(first, second, _all_labels(first, second))
    shares = matrix / matrix.sum()
    observed, expected = np.trace(shares), shares.sum(axis=0) @ shares.sum(axis=1)
    return float((observed - expected) / (1 - expected)) if expected < 1 else float("nan")


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def _all_labels(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[Hashable, ...]:
    found = set(first) | set(second)
    try:
        return tuple(sorted(found))
    except TypeError:  # labels of several kinds, such as True and None
        return tuple(sorted(found, key=repr))
