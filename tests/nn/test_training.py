"""Training loop: resume == uninterrupted bit for bit, accumulation == large batch, torch's loop."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_utils.nn.pretraining import MaskedModel, causal_loss, masked_loss, new_gpt
from course_utils.nn.stream import Batches
from course_utils.nn.training import Plan, Trainer, random_state, set_random_state, train

VOCABULARY, LENGTH = 31, 11


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def stream():
    return torch.randint(3, VOCABULARY - 1, (997,), generator=seeded(7))


def model():
    return new_gpt(VOCABULARY, 12, 2, 3, LENGTH, generator=seeded(1))


def trainer(plan, batch_size=5, **options):
    return Trainer(model(), Batches(stream(), LENGTH, batch_size, seed=3), plan, **options)


def noisy_loss(model, rows, generator):
    """A loss that draws from every generator there is: a resumed run must draw the same."""
    loss, count = causal_loss(model, rows)
    noise = random.random() + np.random.rand() + torch.rand(()).item()
    return loss * (1 + noise + torch.rand((), generator=generator)), count


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    plan = Plan(13, learning_rate=0.01, accumulation=2, seed=5)
    start = random_state()
    whole = trainer(plan, loss_of=noisy_loss)
    whole.run()
    set_random_state(start)
    trainer(plan, loss_of=noisy_loss).run(7, checkpoint=tmp_path / "run.pt")
    random.random(), np.random.rand(), torch.rand(3)  # the world goes on in between
    again = trainer(plan, loss_of=noisy_loss)
    again.run(checkpoint=tmp_path / "run.pt")
    assert again.history == whole.history
    assert len(again.history) == 13
    assert same(again.model, whole.model)


def test_a_run_without_its_optimizer_state_would_differ(tmp_path):
    plan = Plan(13, learning_rate=0.01)
    whole = trainer(plan)
    whole.run()
    half = trainer(plan)
    half.run(7)
    half.optimizer.state.clear()
    half.run()
    assert not same(half.model, whole.model)


def test_checkpoint_is_whole_or_the_old_one_stays(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    run = trainer(Plan(3))
    run.run(checkpoint=file)
    before = file.read_bytes()

    def broken(state, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        run.save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    trainer(Plan(3)).run(checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt has another learning_rate, steps"):
        trainer(Plan(5, learning_rate=0.1)).load(tmp_path / "run.pt")


def test_accumulation_equals_one_large_batch():
    """Batches of 2 three times = one of 6: float32 sums in another order, so not bit for bit."""
    parts, whole = trainer(Plan(1, accumulation=3), 2), trainer(Plan(1), 6)
    assert torch.equal(
        torch.cat([Batches(stream(), LENGTH, 2, seed=3).next()]),
        Batches(stream(), LENGTH, 6, seed=3).next()[:2],
    )
    a, b = parts.update(), whole.update()
    assert a.loss == pytest.approx(b.loss, rel=1e-6)
    assert a.norm == pytest.approx(b.norm, rel=1e-5)
    for x, y in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-6)


def test_accumulation_divides_by_all_predictions_also_when_batches_differ():
    w = torch.nn.Linear(1, 1, bias=False)
    w.weight.data.fill_(0.0)

    class Counts:
        """Batches of 1 and 3 numbers."""

        def __init__(self):
            self.parts = iter([torch.tensor([6.0]), torch.tensor([1.0, 2.0, 3.0])])

        def next(self):
            return next(self.parts)

    plan = Plan(1, accumulation=2, clip=1e9, weight_decay=0.0)
    run = Trainer(w, Counts(), plan, loss_of=lambda m, x, g: ((m.weight * x).sum(), len(x)))
    run.update()
    assert w.weight.grad.item() == pytest.approx((6 + 1 + 2 + 3) / 4)  # not (6 + 2) / 2


def test_loop_equals_the_same_loop_with_torchs_parts():
    plan = Plan(9, learning_rate=0.02, warm_up=0.3, clip=0.5, weight_decay=0.1)
    ours = trainer(plan)
    ours.run()
    other, batches = model(), Batches(stream(), LENGTH, 5, seed=3)
    groups = [
        {"params": [w for w in other.parameters() if w.dim() > 1], "weight_decay": 0.1},
        {"params": [w for w in other.parameters() if w.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.95))
    for step in range(9):
        rows = batches.next()
        loss = F.cross_entropy(other(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        optimizer.step()
        assert ours.history[step].loss == pytest.approx(loss.item(), abs=1e-4)


def test_loss_falls_and_validation_is_recorded():
    ones = torch.arange(3, 23).repeat(40)  # each token fixes the next
    run = Trainer(
        model(),
        Batches(ones, LENGTH, 5),
        Plan(31, learning_rate=0.02),
        validate=lambda m: 2.5,
        every=10,
    )
    history = run.run()
    assert history[-1].loss < 0.5 * history[0].loss
    assert [tokens for tokens, _ in run.validations] == [n * 55 for n in (10, 20, 30, 31)]
    assert history[-1].tokens == 31 * 55


def test_masked_objective_trains_through_the_same_loop():
    masked = MaskedModel(VOCABULARY, 12, 1, 3, LENGTH, generator=seeded(2))
    loss_of = masked_loss(VOCABULARY - 1, VOCABULARY - 1, share=0.5, end_id=0)
    history = train(masked, Batches(stream(), LENGTH, 5), Plan(3), loss_of=loss_of)
    assert history[0].tokens < 5 * LENGTH
    assert history[0].loss == pytest.approx(np.log(VOCABULARY), abs=0.4)  # it knows nothing yet


def test_bfloat16_runs_with_float32_weights():
    low = trainer(Plan(2, precision=torch.bfloat16))
    low.run()
    assert {w.dtype for w in low.model.parameters()} == {torch.float32}
    high = trainer(Plan(2))
    high.run()
    assert low.history[1].loss == pytest.approx(high.history[1].loss, rel=0.02)
    assert low.history[1].loss != high.history[1].loss


def test_sixteen_bit_weights_are_refused():
    with pytest.raises(TypeError, match="must be float32"):
        Trainer(model().bfloat16(), Batches(stream(), LENGTH, 5), Plan(2))


def test_a_loss_that_is_no_number_stops_the_run():
    run = trainer(Plan(3), loss_of=lambda m, x, g: (causal_loss(m, x)[0] * float("nan"), 1))
    with pytest.raises(FloatingPointError, match="step 0"):
        run.run()


def test_rate_rises_falls_and_survives_a_run_of_one_step():
    plan = Plan(20, learning_rate=2.0, warm_up=0.2, floor=0.1)
    assert [plan.rate(s) for s in (0, 3)] == [0.5, 2.0]
    assert plan.rate(19) < 0.25
    assert Plan(1, learning_rate=2.0, warm_up=1.0).rate(0) == 2.0
