"""Chapter 4 - Policy gradient: raise a score of sampled texts without leaving the reference.

The objective of RLHF is ``E[score(y)] - beta KL(pi || pi_ref)``. The score arrives once, at the end
of a text; the KL is paid token by token. REINFORCE follows the gradient with fresh samples;
PPO takes several steps on the same samples and cuts off what would move too far.

Letters: B texts, T tokens of a reply (padding included), V vocabulary. Masks are (B, T), True = a
sampled token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T) over the tokens that the mask keeps: one number."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def exact_kl(policy_logits: Tensor, reference_logits: Tensor) -> Tensor:
    """KL of the next-token distributions, in nats: (..., V) and (..., V) -> (...).

    ``sum_v p(v) (log p(v) - log q(v))``, at least 0, and 0 only if they are equal.
    """
    p, q = policy_logits.log_softmax(dim=-1), reference_logits.log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def token_kl(policy_logps: Tensor, reference_logps: Tensor, estimator: str = "k1") -> Tensor:
    """KL(policy || reference) estimated from tokens that the policy sampled, in nats.

    With d = log p_ref - log p: ``k1 = -d`` (unbiased, may be negative), ``k2 = d^2 / 2`` (small
    variance, biased), ``k3 = exp(d) - 1 - d`` (unbiased and never negative).

    Args:
        policy_logps, reference_logps: of the sampled tokens, any shape.

    Source: Schulman 2020, "Approximating KL Divergence" (joschu.net/blog/kl-approx.html).
    """
    d = reference_logps - policy_logps
    kinds = {"k1": lambda: -d, "k2": lambda: d.square() / 2, "k3": lambda: d.exp() - 1 - d}
    if estimator not in kinds:
        raise ValueError(f"estimator must be one of {', '.join(kinds)}; got {estimator!r}")
    return kinds[estimator]()


def token_rewards(
    scores: Tensor, policy_logps: Tensor, reference_logps: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """The reward of every token: minus beta times its KL term, and the score at the last one.

    Args:
        scores: (B,). policy_logps, reference_logps, mask: (B, T).

    Returns:
        (B, T); a row sums to ``score - beta * (log pi(y) - log pi_ref(y))``.

    Source: Ziegler et al. 2019, "Fine-Tuning Language Models from Human Preferences", equation 2,
    spread over tokens as in Stiennon et al. 2020, section 3.4.
    """
    rewards = -beta * token_kl(policy_logps, reference_logps) * mask
    last = mask.long().cumsum(dim=1).argmax(dim=1, keepdim=True)  # first place of the full count
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def returns_to_go(rewards: Tensor, mask: Tensor) -> Tensor:
    """What is still to come from each token on: ``G_t = sum over s >= t of r_s``; (B, T).

    >>> returns_to_go(torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3))
    tensor([[7., 6., 4.]])
    """
    kept = rewards * mask
    return kept.flip(1).cumsum(1).flip(1) * mask


def advantages(returns: Tensor, mask: Tensor) -> Tensor:
    """How much better than the other texts: return minus the others' mean at the same place.

    The baseline of a text is made of the *other* texts (leave one out), so that it does not depend
    on what the text itself sampled and the gradient keeps its mean. A text that has ended counts in
    it with the return of its last token.

    Args:
        returns, mask: (B, T), from :func:`returns_to_go`.

    Source: Williams 1992 (REINFORCE with a baseline); Kool et al. 2019, "Buy 4 REINFORCE Samples,
    Get a Baseline for Free!", equation 8.
    """
    if len(returns) < 2:
        raise ValueError("a baseline needs at least two texts")
    # a finished text keeps its last return: its score is still a fair sample of what texts earn
    held = _hold_last(returns, mask)
    others = (held.sum(dim=0, keepdim=True) - held) / (len(held) - 1)
    return (returns - others) * mask


def _hold_last(returns: Tensor, mask: Tensor) -> Tensor:
    last = mask.long().cumsum(dim=1).argmax(dim=1, keepdim=True)
    return torch.where(mask.bool(), returns, returns.gather(1, last))


def whitened(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the kept tokens, so that step sizes do not follow reward sizes."""
    centre = masked_mean(values, mask)
    spread = masked_mean((values - centre).square(), mask).sqrt()
    return (values - centre) / (spread + 1e-8) * mask


def reinforce_loss(logps: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    """``-mean A_t log pi(y_t)``: its gradient is the policy gradient.

    Args:
        logps: (B, T), with gradients. advantage: (B, T), a constant. mask: (B, T).

    Source: Williams 1992, "Simple Statistical Gradient-Following Algorithms", equation 6.
    """
    return -masked_mean(advantage.detach() * logps, mask)


def ppo_loss(
    logps: Tensor, old_logps: Tensor, advantage: Tensor, mask: Tensor, *, clip: float = 0.2
) -> tuple[Tensor, Tensor]:
    """PPO's clipped objective, to be minimised, and the share of tokens that it holds back.

    ``-mean min(w A, clamp(w, 1 - clip, 1 + clip) A)``, w = pi(y_t) / pi_old(y_t)

    The smaller of the two: once a token has moved by the allowed factor in the direction that its
    advantage asks for, its gradient is zero. A move in the wrong direction is never cut off.

    Args:
        logps: (B, T), with gradients. old_logps: of the policy that sampled, (B, T).
        advantage, mask: (B, T). clip: epsilon.

    Source: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", equation 7.
    """
    if not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip}")
    ratio = (logps - old_logps.detach()).exp()
    plain = ratio * advantage.detach()
    cut = ratio.clamp(1 - clip, 1 + clip) * advantage.detach()
    held_back = masked_mean((cut < plain).float(), mask)
    return -masked_mean(torch.minimum(plain, cut), mask), held_back


@dataclass
class AdaptiveKL:
    """A beta that follows the measured KL: too far from the reference, and it grows.

    ``e = clamp((KL - target) / target, -0.2, 0.2)``, ``beta <- beta (1 + gain e)``

    Args:
        beta: the first value. target: nats per text. gain: K of the source, 0.1 there.

    Source: Ziegler et al. 2019, section 2.2.
    """

    beta: float
    target: float
    gain: float = 0.1

    def __post_init__(self) -> None:
        if not (self.beta > 0 and self.target > 0):
            raise ValueError(f"beta and target must be above 0, got {self.beta}, {self.target}")

    def update(self, kl: float) -> float:
        """The next beta after a batch with this KL."""
        error = min(max((kl - self.target) / self.target, -0.2), 0.2)
        self.beta *= 1 + self.gain * error
        return self.beta
