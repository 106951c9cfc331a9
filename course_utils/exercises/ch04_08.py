"""Exercises of lesson 4.8, Preference tuning: Bradley-Terry, KL per token, PPO's clip, DPO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.8.1 what scores say about pairs ----------------------------------------------------------


def pair_report(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    loss = hits = 0.0
    for better, worse in pairs:
        gap = better - worse
        # log(1 + exp(-gap)) without overflow: exp is only taken of numbers below 0
        loss += max(-gap, 0.0) + math.log1p(math.exp(-abs(gap)))
        hits += 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0
    return loss / len(pairs), hits / len(pairs)


def pair_report_numpy(pairs):
    import numpy as np

    gaps = np.array([better - worse for better, worse in pairs], dtype=float)
    return np.logaddexp(0, -gaps).mean(), ((np.sign(gaps) + 1) / 2).mean()


def pair_report_torch(pairs):
    import torch

    table = torch.tensor(pairs, dtype=torch.float64)
    gaps = table[:, 0] - table[:, 1]
    loss = -torch.nn.functional.logsigmoid(gaps).mean()
    return loss.item(), ((gaps > 0).double() + 0.5 * (gaps == 0).double()).mean().item()


def _loss_of_gaps(pairs, of):
    return sum(of(better - worse) for better, worse in pairs) / len(pairs)


def chance_not_loss(pairs):
    return _loss_of_gaps(pairs, _chance), pair_report(pairs)[1]


def wrong_sign(pairs):
    return pair_report([(worse, better) for better, worse in pairs])[0], pair_report(pairs)[1]


def scores_as_strengths(pairs):
    return sum(-math.log(_share(b, w)) for b, w in pairs) / len(pairs), pair_report(pairs)[1]


def log_of_the_mean(pairs):
    return -math.log(_loss_of_gaps(pairs, _chance)), pair_report(pairs)[1]


def ties_are_wins(pairs):
    return pair_report(pairs)[0], sum(b >= w for b, w in pairs) / len(pairs)


def ties_are_losses(pairs):
    return pair_report(pairs)[0], sum(b > w for b, w in pairs) / len(pairs)


def overflows(pairs):
    loss = sum(-math.log(1 / (1 + math.exp(-(b - w)))) for b, w in pairs) / len(pairs)
    return loss, pair_report(pairs)[1]


def _chance(gap: float) -> float:
    return 1 / (1 + math.exp(-gap)) if gap > -700 else 0.0


def _share(better: float, worse: float) -> float:
    total = better + worse
    return min(max(better / total, 1e-9), 1 - 1e-9) if total else 0.5


def check_pair_report(answer, t: Trial) -> None:
    def draw():
        return round(t.rng.uniform(0.5, 4.0), 2)

    sets = [[(draw() + 1, draw())] for _ in range(2)]
    sets += [[(draw(), draw()) for _ in range(4)] + [(2.0, 2.0), (3.0, 1.0)]]
    for pairs in sets:
        got = t.call(answer, pairs)
        t.has_shape(got, (2,), "Return two numbers: (loss, accuracy).")
        loss, accuracy = pair_report(pairs)
        mistakes = [
            (chance_not_loss(pairs)[0], "That is the mean chance. The loss is minus its log."),
            (
                wrong_sign(pairs)[0],
                "The sign is turned round: your loss grows when the better text scores higher.",
            ),
            (
                scores_as_strengths(pairs)[0],
                "Scores may be negative, so they are not strengths: the chance is the sigmoid of "
                "their difference, e^a / (e^a + e^b).",
            ),
        ]
        if len(pairs) > 1:
            mistakes.append(
                (log_of_the_mean(pairs)[0], "Take the log of each pair first, then the mean.")
            )
        t.close(
            float(got[0]), loss, tolerance=1e-6, says="The loss is not right.", mistakes=mistakes
        )
        t.close(
            float(got[1]),
            accuracy,
            tolerance=1e-9,
            says="The accuracy is not the share of pairs with the right order, ties half.",
            mistakes=[
                (ties_are_wins(pairs)[1], "A tie counts one half; you counted it as right."),
                (ties_are_losses(pairs)[1], "A tie counts one half; you counted it as wrong."),
            ],
        )
    t.passed("Loss and accuracy agree, ties count half")
    far = "A gap of -800 must give the loss 800: rewrite log(1 + e^800) so that e^800 is not taken."
    got = t.call(answer, [(-400.0, 400.0)], says=far)
    t.close(float(got[0]), 800.0, tolerance=1e-6, says=far)
    t.passed("and a gap of -800 does not overflow")


PAIR_REPORT = Exercise(
    id="4.8.1",
    title="What scores say about pairs",
    difficulty="easy",
    minutes=10,
    statement=r"""
