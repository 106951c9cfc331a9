"""Chapter 4 - Packed weights: matrices stored the way the processor reads them.

Optional, for inference on a CPU. Decoding reads every weight once per token, and how fast that
goes depends on the order of the numbers in memory:

``StripLinear``   strips of 32 outputs, whose running sums stay in the processor's registers
``PackedLinear``  oneDNN's own blocked order, made once instead of at every product
``Int4Linear``    four bits a weight, multiplied without being unpacked in memory

The last two call operators that torch does not promise to keep. Each is tried on a small matrix
against the plain product; ``pack`` keeps what is right and fastest here, which may be nothing,
and ``quantize`` refuses where 4 bits do not work.

Letters: C_in and C_out widths of a linear layer, G group size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 16  # 4 bits
PROBE_BYTES = 40 * 2**20  # more than a core's share of the last cache
GROUP = 32  # the block size of llama.cpp's Q4_1, so that its weights keep their own grid


class StripLinear(nn.Module):
    """A linear layer cut into strips of 32 outputs: one long read of memory per strip.

    A product of one row with a plain matrix either jumps through memory or keeps adding to an
    output vector that does not fit into registers. In a strip, 32 sums stay in registers while
    the strip's weights are read in order. One row is summed in eight parts, added at the end:
    as fast, and rounding errors do not pile up along one chain of additions.

    Args:
        weight: (C_out, C_in). bias: (C_out,) or None.
    """

    STRIP, PARTS = 32, 8
    MANY = 256  # rows from which on one big product is faster, unpacking included

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        strips = weight.detach().unflatten(0, (-1, self.STRIP)).transpose(1, 2)
        self.strips = nn.Parameter(strips.contiguous())  # (C_out / 32, C_in, 32)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    @staticmethod
    def fits(weight: Tensor) -> bool:
        """Whether whole strips and whole parts cover the matrix."""
        out_features, in_features = weight.shape
        return out_features % StripLinear.STRIP == 0 and in_features % StripLinear.PARTS == 0

    def dense(self) -> Tensor:
        """The plain matrix (C_out, C_in), put together anew."""
        return self.strips.transpose(1, 2).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        rows = x.numel() // self.in_features
        if rows > self.MANY:
            return F.linear(x, self.dense(), self.bias)
        y = self._one(x) if rows == 1 else self._some(x.reshape(rows, self.in_features))
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def _one(self, x: Tensor) -> Tensor:
        strips, parts = len(self.strips), self.PARTS
        x = x.reshape(1, parts, 1, -1).expand(strips, -1, -1, -1)
        sums = torch.bmm(x.flatten(0, 1), self.strips.view(strips * parts, -1, self.STRIP))
        return sums.view(strips, parts, self.STRIP).sum(dim=1)

    def _some(self, x: Tensor) -> Tensor:
        y = torch.bmm(x.expand(len(self.strips), -1, -1), self.strips)  # (strips, rows, 32)
        return y.transpose(0, 1)


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's blocked order, which its kernels read directly; no gradients.

    Args:
        weight: (C_out, C_in). bias: (C_out,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        plain = weight.detach().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain, None)
        self.bias = None if bias is None else bias.detach()
        self.out_features, self.in_features = plain.shape

    @staticmethod
    def fits(weight: Tensor) -> bool:
        """Any matrix."""
        return weight.dim() == 2

    def dense(self) -> Tensor:
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

    def product(self) -> Callable[[Tensor], Tensor]:
        """The bare product (rows, C_in) -> (rows, C_out), for callers that run it in a loop."""
        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu.default  # no search for an overload
        packed, group, scales = self.packed, self.group, self.scales
        return lambda x: multiply(x, packed, group, scales)

    def forward(self, x: Tensor) -> Tensor:
        """bfloat16 (..., C_in) -> (..., C_out)."""
        y = self.product()(x.reshape(-1, self.in_features))
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


PACKED = (StripLinear, PackedLinear, Int4Linear)


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


def pack(model: nn.Module, *, rows: int = 1) -> nn.Module:
    """Store every linear layer in the order that is fastest on this CPU, in place.

    For inference: the layers are no ``nn.Linear`` afterwards. Where the plain order is the
    fastest, nothing changes.

    Args:
        model: on a CPU. An output matrix tied to the embeddings is packed too where that pays;
            the table itself stays.
        rows: the batch size of a decoding step.
    """
    weight = next(model.parameters())
    kind = best_order(weight.dtype, rows) if weight.device.type == "cpu" else None
    return model if kind is None else _replace(model, kind)


def quantize(model: nn.Module, group: int = GROUP) -> nn.Module:
    """Put the blocks' matrices into 4 bits, in place; the output matrix stays in 16 bits.

    Args:
        model: a bfloat16 decoder on a CPU, loaded with ``pack=False``.

    Raises:
        RuntimeError: this torch has no packed 4-bit product.
        TypeError: the model is not bfloat16.
        ValueError: its matrices are packed in another way already.
    """
    packed = {type(m).__name__ for m in model.modules() if isinstance(m, PACKED)}
    if packed:
        raise ValueError(
            f"expected plain matrices; got {', '.join(sorted(packed))}: load with pack=False"
        )
    if not int4_works():
        raise RuntimeError("this torch has no packed 4-bit product for CPUs (or it is wrong)")
    dtype = next(model.parameters()).dtype
    if dtype != torch.bfloat16:
        raise TypeError(f"the packed 4-bit product takes bfloat16 activations, got {dtype}")
    return _replace(model, lambda weight, bias: Int4Linear(weight, bias, group))


def _replace(model: nn.Module, kind: Callable[..., nn.Module]) -> nn.Module:
    """Every linear layer of the blocks as another kind; the output matrix packed if that pays."""
    fits = getattr(kind, "fits", lambda weight: True)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            inside = not (parent is model and name == "head")
            if inside and isinstance(child, nn.Linear) and fits(child.weight):
                setattr(parent, name, kind(child.weight, child.bias))
    if hasattr(model, "head"):
        table = model.tokens.weight if model.head is None else model.head.weight
        if best_order(table.dtype) is PackedLinear:
            model.head = PackedLinear(table)
    return model


@lru_cache(maxsize=8)
def best_order(dtype: torch.dtype, rows: int = 1) -> type[StripLinear | PackedLinear] | None:
    """The fastest order of a matrix here for products with so many rows; None: the plain one.

    Decided by a probe over more weights than the caches hold (0.1-0.5 s, once), never by the
    processor's name. Each product is timed alone and the kinds take turns: on a busy machine the
    median of many short times holds still, which one long time does not.

    oneDNN's order is not taken for single float32 rows: its sums move SmolLM2's logits by 5e-4,
    ten times plain rounding.
    """
    kinds = (StripLinear, PackedLinear)
    if dtype == torch.float32 and rows == 1:
        kinds = (StripLinear,)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2048, 640, generator=generator).to(dtype)
    x = torch.randn(rows, 640, generator=generator).to(dtype)
    copies = PROBE_BYTES // (weight.numel() * dtype.itemsize)
    with torch.inference_mode():
        plain = [weight.clone() for _ in range(copies)]
        expected = F.linear(x, weight)
        ways: dict = {None: [partial(F.linear, weight=w) for w in plain]}
        for kind in kinds:
            if _works(kind, weight, x, expected):
                ways[kind] = [kind(w) for w in plain]
        times = _in_turns(ways, x)
    return min(times, key=lambda kind: times[kind])


def _in_turns(ways: dict, x: Tensor, repeats: int = 4) -> dict:
    """Median seconds of one product for each kind of layer; a first round warms up."""
    times: dict = {kind: [] for kind in ways}
    for turn in range(repeats + 1):
        for kind, layers in ways.items():
            found = [_seconds(layer, x) for layer in layers]
            times[kind] += found if turn else []
    return {kind: statistics.median(found) for kind, found in times.items()}


def _works(
    kind: type[StripLinear | PackedLinear], weight: Tensor, x: Tensor, expected: Tensor
) -> bool:
    """Whether torch and the processor have this order, and it gives the plain product."""
    try:
        with torch.no_grad():
            error = (kind(weight)(x).float() - expected.float()).norm() / expected.float().norm()
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return float(error) < 0.01


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


def _seconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> float:
    start = time.perf_counter()
    layer(x)
    return time.perf_counter() - start
