"""Chapter 4 - Memory: what training a model must keep, computed and measured.

Four columns for each method: weights, gradients, optimiser state (Adam's two running means), and
what is left, the activations, which grow with the batch and not with the method. Full fine-tuning
pays 16 bytes a weight in float32. LoRA pays gradients and optimiser only for its corrections;
QLoRA also shrinks the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.tuning.nf4 import bits_per_weight

FLOAT = 4  # bytes of a float32 number


@dataclass(frozen=True)
class TrainingBytes:
    """Bytes that training keeps between two steps.

    Args:
        weights: frozen and trained ones, quantised ones as they are stored.
        gradients: of the weights that train.
        optimiser: Adam's running means of gradients and of their squares.
    """

    weights: float
    gradients: float
    optimiser: float

    @property
    def total(self) -> float:
        """All three."""
        return self.weights + self.gradients + self.optimiser


def expected_bytes(model: nn.Module) -> TrainingBytes:
    """What training this model with AdamW will keep, from its tensors' sizes.

    Gradients have the type of their weights, and so have Adam's two means.
    """
    trained = sum(w.numel() * w.element_size() for w in model.parameters() if w.requires_grad)
    return TrainingBytes(_stored(model), trained, 2 * trained)


def held_bytes(model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainingBytes:
    """The same, measured on the tensors that exist after a training step.

    Adam's step counters (one number per weight tensor) are not counted.
    """
    gradients = sum(_size(w.grad) for w in model.parameters() if w.grad is not None)
    states = (s for state in optimiser.state.values() for s in state.values())
    means = sum(_size(s) for s in states if isinstance(s, Tensor) and s.dim())
    return TrainingBytes(_stored(model), gradients, means)


def planned_bytes(
    parameters: int,
    trained: int | None = None,
    *,
    frozen_bits: float = 32.0,
    kept: int = 0,
) -> TrainingBytes:
    """What training a model of a given size would keep, without building it.

    ``weights = b (N - kept) / 8 + 4 kept + 4 n``, ``gradients = 4 n``, ``optimiser = 8 n``.

    Args:
        parameters: N, weights of the base model.
        trained: n, numbers that train beside it; None: all N themselves (full fine-tuning).
        frozen_bits: b of a frozen weight: 32, 16 (bfloat16), or ``bits_per_weight()`` for NF4.
        kept: frozen weights that stay in 4 bytes each: embeddings and norms under QLoRA.

    >>> full, lora = planned_bytes(1000), planned_bytes(1000, 10, frozen_bits=16)
    >>> full.total, lora.total
    (16000, 2160.0)
    """
    if trained is None:
        return TrainingBytes(FLOAT * parameters, FLOAT * parameters, 2 * FLOAT * parameters)
    weights = frozen_bits * (parameters - kept) / 8 + FLOAT * (kept + trained)
    return TrainingBytes(weights, FLOAT * trained, 2 * FLOAT * trained)


def break_even(activation_bytes: float, *, bits: float = 16.0, share: float = 0.1) -> float:
    """The number of frozen weights from which NF4 lowers the whole by at least this share.

    NF4 saves ``(bits - 4.127) / 8`` bytes a weight. With activations A that do not change, the
    whole is ``A + bits / 8 N``; the saving is a share s of it from
    ``N = s A / ((bits - 4.127) / 8 - s bits / 8)`` on.

    Args:
        activation_bytes: A, what the method does not change.
        bits: of a frozen weight before.
        share: s, below the share of bits that NF4 saves.
    """
    saved, whole = (bits - bits_per_weight()) / 8, bits / 8
    if not 0 < share < saved / whole:
        raise ValueError(f"NF4 saves at most {saved / whole:.0%} of {bits:g}-bit weights")
    return share * activation_bytes / (saved - share * whole)


def _stored(model: nn.Module) -> int:
    """Bytes of parameters and buffers, tied ones once, with bitsandbytes' scales."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    for weight in model.parameters():
        tensors += _scales(getattr(weight, "quant_state", None))
    return sum(_size(tensor) for tensor in _distinct(tensors))


def _scales(state: object) -> list[Tensor]:
    """Tensors of a bitsandbytes quantisation state (its two tables of levels are constants)."""
    if state is None:
        return []
    nested = getattr(state, "state2", None)
    found = [getattr(state, "absmax", None), getattr(state, "offset", None)]
    found.append(getattr(nested, "absmax", None))
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