A reward model gave two scores for each pair, the text that people preferred first. By
Bradley-Terry the chance of that preference is $\sigma(s_{better}-s_{worse})$. Return

1. the **loss**: the mean of $-\log\sigma(s_{better}-s_{worse})$;
2. the **accuracy**: the share of pairs in the right order, a tie counted one half.

Early in training gaps can be huge. A gap of $-800$ has the loss 800, and no overflow.
""",
    stub='''
def pair_report(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """(mean Bradley-Terry loss, accuracy) of (better, worse) scores.

    >>> pair_report([(2.0, 2.0)])
    (0.6931471805599453, 0.5)
    """
    raise NotImplementedError
''',
    name="pair_report",
    reference=pair_report,
    alternatives=(pair_report_numpy, pair_report_torch),
    wrong=(
        Wrong(chance_not_loss, "The loss is minus its log"),
        Wrong(wrong_sign, "The sign is turned round"),
        Wrong(scores_as_strengths, "they are not strengths"),
        Wrong(log_of_the_mean, "Take the log of each pair first"),
        Wrong(ties_are_wins, "you counted it as right"),
        Wrong(ties_are_losses, "you counted it as wrong"),
        Wrong(overflows, "must give the loss 800"),
    ),
    check=check_pair_report,
    hints=(
        "One gap per pair decides everything. What is -log sigmoid(gap) for a gap of 0?",
        "Gap 0: log 2 = 0.693 and half a hit. Gap 2: log(1 + e^-2) = 0.127 and a hit.",
        "1. `gap = better - worse`\n"
        "2. `-log sigmoid(gap) = log(1 + exp(-gap)) = max(-gap, 0) + log1p(exp(-abs(gap)))`\n"
        "3. mean of the losses; mean of 1, 0.5 or 0",
    ),
)


# -- 4.8.2 score and KL, token by token ----------------------------------------------------------


def token_returns(
    score: float, logps: Sequence[float], reference: Sequence[float], beta: float
) -> list[float]:
    returns, still_to_come = [], score
    for ours, theirs in zip(reversed(logps), reversed(reference), strict=True):
        still_to_come -= beta * (ours - theirs)
        returns.append(still_to_come)
    return returns[::-1]


def token_returns_numpy(score, logps, reference, beta):
    import numpy as np

    rewards = -beta * (np.asarray(logps, dtype=float) - np.asarray(reference, dtype=float))
    rewards[-1] += score
    return np.cumsum(rewards[::-1])[::-1]


def token_returns_torch(score, logps, reference, beta):
    import torch

    gaps = torch.tensor(logps, dtype=torch.float64) - torch.tensor(reference, dtype=torch.float64)
    paid = gaps.flip(0).cumsum(0).flip(0)
    return (score - beta * paid).tolist()


def score_at_every_token(score, logps, reference, beta):
    rewards = [score - beta * (a - b) for a, b in zip(logps, reference, strict=True)]
    return [sum(rewards[i:]) for i in range(len(rewards))]


def kl_as_a_bonus(score, logps, reference, beta):
    return token_returns(score, logps, reference, -beta)


def rewards_not_returns(score, logps, reference, beta):
    rewards = [-beta * (a - b) for a, b in zip(logps, reference, strict=True)]
    rewards[-1] += score
    return rewards


def from_the_start(score, logps, reference, beta):
    rewards = rewards_not_returns(score, logps, reference, beta)
    return [sum(rewards[: i + 1]) for i in range(len(rewards))]


def one_number_for_all(score, logps, reference, beta):
    return [token_returns(score, logps, reference, beta)[0]] * len(logps)


def price_forgotten(score, logps, reference, beta):
    return token_returns(score, logps, reference, 1.0)


RETURN_MISTAKES = (
    (score_at_every_token, "The score is paid once, at the last token, not at every token."),
    (
        kl_as_a_bonus,
        "The KL term is a price: a token that the policy likes more than the reference does costs "
        "reward. Your sign pays for it.",
    ),
    (
        rewards_not_returns,
        "Those are the rewards of the tokens. A return adds up all rewards from its token on.",
    ),
    (
        from_the_start,
        "You added up from the first token. What came before cannot be changed any more: add "
        "from the token on to the end.",
    ),
    (
        one_number_for_all,
        "Every token has the return of the whole text. A token is not to blame for the KL paid "
        "before it.",
    ),
    (price_forgotten, "The KL term is not multiplied by beta."),
)


def check_token_returns(answer, t: Trial) -> None:
    for length in (3, 5):
        score, beta = round(t.rng.uniform(1, 3), 2), round(t.rng.uniform(0.1, 0.5), 2)
        logps = [round(t.rng.uniform(-4, -0.1), 2) for _ in range(length)]
        reference = [round(t.rng.uniform(-4, -0.1), 2) for _ in range(length)]
        got = t.call(answer, score, logps, reference, beta)
        t.has_shape(got, (length,), "Return one number per token.")
        t.close(
            [float(x) for x in got],
            token_returns(score, logps, reference, beta),
            tolerance=1e-6,
            says="The returns are not what is still to come from each token on.",
            mistakes=[(f(score, logps, reference, beta), words) for f, words in RETURN_MISTAKES],
        )
    t.passed("Returns agree: the score once, the price of the KL from each token on")


TOKEN_RETURNS = Exercise(
    id="4.8.2",
    title="Score and KL, token by token",
    difficulty="medium",
    minutes=12,
    statement=r"""
