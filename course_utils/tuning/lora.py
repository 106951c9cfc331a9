"""Chapter 4 - LoRA: a low-rank correction beside each frozen matrix.

::

        x ----+----> W (frozen) ------------+
              |                             + ----> y
              +----> A (r, C_in) -> B (C_out, r) * alpha / r

``y = W x + (alpha / r) B A x``. A starts random and B at zero, so the model begins exactly where
it was. Only A and B train: ``r (C_in + C_out)`` numbers instead of ``C_in C_out``. Afterwards
``W + (alpha / r) B A`` is one matrix again, and the adapted model costs what the old one did.

Letters: C_in, C_out widths of a layer, r rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.tuning.surgery import (
    Targets,
    find_layers,
    freeze,
    layer_sizes,
    replace_layer,
    shared_weights,
)


@dataclass(frozen=True)
class LoRASettings:
    """What one injection was asked for.

    Args:
        targets: see :func:`course_utils.tuning.surgery.find_layers`.
        r: rank.
        alpha: the correction's weight; with ``alpha = r`` it counts as it is.
        dropout: share of a correction's inputs set to zero in training.
        rank_stabilised: scale by ``alpha / sqrt(r)`` instead of ``alpha / r`` (rsLoRA).
    """

    targets: Targets
    r: int = 8
    alpha: float = 16
    dropout: float = 0.0
    rank_stabilised: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.r, int) or self.r < 1:
            raise ValueError(f"the rank r must be a whole number from 1 on, got {self.r!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    @property
    def scaling(self) -> float:
        """The factor on B A."""
        return self.alpha / (math.sqrt(self.r) if self.rank_stabilised else self.r)


class LoRALinear(nn.Module):
    """A frozen matrix with a trainable low-rank correction.

    ``y = W x + b + s B A dropout(x)``, s = alpha / r (rsLoRA: alpha / sqrt(r)).

    A and B are float32 whatever the frozen layer is: in bfloat16 an update below half a unit
    in the last place would be lost.

    Args:
        base: the layer to adapt: ``nn.Linear``, GPT-2's ``Conv1D`` or ``NF4Linear``. Its
            weights are frozen.
        r, alpha, dropout, rank_stabilised: see :class:`LoRASettings`.
        generator: source of A's first values.

    Source: Hu et al. 2021, "LoRA", section 4.1, equation 3; the factor of rsLoRA: Kalajdzievski
    2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", section 3.
    """

    def __init__(
        self,
        base: nn.Module,
        r: int = 8,
        alpha: float = 16,
        dropout: float = 0.0,
        *,
        rank_stabilised: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.scaling = LoRASettings("", r, alpha, dropout, rank_stabilised).scaling
        self.r, self.alpha = r, alpha
        self.base = base
        freeze(base)
        self.dropout = nn.Dropout(dropout)
        self.in_features, self.out_features = layer_sizes(base)
        where = next((t.device for t in (*base.parameters(), *base.buffers())), None)
        first = torch.empty(r, self.in_features, dtype=torch.float32)
        # uniform in +-1/sqrt(C_in): what nn.Linear(C_in, r) would start with
        nn.init.kaiming_uniform_(first, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.Parameter(first.to(where))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, r, device=where))
        self.merged, self.enabled = False, True
        self.stored_as_lora = True  # False: more than A and B belongs to it (lora_variants)

    @property
    def weight(self) -> Tensor:
        """The frozen matrix (other code asks a layer for its weight's type and device)."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        y = self.base(x)
        if self.merged or not self.enabled:
            return y
        return (y + self.correction(x)).to(y.dtype)

    def correction(self, x: Tensor) -> Tensor:
        """``s B A dropout(x)``, without ever building the matrix B A."""
        narrow = F.linear(self.dropout(x.to(self.lora_A.dtype)), self.lora_A)  # (..., r)
        return F.linear(narrow, self.lora_B) * self.scaling

    @torch.no_grad()
    def delta(self) -> Tensor:
        """``s B A`` (C_out, C_in), in float32."""
        return self.scaling * (self.lora_B @ self.lora_A)

    def merge(self) -> LoRALinear:
        """Add the correction to the matrix: one product per call again.

        In bfloat16 the sum is rounded to 8 bits, so that small corrections are partly lost.

        Raises:
            TypeError: the matrix is not stored as plain numbers (4-bit weights).
        """
        if not self.merged:
            self._shift(self.delta())
            self.merged = True
        return self

    def unmerge(self) -> LoRALinear:
        """Take the correction out of the matrix again (back to rounding)."""
        if self.merged:
            self._shift(-self.delta())
            self.merged = False
        return self

    def _shift(self, delta: Tensor) -> None:
        weight = getattr(self.base, "weight", None)
        if weight is None or not weight.is_floating_point():
            raise TypeError(
                f"a {type(self.base).__name__} holds no plain matrix to add to; "
                "merge into its dequantised copy instead"
            )
        turned = delta if isinstance(self.base, nn.Linear) else delta.T  # Conv1D is (in, out)
        total = (weight.detach().float() + turned).to(weight.dtype)
        # a new tensor, not the old one changed: the same matrix may be in use elsewhere
        self.base.weight = nn.Parameter(total, requires_grad=False)

    def extra_repr(self) -> str:
        """Rank and scale, for printing."""
        return f"r={self.r}, scaling={self.scaling:g}, merged={self.merged}"


def inject_lora(
    model: nn.Module,
    targets: Targets,
    *,
    r: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    rank_stabilised: bool = False,
    generator: torch.Generator | None = None,
    kind: type[LoRALinear] = LoRALinear,
) -> nn.Module:
    """Give every layer that a pattern names a low-rank correction; freeze all other weights.

    The model computes exactly what it did before, until it is trained.

    Args:
        model: changed in place: ours (loaded with ``pack=False``), transformers', or any module.
        targets: name endings as in peft, one regular expression on the full name, or
            ``"all-linear"``.
        r, alpha, dropout, rank_stabilised: see :class:`LoRASettings`.
        generator: source of the first values of A, layer after layer.
        kind: ``LoRALinear`` or a variant of it (``lora_variants``).

    Raises:
        ValueError: no layer fits (near names are listed), or the model has adapters already.

    Source: Hu et al. 2021, "LoRA", sections 4.1 and 4.2.
    """
    if lora_layers(model):
        raise ValueError("this model has LoRA layers already; merge or unload them first")
    settings = LoRASettings(targets, r, alpha, dropout, rank_stabilised)
    found = find_layers(model, targets)
    freeze(model)
    for name, layer in found.items():
        new = kind(layer, r, alpha, dropout, rank_stabilised=rank_stabilised, generator=generator)
        replace_layer(model, name, new.train(layer.training))
    model.lora_settings = settings  # a plain attribute: saving the adapters needs it
    return model


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """Every adapted layer under its full name."""
    return {n: layer for n, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def merge_lora(model: nn.Module, *, keep: bool = False) -> nn.Module:
    """Fold all corrections into their matrices, in place.

    Args:
        model: with LoRA layers.
        keep: True keeps A and B beside the merged matrices, for :func:`unmerge_lora`; by default
            the model gets its plain layers back, with new values under the old names.

    Returns:
        the same model; its outputs are those of before, to rounding.

    Raises:
        ValueError: no LoRA layers, or a matrix that another module uses too (tied embeddings):
            it cannot change for one of them only.
        TypeError: a matrix in 4 bits.

    Source: Hu et al. 2021, section 4.1, "No Additional Inference Latency".
    """
    layers = _require(model)
    tied = shared_weights(model, (layer.base for layer in layers.values()))
    if tied:
        raise ValueError(f"{', '.join(tied)} shares its matrix with another module: untie it first")
    for layer in layers.values():
        layer.merge()
    return model if keep else _unwrap(model, layers)


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Take kept corrections out of the matrices again, in place."""
    for layer in _require(model).values():
        layer.unmerge()
    return model


def unload_lora(model: nn.Module) -> nn.Module:
    """Take the LoRA layers away and leave the model as it was before them, in place."""
    return _unwrap(unmerge_lora(model), lora_layers(model))


@contextmanager
def without_lora(model: nn.Module) -> Iterator[nn.Module]:
    """Within this block the model answers without its corrections: the reference of KL terms.

    Raises:
        ValueError: the corrections are merged, so that they cannot be left out.
    """
    layers = _require(model)
    if any(layer.merged for layer in layers.values()):
        raise ValueError("the corrections are merged into the matrices; unmerge them first")
    before = {name: layer.enabled for name, layer in layers.items()}
    try:
        for layer in layers.values():
            layer.enabled = False
        yield model
    finally:
        for name, layer in layers.items():
            layer.enabled = before[name]


def lora_parameters(sizes: Iterator[tuple[int, int]] | list[tuple[int, int]], r: int) -> int:
    """Trainable numbers of rank-r corrections: ``r (C_in + C_out)`` for each (C_in, C_out).

    >>> lora_parameters([(576, 576), (576, 192)], 8)
    15360

    Source: Hu et al. 2021, section 4.2 (there for square matrices, 2 d r each).
    """
    return sum(r * (inputs + outputs) for inputs, outputs in sizes)


def _require(model: nn.Module) -> dict[str, LoRALinear]:
    layers = lora_layers(model)
    if not layers:
        raise ValueError("this model has no LoRA layers; inject_lora makes them")
    return layers


def _unwrap(model: nn.Module, layers: dict[str, LoRALinear]) -> nn.Module:
    if isinstance(model, LoRALinear):  # the whole model is one adapted layer
        return model.base
    for name, layer in layers.items():
        replace_layer(model, name, layer.base)
    model.__dict__.pop("lora_settings", None)
    return model
