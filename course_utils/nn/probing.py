"""Chapter 1 – Probing: what can be read off a vector with the simplest tool.

A linear probe asks whether a property lies in the vectors in a form that one matrix can
read. A control task with random labels asks how much the probe could simply learn by heart.

Notation: N examples, C width, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Probe:
    """A trained linear classifier on standardised vectors, of one layer or of a mixture.

    Attributes:
        mean, scale: what standardised the training vectors, (C,) or (layers, 1, C).
        linear: the classifier.
        mix: makes one vector of the layers; the identity for a single layer.
    """

    mean: Tensor
    scale: Tensor
    linear: nn.Linear
    mix: nn.Module

    @torch.no_grad()
    def predict(self, vectors: Tensor) -> Tensor:
        """Vectors shaped as in training, (N, C) or (layers, N, C) -> label numbers (N,)."""
        return self.linear(self.mix((vectors - self.mean) / self.scale)).argmax(dim=-1)

    def accuracy(self, vectors: Tensor, labels: Tensor) -> float:
        """Share of right labels, 0 to 1."""
        return float((self.predict(vectors) == labels).float().mean())


def fit_probe(
    vectors: Tensor,
    labels: Tensor,
    classes: int,
    *,
    mix: nn.Module | None = None,
    penalty: float = 1e-3,
    steps: int = 40,
) -> Probe:
    """Multinomial logistic regression, fitted with L-BFGS on all examples at once.

    ``mean cross-entropy + penalty / 2 * |W| ** 2``

    Args:
        vectors: (N, C); or (layers, N, C) with ``mix``, each layer standardised by itself.
        labels: (N,), numbers below ``classes``.
        mix: a module that blends the layers, such as :class:`course_utils.nn.elmo.LayerMix`;
            trained in place, together with the classifier.
    """
    if vectors.shape[-2] != len(labels):
        raise ValueError(f"{vectors.shape[-2]} vectors came with {len(labels)} labels")
    mean = vectors.mean(-2, keepdim=vectors.ndim == 3)
    scale = vectors.std(-2, keepdim=vectors.ndim == 3).clamp(min=1e-6)
    ready = (vectors - mean) / scale
    mix = mix or nn.Identity()
    linear = nn.Linear(vectors.shape[-1], classes, dtype=vectors.dtype)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(
        [*linear.parameters(), *mix.parameters()], max_iter=steps, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(linear(mix(ready)), labels)
        value = value + penalty / 2 * linear.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return Probe(mean, scale, linear, mix)


def control_labels(words: Sequence[str], labels: Sequence[int], seed: int = 0) -> list[int]:
    """One random label a word type, drawn from the labels' own distribution.

    A probe can only do well on them by remembering words. Task accuracy minus control
    accuracy is the probe's *selectivity*.

    Source: Hewitt and Liang (2019), "Designing and Interpreting Probes with Control Tasks",
    section 2.
    """
    rng = np.random.default_rng(seed)
    types = list(dict.fromkeys(words))
    drawn = dict(zip(types, rng.choice(labels, len(types)).tolist(), strict=True))
    return [drawn[word] for word in words]


def most_common_label(
    words: Sequence[str], labels: Sequence[int]
) -> Callable[[Sequence[str]], list[int]]:
    """The baseline that ignores context: the label a word had most often, else the commonest."""
    from collections import Counter, defaultdict

    by_word: dict[str, Counter] = defaultdict(Counter)
    for word, label in zip(words, labels, strict=True):
        by_word[word][label] += 1
    fallback = Counter(labels).most_common(1)[0][0]

    def predict(new: Sequence[str]) -> list[int]:
        return [by_word[word].most_common(1)[0][0] if word in by_word else fallback for word in new]

    return predict


def sense_hits(vectors: np.ndarray, words: Sequence[str], senses: Sequence[str]) -> np.ndarray:
    """Is each example nearest (cosine) to the centre of its own sense? Leave-one-out.

    The example itself never enters a centre. Where several senses tie, as they do when all
    vectors are equal, each gets its share of the hit, so that a vector without information
    scores chance.

    Args:
        vectors: (N, C), one for each example.
        words: the ambiguous word of each example. senses: its sense.

    Returns:
        hits between 0 and 1, (N,).

    Raises:
        ValueError: if a sense has only one example or a word only one sense.
    """
    from course_utils.text.similarity import normalise

    unit = normalise(np.asarray(vectors, dtype=float))
    hits = np.zeros(len(unit))
    for word in dict.fromkeys(words):
        rows = [i for i, other in enumerate(words) if other == word]
        groups = _by_sense(rows, senses, word)
        for i in rows:
            centres = np.stack([unit[[j for j in g if j != i]].mean(0) for g in groups.values()])
            scores = normalise(centres) @ unit[i]
            best = scores >= scores.max() - 1e-9  # equal up to rounding
            own = list(groups).index(senses[i])
            hits[i] = best[own] / best.sum()
    return hits


def _by_sense(rows: list[int], senses: Sequence[str], word: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i in rows:
        groups.setdefault(senses[i], []).append(i)
    if len(groups) < 2 or min(map(len, groups.values())) < 2:
        raise ValueError(f"{word!r} needs two senses with two examples each, got {groups}")
    return groups


def cluster_bootstrap(
    values: Sequence[float], clusters: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of the clusters' means, with a 95 % interval from resampling whole clusters.

    Sentences about one word are alike; drawing words, not sentences, keeps the interval honest.

    Returns:
        mean, low, high.
    """
    names = list(dict.fromkeys(clusters))
    table = np.asarray(values, dtype=float)
    groups = np.asarray(clusters)
    means = np.array([table[groups == name].mean() for name in names])
    draws = np.random.default_rng(seed).integers(0, len(means), (resamples, len(means)))
    low, high = np.quantile(means[draws].mean(axis=1), [0.025, 0.975])
    return float(means.mean()), float(low), float(high)
