"""LoRA: numbers by hand, invariants (identity, merge, freeze), peft as oracle."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import logits_of, make_gpt2, make_ids, make_llama, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters
from course_utils.tuning import (
    LoRALinear,
    inject_lora,
    lora_layers,
    lora_parameters,
    merge_lora,
    unload_lora,
    unmerge_lora,
    without_lora,
)

TARGETS = ["q_proj", "v_proj", "mlp.down_proj"]
OURS = ["attention.qkv", "feed_forward.down"]
CASES = [(make_llama, TARGETS), (make_ours, OURS), (make_gpt2, ["attn.c_attn", "mlp.c_proj"])]
models = pytest.mark.parametrize(("make", "targets"), CASES, ids=["llama", "ours", "gpt2"])
# float32: three layers with sums of up to 84 products of size about 1, logits of size about 20
MERGED = {"rtol": 0, "atol": 2e-4}


def shake(model, seed=3):
    """Random B (and A): what training would leave behind."""
    generator = torch.Generator().manual_seed(seed)
    for layer in lora_layers(model).values():
        layer.lora_B.data = torch.randn(layer.lora_B.shape, generator=generator) * 0.1
    return model


def by_hand(**options):
    """W = [[1, 2, 3], [4, 5, 6]], A = [1, 0, -1], B = [2, 3]."""
    base = nn.Linear(3, 2)
    base.weight.data = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    base.bias.data = torch.tensor([0.5, -0.5])
    layer = LoRALinear(base, 1, 4, **options)
    layer.lora_A.data = torch.tensor([[1.0, 0.0, -1.0]])
    layer.lora_B.data = torch.tensor([[2.0], [3.0]])
    return layer


def test_one_layer_by_hand():
    layer = by_hand()
    # A x = 5 - 1 = 4, B A x = (8, 12), times alpha / r = 4; W x + b = (11.5, 31.5)
    x = torch.tensor([5.0, 1.0, 1.0])
    assert layer(x).tolist() == [10.5 + 32.0, 30.5 + 48.0]
    assert layer.delta().tolist() == [[8.0, 0.0, -8.0], [12.0, 0.0, -12.0]]
    assert layer.merge().base.weight.tolist() == [[9.0, 2.0, -5.0], [16.0, 5.0, -6.0]]
    assert layer(x).tolist() == [42.5, 78.5]
    assert layer.unmerge().base.weight.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert layer.merge().merge().unmerge().unmerge()(x).tolist() == [42.5, 78.5]


def test_layers_put_in_by_hand_are_merged_too():
    layer, x = by_hand(), torch.tensor([5.0, 1.0, 1.0])
    merged = merge_lora(nn.Sequential(layer))
    assert type(merged[0]) is nn.Linear and merged(x).tolist() == [42.5, 78.5]
    assert merge_lora(by_hand())(x).tolist() == [42.5, 78.5]


def test_scaling_is_alpha_over_r_or_its_root():
    assert LoRALinear(nn.Linear(3, 2), 4, 16).scaling == 4.0
    assert LoRALinear(nn.Linear(3, 2), 4, 16, rank_stabilised=True).scaling == 8.0


@models
def test_the_model_is_unchanged_at_first(make, targets):
    ids, plain = make_ids(), make()
    before = logits_of(plain, ids)
    adapted = inject_lora(plain, targets, r=5)
    assert adapted is plain
    assert torch.equal(logits_of(adapted, ids), before)
    assert all(layer.lora_A.abs().sum() > 0 for layer in lora_layers(adapted).values())


@models
def test_merging_keeps_the_outputs_and_the_old_names(make, targets):
    ids, plain = make_ids(), make()
    names, before = set(plain.state_dict()), logits_of(plain, ids)
    adapted = shake(inject_lora(plain, targets, r=5, alpha=7))
    expected = logits_of(adapted, ids)
    assert (expected - before).abs().max() > 0.1  # the corrections do something
    torch.testing.assert_close(logits_of(merge_lora(adapted, keep=True), ids), expected, **MERGED)
    torch.testing.assert_close(logits_of(unmerge_lora(adapted), ids), expected, **MERGED)
    merged = merge_lora(adapted)
    torch.testing.assert_close(logits_of(merged, ids), expected, **MERGED)
    assert set(merged.state_dict()) == names
    assert lora_layers(merged) == {}


def test_unloading_gives_the_first_model_back(ours, ids):
    before = logits_of(ours, ids)
    shake(inject_lora(ours, OURS))
    merge_lora(ours, keep=True)
    torch.testing.assert_close(logits_of(unload_lora(ours), ids), before, **MERGED)
    assert lora_layers(inject_lora(ours, OURS))  # and it can be adapted again


def test_without_lora_the_first_model_answers(ours, ids):
    before = logits_of(ours, ids)
    shake(inject_lora(ours, OURS))
    after = logits_of(ours, ids)
    with without_lora(ours):
        assert torch.equal(logits_of(ours, ids), before)
    assert torch.equal(logits_of(ours, ids), after)
    merge_lora(ours, keep=True)
    with pytest.raises(ValueError, match="unmerge"), without_lora(ours):
        pass


@models
def test_only_a_and_b_train_and_their_number_is_the_formula(make, targets):
    model = inject_lora(make(), targets, r=5)
    names = {n.rpartition(".")[2] for n, w in model.named_parameters() if w.requires_grad}
    assert names == {"lora_A", "lora_B"}
    layers = lora_layers(model).values()
    sizes = [(layer.in_features, layer.out_features) for layer in layers]
    assert count_parameters(model, trainable=True) == lora_parameters(sizes, 5)


def test_the_formula_on_the_tiny_llama(llama):
    # q: 84 -> 84, v: 84 -> 28, down: 37 -> 84, three layers, rank 5
    inject_lora(llama, TARGETS, r=5)
    assert count_parameters(llama, trainable=True) == 3 * 5 * (84 + 84 + 84 + 28 + 37 + 84)


def test_training_moves_the_corrections_only(ours, ids):
    inject_lora(ours, OURS, r=3, dropout=0.1)
    frozen = {n: w.clone() for n, w in ours.named_parameters() if not w.requires_grad}
    optimiser = torch.optim.AdamW([w for w in ours.parameters() if w.requires_grad], lr=0.02)
    losses = []
    for _ in range(8):
        logits = ours.train()(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    now = dict(ours.named_parameters())
    assert all(torch.equal(now[name], weight) for name, weight in frozen.items())


def test_dropout_acts_on_the_correction_and_only_in_training():
    layer = by_hand(dropout=0.5).train()
    x = torch.tensor([5.0, 1.0, 1.0])
    torch.manual_seed(0)
    seen = {tuple(layer(x).tolist()) for _ in range(40)}
    # A reads x1 - x3, each kept with doubled size or dropped: 0, 10, -2 or 8
    expected = {(10.5 + 8 * a, 30.5 + 12 * a) for a in (0.0, 10.0, -2.0, 8.0)}
    assert seen == expected
    assert layer.eval()(x).tolist() == [42.5, 78.5]


def test_half_precision_base_keeps_float32_corrections(ours, ids):
    inject_lora(ours.bfloat16(), OURS)
    assert {w.dtype for w in ours.parameters() if w.requires_grad} == {torch.float32}
    assert logits_of(ours, ids).dtype == torch.bfloat16


# --------------------------------------------------------------------------- peft


def with_peft(model, targets, **options):
    """peft's adapters on a copy of a model, with the values of ours."""
    config = LoraConfig(target_modules=targets, **options)
    return get_peft_model(copy.deepcopy(model), config)


