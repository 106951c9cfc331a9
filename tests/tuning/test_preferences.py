"""The preference losses: by hand, their invariants, and the values of trl."""

import math

import pytest
import torch
from tiny_models import make_ids, make_ours

from course_utils.tuning import dpo_loss
from course_utils.tuning.preferences import (
    LOSSES,
    implicit_rewards,
    preference_hits,
    sequence_log_probs,
)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


# Fixed tensors, and what trl 1.16.0 gives for them. The wheel was read, not installed: the loss
# statements of DPOTrainer._compute_loss (the if-chain over loss_type), KTOTrainer._compute_loss,
# ORPOTrainer.odds_ratio_loss and CPOTrainer.cpo_loss were cut out of its source and executed.
POLICY = double(-11.0, -23.5, -7.25, -40.0, -3.5), double(-13.0, -19.0, -9.5, -31.0, -8.0)
REFERENCE = double(-12.5, -22.0, -7.0, -43.0, -4.0), double(-12.0, -20.5, -9.0, -29.0, -6.0)
LENGTHS = {
    "chosen_lengths": torch.tensor([5, 11, 3, 17, 2]),
    "rejected_lengths": torch.tensor([7, 13, 5, 11, 3]),
}
TRL = {
    "sigmoid": (
        {"beta": 0.1},
        (0.575939420, 0.854355244, 0.680725304, 0.474076984, 0.575939420),
    ),
    "sigmoid, larger beta": (
        {"beta": 0.5},
        (0.251929081, 1.701413278, 0.632599035, 0.078889734, 0.251929081),
    ),
    # CPO's smoothed loss on log-ratios is conservative DPO
    "sigmoid, smoothed": (
        {"beta": 0.3, "label_smoothing": 0.2},
        (0.536871006, 1.061153875, 0.671350141, 0.501413278, 0.536871006),
    ),
    "robust": (
        {"beta": 0.3, "label_smoothing": 0.2},
        (0.136871006, 1.541153875, 0.631350141, -0.298586722, 0.136871006),
    ),
    "hinge": ({"beta": 0.3}, (0.25, 1.9, 0.925, 0.0, 0.25)),
    "ipo": (
        {"beta": 0.1, **LENGTHS},
        (20.767551020, 27.580859700, 24.833611111, 21.545483142, 16.673611111),
    ),
    "simpo": (
        {"beta": 2.0, "margin": 0.5, **LENGTHS},
        (1.452321741, 1.995733276, 1.728748036, 0.500894124, 0.233962525),
    ),
    "simpo, smoothed": (
        {"beta": 2.0, "margin": 0.5, "label_smoothing": 0.1, **LENGTHS},
        (1.333750312, 1.810768241, 1.575414702, 0.543942252, 0.367295858),
    ),
}
TRL_KTO = (  # beta = 0.3, kl = 0.7
    double(0.440286351, 0.659260388, 0.570771612, 0.334033073, 0.514995502),
    double(0.375193526, 0.559713649, 0.410959566, 0.307890496, 0.307890496),
)
TRL_ODDS = double(-0.227530599, -0.295017898, -0.256993532, -0.118181005, -0.075956866)


@pytest.mark.parametrize("name", TRL)
def test_trl_values(name):
    options, expected = TRL[name]
    kind = name.split(",")[0]
    got = dpo_loss(*POLICY, *REFERENCE, kind=kind, reduction="none", **options)
    # trl's values were printed with nine digits
    torch.testing.assert_close(got, double(*expected), rtol=0, atol=1e-8)


def test_trl_kto():
    got = dpo_loss(*POLICY, *REFERENCE, kind="kto", beta=0.3, kl=0.7, reduction="none")
    torch.testing.assert_close(got, sum(TRL_KTO) / 2, rtol=0, atol=1e-8)


def test_trl_orpo():
    got = dpo_loss(*POLICY, kind="orpo", beta=0.25, reduction="none", **LENGTHS)
    likelihood = -POLICY[0] / LENGTHS["chosen_lengths"]
    # odds_ratio_loss computes in float32: seven digits
    torch.testing.assert_close(got - likelihood, -TRL_ODDS, rtol=0, atol=1e-6)


