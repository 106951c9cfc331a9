"""Chapter 4 - Preferences: learn from "this is better than that", without a reward model.

DPO turns the best policy of a KL-bounded reward inside out: the policy itself *is* the reward,

``r(x, y) = beta (log pi(y|x) - log pi_ref(y|x)) + something that depends on x alone``

so a pair trains it by the loss of a reward model. IPO, KTO, ORPO, SimPO and the smoothed forms
change one line of it, and are one function here.

Letters: N pairs, B rows, T length of a row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.tuning.instructions import IGNORED

REFERENCE_FREE = ("orpo", "simpo")


@dataclass(frozen=True)
class Pairs:
    """What the losses of this family see of N pairs.

    Attributes:
        chosen, rejected: log-probabilities of the replies under the policy, summed over tokens.
        chosen_ratio, rejected_ratio: those minus the reference's; zeros without a reference.
        chosen_mean, rejected_mean: the policy's log-probability per token, or None.
        chosen_ratio_mean, rejected_ratio_mean: log-ratios per token (sums without lengths).
    """

    chosen: Tensor
    rejected: Tensor
    chosen_ratio: Tensor
    rejected_ratio: Tensor
    chosen_mean: Tensor | None
    rejected_mean: Tensor | None
    chosen_ratio_mean: Tensor
    rejected_ratio_mean: Tensor

    @property
    def gap(self) -> Tensor:
        """How much more the policy favours the chosen reply than the reference does (N,)."""
        return self.chosen_ratio - self.rejected_ratio


@dataclass(frozen=True)
class Strength:
    """The numbers of the losses, as in :func:`dpo_loss`."""

    beta: float
    smoothing: float
    margin: float
    kl: Tensor | float

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")
        if not 0 <= self.smoothing < 0.5:
            raise ValueError(f"label_smoothing must lie in [0, 0.5), got {self.smoothing}")


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor | None = None,
    reference_rejected_logps: Tensor | None = None,
    *,
    beta: float = 0.1,
    kind: str = "sigmoid",
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    kl: Tensor | float = 0.0,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Direct preference optimisation and its family.

    With c, r the log-ratios policy / reference of the chosen and the rejected reply:

    ``sigmoid``  -log s(beta (c - r)), smoothed: (1-e) of it plus e of the flipped pair (cDPO)
    ``robust``   the smoothed loss without its bias: ((1-e) l - e l_flipped) / (1 - 2e)
    ``hinge``    max(0, 1 - beta (c - r)) (SLiC)
    ``ipo``      (c - r - 1 / (2 beta))^2, c and r per token if lengths are given
    ``kto``      (1 - s(beta (c - kl)) + 1 - s(beta (kl - r))) / 2
    ``orpo``     -mean log p(chosen) - beta log s(log odds of chosen over rejected)
    ``simpo``    -log s(beta (mean log p(chosen) - mean log p(rejected)) - margin)

    Args:
        policy_chosen_logps, policy_rejected_logps: (N,), summed over the tokens of each reply.
        reference_chosen_logps, reference_rejected_logps: (N,), of the frozen reference; ``orpo``
            and ``simpo`` need none.
        beta: how strongly the policy is held to the reference (ORPO: the weight of its odds).
        kind: see above.
        label_smoothing: e, the share of pairs assumed to be labelled the wrong way round.
        margin: SimPO's gamma.
        kl: KTO's reference point, the policy's KL from the reference; no gradient passes it.
        chosen_lengths, rejected_lengths: (N,) tokens of each reply; ``orpo`` and ``simpo`` need
            them.
        reduction: ``"mean"`` over pairs, or ``"none"`` for (N,).

    Raises:
        ValueError: an unknown kind, shapes that differ, or an argument that the kind needs.

    Source: Rafailov et al. 2023, "Direct Preference Optimization", equation 7; Mitchell 2023
    (cDPO); Chowdhury et al. 2024 (robust); Zhao et al. 2023 (SLiC); Azar et al. 2023 (IPO),
    equation 17; Ethayarajh et al. 2024 (KTO), section 4; Hong et al. 2024 (ORPO), section 4; Meng
    et al. 2024 (SimPO), equation 6.
    """
    _check_choice("kind", kind, LOSSES)
    _check_choice("reduction", reduction, ("mean", "none"))
    policy = policy_chosen_logps, policy_rejected_logps
    reference = reference_chosen_logps, reference_rejected_logps
    pairs = _pairs(kind, policy, reference, (chosen_lengths, rejected_lengths))
    kl = kl.detach() if isinstance(kl, Tensor) else kl
    losses = LOSSES[kind](pairs, Strength(beta, label_smoothing, margin, kl))
    return losses.mean() if reduction == "mean" else losses


