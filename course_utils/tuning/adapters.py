"""Chapter 4 - Adapters: small networks put behind a frozen model's layers.

::

    x -> W (frozen) -> h ---------------------------+---> h + W_up f(W_down h)
                       |                            |
                       +-> C -> m -> f -> m -> C ---+

An adapter squeezes C numbers through a bottleneck of m and adds the result. Behind attention and
behind the feed-forward network of every block, it was the first method that tuned a few percent
of a model instead of all of it. Unlike LoRA's, its correction is not linear, so it cannot be
folded into the matrix: it costs time at every call.

Letters: C width, m bottleneck.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.tuning.surgery import (
    Targets,
    find_layers,
    freeze,
    layer_sizes,
    replace_layer,
)

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


class Adapter(nn.Module):
    """A bottleneck with a skip connection.

    ``h + W_up f(W_down h + b_down) + b_up``, with W_up and b_up zero at first, so that it begins
    as the identity. (The paper draws them from a narrow normal distribution: nearly so.)

    Args:
        hidden_size: C.
        bottleneck: m.
        activation: f, a key of ``ACTIVATIONS``.

    Source: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1.
    """

    def __init__(self, hidden_size: int, bottleneck: int, activation: str = "gelu") -> None:
        super().__init__()
        if bottleneck < 1:
            raise ValueError(f"the bottleneck must be at least 1 wide, got {bottleneck}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: {activation!r}")
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., C), in the type of the input; computed in that of the weights."""
        inner = self.activation(self.down(hidden.to(self.down.weight.dtype)))  # (..., m)
        return hidden + self.up(inner).to(hidden.dtype)


class AdaptedLayer(nn.Module):
    """A frozen layer with an adapter behind it.

    Args:
        base: ``nn.Linear`` or another layer with C outputs.
        bottleneck, activation: see :class:`Adapter`.
    """

    def __init__(self, base: nn.Module, bottleneck: int, activation: str = "gelu") -> None:
        super().__init__()
        self.base = base
        self.adapter = Adapter(layer_sizes(base)[1], bottleneck, activation)
        like = next(base.parameters(), None)
        if like is not None:
            self.adapter.to(like.device)

    @property
    def weight(self) -> Tensor:
        """The frozen matrix."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C)."""
        return self.adapter(self.base(x))


def inject_adapters(
    model: nn.Module,
    targets: Targets,
    bottleneck: int,
    *,
    activation: str = "gelu",
    norms: bool = False,
) -> nn.Module:
    """Put an adapter behind every layer that a pattern names; freeze all other weights.

    Houlsby et al. put two into each block: behind the output projection of attention and behind
    the second layer of the feed-forward network, before each is added to the residual stream.
    For our models that is ``["attention.out", "feed_forward.down"]``, for transformers' LLaMA
    ``["o_proj", "down_proj"]``.

    Args:
        model: changed in place.
        targets: see :func:`course_utils.tuning.surgery.find_layers`.
        bottleneck, activation: see :class:`Adapter`.
        norms: train the norms too, as the paper does.

    Returns:
        the same model, which computes exactly what it did before until it is trained.

    Raises:
        ValueError: no layer fits, or the model has adapters already.

    Source: Houlsby et al. 2019, section 2.1 and figure 2.
    """
    if adapted_layers(model):
        raise ValueError("this model has adapters already; remove_adapters takes them out")
    found = find_layers(model, targets)
    freeze(model)
    for name, layer in found.items():
        new = AdaptedLayer(layer, bottleneck, activation)
        replace_layer(model, name, new.train(layer.training))
    if norms:
        for weight in _norm_weights(model):
            weight.requires_grad_(True)
    return model


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLayer]:
    """Every layer with an adapter behind it, under its full name."""
    return {n: layer for n, layer in model.named_modules() if isinstance(layer, AdaptedLayer)}


def remove_adapters(model: nn.Module) -> nn.Module:
    """Take the adapters out, in place; norms that were trained keep their new values."""
    for name, layer in adapted_layers(model).items():
        replace_layer(model, name, layer.base)
    return model


def adapter_parameters(width: int, bottleneck: int) -> int:
    """``2 C m + C + m`` numbers in one adapter.

    >>> adapter_parameters(576, 8)
    9800

    Source: Houlsby et al. 2019, section 2.1 (d for C).
    """
    return 2 * width * bottleneck + width + bottleneck


def _norm_weights(model: nn.Module) -> list[nn.Parameter]:
    """Weights of layer norms and RMS norms, whoever wrote the class."""
    norms = [m for m in model.modules() if type(m).__name__.endswith(("LayerNorm", "RMSNorm"))]
    return [weight for norm in norms for weight in norm.parameters(recurse=False)]
