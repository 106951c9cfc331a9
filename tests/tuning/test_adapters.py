"""Adapters: numbers by hand, identity at first, only they train, counts by the formula."""

import pytest
import torch
from tiny_models import logits_of, make_ids, make_llama, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters
from course_utils.tuning.adapters import (
    AdaptedLayer,
    Adapter,
    adapted_layers,
    adapter_parameters,
    inject_adapters,
    remove_adapters,
)
from course_utils.tuning.nf4 import quantize_linears
from course_utils.tuning.surgery import (
    load_trainable_state,
    parameter_counts,
    trainable_state,
)

OURS, THEIRS = ["attention.out", "feed_forward.down"], ["self_attn.o_proj", "mlp.down_proj"]
CASES = [(make_ours, OURS), (make_llama, THEIRS)]
models = pytest.mark.parametrize(("make", "targets"), CASES, ids=["ours", "llama"])


def test_one_adapter_by_hand():
    adapter = Adapter(3, 2, "relu")
    adapter.down.weight.data = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    adapter.down.bias.data = torch.tensor([-1.0, 0.0])
    adapter.up.weight.data = torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    adapter.up.bias.data = torch.tensor([0.0, 0.0, 0.5])
    # down: (1 + 3 - 1, 2 - 3) = (3, -1), relu (3, 0), up: (3, 6, 9.5)
    assert adapter(torch.tensor([1.0, 2.0, 3.0])).tolist() == [4.0, 8.0, 12.5]


@models
def test_the_model_is_unchanged_at_first_and_after_removal(make, targets):
    ids, model = make_ids(), make()
    names, before = set(model.state_dict()), logits_of(model, ids)
    inject_adapters(model, targets, 5)
    assert len(adapted_layers(model)) == 6
    assert torch.equal(logits_of(model, ids), before)
    for layer in adapted_layers(model).values():
        nn.init.normal_(layer.adapter.up.weight)
    assert (logits_of(model, ids) - before).abs().max() > 0.1
    remove_adapters(model)
    assert set(model.state_dict()) == names
    assert torch.equal(logits_of(model, ids), before)


@models
@pytest.mark.parametrize("norms", [False, True])
def test_only_they_train_and_their_number_is_the_formula(make, targets, norms):
    model = inject_adapters(make(), targets, 5, norms=norms)
    # two adapters and two norms in each of three blocks, one norm at the end
    expected = 6 * (2 * 84 * 5 + 84 + 5) + norms * 7 * 84
    assert 6 * adapter_parameters(84, 5) + norms * 7 * 84 == expected
    assert count_parameters(model, trainable=True) == expected
    assert parameter_counts(model) == (expected, count_parameters(model))
    names = [n for n, w in model.named_parameters() if w.requires_grad]
    assert all(".adapter." in name or "norm" in name for name in names)


def test_the_same_adapter_in_ours_and_theirs_gives_the_same_logits():
    ids = make_ids()
    ours, theirs = inject_adapters(make_ours(), OURS, 5), inject_adapters(make_llama(), THEIRS, 5)
    for mine, other in zip(
        adapted_layers(ours).values(), adapted_layers(theirs).values(), strict=True
    ):
        nn.init.normal_(mine.adapter.up.weight, std=0.3)
        other.adapter.load_state_dict(mine.adapter.state_dict())
    # float32 through three layers, logits of size about 20
    torch.testing.assert_close(logits_of(ours, ids), logits_of(theirs, ids), rtol=0, atol=2e-4)


@pytest.mark.parametrize("prepare", [lambda m: m, quantize_linears], ids=["float32", "nf4"])
def test_training_lowers_the_loss_and_leaves_the_model_alone(prepare):
    ids, model = make_ids(), prepare(make_ours())
    inject_adapters(model, OURS, 5)
    frozen = {n: w.clone() for n, w in model.named_parameters() if not w.requires_grad}
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=0.02)
    losses = []
    for _ in range(8):
        logits = model(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], weight) for name, weight in frozen.items())


def test_what_trains_is_stored_and_comes_back():
    ids, model = make_ids(), inject_adapters(make_ours(), OURS, 5)
    for layer in adapted_layers(model).values():
        nn.init.normal_(layer.adapter.up.weight)
    stored = trainable_state(model)
    assert sum(t.numel() for t in stored.values()) == 6 * adapter_parameters(84, 5)
    again = inject_adapters(make_ours(), OURS, 5)
    load_trainable_state(again, stored)
    assert torch.equal(logits_of(again, ids), logits_of(model, ids))
    del stored[next(iter(stored))]
    with pytest.raises(ValueError, match="1 weights do not fit"):
        load_trainable_state(again, stored)


def test_half_precision_base_keeps_float32_adapters():
    layer = AdaptedLayer(nn.Linear(7, 5).bfloat16(), 3)
    assert layer(torch.ones(2, 7, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert layer.adapter.up.weight.dtype == torch.float32


def test_faults_are_refused(ours):
    with pytest.raises(ValueError, match="bottleneck"):
        Adapter(3, 0)
    with pytest.raises(ValueError, match="activation"):
        Adapter(3, 2, "tanh")
    with pytest.raises(ValueError, match="near names"):
        inject_adapters(ours, ["attention.output"], 3)
    inject_adapters(ours, OURS, 3)
    with pytest.raises(ValueError, match="already"):
        inject_adapters(ours, OURS, 3)
