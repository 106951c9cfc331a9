"""Chapter 4 - Layers: what stands around attention in a transformer block.

Norms, feed-forward networks, dropout and the residual connection, each as its own small
class. Letters: B batch, T length, C model width, F feed-forward width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Shift and scale each position's C numbers to mean 0 and variance 1, then learn both anew.

    ``weight * (x - mean(x)) / sqrt(var(x) + eps) + bias``; the variance divides by C, not C-1.

    Args:
        hidden_size: C.
        eps: keeps the root away from zero.

    Source: Ba et al. 2016, "Layer Normalization", equations 3 and 4.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        wide = _widen(x)
        centred = wide - wide.mean(dim=-1, keepdim=True)
        scaled = centred * torch.rsqrt(centred.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return scaled.to(x.dtype) * self.weight + self.bias


class RMSNorm(nn.Module):
    """Scale each position's C numbers to a mean square of 1: LayerNorm without the shift.

    ``weight * x / sqrt(mean(x^2) + eps)``.

    Args:
        hidden_size: C.
        eps: keeps the root away from zero.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        wide = _widen(x)
        scaled = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * scaled.to(x.dtype)


def _widen(x: Tensor) -> Tensor:
    """Half precision to float32, where a sum of squares cannot overflow."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def relu(x: Tensor) -> Tensor:
    """``max(0, x)``."""
    return x.clamp(min=0)


def gelu(x: Tensor) -> Tensor:
    """``x * P(Z <= x)`` for a standard normal Z: BERT's activation.

    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2.
    """
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, which is what GPT-2 was trained with (``gelu_new``).

    Source: Hendrycks and Gimpel 2016, section 2.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


def silu(x: Tensor) -> Tensor:
    """``x * sigmoid(x)``, also called swish: the gate of LLaMA's feed-forward network."""
    return x * torch.sigmoid(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
}


class FeedForward(nn.Module):
    """The same two-layer network for every position: ``W_down f(W_up x)``.

    Args:
        hidden_size: C.
        ff_size: F, usually 4 C.
        activation: f, a key of ``ACTIVATIONS``: relu (2017), gelu (BERT), gelu_tanh (GPT-2).
        bias: whether both layers have one (T5 has none).
        dropout: share of the F activations set to zero in training.

    Source: Vaswani et al. 2017, section 3.3, equation 2.
    """

    def __init__(
        self,
        hidden_size: int,
        ff_size: int,
        activation: str = "relu",
        *,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = _activation(activation)
        self.up = nn.Linear(hidden_size, ff_size, bias=bias)
        self.down = nn.Linear(ff_size, hidden_size, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C); positions do not see one another."""
        return self.down(self.dropout(self.activation(self.up(x))))


class GatedFeedForward(nn.Module):
    """A feed-forward network with a gate: ``W_down (f(W_gate x) * W_up x)``.

    With f = silu it is SwiGLU (LLaMA), with gelu_tanh GEGLU (T5 1.1). Three matrices instead
    of two, so F is usually 8/3 C to keep the parameter count.

    Args:
        hidden_size: C.
        ff_size: F.
        activation: f, a key of ``ACTIVATIONS``.
        bias: whether the three layers have one.
        dropout: share of the F activations set to zero in training.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equations 5 and 6.
    """

    def __init__(
        self,
        hidden_size: int,
        ff_size: int,
        activation: str = "silu",
        *,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = _activation(activation)
        self.gate = nn.Linear(hidden_size, ff_size, bias=bias)
        self.up = nn.Linear(hidden_size, ff_size, bias=bias)
        self.down = nn.Linear(ff_size, hidden_size, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C); positions do not see one another."""
        return self.down(self.dropout(self.activation(self.gate(x)) * self.up(x)))


class SwiGLU(GatedFeedForward):
    """LLaMA's feed-forward network: :class:`GatedFeedForward` with a silu gate, no biases."""

    def __init__(self, hidden_size: int, ff_size: int, *, dropout: float = 0.0) -> None:
        super().__init__(hidden_size, ff_size, "silu", bias=False, dropout=dropout)


class Dropout(nn.Module):
    """In training, set each number to zero with probability p and scale the rest by 1/(1-p).

    The scaling keeps the expected value, so nothing has to change at inference.

    Source: Srivastava et al. 2014, "Dropout", section 4 (there the scaling is at test time).
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the identity outside training."""
        if not self.training or self.p == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)


class Residual(nn.Module):
    """Add a sub-layer's output to its input, with the norm after (2017) or before (GPT-2 on).

    post: ``norm(x + dropout(f(x)))``      pre: ``x + dropout(f(norm(x)))``

    In pre-norm nothing stands on the path of x itself, so gradients reach the first layer
    undiminished; the model then needs one last norm after its last block.

    Args:
        norm: a module (..., C) -> (..., C).
        dropout: applied to the sub-layer's output.
        order: "post" or "pre".
        add: False leaves out ``x +`` (only to see what breaks).

    Source: He et al. 2015 (residuals); Xiong et al. 2020, "On Layer Normalization in the
    Transformer Architecture", figure 1 (pre against post).
    """

    def __init__(
        self, norm: nn.Module, dropout: float = 0.0, order: str = "post", *, add: bool = True
    ) -> None:
        super().__init__()
        if order not in ("post", "pre"):
            raise ValueError(f"order must be 'post' or 'pre', got {order!r}")
        self.norm = norm
        self.dropout = Dropout(dropout)
        self.order = order
        self.add = add

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        y = self.dropout(sublayer(self.norm(x) if self.order == "pre" else x))
        y = x + y if self.add else y
        return self.norm(y) if self.order == "post" else y


def make_norm(kind: str, hidden_size: int, eps: float | None = None) -> nn.Module:
    """A norm by name: "layer", "rms" or "none"."""
    if kind == "none":
        return nn.Identity()
    if kind not in ("layer", "rms"):
        raise ValueError(f"norm must be 'layer', 'rms' or 'none', got {kind!r}")
    norm = LayerNorm if kind == "layer" else RMSNorm
    return norm(hidden_size) if eps is None else norm(hidden_size, eps)


def make_feed_forward(
    kind: str, hidden_size: int, ff_size: int, *, dropout: float = 0.0
) -> nn.Module:
    """A feed-forward network by name: a key of ``ACTIVATIONS``, or "swiglu"."""
    if kind == "swiglu":
        return SwiGLU(hidden_size, ff_size, dropout=dropout)
    return FeedForward(hidden_size, ff_size, kind, dropout=dropout)


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS[name]
