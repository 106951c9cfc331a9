"""Chapter 4 - RLHF: sample, score, pay for the distance, update; end to end.

::

        prompts -> policy writes -> reward model scores -> minus beta KL to the reference
                      ^                                                  |
                      +------------- REINFORCE or PPO update <-----------+

The reference is the policy as it was before. Policy and reference are decoders of this course;
the score is any function of ids and mask. Rows of ids share one prompt length, so that nothing is
padded on the left; behind its end token a reply is filled with ``pad_id``.

Letters: B texts, P prompt length, T tokens of a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_utils.nn.families import Decoder
from course_utils.nn.fitting import triangle
from course_utils.nn.generation import generate
from course_utils.tuning import policy_gradient as pg

Score = Callable[..., Tensor]  # score(ids (B, P + T), mask=(B, P + T)) -> (B,)


@dataclass(frozen=True)
class Sampling:
    """How replies are written.

    Args:
        new_tokens: longest reply. end_id: ends a reply and belongs to it. pad_id: fills the rest.
        temperature: the policy *is* ``softmax(logits / temperature)``, in sampling and in all
            log-probabilities, so that texts come from the distribution that is trained.
    """

    new_tokens: int
    end_id: int
    pad_id: int
    temperature: float = 1.0


@dataclass(frozen=True)
class Rollout:
    """A batch of written texts and what is known about them.

    Attributes:
        ids: (B, P + T). mask: (B, T), True = a sampled token, its end token included.
        logps, reference: (B, T), log-probabilities under writer and reference. scores: (B,).
    """

    ids: Tensor
    mask: Tensor
    logps: Tensor
    reference: Tensor
    scores: Tensor

    @property
    def prompt(self) -> int:
        """P."""
        return self.ids.shape[1] - self.mask.shape[1]

    @property
    def kl(self) -> Tensor:
        """log pi(y) - log pi_ref(y) of each text (B,), in nats: its mean estimates the KL."""
        return ((self.logps - self.reference) * self.mask).sum(dim=1)

    @property
    def replies(self) -> list[list[int]]:
        """The sampled tokens of each text."""
        new = self.ids[:, self.prompt :]
        return [row[keep].tolist() for row, keep in zip(new, self.mask, strict=True)]

    @property
    def texts(self) -> list[list[int]]:
        """Prompt and reply of each text."""
        starts = self.ids[:, : self.prompt].tolist()
        return [start + reply for start, reply in zip(starts, self.replies, strict=True)]


def reply_log_probs(model: nn.Module, ids: Tensor, prompt: int, temperature: float = 1.0) -> Tensor:
    """Log-probability of every token after the prompt, (B, T), in nats.

    Args:
        ids: (B, P + T). prompt: P.
    """
    logits = model.logits(model.hidden(ids[:, :-1])[:, prompt - 1 :]) / temperature
    chosen = logits.gather(-1, ids[:, prompt:, None])[..., 0]
    return chosen - logits.logsumexp(dim=-1)


@torch.no_grad()
def write(
    policy: Decoder,
    reference: Decoder,
    score: Score,
    prompts: Tensor,
    how: Sampling,
    generator: torch.Generator | None = None,
) -> Rollout:
    """The policy continues each prompt (B, P); reference and score judge the result."""
    policy.eval()
    ids = generate(
        policy,
        prompts,
        how.new_tokens,
        temperature=how.temperature,
        stop_ids=how.end_id,
        pad_id=how.pad_id,
        generator=generator,
    ).clone()
    new = ids[:, prompts.shape[1] :]
    ended = (new == how.end_id).long().cumsum(dim=1) - (new == how.end_id).long()
    mask = ended == 0  # up to the first end token, which is itself a decision
    real = torch.cat([torch.ones_like(prompts, dtype=torch.bool), mask], dim=1)
    options = prompts.shape[1], how.temperature
    logps, known = (reply_log_probs(model, ids, *options) for model in (policy, reference))
    return Rollout(ids, mask, logps, known, score(ids, mask=real))


@dataclass(frozen=True)
class Plan:
    """How a policy is trained.

    Args:
        method: ``"reinforce"`` (one step per batch of fresh texts) or ``"ppo"``.
        rounds: batches of texts. batch_size: texts in each.
        learning_rate: the highest; it rises in the first tenth of the rounds and falls to zero.
        beta: price of a nat of KL, in units of score.
        target_kl: nats per text; given, beta follows the measured KL (``AdaptiveKL``).
        gain: how fast it follows.
        epochs, minibatches: PPO's passes over one batch, and its parts in each pass.
        clip: PPO's epsilon. max_norm: longest gradient.
    """

    method: str = "ppo"
    rounds: int = 40
    batch_size: int = 64
    learning_rate: float = 1e-3
    beta: float = 0.05
    target_kl: float | None = None
    gain: float = 0.5
    epochs: int = 4
    minibatches: int = 1
    clip: float = 0.2
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in ("reinforce", "ppo"):
            raise ValueError(f"method must be 'reinforce' or 'ppo', got {self.method!r}")
        if self.beta < 0 or (self.target_kl is not None and self.beta == 0):
            raise ValueError(f"beta must be at least 0 (above 0 to adapt), got {self.beta}")


@dataclass
class Progress:
    """What one round measured: means over its texts, before the update.

    Attributes:
        score: of the reward model. kl: nats per text. beta: price used. length: tokens per reply.
        held_back: share of tokens that PPO's clip stopped, at the last pass.
    """

    score: float
    kl: float
    beta: float
    length: float
    held_back: float = field(default=0.0)


def train_policy(
    policy: Decoder,
    reference: Decoder,
    score: Score,
    prompts: Tensor,
    how: Sampling,
    plan: Plan,
    *,
    seed: int = 0,
) -> list[Progress]:
    """Raise the score of what the policy writes, at a price for its distance from the reference.

    Args:
        policy: trained in place. reference: the frozen start, another object.
        score: higher is better.
        prompts: (N, P); a random part of them is continued in each round.

    Returns:
        one entry a round.

    Source: Ziegler et al. 2019, sections 2 and 2.2; Ouyang et al. 2022, section 3.5. Two things are
    simpler here: the baseline is the mean of the other texts and not a learned value function, and
    there is no mixing in of pretraining text.
    """
    if policy is reference:
        raise ValueError("the reference must be a copy of the policy, or it would move along")
    make = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=plan.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda r: triangle(r, plan.rounds))
    control = pg.AdaptiveKL(plan.beta, plan.target_kl, plan.gain) if plan.target_kl else None
    history: list[Progress] = []
    for _ in range(plan.rounds):
        chosen = torch.randint(len(prompts), (plan.batch_size,), generator=make)
        rollout = write(policy, reference, score, prompts[chosen], how, make)
        beta = control.beta if control else plan.beta
        held_back = _update(policy, optimiser, rollout, how, plan, beta, make)
        schedule.step()
        history.append(_progress(rollout, beta, held_back))
        if control:
            control.update(history[-1].kl)
    policy.eval()
    return history


def _update(policy, optimiser, rollout, how, plan, beta, make) -> float:
    """One or several steps on one batch; the share of tokens held back in the last one."""
    rewards = pg.token_rewards(rollout.scores, rollout.logps, rollout.reference, rollout.mask, beta)
    gains = pg.advantages(pg.returns_to_go(rewards, rollout.mask), rollout.mask)
    gains = pg.whitened(gains, rollout.mask)
    held_back = torch.zeros(())
    # without dropout in these models, evaluation mode only keeps sampling and training alike
    for rows in _parts(len(rollout.ids), plan, make):
        logps = reply_log_probs(policy, rollout.ids[rows], rollout.prompt, how.temperature)
        mask, gain = rollout.mask[rows], gains[rows]
        if plan.method == "ppo":
            loss, held_back = pg.ppo_loss(logps, rollout.logps[rows], gain, mask, clip=plan.clip)
        else:
            loss = pg.reinforce_loss(logps, gain, mask)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), plan.max_norm)
        optimiser.step()
    return float(held_back)


def _parts(size: int, plan: Plan, make: torch.Generator) -> Iterator[Tensor]:
    """Rows of each gradient step: all of them once for REINFORCE, parts and passes for PPO."""
    if plan.method == "reinforce":
        yield torch.arange(size)
        return
    for _ in range(plan.epochs):
        yield from torch.randperm(size, generator=make).chunk(plan.minibatches)


def _progress(rollout: Rollout, beta: float, held_back: float) -> Progress:
    lengths = rollout.mask.sum(dim=1).float()
    means = (float(x.mean()) for x in (rollout.scores, rollout.kl))
    return Progress(*means, beta, float(lengths.mean()), held_back)


def ranked_pairs(
    policy: Decoder,
    score: Score,
    prompts: Tensor,
    how: Sampling,
    *,
    samples: int = 4,
    generator: torch.Generator | None = None,
) -> tuple[list[dict], list[dict], Rollout]:
    """Several replies to each prompt; the best and the worst by score make a preference pair.

    Args:
        prompts: (N, P). samples: replies to each.

    Returns:
        chosen rows and rejected rows, N each, with ``input_ids`` and ``labels`` (-100 on the
        prompt), and the whole rollout of N * samples texts.
    """
    if samples < 2:
        raise ValueError(f"a pair needs at least two samples, got {samples}")
    many = prompts.repeat_interleave(samples, dim=0)
    rollout = write(policy, policy, score, many, how, generator)
    table = rollout.scores.view(-1, samples)
    offset = torch.arange(len(prompts)) * samples
    rows = [labelled(text, prompts.shape[1]) for text in rollout.texts]
    best, worst = (offset + table.argmax(dim=1)), (offset + table.argmin(dim=1))
    return [rows[i] for i in best], [rows[i] for i in worst], rollout


def labelled(text: list[int], prompt: int) -> dict[str, list[int]]:
    """A training row: the whole text, labels on what follows the prompt.

    >>> labelled([5, 6, 7], 2)
    {'input_ids': [5, 6, 7], 'labels': [-100, -100, 7]}
    """
    return {"input_ids": text, "labels": [-100] * prompt + text[prompt:]}
