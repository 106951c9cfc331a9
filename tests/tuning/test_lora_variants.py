"""Variants of LoRA: numbers by hand, identity at first, peft as oracle."""

import copy

import pytest
import torch
from peft import LoraConfig, VeraConfig, get_peft_model
from tiny_models import logits_of, make_gpt2, make_ids, make_llama, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters
from course_utils.tuning import (
    inject_lora,
    lora_layers,
    merge_lora,
    quantize_linears,
    save_lora,
    unload_lora,
    unmerge_lora,
    without_lora,
)
from course_utils.tuning.lora_variants import DoRALinear, VeRALinear, start_pissa

TARGETS = ["q_proj", "mlp.down_proj"]
KINDS = pytest.mark.parametrize("kind", [DoRALinear, VeRALinear])
# float32 through three layers, logits of size about 20
CLOSE = {"rtol": 0, "atol": 2e-4}


def shake(model, seed=3):
    """Random values in everything that trains."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += torch.randn(weight.shape, generator=generator) * 0.1
    return model


def compare(mine, other, pairs):
    """Outputs and gradients of ours and peft's, both changed to the same values."""
    for weight, peer in pairs:
        peer.data = weight.detach().clone()
    outputs = mine(make_ids()), other(make_ids())
    logits = [y if isinstance(y, torch.Tensor) else y.logits for y in outputs]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-5)
    for y in logits:
        y.square().mean().backward()
    for weight, peer in pairs:
        assert peer.grad.abs().max() > 0
        torch.testing.assert_close(weight.grad, peer.grad, rtol=1e-4, atol=1e-4)


def test_dora_by_hand():
    base = nn.Linear(2, 1)
    base.weight.data, base.bias.data = torch.tensor([[3.0, 4.0]]), torch.tensor([1.0])
    layer = DoRALinear(base, 1, 1)
    assert layer.magnitude.tolist() == [5.0]
    layer.lora_A.data, layer.lora_B.data = torch.tensor([[1.0, -4.0]]), torch.tensor([[1.0]])
    layer.magnitude.data = torch.tensor([2.0])
    # W + B A = (4, 0), of length 4, brought to length 2: (2, 0)
    assert layer(torch.tensor([7.0, 9.0])).tolist() == [15.0]
    assert layer.merge().base.weight.tolist() == [[2.0, 0.0]]
    assert layer.unmerge().base.weight.tolist() == [[3.0, 4.0]]


def test_vera_by_hand():
    base = nn.Linear(2, 2, bias=False)
    base.weight.data = torch.eye(2)
    layer = VeRALinear(base, 1)
    layer.lora_A.data, layer.lora_B.data = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])
    layer.row_scales.data, layer.output_scales.data = torch.tensor([0.5]), torch.tensor([1.0, 10.0])
    # A x = 5, times 0.5; B: (7.5, 10); times b: (7.5, 100)
    assert layer(torch.tensor([1.0, 2.0])).tolist() == [8.5, 102.0]


@KINDS
@pytest.mark.parametrize("make", [make_ours, make_gpt2], ids=["ours", "gpt2"])
def test_identity_merge_and_back(kind, make):
    ids, model = make_ids(), make()
    before = logits_of(model, ids)
    inject_lora(model, "all-linear", r=3, kind=kind)
    torch.testing.assert_close(logits_of(model, ids), before, **CLOSE)
    after = logits_of(shake(model), ids)
    assert (after - before).abs().max() > 0.05
    with without_lora(model):
        torch.testing.assert_close(logits_of(model, ids), before, **CLOSE)
    names = set(model.state_dict())
    torch.testing.assert_close(logits_of(merge_lora(model, keep=True), ids), after, **CLOSE)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(logits_of(unmerge_lora(model), ids), after, **CLOSE)
    copied = copy.deepcopy(model)
    torch.testing.assert_close(logits_of(merge_lora(copied), ids), after, **CLOSE)
    torch.testing.assert_close(logits_of(unload_lora(model), ids), before, **CLOSE)


