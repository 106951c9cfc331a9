"""The training loop and the tasks with known answers."""

import math

import pytest
import torch
from torch import nn

from course_utils.nn import known_answer as task
from course_utils.nn.fitting import by_length, fit, logits_by_length, pad_rows, triangle
from course_utils.nn.transformer import Design, Transformer

PRE = Design("pre")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_triangle_by_hand():
    assert [triangle(step, 20, 0.2) for step in (0, 1, 3, 4, 12, 19)] == pytest.approx(
        [0.25, 0.5, 1, 1, 0.5, 1 / 16]
    )
    assert triangle(0, 1) == 1


def test_fit_equals_a_loop_written_out():
    def line():
        torch.manual_seed(0)
        return nn.Linear(3, 1)

    x, y = torch.randn(17, 3, generator=seeded()), torch.randn(17, 1, generator=seeded(1))
    model, other = line(), line()
    losses = fit(model, lambda _: (model(x) - y).pow(2).mean(), 7, learning_rate=0.1)
    optimiser = torch.optim.AdamW(other.parameters(), lr=0.1, weight_decay=0.0)
    theirs = []
    for step in range(7):
        optimiser.param_groups[0]["lr"] = 0.1 * triangle(step, 7)
        loss = (other(x) - y).pow(2).mean()
        theirs.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimiser.step()
    assert losses == pytest.approx(theirs, rel=1e-5)
    torch.testing.assert_close(model.weight, other.weight)


def test_fit_ends_when_the_loss_is_not_finite():
    model = nn.Linear(1, 1)
    losses = fit(model, lambda step: model.weight.sum() * (math.nan if step == 2 else 1), 9)
    assert len(losses) == 3
    assert math.isnan(losses[-1])


def test_by_length_covers_every_row_once_with_little_padding():
    rows = [[1] * n for n in torch.randint(1, 61, (101,), generator=seeded()).tolist()]
    batches = by_length(rows, 7, seeded(1))
    assert sorted(row for batch in batches for row in batch) == list(range(101))
    spread = [max(len(rows[i]) for i in b) - min(len(rows[i]) for i in b) for b in batches]
    assert max(spread) <= 24
    assert batches != by_length(rows, 7, seeded(2))


def test_pad_rows():
    assert pad_rows([[5, 6, 7], [], [8]], pad_id=9).tolist() == [[5, 6, 7], [9, 9, 9], [8, 9, 9]]


def test_logits_come_in_the_order_of_the_rows():
    rows = [[7] * n for n in (5, 1, 3, 8, 2)]

    def sums(ids):
        return ids.sum(dim=1, keepdim=True).float()

    assert logits_by_length(sums, rows, batch_size=2).flatten().tolist() == [35, 7, 21, 56, 14]


def test_reverse_equals_a_loop():
    source, target = task.reversal_batch(53, seeded(), longest=7)
    assert {len(row) for row in _letters(source)} == set(range(1, 8))
    for row, answer in zip(_letters(source), target.tolist(), strict=True):
        padding = [task.PAD] * (7 - len(row))
        assert answer == [*row[::-1], task.STOP, *padding]


def _letters(source):
    return [[i for i in row if i != task.PAD] for row in source.tolist()]


def test_fixed_length_has_no_padding():
    source, _ = task.reversal_batch(11, seeded(), length=5)
    assert source.shape == (11, 5)
    assert (source >= task.FIRST_LETTER).all()


def test_shift_right():
    assert task.shift_right(torch.tensor([[5, 6, 2]])).tolist() == [[task.START, 5, 6]]


def test_exact_match_counts_whole_rows():
    source, target = task.reversal_batch(4, seeded(), length=3)
    model = Transformer(task.VOCAB_SIZE, task.VOCAB_SIZE, 8, 2, 1)
    written = target.clone()
    written[0, 1] = task.STOP  # one wrong letter spoils the row
    model.greedy = lambda *_, **__: written
    assert task.exact_match(model, source, target) == 0.75
    model.greedy = lambda *_, **__: written[:, :2]  # stopped early
    assert task.exact_match(model, source, target) == 0


def test_reversal_loss_of_an_untrained_uniform_model_is_log_v():
    model = Transformer(task.VOCAB_SIZE, task.VOCAB_SIZE, 8, 2, 1, tied=False)
    nn.init.zeros_(model.output.weight)
    source, target = task.reversal_batch(13, seeded())
    loss = task.reversal_loss(model, source, target).item()
    assert loss == pytest.approx(math.log(task.VOCAB_SIZE), rel=1e-5)


def test_tagger_learns_and_is_judged_by_position():
    model, losses = task.train_tagger(PRE, task.two_back, num_layers=1)
    assert losses[-1] < 0.3 < losses[0]
    accuracy = task.tagging_accuracy(model, task.two_back, 8)
    assert accuracy >= 0.95
    assert task.tagging_accuracy(model, task.backwards, 8) < 0.3


def test_two_back_and_backwards_by_hand():
    ids = torch.tensor([[3, 4, 5, 6]])
    assert task.two_back(ids).tolist() == [[0, 0, 3, 4]]
    assert task.backwards(ids).tolist() == [[6, 5, 4, 3]]