def test_one_pair_by_hand():
    # log-ratios +2 and -1, beta 0.5: the gap counts 1.5, and -log s(1.5) = log(1 + e^-1.5)
    got = dpo_loss(double(-8.0), double(-13.0), double(-10.0), double(-12.0), beta=0.5)
    assert got.item() == pytest.approx(math.log(1 + math.exp(-1.5)), abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "start"), [("sigmoid", math.log(2)), ("hinge", 1.0), ("ipo", 25.0), ("kto", 0.5)]
)
def test_value_at_the_reference(kind, start):
    got = dpo_loss(*REFERENCE, *REFERENCE, kind=kind)
    assert got.item() == pytest.approx(start, abs=1e-12)


def test_robust_at_the_reference_is_log_2_whatever_the_noise():
    for share in (0.0, 0.1, 0.3):
        got = dpo_loss(*REFERENCE, *REFERENCE, kind="robust", label_smoothing=share)
        assert got.item() == pytest.approx(math.log(2), abs=1e-12)


def test_robust_undoes_the_noise_on_average():
    """Its mean over flips with the assumed share is the clean loss: that is its definition."""
    share, options = 0.3, {"kind": "robust", "label_smoothing": 0.3, "reduction": "none"}
    right = dpo_loss(*POLICY, *REFERENCE, **options)
    flipped = dpo_loss(*POLICY[::-1], *REFERENCE[::-1], **options)
    clean = dpo_loss(*POLICY, *REFERENCE, reduction="none")
    torch.testing.assert_close((1 - share) * right + share * flipped, clean)


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient(kind):
    def loss(chosen, rejected):  # 0.17: no pair stands at the hinge's edge
        return dpo_loss(chosen, rejected, *REFERENCE, kind=kind, beta=0.17, kl=0.3, **LENGTHS)

    chosen, rejected = (x.clone().requires_grad_() for x in POLICY)
    assert torch.autograd.gradcheck(loss, (chosen, rejected))
    loss(chosen, rejected).backward()
    assert (chosen.grad.sum() < 0) or kind == "ipo"  # a likelier chosen reply lowers the loss


def test_gradient_is_largest_where_the_order_is_wrong():
    # d loss / d chosen = -beta s(-beta gap): section 4 of the DPO paper
    chosen = POLICY[0].clone().requires_grad_()
    dpo_loss(chosen, POLICY[1], *REFERENCE, beta=0.4, reduction="none").sum().backward()
    gap = (POLICY[0] - REFERENCE[0]) - (POLICY[1] - REFERENCE[1])
    torch.testing.assert_close(chosen.grad, -0.4 * torch.sigmoid(-0.4 * gap))


def test_no_gradient_through_the_reference_point():
    kl = torch.tensor(0.5, requires_grad=True)
    chosen = POLICY[0].clone().requires_grad_()
    dpo_loss(chosen, POLICY[1], *REFERENCE, kind="kto", kl=kl).backward()
    assert kl.grad is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "ppo"}, "kind must be one of"),
        ({"beta": 0.0}, "beta"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"kind": "simpo"}, "lengths"),
        ({"reduction": "sum"}, "reduction"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        dpo_loss(*POLICY, *REFERENCE, **options)


def test_refuses_a_missing_reference_and_other_shapes():
    with pytest.raises(ValueError, match="reference"):
        dpo_loss(*POLICY)
    with pytest.raises(ValueError, match="shapes"):
        dpo_loss(POLICY[0][:, None], POLICY[1], *REFERENCE)  # would broadcast to (5, 5)


def test_implicit_rewards_and_hits():
    assert implicit_rewards(double(-3.0), double(-5.0), beta=0.5).item() == 1.0
    assert preference_hits(double(1, 2, 2), double(0, 2, 3)).tolist() == [1.0, 0.5, 0.0]


def test_sequence_log_probs_token_by_token():
    model, ids = make_ours(), make_ids(3, 7)
    labels = ids.clone()
    labels[0, :3], labels[1, :1], labels[2, :5] = -100, -100, -100
    labels[1, 5:] = -100  # padding
    with torch.no_grad():
        logits = model(ids)
    sums, lengths = sequence_log_probs(logits, labels)
    table = logits.log_softmax(-1)
    for row, tokens in enumerate([range(3, 7), range(1, 5), range(5, 7)]):
        expected = sum(table[row, t - 1, ids[row, t]].item() for t in tokens)
        assert sums[row].item() == pytest.approx(expected, abs=1e-4)  # float32 sums
    assert lengths.tolist() == [4, 4, 2]


def test_sequence_log_probs_refuses_a_row_without_reply():
    with pytest.raises(ValueError, match="no reply"):
        sequence_log_probs(torch.zeros(1, 3, 5), torch.full((1, 3), -100))
