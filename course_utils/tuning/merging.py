"""Chapter 4 - Merging: several corrections of one model become one, without training.

Each adapter, trained for its own task, is a set of differences from the same base model. Adding
them up keeps both skills if they do not get in each other's way. TIES and DARE remove numbers
that hardly matter before they add, so that less gets in the way.

All functions work on one matrix's differences, a list of tensors of one shape; ``merge_deltas``
does it for whole models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from course_utils.tuning.lora import lora_layers
from course_utils.tuning.surgery import check_same

Deltas = dict[str, Tensor]
Rule = Callable[[Sequence[Tensor]], Tensor]


def linear(parts: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """``sum_i w_i D_i``; by default the mean.

    Source: Ilharco et al. 2022, "Editing Models with Task Arithmetic", section 2; the mean of
    runs with other seeds: Wortsman et al. 2022, "Model Soups", section 2.
    """
    factors = _weights(parts, weights)
    return sum(w * part for w, part in zip(factors, parts, strict=True))


def slerp(first: Tensor, second: Tensor, share: float = 0.5) -> Tensor:
    """A point on the arc between two differences, instead of on the line between them.

    ``sin((1-t) a) / sin(a) D_1 + sin(t a) / sin(a) D_2``, a the angle between them. The middle of
    a line between two directions is shorter than both; on the arc the length is kept.

    Args:
        share: t, from 0 (the first) to 1 (the second).

    Source: Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3.
    """
    cosine = torch.sum(first * second) / (first.norm() * second.norm()).clamp(min=1e-12)
    angle = torch.acos(cosine.clamp(-1, 1))
    if torch.sin(angle) < 1e-4:  # parallel: the arc is the line
        return (1 - share) * first + share * second
    one, other = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return (one * first + other * second) / torch.sin(angle)


def trim(part: Tensor, density: float) -> Tensor:
    """Keep the share ``density`` of the numbers that are largest in size; the rest become 0."""
    _check_density(density)
    keep = int(density * part.numel())
    kept = torch.zeros_like(part).flatten()
    largest = part.abs().flatten().topk(keep).indices
    kept[largest] = part.flatten()[largest]
    return kept.view_as(part)


def drop(part: Tensor, density: float, generator: torch.Generator | None = None) -> Tensor:
    """Keep each number with probability ``density`` and divide it by that: the mean stays.

    Source: Yu et al. 2023, "Language Models are Super Mario" (DARE), section 3.
    """
    _check_density(density)
    draws = torch.rand(part.shape, generator=generator).to(part.device)
    return part * (draws < density) / density


def elect(parts: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """At each place, the mean of those numbers whose sign is that of the sum.

    Where one adapter wants up and another down, the stronger side is kept whole instead of both
    being halved.

    Source: Yadav et al. 2023, "TIES-Merging", section 3.2, steps 2 and 3.
    """
    stacked = torch.stack(list(parts))
    sign = torch.where(stacked.sum(dim=0) >= 0, 1, -1)
    agree = stacked.sign() == sign
    factors = torch.tensor(_weights(parts, weights, each=1.0), device=stacked.device)
    total = (stacked * agree * factors.view(-1, *[1] * (stacked.dim() - 1))).sum(dim=0)
    return total / agree.sum(dim=0).clamp(min=1)


def ties(
    parts: Sequence[Tensor], density: float = 0.2, weights: Sequence[float] | None = None
) -> Tensor:
    """Trim each part, elect a sign at each place, average those that agree.

    Args:
        density: share of each part's numbers to keep.
        weights: by default 1 for each part.

    Source: Yadav et al. 2023, "TIES-Merging", section 3.2, algorithm 1.
    """
    return elect([trim(part, density) for part in parts], weights)


def dare(
    parts: Sequence[Tensor],
    density: float = 0.5,
    weights: Sequence[float] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drop numbers at random, rescale the rest, add.

    Args:
        density: share of each part's numbers to keep.
        weights: by default the mean.

    Source: Yu et al. 2023, "Language Models are Super Mario", section 3.
    """
    return linear([drop(part, density, generator) for part in parts], weights)


def lora_deltas(model: nn.Module) -> Deltas:
    """``s B A`` of every LoRA layer of a model, under the layer's full name."""
    return {name: layer.delta() for name, layer in lora_layers(model).items()}


def merge_deltas(sets: Sequence[Mapping[str, Tensor]], rule: Rule = linear) -> Deltas:
    """Merge the differences of several models, matrix by matrix.

    Args:
        sets: one mapping per adapter, from :func:`lora_deltas`, with the same names and shapes.
        rule: from a list of differences to one, such as ``linear`` or
            ``lambda parts: ties(parts, density=0.3)``.

    Raises:
        ValueError: the adapters do not correct the same matrices.
    """
    first, *others = sets
    for other in others:
        check_same(first, other)
    return {name: rule([one[name] for one in sets]) for name in first}


@torch.no_grad()
def add_deltas(model: nn.Module, deltas: Mapping[str, Tensor]) -> nn.Module:
    """Add differences to the plain matrices of a base model, in place.

    Raises:
        AttributeError: the model has no layer of that name.
    """
    for name, delta in deltas.items():
        layer = model.get_submodule(name)
        turned = delta if isinstance(layer, nn.Linear) else delta.T  # Conv1D is (in, out)
        total = (layer.weight.float() + turned).to(layer.weight.dtype)
        layer.weight = nn.Parameter(total, requires_grad=layer.weight.requires_grad)
    return model


def _weights(
    parts: Sequence[Tensor], weights: Sequence[float] | None, each: float | None = None
) -> list[float]:
    if not parts:
        raise ValueError("nothing to merge: the list of parts is empty")
    if weights is None:
        return [1 / len(parts) if each is None else each] * len(parts)
    if len(weights) != len(parts):
        raise ValueError(f"{len(weights)} weights do not fit {len(parts)} parts")
    return list(weights)


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"the density must lie in (0, 1], got {density}")