def copy_to_peft(ours, theirs):
    wrapped = dict(theirs.named_modules())
    for name, layer in lora_layers(ours).items():
        other = wrapped["base_model.model." + name]
        other.lora_A["default"].weight.data = layer.lora_A.detach().clone()
        other.lora_B["default"].weight.data = layer.lora_B.detach().clone()


@models
@pytest.mark.parametrize("stabilised", [False, True], ids=["lora", "rslora"])
def test_outputs_and_gradients_equal_peft(make, targets, stabilised):
    plain = make()
    options = {"r": 5, "lora_alpha": 7, "use_rslora": stabilised}
    options["fan_in_fan_out"] = make is make_gpt2
    theirs = with_peft(plain, targets, **options)
    ours = shake(inject_lora(plain, targets, r=5, alpha=7, rank_stabilised=stabilised))
    copy_to_peft(ours, theirs)
    ids = make_ids()
    outputs = [model(ids) for model in (ours, theirs)]
    mine, other = (y if isinstance(y, torch.Tensor) else y.logits for y in outputs)
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
    for logits in (mine, other):
        logits.square().mean().backward()
    wrapped = dict(theirs.named_modules())
    for name, layer in lora_layers(ours).items():
        peer = wrapped["base_model.model." + name]
        for part, weight in (("A", layer.lora_A), ("B", layer.lora_B)):
            gradient = getattr(peer, f"lora_{part}")["default"].weight.grad
            assert gradient.abs().max() > 0
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-6, atol=1e-6)


