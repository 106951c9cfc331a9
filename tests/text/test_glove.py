"""GloVe: loss by hand, one step against autograd and torch's AdaGrad, learning on toy counts."""

import numpy as np
import pytest
import torch
from scipy import sparse

from course_utils.text.glove import (
    Glove,
    GloveOptions,
    _step,
    glove_loss,
    glove_weight,
    train_glove,
)

V, C, B = 11, 5, 7


def test_weight_by_hand():
    weights = glove_weight(torch.tensor([100.0, 200.0, 6.25]))
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 0.125]))  # (1/16) ** .75


def test_loss_by_hand():
    word, context = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    bias = torch.tensor([0.5]), torch.tensor([-0.25])
    loss = glove_loss(word, context, *bias, torch.tensor([np.e]), x_max=np.e)
    assert loss.item() == pytest.approx((1 + 0.25 - 1) ** 2, rel=1e-5)


def test_cells_without_a_count_are_refused():
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match="above zero only"):
        glove_loss(torch.zeros(1, 2), torch.zeros(1, 2), zero, zero, zero)


def test_step_agrees_with_torch_adagrad():
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(V, C + 1, generator=generator, dtype=torch.float64) for _ in range(2)]
    places = torch.tensor([3, 1, 3, 0, 10, 3, 2]), torch.tensor([5, 5, 6, 0, 4, 1, 3])
    counts = torch.tensor([1.0, 7, 2, 120, 3, 0.5, 13], dtype=torch.float64)
    theirs = [table.clone().requires_grad_() for table in tables]
    optimizer = torch.optim.Adagrad(theirs, lr=0.05, initial_accumulator_value=1.0, eps=0)
    word, context = (table[place] for table, place in zip(theirs, places, strict=True))
    args = (word[:, :-1], context[:, :-1], word[:, -1], context[:, -1], counts)
    loss = glove_loss(*args).sum()
    (loss / 2).backward()  # the published code leaves the 2 of the square out
    optimizer.step()
    ours = _step(tables, [torch.ones_like(t) for t in tables], places, counts, GloveOptions())
    assert ours == pytest.approx(loss.item())
    for mine, other in zip(tables, theirs, strict=True):
        torch.testing.assert_close(mine, other.detach(), atol=1e-12, rtol=0)


def block_counts():
    """Words 0-5 keep together, and so do 6-10."""
    rng = np.random.default_rng(0)
    group = (np.arange(V) >= 6).astype(int)
    means = np.where(group[:, None] == group, 40.0, 2.0)
    upper = np.triu(rng.poisson(means), 1)
    return sparse.csr_matrix((upper + upper.T).astype(float)), group


def test_learns_the_logarithms_and_the_groups():
    counts, group = block_counts()
    options = GloveOptions(dim=C, epochs=200, learning_rate=0.1, batch_size=B, x_max=10.0)
    model = train_glove(counts, options)
    assert model.losses[-1] < 0.05 * model.losses[0]
    words = [f"w{i}" for i in range(V)]
    unit = model.vectors(words).unit
    same = (group[:, None] == group) & ~np.eye(V, dtype=bool)
    cosines = unit @ unit.T
    assert cosines[same].mean() > cosines[group[:, None] != group].mean() + 0.5


def test_vectors_are_the_sum_of_both_tables():
    model = Glove(torch.ones(3, 2), torch.full((3, 2), 2.0), torch.zeros(3), torch.zeros(3))
    assert (model.vectors(["a", "b", "c"]).matrix == 3).all()


def test_same_seed_same_model():
    counts, _ = block_counts()
    first, again = (train_glove(counts, GloveOptions(dim=C, epochs=2)).word for _ in range(2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)


def test_empty_matrix_and_divergence_are_errors():
    with pytest.raises(ValueError, match="empty"):
        train_glove(sparse.csr_matrix((3, 3)))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train_glove(sparse.csr_matrix(np.full((3, 3), np.inf)))
