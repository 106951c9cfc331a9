"""Memory: formulas by hand, computed = measured on real training steps, bitsandbytes counted."""

import pytest
import torch
from tiny_models import make_ids, make_llama, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters, training_bytes
from course_utils.tuning import inject_lora, quantize_linears
from course_utils.tuning.memory import break_even, expected_bytes, held_bytes, planned_bytes
from course_utils.tuning.nf4 import bits_per_weight


def step(model):
    """One step of AdamW; the optimiser afterwards."""
    ids = make_ids()
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad])
    logits = model(ids[:, :-1])
    nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten()).backward()
    optimiser.step()
    return optimiser


METHODS = {
    "full": lambda: make_ours(),
    "LoRA": lambda: inject_lora(make_ours(), "all-linear", r=3),
    "LoRA, bfloat16": lambda: inject_lora(make_ours().bfloat16(), "all-linear", r=3),
    "QLoRA": lambda: inject_lora(quantize_linears(make_ours()), "all-linear", r=3),
}


@pytest.mark.parametrize("make", METHODS.values(), ids=list(METHODS))
def test_what_is_expected_is_what_is_held(make):
    model = make()
    expected = expected_bytes(model)
    assert held_bytes(model, step(model)) == expected
    trained = count_parameters(model, trainable=True)
    assert expected.gradients == 4 * trained and expected.optimiser == 8 * trained


def test_each_method_keeps_less():
    full, lora, half, quantised = (expected_bytes(make()) for make in METHODS.values())
    assert full.total > lora.total > half.total > quantised.total
    assert full.gradients > 5 * lora.gradients == 5 * quantised.gradients


def test_full_fine_tuning_pays_sixteen_bytes_a_weight():
    model = make_ours()
    size = count_parameters(model)
    assert expected_bytes(model).total == planned_bytes(size).total == 16 * size
    assert training_bytes(size) == 16 * size


def test_the_plan_is_what_the_model_needs():
    model = make_ours()
    size, blocks = count_parameters(model), 0
    blocks = sum(w.numel() for n, w in model.named_parameters() if "blocks" in n and w.dim() == 2)
    inject_lora(quantize_linears(model), "all-linear", r=3)
    trained = count_parameters(model, trainable=True)
    plan = planned_bytes(size, trained, frozen_bits=bits_per_weight(), kept=size - blocks)
    # blocks of 64 and 256 that are not full, and one mean for each of the 12 matrices
    assert expected_bytes(model).total == pytest.approx(plan.total, rel=0.005)


def test_tied_weights_count_once():
    tied, free = (expected_bytes(make_llama(tie_word_embeddings=t)) for t in (True, False))
    assert free.weights - tied.weights == 4 * 97 * 84


def test_scales_of_bitsandbytes_are_counted():
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4").to("cpu")
    # 4 bits a weight, a byte for each of 128 scales, one scale of theirs and their mean
    assert expected_bytes(layer).weights == 64 * 128 / 2 + 128 + 4 + 4


def test_break_even_by_hand():
    activations, bits = 1e9, bits_per_weight()
    size = break_even(activations, share=0.25)
    whole, smaller = activations + 2 * size, activations + bits / 8 * size
    assert 1 - smaller / whole == pytest.approx(0.25)
    assert break_even(activations, bits=32, share=0.25) < size
    with pytest.raises(ValueError, match="at most 74%"):
        break_even(activations, share=0.8)