def test_the_same_layers_as_peft(llama):
    for targets in (TARGETS, r"model\.layers\.[02]\..*(k|o)_proj", "all-linear"):
        config = {"task_type": "CAUSAL_LM"}  # peft leaves the output layer out only then
        theirs = with_peft(llama, targets, **config)
        expected = {n for n, m in theirs.base_model.model.named_modules() if hasattr(m, "lora_A")}
        assert set(lora_layers(inject_lora(copy.deepcopy(llama), targets))) == expected


def test_the_first_values_of_a_are_distributed_as_pefts():
    torch.manual_seed(0)
    bound = 61**-0.5
    ours = LoRALinear(nn.Linear(61, 7), 101).lora_A
    model = nn.Sequential(nn.Linear(61, 7))
    theirs = with_peft(model, ["0"], r=101).base_model.model[0].lora_A["default"].weight
    for values in (ours, theirs):  # uniform: greatest near the bound, variance bound^2 / 3
        assert 0.99 * bound < values.abs().max() <= bound
        assert values.var().item() == pytest.approx(bound**2 / 3, rel=0.05)


def test_a_generator_decides_the_first_values(ours):
    first = copy.deepcopy(ours)
    for model in (ours, first):
        inject_lora(model, OURS, generator=torch.Generator().manual_seed(5))
    pairs = zip(lora_layers(ours).values(), lora_layers(first).values(), strict=True)
    assert all(torch.equal(a.lora_A, b.lora_A) for a, b in pairs)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["q_porj"], "q_proj"),
        (["q_proj", "nothing"], "nothing"),
        ("q_proj", r"write a list: \['q_proj'\]"),
        ([], "empty"),
        (["self_attn"], "no linear layer"),
    ],
)
def test_targets_without_a_layer_are_refused(llama, targets, words):
    with pytest.raises(ValueError, match=words):
        inject_lora(llama, targets)
    assert all(weight.requires_grad for weight in llama.parameters())  # nothing was touched


def test_other_faults_are_refused(ours):
    with pytest.raises(ValueError, match="rank"):
        inject_lora(ours, OURS, r=0)
    with pytest.raises(ValueError, match="dropout"):
        inject_lora(ours, OURS, dropout=1.0)
    with pytest.raises(ValueError, match="no LoRA layers"):
        merge_lora(ours)
    inject_lora(ours, OURS)
    with pytest.raises(ValueError, match="already"):
        inject_lora(ours, OURS)


def test_packed_layers_are_named_as_the_reason(ours):
    from course_utils.nn.int4 import StripLinear

    ours.stack.blocks[0].attention.out = StripLinear(torch.zeros(64, 24))
    with pytest.raises(ValueError, match="pack=False"):
        inject_lora(ours, ["q_proj"])


def test_a_tied_output_matrix_is_not_merged():
    model = make_llama(tie_word_embeddings=True)
    shake(inject_lora(model, ["lm_head"]))
    with pytest.raises(ValueError, match="shares its matrix"):
        merge_lora(model)