A policy wrote one text. `logps` and `reference` are the log-probabilities of its tokens under the
policy and under the reference; `score` is the reward model's number for the whole text. The
reward of token $t$ is $-\beta\,(\log\pi(y_t)-\log\pi_{ref}(y_t))$, and the last token gets the
score on top. Return the **return** of each token: the sum of the rewards from it to the end.
""",
    stub='''
def token_returns(
    score: float, logps: list[float], reference: list[float], beta: float
) -> list[float]:
    """What is still to come from each token on.

    >>> token_returns(5.0, [-1.0, -2.0, -3.0], [-2.0, -2.0, -1.0], beta=0.5)
    [5.5, 6.0, 6.0]
    """
    raise NotImplementedError
''',
    name="token_returns",
    reference=token_returns,
    alternatives=(token_returns_numpy, token_returns_torch),
    wrong=(
        Wrong(score_at_every_token, "paid once, at the last token"),
        Wrong(kl_as_a_bonus, "The KL term is a price"),
        Wrong(rewards_not_returns, "A return adds up all rewards"),
        Wrong(from_the_start, "added up from the first token"),
        Wrong(one_number_for_all, "not to blame for the KL paid"),
        Wrong(price_forgotten, "not multiplied by beta"),
    ),
    check=check_token_returns,
    hints=(
        "Write the three rewards of the example first: -0.5, 0 and 1 + 5. Then add from the right.",
        "In the example the gaps are 1, 0, -2. Times -0.5: -0.5, 0, 1; the score makes the last "
        "one 6. From the right: 6, 6, 5.5.",
        "1. `rewards = [-beta * (a - b) …]`, `rewards[-1] += score`\n"
        "2. go through them from the end and keep a running sum\n"
        "3. turn the list of sums round",
    ),
)


# -- 4.8.3 PPO's clip ------------------------------------------------------------------------------


def clipped_loss(logps: Tensor, old_logps: Tensor, advantage: Tensor, clip: float) -> Tensor:
    import torch

    ratio = (logps - old_logps).exp()
    cut = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantage, cut * advantage).mean()


def clipped_loss_by_cases(logps, old_logps, advantage, clip):
    import torch

    ratio = torch.exp(logps - old_logps)
    limit = torch.where(advantage > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
    return -(limit * advantage).mean()


def clipped_loss_by_hand(logps, old_logps, advantage, clip):
    import torch

    terms = []
    for new, old, gain in zip(logps, old_logps, advantage, strict=True):
        ratio = torch.exp(new - old)
        cut = min(max(ratio.item(), 1 - clip), 1 + clip)
        keep = bool(ratio * gain <= cut * gain)
        terms.append(ratio * gain if keep else cut * gain)
    return -sum(terms) / len(terms)


def no_clip(logps, old_logps, advantage, clip):
    return -((logps - old_logps).exp() * advantage).mean()


def always_clipped(logps, old_logps, advantage, clip):
    return -((logps - old_logps).exp().clamp(1 - clip, 1 + clip) * advantage).mean()


def larger_of_the_two(logps, old_logps, advantage, clip):
    import torch

    ratio = (logps - old_logps).exp()
    cut = ratio.clamp(1 - clip, 1 + clip)
    return -torch.maximum(ratio * advantage, cut * advantage).mean()


def to_be_maximised(logps, old_logps, advantage, clip):
    return -clipped_loss(logps, old_logps, advantage, clip)


def log_ratio(logps, old_logps, advantage, clip):
    import torch

    ratio = logps - old_logps
    cut = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantage, cut * advantage).mean()


def summed(logps, old_logps, advantage, clip):
    return clipped_loss(logps, old_logps, advantage, clip) * len(logps)


def without_gradient(logps, old_logps, advantage, clip):
    return clipped_loss(logps.detach(), old_logps, advantage, clip)


CLIP_MISTAKES = (
    (no_clip, "Nothing is clipped: a ratio of 3 with a positive advantage counts in full."),
    (
        always_clipped,
        "The clipped ratio is used everywhere. A token that moved the wrong way then gets no "
        "gradient to bring it back: take the smaller of both products.",
    ),
    (
        larger_of_the_two,
        "You took the larger product. The smaller one is meant: it never promises more than the "
        "clip allows.",
    ),
    (to_be_maximised, "The sign: the objective is maximised, a loss is minimised."),
    (log_ratio, "The ratio is exp(logps - old_logps); you used its logarithm."),
    (summed, "Take the mean over tokens, not the sum."),
)


def check_clipped_loss(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for size in (7, 11):
        old = -3 * torch.rand(size, generator=make) - 0.5
        # both signs of the advantage, on both sides of the clip, and inside it
        factors = torch.tensor([1.9, 1.6, 0.4, 0.5, 1.05, 0.95, 1.0]).repeat(2)[:size]
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]).repeat(2)[:size]
        gain = signs * (0.5 + torch.rand(size, generator=make))
        clip = round(t.rng.uniform(0.1, 0.3), 2)
        logps = (old + factors.log()).requires_grad_()
        shows = f"clipped_loss(...) of {size} tokens, clip={clip}"
        got = t.call(answer, logps, old, gain, clip, shows=shows)
        expected = clipped_loss(logps, old, gain, clip)
        t.has_shape(got, (), "Return one number, the mean over tokens.")
        t.close(
            got.detach(),
            expected.detach(),
            tolerance=1e-5,
            says="The loss is not right.",
            mistakes=[(f(logps, old, gain, clip).detach(), words) for f, words in CLIP_MISTAKES],
        )
        t.that(
            got.requires_grad,
            "The loss has the right value and no gradient: the policy cannot learn from it.",
        )
        ours, theirs = (
            torch.autograd.grad(x, logps, retain_graph=True)[0] for x in (got, expected)
        )
        t.close(ours, theirs, tolerance=1e-5, says="The gradient is not that of the clipped loss.")
    t.passed("Value and gradient agree inside the clip and on both sides of it, for both signs")


CLIPPED_LOSS = Exercise(
    id="4.8.3",
    title="PPO's clip",
    difficulty="medium",
    minutes=12,
    statement=r"""
