"""Merging: numbers by hand, invariants, peft's rules and combined adapters as oracle."""

import copy
from functools import partial

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import merge_utils
from tiny_models import logits_of, make_gpt2, make_ids, make_llama

from course_utils.tuning import inject_lora, lora_layers, merge_lora
from course_utils.tuning.merging import (
    add_deltas,
    dare,
    drop,
    elect,
    linear,
    lora_deltas,
    merge_deltas,
    slerp,
    ties,
    trim,
)

WEIGHTS = [0.7, 1.3, 0.4]


def parts(count=3, shape=(11, 13), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def adapted(seed, make=make_llama, targets=("q_proj", "mlp.down_proj")):
    model = inject_lora(make(), list(targets), r=3, alpha=7)
    generator = torch.Generator().manual_seed(seed)
    for layer in lora_layers(model).values():
        layer.lora_A.data = torch.randn(layer.lora_A.shape, generator=generator) * 0.2
        layer.lora_B.data = torch.randn(layer.lora_B.shape, generator=generator) * 0.2
    return model


def test_ties_by_hand():
    one, other = torch.tensor([4.0, -3.0, 0.1, 2.0]), torch.tensor([-1.0, -5.0, 0.2, 6.0])
    assert trim(one, 0.5).tolist() == [4.0, -3.0, 0.0, 0.0]
    assert trim(other, 0.5).tolist() == [0.0, -5.0, 0.0, 6.0]
    # both agree on the second place; the first and last come from one of them alone
    assert ties([one, other], 0.5).tolist() == [4.0, -4.0, 0.0, 6.0]
    # untrimmed: 4 - 1 > 0, so -1 is left out of the mean, not averaged in
    assert elect([one, other]).tolist() == pytest.approx([4.0, -4.0, 0.15, 4.0])
    assert linear([one, other]).tolist() == pytest.approx([1.5, -4.0, 0.15, 4.0])


def test_slerp_by_hand():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    half = 0.5**0.5
    assert slerp(one, other).tolist() == pytest.approx([half, half])
    assert slerp(one, other, 1 / 3).tolist() == pytest.approx([0.75**0.5, 0.5])
    assert slerp(one, 2 * one, 0.25).tolist() == pytest.approx([1.25, 0.0])  # parallel


def test_the_arc_keeps_the_length_and_the_line_does_not():
    one, other = (part / part.norm() for part in parts(2))
    for share in (0.0, 0.3, 1.0):
        assert slerp(one, other, share).norm().item() == pytest.approx(1.0, abs=1e-5)
    assert linear([one, other]).norm() < 0.9


def test_dropping_keeps_the_mean():
    ones = torch.ones(101, 103)
    kept = drop(ones, 0.25, torch.Generator().manual_seed(0))
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert kept.mean().item() == pytest.approx(1.0, abs=0.07)  # four standard deviations
    assert torch.equal(dare([ones, ones], 1.0), ones)


def test_trim_linear_and_ties_equal_peft():
    tensors, weights = parts(), torch.tensor(WEIGHTS)
    pruned = merge_utils.prune(tensors[0], 0.3, method="magnitude")
    assert torch.equal(trim(tensors[0], 0.3), pruned)
    expected = merge_utils.task_arithmetic(tensors, weights)
    torch.testing.assert_close(linear(tensors, WEIGHTS), expected, rtol=0, atol=1e-6)
    for density in (0.2, 0.9):
        expected = merge_utils.ties(tensors, weights, density)
        torch.testing.assert_close(ties(tensors, density, WEIGHTS), expected, rtol=0, atol=1e-6)


def test_the_sum_of_two_adapters_equals_pefts_combined_adapter():
    """``cat`` gives exactly w_1 s B_1 A_1 + w_2 s B_2 A_2; ours adds that to the matrices."""
    ids, models = make_ids(), [adapted(1), adapted(2)]
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "mlp.down_proj"])
    theirs = get_peft_model(make_llama(), config, adapter_name="first")
    theirs.add_adapter("second", config)
    wrapped = dict(theirs.named_modules())
    for adapter, model in zip(("first", "second"), models, strict=True):
        for name, layer in lora_layers(model).items():
            other = wrapped["base_model.model." + name]
            other.lora_A[adapter].weight.data = layer.lora_A.detach().clone()
            other.lora_B[adapter].weight.data = layer.lora_B.detach().clone()
    theirs.add_weighted_adapter(["first", "second"], [0.7, 0.4], "both", combination_type="cat")
    theirs.set_adapter("both")
    deltas = merge_deltas([lora_deltas(m) for m in models], partial(linear, weights=[0.7, 0.4]))
    ours = add_deltas(make_llama(), deltas)
    # float32 through three layers, logits of size about 20
    torch.testing.assert_close(
        logits_of(ours, ids), logits_of(theirs.eval(), ids), rtol=0, atol=2e-4
    )


@pytest.mark.parametrize(
    ("make", "targets"), [(make_llama, ("q_proj",)), (make_gpt2, ("c_attn",))], ids=["l", "g"]
)
def test_one_adapter_alone_is_the_merged_model(make, targets):
    ids, model = make_ids(), adapted(1, make, targets)
    deltas = merge_deltas([lora_deltas(model)])
    ours, merged = add_deltas(make(), deltas), merge_lora(copy.deepcopy(model))
    torch.testing.assert_close(logits_of(ours, ids), logits_of(merged, ids), rtol=0, atol=1e-5)


def test_faults_are_refused():
    with pytest.raises(ValueError, match="density"):
        trim(torch.ones(3), 0.0)
    with pytest.raises(ValueError, match="2 weights do not fit 3 parts"):
        linear(parts(), [1.0, 2.0])
    with pytest.raises(ValueError, match="nothing to merge"):
        linear([])
    one, other = adapted(1), adapted(1, targets=("v_proj",))
    with pytest.raises(ValueError, match="do not fit"):
        merge_deltas([lora_deltas(one), lora_deltas(other)])
