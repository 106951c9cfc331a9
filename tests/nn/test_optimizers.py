"""AdamW, clipping, decay groups, schedule: by hand, invariants, torch and transformers."""

import math

import pytest
import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from course_utils.nn.optimizers import AdamW, clip_gradients, decay_groups
from course_utils.nn.schedules import warm_up_cosine


def test_first_two_steps_by_hand():
    # w = 2, lr = 0.1, decay = 0.5, b1 = 0.5, b2 = 0.75, gradients 4 then -2, eps = 0
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = AdamW([w], lr=0.1, betas=(0.5, 0.75), eps=0.0, weight_decay=0.5)
    w.grad = torch.tensor([4.0], dtype=torch.float64)
    optimizer.step()
    # m = 2, v = 4; corrected 4 and 16: a step of 0.1 · 4 / 4; decay: 2 · 0.95 = 1.9
    assert w.item() == pytest.approx(1.8, abs=1e-12)
    w.grad = torch.tensor([-2.0], dtype=torch.float64)
    optimizer.step()
    # m = 0, so only the decay moves: 1.8 · 0.95
    assert w.item() == pytest.approx(1.71, abs=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_equals_torch_bit_for_bit(decay):
    ours, theirs = (nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    options = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-7, "weight_decay": decay}
    a = AdamW(ours.parameters(), **options)
    b = torch.optim.AdamW(theirs.parameters(), foreach=False, **options)
    for step in range(11):
        x = torch.randn(3, 7, generator=torch.Generator().manual_seed(step))
        for model, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    for w, v in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(w, v)


def test_weights_without_gradient_stay():
    w = nn.Parameter(torch.ones(3))
    AdamW([w], lr=1.0, weight_decay=1.0).step()
    assert torch.equal(w.detach(), torch.ones(3))


@pytest.mark.parametrize("bad", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="must not be negative"):
        AdamW([nn.Parameter(torch.ones(1))], **bad)


def test_matrices_decay_and_vectors_do_not():
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5))
    model[0].weight.requires_grad_(True)
    matrices, vectors = decay_groups(model, 0.2)
    assert [w.shape for w in matrices["params"]] == [(5, 3)]
    assert matrices["weight_decay"] == 0.2
    assert len(vectors["params"]) == 3
    assert vectors["weight_decay"] == 0


@pytest.mark.parametrize("longest", [0.5, 5.0, 100.0])
def test_clipping_equals_torch(longest):
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 5))]
    others = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 5))]
    for w, o in zip(weights, others, strict=True):
        w.grad = torch.arange(1.0, w.numel() + 1).reshape(w.shape)
        o.grad = w.grad.clone()
    norm = clip_gradients(weights, longest)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(others, longest).item(), rel=1e-6)
    for w, o in zip(weights, others, strict=True):
        torch.testing.assert_close(w.grad, o.grad, rtol=1e-6, atol=0)


def test_clipping_by_hand():
    w = nn.Parameter(torch.zeros(2))
    w.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([w], 1.0) == 5
    torch.testing.assert_close(w.grad, torch.tensor([0.6, 0.8]), rtol=1e-6, atol=0)


def test_clipping_without_gradients_is_refused():
    with pytest.raises(ValueError, match="backward"):
        clip_gradients([nn.Parameter(torch.ones(1))], 1.0)


def test_schedule_equals_transformers_up_to_its_start_at_zero():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, 5, 23)
    for step in range(23):
        if step >= 5:  # ours rises from 1/5, theirs from 0; the cosine is the same
            assert warm_up_cosine(step, 23, 5, floor=0.0) == pytest.approx(
                theirs.get_last_lr()[0], abs=1e-12
            )
        else:
            assert warm_up_cosine(step, 23, 5) == pytest.approx(theirs.get_last_lr()[0] + 1 / 5)
        optimizer.step()
        theirs.step()


def test_schedule_equals_torchs_cosine_with_a_floor():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=19, eta_min=0.2)
    for step in range(19):
        ours = warm_up_cosine(step, 19, 0, floor=0.2)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_schedule_never_starts_at_zero_and_keeps_its_floor():
    assert warm_up_cosine(0, 7, 3) == pytest.approx(1 / 3)
    assert warm_up_cosine(70, 7, 3, floor=0.1) == pytest.approx(0.1)
    values = [warm_up_cosine(s, 101, 7) for s in range(101)]
    assert max(values) == 1
    assert all(math.isfinite(v) and v > 0 for v in values)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="does not fit into a run of 3"):
        warm_up_cosine(0, 3, 500)