With the ratio $w_t=\pi(y_t)/\pi_{old}(y_t)$ and the advantage $A_t$, PPO maximises the mean of
$\min\left(w_tA_t,\ \mathrm{clip}(w_t, 1-\epsilon, 1+\epsilon)\,A_t\right)$.
Return the **loss** to be minimised, one number with a gradient to `logps`. All tensors are (T,).
""",
    stub='''
import torch
from torch import Tensor


def clipped_loss(logps: Tensor, old_logps: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's loss of T tokens.

    >>> clipped_loss(torch.tensor([1.5]).log(), torch.zeros(1), torch.tensor([2.0]), 0.2)
    tensor(-2.4000)
    """
    raise NotImplementedError
''',
    name="clipped_loss",
    reference=clipped_loss,
    alternatives=(clipped_loss_by_cases, clipped_loss_by_hand),
    wrong=(
        Wrong(no_clip, "Nothing is clipped"),
        Wrong(always_clipped, "moved the wrong way"),
        Wrong(larger_of_the_two, "You took the larger product"),
        Wrong(to_be_maximised, "a loss is minimised"),
        Wrong(log_ratio, "you used its logarithm"),
        Wrong(summed, "mean over tokens"),
        Wrong(without_gradient, "no gradient"),
    ),
    check=check_clipped_loss,
    hints=(
        "Ratio first, from log-probabilities. Then two products per token, and one of them counts.",
        "Ratio 1.5 and clip 0.2: with advantage 2 the products are 3 and 2.4, and 2.4 counts. With "
        "advantage -2 they are -3 and -2.4, and -3 counts.",
        "1. `ratio = (logps - old_logps).exp()`\n"
        "2. `cut = ratio.clamp(1 - clip, 1 + clip)`\n"
        "3. `-torch.minimum(ratio * advantage, cut * advantage).mean()`",
    ),
)


# -- 4.8.4 DPO from logits -------------------------------------------------------------------------


def dpo_from_tokens(
    policy: tuple[Tensor, Tensor],
    reference: tuple[Tensor, Tensor],
    masks: tuple[Tensor, Tensor],
    beta: float,
) -> Tensor:
    import torch.nn.functional as F

    chosen, rejected = (
        ((ours - theirs) * mask).sum(dim=1)
        for ours, theirs, mask in zip(policy, reference, masks, strict=True)
    )
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


def dpo_from_tokens_by_rows(policy, reference, masks, beta):
    import torch

    losses = []
    for row in range(len(policy[0])):
        rewards = []
        for side in (0, 1):
            keep = masks[side][row].bool()
            rewards.append(beta * (policy[side][row][keep] - reference[side][row][keep]).sum())
        losses.append(torch.log1p(torch.exp(rewards[1] - rewards[0])))
    return torch.stack(losses).mean()


def dpo_from_tokens_by_package(policy, reference, masks, beta):
    from course_utils.tuning import dpo_loss

    sums = [
        (x * mask).sum(dim=1)
        for pair in (policy, reference)
        for x, mask in zip(pair, masks, strict=True)
    ]
    return dpo_loss(*sums, beta=beta)


def _dpo(chosen, rejected, beta):
    import torch.nn.functional as F

    return -F.logsigmoid(beta * (chosen - rejected)).mean()


def _ratios(policy, reference, masks, mean=False):
    for ours, theirs, mask in zip(policy, reference, masks, strict=True):
        total = ((ours - theirs) * mask).sum(dim=1)
        yield total / mask.sum(dim=1) if mean else total


def prompt_and_padding_count(policy, reference, masks, beta):
    import torch

    return dpo_from_tokens(policy, reference, [torch.ones_like(m) for m in masks], beta)


def mean_per_token(policy, reference, masks, beta):
    return _dpo(*_ratios(policy, reference, masks, mean=True), beta)


def reference_left_out(policy, reference, masks, beta):
    import torch

    return dpo_from_tokens(policy, [torch.zeros_like(x) for x in reference], masks, beta)


def rejected_wins(policy, reference, masks, beta):
    chosen, rejected = _ratios(policy, reference, masks)
    return _dpo(rejected, chosen, beta)


def beta_forgotten(policy, reference, masks, beta):
    return dpo_from_tokens(policy, reference, masks, 1.0)


def mean_before_the_log(policy, reference, masks, beta):
    import torch.nn.functional as F

    chosen, rejected = _ratios(policy, reference, masks)
    return -F.logsigmoid(beta * (chosen - rejected).mean())


DPO_MISTAKES = (
    (
        prompt_and_padding_count,
        "Tokens outside the mask count in your sums. The mask keeps the reply: prompt and padding "
        "are no part of the preference.",
    ),
    (
        mean_per_token,
        "DPO adds up the log-probabilities of a reply. You took the mean per token, which is "
        "another loss of the family.",
    ),
    (
        reference_left_out,
        "The reference is missing: without it the loss asks for a likelier text, not for one "
        "likelier than before.",
    ),
    (
        rejected_wins,
        "Chosen and rejected (or policy and reference) are turned round: this trains the policy "
        "towards the worse reply.",
    ),
    (beta_forgotten, "The gap is not multiplied by beta."),
    (
        mean_before_the_log,
        "Take the loss of each pair, then the mean: not the loss of the mean gap.",
    ),
)


def check_dpo_from_tokens(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for rows, widths in ((5, (7, 11)), (3, (6, 4))):
        policy, reference, masks = [], [], []
        for width in widths:
            policy.append((-4 * torch.rand(rows, width, generator=make)).requires_grad_())
            reference.append(-4 * torch.rand(rows, width, generator=make))
            first = torch.randint(1, 3, (rows, 1), generator=make)
            last = width - torch.randint(0, 2, (rows, 1), generator=make)
            places = torch.arange(width)
            masks.append(((places >= first) & (places < last)).float())
        # the chosen replies are a little better already, so that no two mistakes agree
        beta = round(t.rng.uniform(0.2, 0.6), 2)
        inputs = tuple(policy), tuple(reference), tuple(masks), beta
        shows = f"dpo_from_tokens(...) of {rows} pairs, {widths} tokens wide, beta={beta}"
        got = t.call(answer, *inputs, shows=shows)
        expected = dpo_from_tokens(*inputs)
        t.has_shape(got, (), "Return one number, the mean over pairs.")
        t.close(
            got.detach(),
            expected.detach(),
            tolerance=1e-5,
            says="The loss is not right.",
            mistakes=[(f(*inputs).detach(), words) for f, words in DPO_MISTAKES],
        )
        t.that(got.requires_grad, "The loss has no gradient to the policy.")
    t.passed("The loss agrees for replies of different lengths, with prompts and padding left out")


DPO_FROM_TOKENS = Exercise(
    id="4.8.4",
    title="DPO from token log-probabilities",
    difficulty="hard",
    minutes=15,
    statement=r"""
`policy`, `reference` and `masks` are pairs (chosen, rejected) of tensors. `policy[0]` is (N, T):
the log-probability of every token of the chosen texts. `masks[0]` is 1 where the **reply** stands,
0 at the prompt and the padding. The rejected texts may have another width. Return the DPO loss

$$-\frac1N\sum_i\log\sigma\left(\beta\left[(\log\pi-\log\pi_{ref})(y^{chosen}_i)-
(\log\pi-\log\pi_{ref})(y^{rejected}_i)\right]\right)$$

as one number with a gradient to the policy.
""",
    stub='''