def _check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _pairs(kind: str, policy: tuple, reference: tuple, lengths: tuple) -> Pairs:
    chosen, rejected = policy
    if any(part is None for part in reference):
        if kind not in REFERENCE_FREE:
            raise ValueError(f"{kind} needs the reference's log-probabilities")
        reference = torch.zeros_like(chosen), torch.zeros_like(rejected)
    if any(part is None for part in lengths):
        if kind in REFERENCE_FREE:
            raise ValueError(f"{kind} needs chosen_lengths and rejected_lengths")
        lengths = None, None
    tensors = [*policy, *reference, *(part for part in lengths if part is not None)]
    shapes = {tuple(part.shape) for part in tensors}
    if len(shapes) != 1:
        raise ValueError(f"all log-probabilities and lengths must be (N,); got shapes {shapes}")
    ratios = chosen - reference[0], rejected - reference[1]
    return Pairs(
        *policy,
        *ratios,
        *(None if n is None else x / n for x, n in zip(policy, lengths, strict=True)),
        *(x if n is None else x / n for x, n in zip(ratios, lengths, strict=True)),
    )


def _smoothed(logits: Tensor, share: float) -> Tensor:
    """-log sigmoid of the logits, with a share of the labels turned round."""
    return -(1 - share) * F.logsigmoid(logits) - share * F.logsigmoid(-logits)


def _sigmoid(pairs: Pairs, by: Strength) -> Tensor:
    return _smoothed(by.beta * pairs.gap, by.smoothing)


def _robust(pairs: Pairs, by: Strength) -> Tensor:
    right, flipped = -F.logsigmoid(by.beta * pairs.gap), -F.logsigmoid(-by.beta * pairs.gap)
    return ((1 - by.smoothing) * right - by.smoothing * flipped) / (1 - 2 * by.smoothing)


def _hinge(pairs: Pairs, by: Strength) -> Tensor:
    return torch.relu(1 - by.beta * pairs.gap)


def _ipo(pairs: Pairs, by: Strength) -> Tensor:
    gap = pairs.chosen_ratio_mean - pairs.rejected_ratio_mean
    return (gap - 1 / (2 * by.beta)).square()


def _kto(pairs: Pairs, by: Strength) -> Tensor:
    wanted = 1 - torch.sigmoid(by.beta * (pairs.chosen_ratio - by.kl))
    unwanted = 1 - torch.sigmoid(by.beta * (by.kl - pairs.rejected_ratio))
    return (wanted + unwanted) / 2


def _orpo(pairs: Pairs, by: Strength) -> Tensor:
    odds = _log_odds(pairs.chosen_mean) - _log_odds(pairs.rejected_mean)
    return -pairs.chosen_mean - by.beta * F.logsigmoid(odds)


def _log_odds(mean: Tensor) -> Tensor:
    """log(p / (1 - p)) of a log-probability; 1 - p by expm1, which keeps its digits near p = 1."""
    return mean - torch.log(-torch.expm1(mean))


def _simpo(pairs: Pairs, by: Strength) -> Tensor:
    gap = pairs.chosen_mean - pairs.rejected_mean
    return _smoothed(by.beta * gap - by.margin, by.smoothing)


LOSSES: dict[str, Callable[[Pairs, Strength], Tensor]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "hinge": _hinge,
    "ipo": _ipo,
    "kto": _kto,
    "orpo": _orpo,
    "simpo": _simpo,
}


def implicit_rewards(policy_logps: Tensor, reference_logps: Tensor, beta: float = 0.1) -> Tensor:
    """The reward that a policy stands for: ``beta (log pi - log pi_ref)``, of any shape.

    Source: Rafailov et al. 2023, section 4 (the term of the prompt alone left out).
    """
    return beta * (policy_logps - reference_logps)


def preference_hits(chosen: Tensor, rejected: Tensor) -> Tensor:
    """1 where the chosen reply scores higher, 0.5 at a tie, else 0 (N,); the mean is accuracy."""
    return (chosen > rejected).float() + 0.5 * (chosen == rejected).float()


def sequence_log_probs(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each row's reply, in nats, and its number of tokens.

    Args:
        logits: (B, T, V), as the model gives them.
        labels: (B, T), the ids themselves where the reply stands, -100 elsewhere (prompt, padding).

    Returns:
        sums (B,) and lengths (B,). The score of token t comes from the logits of t - 1.

    Raises:
        ValueError: shapes that do not fit, or a row without a reply.
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(
            f"logits (B, T, V) and labels (B, T) do not fit: {tuple(logits.shape)}, "
            f"{tuple(labels.shape)}"
        )
    targets = labels[:, 1:]
    learned = targets != IGNORED
    if not bool(learned.any(dim=1).all()):
        raise ValueError("a row has no reply: all of its labels are -100")
    picked = logits[:, :-1][learned].float()  # (tokens of all replies, V)
    scores = -F.cross_entropy(picked, targets[learned], reduction="none")
    table = torch.zeros(targets.shape, dtype=scores.dtype, device=scores.device)
    return table.masked_scatter(learned, scores).sum(dim=1), learned.sum(dim=1)
