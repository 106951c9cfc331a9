"""Chapter 4 - NF4: frozen weights in 4 bits, and corrections trained on top of them (QLoRA).

A block of 64 neighbours shares one scale, its largest absolute value. Each weight divided by the
scale becomes the number (0-15) of the nearest of 16 *levels*. Weights of trained networks are
roughly normal, so NF4 takes quantiles of a normal distribution as levels: dense around zero,
where most weights lie. The scales are then quantised themselves (double quantisation), which
saves another 0.37 bits a weight.

Letters: N weights of a matrix, G block size, C_in and C_out widths of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.tuning.surgery import ALL_LINEAR, Targets, find_layers, replace_layer

BLOCK, SCALE_BLOCK = 64, 256
# 1 - (1/30 + 1/32) / 2: the two tails' outermost quantiles averaged, to seven digits as published
OUTERMOST = 0.9677083


@lru_cache(maxsize=1)
def nf4_levels() -> Tensor:
    """The 16 levels of NormalFloat4: quantiles of a standard normal, scaled to [-1, 1].

    Seven negative ones from probabilities evenly spaced between 1 - p and 1/2, eight positive
    ones between 1/2 and p (p = 0.9677083), and an exact zero: padding and pruned weights stay
    what they are. Everything is divided by the largest.

    Returns:
        (16,) float32, rising; bit for bit the table of bitsandbytes.

    Source: Dettmers et al. 2023, "QLoRA", section 3 (the idea, equation 4) and appendix E (the
    values, which come from the probabilities above rather than from equation 4).
    """
    # float32 steps and float64 quantiles, in this order, are what the published table came from
    steps = [torch.linspace(OUTERMOST, 0.5, count + 1)[:-1] for count in (7, 8)]
    below, above = (torch.special.ndtri(p.double()).float() for p in steps)
    levels = torch.cat([-below, torch.zeros(1), above]).sort().values
    return levels / levels.max()


def uniform_levels(bits: int = 4) -> Tensor:
    """Evenly spaced levels ``k / (2^(bits-1) - 1)``: plain absmax integers, -7 to 7 for 4 bits."""
    most = 2 ** (bits - 1) - 1
    return torch.arange(-most, most + 1) / most


def fp4_levels() -> Tensor:
    """The values of a 4-bit float (one sign, two exponent, one mantissa bit) over their largest."""
    half = torch.tensor([0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0]) / 12
    return torch.cat([-half.flip(0), torch.zeros(1), half])


@lru_cache(maxsize=1)
def dynamic_levels() -> Tensor:
    """The 256 levels of the 8-bit dynamic type, used for the scales.

    Seven decades; with each step down a decade, half as many evenly spaced levels: relative
    precision near one, and small numbers still reached. Plus 0 and 1.

    Returns:
        (256,) float32, rising.

    Source: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", section 1.3.
    """
    found = [torch.tensor([0.0, 1.0])]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (decade - 6)
        found += [middles, -middles]
    return torch.cat(found).sort().values


def quantize_blocks(x: Tensor, levels: Tensor, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """Numbers of the nearest levels, and one scale per block.

    ``scale = max |x|`` in the block; ``code = argmin |levels - x / scale|``, a tie to the lower.

    Args:
        x: any shape, read as one row of N numbers; the last block may be shorter.
        levels: (L,), rising from -1 (or above) to 1, L <= 256.
        block: G.

    Returns:
        codes (N,) uint8, scales (ceil(N / G),) float32.

    Source: Dettmers et al. 2023, section 2, equation 1 (there for integers).
    """
    flat = x.detach().float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % block)).view(-1, block)  # zeros change no maximum
    scales = blocks.abs().amax(dim=1)
    unit = (blocks * (1 / scales.clamp(min=1e-38))[:, None]).clamp(-1, 1).flatten()[: len(flat)]
    levels = levels.to(flat.device)
    borders = (levels[:-1] + levels[1:]) / 2
    return torch.bucketize(unit, borders, out_int32=True).to(torch.uint8), scales


def dequantize_blocks(codes: Tensor, scales: Tensor, levels: Tensor, block: int = BLOCK) -> Tensor:
    """``levels[code] * scale``: (N,) float32."""
    values = levels.to(codes.device)[codes.int()]
    blocks = F.pad(values, (0, -len(values) % block)).view(-1, block)
    return (blocks * scales[:, None]).flatten()[: len(values)]


def pack_pairs(codes: Tensor) -> Tensor:
    """Two 4-bit codes in a byte, the first one in the upper half: (N,) -> (ceil(N / 2),).

    >>> pack_pairs(torch.tensor([1, 2, 15], dtype=torch.uint8)).tolist()
    [18, 240]
    """
    even = F.pad(codes, (0, len(codes) % 2))
    return (even[::2] << 4) | even[1::2]


def unpack_pairs(packed: Tensor, count: int) -> Tensor:
    """The first ``count`` codes of packed bytes."""
    return torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:count]


@dataclass(frozen=True)
class NF4Weight:
    """A matrix in 4 bits, its scales in 8 bits.

    Args:
        packed: (N / 2,) uint8, two codes a byte.
        shape: of the matrix.
        scale_codes: (N / 64,) uint8, the scales less their mean, in the dynamic 8-bit type.
        scale_scales: (N / 64 / 256,) float32. scale_mean: () float32.
    """

    packed: Tensor
    shape: tuple[int, ...]
    scale_codes: Tensor
    scale_scales: Tensor
    scale_mean: Tensor

    @property
    def count(self) -> int:
        """N."""
        return torch.Size(self.shape).numel()

    @property
    def bits_per_weight(self) -> float:
        """Bits that are stored, scales included, over the number of weights."""
        parts = (self.packed, self.scale_codes, self.scale_scales, self.scale_mean)
        return sum(8 * t.numel() * t.element_size() for t in parts) / self.count

    def scales(self) -> Tensor:
        """One scale per block of 64: (N / 64,) float32."""
        centred = dequantize_blocks(
            self.scale_codes, self.scale_scales, dynamic_levels(), SCALE_BLOCK
        )
        return centred + self.scale_mean

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The matrix that the codes stand for."""
        codes = unpack_pairs(self.packed, self.count)
        return dequantize_blocks(codes, self.scales(), nf4_levels()).view(self.shape).to(dtype)