import torch
from torch import Tensor


def dpo_from_tokens(
    policy: tuple[Tensor, Tensor],
    reference: tuple[Tensor, Tensor],
    masks: tuple[Tensor, Tensor],
    beta: float,
) -> Tensor:
    """DPO loss of N pairs, from log-probabilities of tokens.

    >>> one = torch.ones(1, 1)
    >>> dpo_from_tokens((-one, -3 * one), (-2 * one, -2 * one), (one, one), beta=0.5)
    tensor(0.3133)
    """
    raise NotImplementedError
''',
    name="dpo_from_tokens",
    reference=dpo_from_tokens,
    alternatives=(dpo_from_tokens_by_rows, dpo_from_tokens_by_package),
    wrong=(
        Wrong(prompt_and_padding_count, "Tokens outside the mask"),
        Wrong(mean_per_token, "another loss of the family"),
        Wrong(reference_left_out, "The reference is missing"),
        Wrong(rejected_wins, "towards the worse reply"),
        Wrong(beta_forgotten, "not multiplied by beta"),
        Wrong(mean_before_the_log, "not the loss of the mean gap"),
    ),
    check=check_dpo_from_tokens,
    hints=(
        "First one number per text: its log-ratio, added up over the tokens of the reply.",
        "In the example the chosen text became likelier by 1, the rejected one less likely by 1: "
        "the gap is 2, times 0.5 is 1, and -log sigmoid(1) = 0.3133.",
        "1. `chosen = ((policy[0] - reference[0]) * masks[0]).sum(dim=1)`, (N,)\n"
        "2. the same for the rejected texts\n"
        "3. `-F.logsigmoid(beta * (chosen - rejected)).mean()`",
    ),
)


EXERCISES = [PAIR_REPORT, TOKEN_RETURNS, CLIPPED_LOSS, DPO_FROM_TOKENS]