def test_trained_numbers_are_the_formulas():
    dora = inject_lora(make_llama(), TARGETS, r=3, kind=DoRALinear)
    assert count_parameters(dora, trainable=True) == 3 * (3 * (84 + 84 + 37 + 84) + 84 + 84)
    vera = inject_lora(make_llama(), TARGETS, r=3, kind=VeRALinear)
    assert count_parameters(vera, trainable=True) == 3 * 2 * (3 + 84)


def test_dora_equals_peft():
    plain = make_llama()
    config = LoraConfig(r=3, lora_alpha=7, target_modules=TARGETS, use_dora=True)
    theirs = get_peft_model(copy.deepcopy(plain), config)
    ours = shake(inject_lora(plain, TARGETS, r=3, alpha=7, kind=DoRALinear))
    wrapped, pairs = dict(theirs.named_modules()), []
    for name, layer in lora_layers(ours).items():
        peer = wrapped["base_model.model." + name]
        pairs += [
            (layer.lora_A, peer.lora_A["default"].weight),
            (layer.lora_B, peer.lora_B["default"].weight),
            (layer.magnitude, peer.lora_magnitude_vector["default"].weight),
        ]
    compare(ours, theirs, pairs)


def test_vera_equals_peft():
    plain = make_llama()
    config = VeraConfig(r=3, target_modules=["q_proj"], d_initial=0.1)
    theirs = get_peft_model(copy.deepcopy(plain), config)
    ours = shake(inject_lora(plain, ["q_proj"], r=3, kind=VeRALinear))
    wrapped, pairs = dict(theirs.named_modules()), []
    for name, layer in lora_layers(ours).items():
        peer = wrapped["base_model.model." + name]
        layer.lora_A.data = peer.vera_A["default"].clone()
        layer.lora_B.data = peer.vera_B["default"].clone()
        pairs.append((layer.row_scales, peer.vera_lambda_d["default"]))
        pairs.append((layer.output_scales, peer.vera_lambda_b["default"]))
    compare(ours, theirs, pairs)


@pytest.mark.parametrize(
    ("make", "targets"), [(make_llama, TARGETS), (make_gpt2, ["c_attn"])], ids=["llama", "gpt2"]
)
def test_pissa_keeps_the_outputs_and_starts_where_peft_does(make, targets):
    ids, plain = make_ids(), make()
    before = logits_of(plain, ids)
    options = {"fan_in_fan_out": make is make_gpt2, "init_lora_weights": "pissa"}
    config = LoraConfig(r=3, lora_alpha=7, target_modules=targets, **options)
    theirs = get_peft_model(copy.deepcopy(plain), config)
    ours = start_pissa(inject_lora(plain, targets, r=3, alpha=7))
    torch.testing.assert_close(logits_of(ours, ids), before, **CLOSE)
    wrapped = dict(theirs.named_modules())
    for name, layer in lora_layers(ours).items():
        peer = wrapped["base_model.model." + name]
        # singular vectors may have either sign; the products may not
        delta = peer.get_delta_weight("default")
        delta = delta.T if make is make_gpt2 else delta
        torch.testing.assert_close(layer.delta(), delta, rtol=0, atol=1e-4)
        torch.testing.assert_close(layer.base.weight, peer.base_layer.weight, rtol=0, atol=1e-4)


def test_faults_are_refused(tmp_path, ours):
    with pytest.raises(ValueError, match="straight after"):
        start_pissa(ours)
    inject_lora(ours, ["qkv"])
    start_pissa(ours)
    with pytest.raises(ValueError, match="trainable_state"):
        save_lora(ours, tmp_path)
    with pytest.raises(ValueError, match="straight after"):
        start_pissa(ours)
    for kind in (DoRALinear, VeRALinear):
        with pytest.raises(ValueError, match="more than its A and B"):
            save_lora(inject_lora(make_ours(), ["qkv"], kind=kind), tmp_path)
    with pytest.raises(TypeError, match="plain matrix"):
        inject_lora(quantize_linears(make_ours()), "all-linear", kind=DoRALinear)
