"""Chapter 4 - Fusion: several rankings of the same things made into one.

Scores of different retrievers have different units (a cosine, a sum of idf), so they cannot be
added. Ranks can.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

CONSTANT = 60  # of Cormack et al.; the first place counts 1/61, the tenth 1/70


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Hashable]],
    *,
    constant: float = CONSTANT,
    weights: Sequence[float] | None = None,
) -> list[tuple[Hashable, float]]:
    """One ranking from several: score(d) = sum over rankings of weight / (constant + rank of d).

    A ranking in which d is missing adds nothing. Ties keep the order in which things were first
    seen, so the result does not depend on hashes.

    >>> [name for name, _ in reciprocal_rank_fusion([["a", "b", "c"], ["c", "a"]])]
    ['a', 'c', 'b']

    Args:
        rankings: lists of ids, best first; an id that stands twice counts at its first place.
        constant: the larger, the less the first places stand out.
        weights: one a ranking, by default 1.

    Raises:
        TypeError: a text instead of a ranking.
        ValueError: a weight too many or too few, or constant < 0.

    Source: Cormack, Clarke & Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", section 2.
    """
    weights = [1.0] * len(rankings) if weights is None else list(weights)
    if len(weights) != len(rankings):
        raise ValueError(f"got {len(weights)} weights for {len(rankings)} rankings")
    if constant < 0:
        raise ValueError(f"constant must not be negative, got {constant}")
    scores: dict[Hashable, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        if isinstance(ranking, str):
            raise TypeError(f"expected a list of ids as a ranking, got the text {ranking[:40]!r}")
        for rank, name in enumerate(dict.fromkeys(ranking), 1):
            scores[name] = scores.get(name, 0.0) + weight / (constant + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])


def convex_fusion(
    first: Mapping[Hashable, float], second: Mapping[Hashable, float], share: float = 0.5
) -> list[tuple[Hashable, float]]:
    """The other way: bring the scores to 0 … 1, then share · first + (1 - share) · second.

    It keeps how far apart the scores are, which ranks forget, and has a share to tune.

    Args:
        first, second: scores by id; who is missing in one has 0 there. share: 0 to 1.

    Source: Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval".
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    ours, theirs = _scaled(first), _scaled(second)
    names = dict.fromkeys([*ours, *theirs])
    mixed = {n: share * ours.get(n, 0.0) + (1 - share) * theirs.get(n, 0.0) for n in names}
    return sorted(mixed.items(), key=lambda pair: -pair[1])


def _scaled(scores: Mapping[Hashable, float]) -> dict[Hashable, float]:
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {n: (s - low) / (high - low) if high > low else 1.0 for n, s in scores.items()}
