"""Chapter 4 - Packed weights: matrices stored the way the processor reads them.

Optional, for inference on a CPU, and the only module here that calls operators torch does not
promise to keep. Each is tried once on a small matrix against the plain product; where it is
missing or wrong, ``pack`` leaves the model as it is and ``quantize`` refuses.

``pack``      the same numbers in oneDNN's blocked order: no rearranging at every product
``quantize``  four bits a weight in groups of 32, multiplied without being unpacked in memory

Letters: C_in and C_out widths of a linear layer, G group size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 16  # 4 bits
GROUP = 32  # the block size of llama.cpp's Q4_1, so that its weights keep their own grid


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's blocked order; the same result, no gradients.

    Args:
        weight: (C_out, C_in). bias: (C_out,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        plain = weight.detach().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain, None)
        self.bias = None if bias is None else bias.detach()
        self.out_features, self.in_features = plain.shape

    @property
    def weight(self) -> Tensor:
        """The plain matrix (C_out, C_in), unpacked anew."""
        return self.packed.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights: ``w = (code - 8) * scale + zero`` in each group.

    Activations are bfloat16. One row at a time it is faster than any 16-bit product, because it
    reads a quarter of the bytes; with many rows it is not, because unpacking costs as much as
    it saves.

    Args:
        weight: (C_out, C_in); C_in a multiple of the group size.
        bias: (C_out,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, group: int = GROUP) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.group = group
        codes, scale, low = quantize_groups(weight.detach().float(), group)
        middle = low + LEVELS // 2 * scale  # torch counts codes from the middle: -8 .. 7
        pairs = torch.stack([scale, middle], dim=-1).transpose(0, 1)  # (C_in / G, C_out, 2)
        self.packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.int(), 1)
        self.scales = pairs.contiguous().to(torch.bfloat16)
        self.bias = None if bias is None else bias.detach()

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.packed.numel() + 2 * self.scales.numel()

    def forward(self, x: Tensor) -> Tensor:
        """bfloat16 (..., C_in) -> (..., C_out)."""
        rows = x.reshape(-1, self.in_features)
        product = torch.ops.aten._weight_int4pack_mm_for_cpu
        y = product(rows, self.packed, self.group, self.scales)
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


def quantize_groups(weight: Tensor, group: int = GROUP) -> tuple[Tensor, Tensor, Tensor]:
    """Each group of G neighbours in a row on its own grid of 16 levels, least to greatest.

    ``code = round((w - low) / scale)`` with ``scale = (high - low) / 15``. Weights that lie on
    such a grid already (a Q4_1 file) get their old codes back.

    Args:
        weight: (C_out, C_in).

    Returns:
        codes 0..15 (C_out, C_in) as int64; scale and low, each (C_out, C_in / G).

    Raises:
        ValueError: G does not divide C_in.
    """
    if weight.dim() != 2 or weight.shape[1] % group:
        raise ValueError(f"a group of {group} does not divide the rows of {tuple(weight.shape)}")
    groups = weight.unflatten(1, (-1, group))  # (C_out, C_in / G, G)
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    scale = (high - low) / (LEVELS - 1)
    steps = (groups - low[..., None]) / scale.clamp(min=torch.finfo(weight.dtype).tiny)[..., None]
    return steps.round().long().clamp(0, LEVELS - 1).flatten(1), scale, low


def dequantize_groups(codes: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    """The weights (C_out, C_in) that codes, scales and least values stand for."""
    groups = codes.unflatten(1, (scale.shape[1], -1))
    return (groups * scale[..., None] + low[..., None]).flatten(1)


def pack(model: nn.Module, *, rows: int = 1, required: bool = False) -> nn.Module:
    """Replace linear layers by packed ones, in place; the model can then not be trained.

    Args:
        model: on a CPU. A tied output matrix is packed too, the embedding table stays.
        rows: the batch size it should pay for; float32 gains from a few rows on.
        required: raise instead of leaving the model alone where packing does not pay.

    Raises:
        RuntimeError: ``required`` and this torch or processor does not support it.
    """
    weight = next(model.parameters())
    if weight.device.type != "cpu" or not packing_pays(weight.dtype, rows):
        if required:
            raise RuntimeError(
                f"packed {weight.dtype} products are missing or slower on this {weight.device}"
            )
        return model
    return _replace(model, PackedLinear)


def quantize(model: nn.Module, group: int = GROUP) -> nn.Module:
    """Put the blocks' matrices into 4 bits, in place; the output matrix stays in 16 bits.

    Args:
        model: a bfloat16 decoder on a CPU, loaded with ``pack=False``.

    Raises:
        RuntimeError: this torch has no packed 4-bit product.
        TypeError: the model is not bfloat16.
    """
    if not int4_works():
        raise RuntimeError("this torch has no packed 4-bit product for CPUs (or it is wrong)")
    dtype = next(model.parameters()).dtype
    if dtype != torch.bfloat16:
        raise TypeError(f"the packed 4-bit product takes bfloat16 activations, got {dtype}")
    return _replace(model, lambda weight, bias: Int4Linear(weight, bias, group))


def _replace(model: nn.Module, make: Callable[[Tensor, Tensor | None], nn.Module]) -> nn.Module:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and not (parent is model and name == "head"):
                setattr(parent, name, make(child.weight, child.bias))
    if hasattr(model, "head"):
        table = model.tokens.weight if model.head is None else model.head.weight
        if packing_pays(table.dtype):
            model.head = PackedLinear(table)
    return model


@lru_cache(maxsize=8)
def packing_pays(dtype: torch.dtype, rows: int = 1) -> bool:
    """Whether the packed product exists here, is right, and is faster for so many rows."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(512, 512, generator=generator).to(dtype)
    x = torch.randn(rows, 512, generator=generator).to(dtype)
    try:
        packed = PackedLinear(weight)
        ours, plain = packed(x), F.linear(x, weight)
        if not torch.allclose(ours.float(), plain.float(), rtol=0.02, atol=0.5):
            return False
        return _seconds(lambda: packed(x)) < _seconds(lambda: F.linear(x, weight))
    except (AttributeError, RuntimeError, NotImplementedError):  # not in this torch or processor
        return False


@lru_cache(maxsize=1)
def int4_works() -> bool:
    """Whether torch's packed 4-bit product exists here and gives the right numbers."""
    weight = torch.arange(64 * GROUP, dtype=torch.float32).view(64, GROUP) % LEVELS - 8
    x = torch.ones(1, GROUP, dtype=torch.bfloat16)
    try:
        ours = Int4Linear(weight)(x)
    except (AttributeError, RuntimeError, NotImplementedError):  # not in this torch or processor
        return False
    return torch.equal(ours.float(), F.linear(x.float(), weight))


def _seconds(call: Callable[[], Tensor], repeats: int = 20) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