def quantize_nf4(weight: Tensor) -> NF4Weight:
    """A matrix in NF4 with double quantisation.

    ``W ~ levels[code] * (mean + dynamic[scale_code] * scale_scale)``: blocks of 64 weights share
    a scale, blocks of 256 scales share a scale of their own. The mean is taken off first: scales
    are all positive, and the 8-bit type has a sign.

    Args:
        weight: (C_out, C_in), or any shape, of floating-point numbers.

    Raises:
        TypeError: the weights are not floating-point numbers. ValueError: they are not finite.

    Source: Dettmers et al. 2023, "QLoRA", section 3, "4-bit NormalFloat Quantization" and
    "Double Quantization".
    """
    if not weight.is_floating_point():
        raise TypeError(f"expected floating-point weights, got {weight.dtype}")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("the weights hold NaN or infinity, which no scale can hold")
    codes, scales = quantize_blocks(weight, nf4_levels(), BLOCK)
    mean = scales.mean()
    scale_codes, scale_scales = quantize_blocks(scales - mean, dynamic_levels(), SCALE_BLOCK)
    return NF4Weight(pack_pairs(codes), tuple(weight.shape), scale_codes, scale_scales, mean)


def bits_per_weight(*, double: bool = True, block: int = BLOCK) -> float:
    """``4 + 8 / G + 32 / (256 G)`` bits with double quantisation, ``4 + 32 / G`` without.

    >>> round(bits_per_weight(), 3), bits_per_weight(double=False)
    (4.127, 4.5)

    Source: Dettmers et al. 2023, section 3, "Double Quantization".
    """
    return 4 + 8 / block + 32 / (SCALE_BLOCK * block) if double else 4 + 32 / block


def relative_error(weight: Tensor, levels: Tensor, block: int = BLOCK) -> float:
    """``|W - dequantised W| / |W|`` (Euclidean norms) for any table of levels."""
    codes, scales = quantize_blocks(weight, levels, block)
    flat = weight.detach().float().flatten()
    return float((dequantize_blocks(codes, scales, levels, block) - flat).norm() / flat.norm())


class _Product(torch.autograd.Function):
    """``x W^T`` with W unpacked for the moment of the product, going forward and back.

    Autograd would keep the unpacked matrix of every layer until the backward pass, and with it
    all the memory that 4 bits save. W itself gets no gradient.
    """

    @staticmethod
    def forward(ctx, x: Tensor, unpack: Callable[[torch.dtype], Tensor]) -> Tensor:
        ctx.unpack = unpack
        return F.linear(x, unpack(x.dtype))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.unpack(gradient.dtype), None


class NF4Linear(nn.Module):
    """A frozen linear layer that keeps its matrix in NF4.

    ``y = x dequantise(W)^T + b``. Gradients flow to x, never to W: LoRA goes on top.

    Args:
        linear: the layer to quantise.

    Source: Dettmers et al. 2023, "QLoRA", section 3, equations 5 and 6.
    """

    STORED = ("packed", "scale_codes", "scale_scales", "scale_mean")

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        stored = quantize_nf4(linear.weight)
        for name in self.STORED:
            self.register_buffer(name, getattr(stored, name))
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @property
    def quantized(self) -> NF4Weight:
        """The stored numbers."""
        shape = (self.out_features, self.in_features)
        return NF4Weight(self.packed, shape, *(getattr(self, name) for name in self.STORED[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out), computed in the type of x."""
        y = _Product.apply(x, self.quantized.dequantize)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def dense(self) -> nn.Linear:
        """A plain, frozen layer with the dequantised matrix: what a merge needs."""
        plain = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        plain.weight = nn.Parameter(self.quantized.dequantize(), requires_grad=False)
        plain.bias = self.bias
        return plain

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NF4Linear:
        """Move between devices, but keep the scales in float32 under ``.to(bfloat16)``."""
        kept = {name: getattr(self, name) for name in self.STORED[2:]}
        super()._apply(fn, recurse)
        for name, tensor in kept.items():
            setattr(self, name, tensor.to(getattr(self, name).device))
        return self

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def quantize_linears(model: nn.Module, targets: Targets = ALL_LINEAR) -> nn.Module:
    """Put the matrices that a pattern names into NF4, in place; by default all but the output.

    Embeddings, norms and the output layer keep their numbers, as in QLoRA. ``inject_lora`` on
    the result gives QLoRA from scratch.

    Raises:
        ValueError: no layer fits. TypeError: a layer is no ``nn.Linear`` with plain numbers.
    """
    found = find_layers(model, targets)
    for name, layer in found.items():
        if type(layer) is not nn.Linear:
            raise TypeError(f"{name} is a {type(layer).__name__}; only nn.Linear is quantised")
    for name, layer in found.items():
        replace_layer(model, name, NF4Linear(layer))
    return model


def dequantize_linears(model: nn.Module) -> nn.Module:
    """Give every NF4 layer its plain matrix back (with the error of 4 bits), in place."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, NF4Linear):
            replace_layer(model, name, layer.dense())
    return model
