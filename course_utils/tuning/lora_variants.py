"""Chapter 4 - Variants of LoRA: one idea each, as a small change to ``LoRALinear``.

``rsLoRA``  another factor: alpha / sqrt(r); ``inject_lora(..., rank_stabilised=True)``
``PiSSA``   another start: A and B from the matrix's own largest singular vectors
``VeRA``    A and B stay random; only two vectors of scales train
``DoRA``    the length of every row of the matrix trains by itself, LoRA turns its direction

DoRA and VeRA: ``inject_lora(model, targets, kind=DoRALinear)``. PiSSA: ``start_pissa(model)``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.tuning.lora import LoRALinear, lora_layers


class DoRALinear(LoRALinear):
    """LoRA for directions, one trained number per row for lengths.

    ``y = m * (W + s B A) x / |W + s B A| + b``, row by row; m begins as the lengths of W's rows.
    The lengths in the divisor count as constants in the backward pass.

    Args:
        base, r, alpha, dropout, options: see :class:`LoRALinear`; base holds plain numbers.

    Source: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", equations 5 and 11.
    """

    def __init__(
        self, base: nn.Module, r: int = 8, alpha: float = 16, dropout: float = 0.0, **options: Any
    ) -> None:
        super().__init__(base, r, alpha, dropout, **options)
        self.magnitude = nn.Parameter(self._matrix().norm(dim=1))
        self.stored_as_lora = False

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        y = self.base(x)
        if self.merged or not self.enabled:
            return y
        straight = y if self.bias is None else y - self.bias
        turned = self._scale() * (straight + self.correction(x))
        return (turned if self.bias is None else turned + self.bias).to(y.dtype)

    @torch.no_grad()
    def delta(self) -> Tensor:
        """What the layer adds to W: ``m (W + s B A) / |W + s B A| - W``."""
        plain = self._matrix()
        return self._scale()[:, None] * (plain + super().delta()) - plain

    def merge(self) -> DoRALinear:
        """Put the turned and stretched matrix in W's place; W is kept for :meth:`unmerge`."""
        if not self.merged:
            self._before = [self.base.weight]  # in a list: not a second weight of this module
            super().merge()
        return self

    def unmerge(self) -> DoRALinear:
        """Put W back."""
        if self.merged:
            self.base.weight, self.merged = self._before.pop(), False
        return self

    def _matrix(self) -> Tensor:
        """W as (C_out, C_in), float32."""
        weight = getattr(self.base, "weight", None)
        if weight is None or not weight.is_floating_point():
            raise TypeError(f"DoRA needs a plain matrix, {type(self.base).__name__} holds none")
        return (weight if isinstance(self.base, nn.Linear) else weight.T).detach().float()

    def _scale(self) -> Tensor:
        """m over the present lengths of the rows, (C_out,)."""
        lengths = (self._matrix() + super().delta()).norm(dim=1)
        return self.magnitude / lengths


class VeRALinear(LoRALinear):
    """Random A and B that never train, with trained scales for the r rows and C_out outputs.

    ``y = W x + b * (B (d * (A x)))``, d = 0.1 and b = 0 at first: ``r + C_out`` trained numbers.
    (The paper shares A and B between layers; here each layer draws its own.)

    Args:
        base, r, dropout, options: see :class:`LoRALinear`. alpha is not used: b does its work.

    Source: Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation", equation 2.
    """

    def __init__(
        self, base: nn.Module, r: int = 8, alpha: float = 16, dropout: float = 0.0, **options: Any
    ) -> None:
        super().__init__(base, r, alpha, dropout, **options)
        generator = options.get("generator")
        nn.init.kaiming_uniform_(self.lora_A, generator=generator)
        nn.init.kaiming_uniform_(self.lora_B, generator=generator)
        self.lora_A.requires_grad_(False)
        self.lora_B.requires_grad_(False)
        where = self.lora_A.device
        self.row_scales = nn.Parameter(torch.full((r,), 0.1, device=where))
        self.output_scales = nn.Parameter(torch.zeros(self.out_features, device=where))
        self.stored_as_lora = False

    def correction(self, x: Tensor) -> Tensor:
        """``b * (B (d * (A dropout(x))))``."""
        narrow = F.linear(self.dropout(x.to(self.lora_A.dtype)), self.lora_A) * self.row_scales
        return F.linear(narrow, self.lora_B) * self.output_scales

    @torch.no_grad()
    def delta(self) -> Tensor:
        """``diag(b) B diag(d) A``."""
        return self.output_scales[:, None] * (self.lora_B * self.row_scales) @ self.lora_A


@torch.no_grad()
def start_pissa(model: nn.Module) -> nn.Module:
    """Begin LoRA at the matrices' largest singular vectors instead of at zero, in place.

    With ``W = U S V^T``: ``B = U_r sqrt(S_r / s)``, ``A = sqrt(S_r / s) V_r^T``, and the frozen
    matrix becomes the rest, ``W - s B A``. The outputs stay; what trains are the directions in
    which the matrix does most. The corrections then belong to the changed matrices: they cannot
    be stored as LoRA of the published model.

    Raises:
        ValueError: the model has no untrained LoRA layers.
        TypeError: a matrix in 4 bits.

    Source: Meng et al. 2024, "PiSSA: Principal Singular Values and Singular Vectors Adaptation",
    section 3, equations 2 to 4.
    """
    layers = list(lora_layers(model).values())
    if not layers or any(bool(layer.lora_B.any()) for layer in layers):
        raise ValueError("start_pissa comes straight after inject_lora, before any training")
    for layer in layers:
        weight = layer.base.weight
        if not weight.is_floating_point():
            raise TypeError("singular vectors need plain numbers, not 4-bit codes")
        matrix = (weight if isinstance(layer.base, nn.Linear) else weight.T).float()
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        root = (values[: layer.r] / layer.scaling).sqrt()
        layer.lora_B.copy_(left[:, : layer.r] * root)
        layer.lora_A.copy_(root[:, None] * right[: layer.r])
        layer._shift(-layer.delta())
        layer.stored_as_lora = False
    return model
