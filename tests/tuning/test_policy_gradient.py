"""REINFORCE, PPO and KL: by hand, and properties that must hold for any numbers."""

import math

import pytest
import torch
from torch import tensor

from course_utils.tuning import policy_gradient as pg

MASK = tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_exact_kl_by_hand_and_never_negative():
    p, q = tensor([0.5, 0.5]).log(), tensor([0.9, 0.1]).log()
    by_hand = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert pg.exact_kl(p, q).item() == pytest.approx(by_hand, abs=1e-6)
    many = pg.exact_kl(draws(53, 7), draws(53, 7, seed=1))
    assert many.min() > 0
    assert pg.exact_kl(p, p).item() == 0


def test_estimators_agree_with_the_exact_kl():
    policy, reference = draws(7).log_softmax(-1), (draws(7) + 0.3 * draws(7, seed=1))
    reference = reference.log_softmax(-1)
    exact = pg.exact_kl(policy, reference)
    # the mean over all tokens with their probabilities is what sampling estimates
    for kind in ("k1", "k3"):
        mean = (policy.exp() * pg.token_kl(policy, reference, kind)).sum()
        torch.testing.assert_close(mean, exact)
    assert (pg.token_kl(policy, reference, "k3") >= 0).all()
    with pytest.raises(ValueError, match="estimator"):
        pg.token_kl(policy, reference, "k4")


def test_token_rewards_by_hand():
    logps = tensor([[-1.0, -2.0, -3.0], [-1.0, 9.0, 9.0], [-1.0, -1.0, 9.0]])
    reference = tensor([[-2.0, -2.0, -1.0], [-1.5, 0.0, 0.0], [-1.0, -3.0, 0.0]])
    got = pg.token_rewards(tensor([5.0, 6.0, 7.0]), logps, reference, MASK, beta=0.5)
    # -0.5 (1, 0, -2) and the score at the last sampled token
    expected = tensor([[-0.5, 0.0, 1.0 + 5.0], [-0.25 + 6.0, 0.0, 0.0], [0.0, -1.0 + 7.0, 0.0]])
    torch.testing.assert_close(got, expected)


def test_rewards_sum_to_score_minus_beta_kl():
    scores, logps, reference = draws(3), draws(3, 3, seed=1), draws(3, 3, seed=2)
    got = pg.token_rewards(scores, logps, reference, MASK, beta=0.3).sum(dim=1)
    torch.testing.assert_close(got, scores - 0.3 * ((logps - reference) * MASK).sum(dim=1))


def test_returns_to_go():
    rewards = tensor([[1.0, 2.0, 4.0], [3.0, 7.0, 7.0], [1.0, 1.0, 7.0]])
    expected = tensor([[7.0, 6.0, 4.0], [3.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    assert pg.returns_to_go(rewards, MASK).tolist() == expected.tolist()


def test_advantages_leave_the_text_itself_out():
    returns = tensor([[7.0, 6.0, 4.0], [3.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    got = pg.advantages(returns, MASK)
    # first place: 7 - (3 + 2) / 2; second: 6 - (3 + 1) / 2, the ended text keeps its 3
    expected = tensor([[4.5, 4.0, 2.0], [-1.5, 0.0, 0.0], [-3.0, -3.5, 0.0]])
    assert got.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="two texts"):
        pg.advantages(returns[:1], MASK[:1])


def test_a_constant_added_to_all_scores_changes_no_advantage():
    rewards = draws(3, 3)
    plain = pg.advantages(pg.returns_to_go(rewards, MASK), MASK)
    more = pg.token_rewards(torch.full((3,), 11.0).double(), *[torch.zeros(3, 3)] * 2, MASK, 0.0)
    shifted = pg.advantages(pg.returns_to_go(rewards + more, MASK), MASK)
    torch.testing.assert_close(plain, shifted)


def test_whitened():
    got = pg.whitened(draws(3, 3), MASK)[MASK]
    assert got.mean().item() == pytest.approx(0, abs=1e-9)
    assert got.square().mean().item() == pytest.approx(1, abs=1e-6)


def test_reinforce_gradient_is_the_advantage():
    logps = draws(3, 3).requires_grad_()
    gain = draws(3, 3, seed=1)
    pg.reinforce_loss(logps, gain, MASK).backward()
    torch.testing.assert_close(logps.grad, -gain * MASK / MASK.sum())


def test_reinforce_finds_the_policy_gradient_of_a_small_choice():
    """Mean over all outcomes of the estimate = gradient of the expected reward, by autograd."""
    rewards, logits = draws(5), draws(5, seed=1).requires_grad_()
    expected = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits)[0]
    found = torch.zeros(5, dtype=torch.float64)
    for action in range(5):
        logp = logits.log_softmax(0)[action]
        one = torch.ones(1, 1, dtype=torch.bool)
        loss = pg.reinforce_loss(logp[None, None], rewards[action][None, None] - 0.7, one)
        found -= logp.exp().detach() * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(found, expected)  # the baseline 0.7 cancels


def test_first_ppo_step_is_reinforce():
    logps, gain = draws(3, 3).requires_grad_(), draws(3, 3, seed=1)
    loss, held = pg.ppo_loss(logps, logps.detach(), gain, MASK)
    assert held == 0  # every ratio is 1
    ours = torch.autograd.grad(loss, logps)[0]
    theirs = torch.autograd.grad(pg.reinforce_loss(logps, gain, MASK), logps)[0]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "moves"),
    [
        (1.5, 2.0, -2.4, False),  # far enough up: 1.2 * 2 and no gradient
        (1.5, -2.0, 3.0, True),  # went the wrong way: never cut off
        (0.5, -2.0, 1.6, False),  # far enough down: 0.8 * -2
        (0.5, 2.0, -1.0, True),
        (1.1, 2.0, -2.2, True),  # inside
    ],
)
def test_ppo_by_hand(ratio, advantage, loss, moves):
    logps = torch.tensor([[math.log(ratio)]], requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bool)
    got, held = pg.ppo_loss(logps, torch.zeros(1, 1), tensor([[advantage]]), one, clip=0.2)
    got.backward()
    assert got.item() == pytest.approx(loss, abs=1e-6)
    assert bool(logps.grad.abs() > 0) is moves
    assert bool(held) is not moves


def test_adaptive_kl():
    control = pg.AdaptiveKL(beta=0.2, target=6.0, gain=0.1)
    assert control.update(6.6) == pytest.approx(0.2 * 1.01)  # ten percent too far
    assert control.update(60.0) == pytest.approx(0.2 * 1.01 * 1.02)  # error is cut at 0.2
    assert control.update(0.0) == pytest.approx(0.2 * 1.01 * 1.02 * 0.98)
    with pytest.raises(ValueError, match="target"):
        pg.AdaptiveKL(beta=0.2, target=0.0)
