"""Chapter 4 - Optimizers: AdamW from scratch, and the clipping of gradients.

Adam divides each weight's step by the usual size of its gradient, so that all weights move at
about the learning rate. AdamW shrinks weights beside that step instead of through the gradient,
where the division would undo it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay; the same numbers as ``torch.optim.AdamW``.

    For each weight w with gradient g at step t = 1, 2, …::

        w <- w (1 - lr · decay)
        m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g²
        w <- w - lr · (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        params: weights, or groups of them as dictionaries with a "params" and own settings.
        lr: learning rate; a schedule changes ``param_groups[i]["lr"]``.
        betas: b1, b2 of the two running means.
        eps: keeps the division from blowing up where gradients are nearly zero.
        weight_decay: share of a weight (times lr) that is taken away at each step.

    Raises:
        ValueError: a negative setting, or betas outside 0 to 1.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if min(lr, eps, weight_decay) < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                "lr, eps and weight_decay must not be negative and betas must lie in 0 to 1; got "
                f"lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Move every weight that has a gradient once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _move(self, weight: Tensor, group: dict) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        state["step"] += 1
        (beta1, beta2), step = group["betas"], state["step"]
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        state["mean"].lerp_(weight.grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        size = (state["square"].sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
        weight.addcdiv_(state["mean"], size, value=-group["lr"] / (1 - beta1**step))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups: matrices decay, biases and norms (one axis) do not.

    A norm's factor has its rest at 1, not at 0, and a bias has too few numbers to overfit.

    Args:
        model: its trainable weights are divided.
        weight_decay: of the matrices.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": weight_decay},
        {"params": [w for w in weights if w.dim() <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def clip_gradients(weights: Iterable[Tensor], longest: float) -> float:
    """Shorten the gradient of all weights together to a norm of at most ``longest``.

    ``g <- g · min(1, longest / |g|)``: the direction stays. In place.

    Returns:
        the norm before clipping.

    Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks",
    algorithm 1.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        raise ValueError("no weight has a gradient: call backward() first")
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    # a factor of exactly 1 for short gradients; 1e-6 as in torch, against a norm of zero
    factor = (longest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm.item()
