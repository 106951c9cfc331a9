"""NF4: levels from quantiles, blocks by hand, bitsandbytes as oracle, QLoRA trains."""

import bitsandbytes.functional as bnb
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from scipy.stats import norm
from tiny_models import logits_of, make_ids, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters, saved_bytes
from course_utils.tuning import inject_lora, lora_layers, merge_lora
from course_utils.tuning.nf4 import (
    NF4Linear,
    NF4Weight,
    bits_per_weight,
    dequantize_blocks,
    dequantize_linears,
    dynamic_levels,
    fp4_levels,
    nf4_levels,
    pack_pairs,
    quantize_blocks,
    quantize_linears,
    quantize_nf4,
    relative_error,
    uniform_levels,
    unpack_pairs,
)

# whole blocks, a short last block, an odd number of blocks of scales, many blocks
SHAPES = [(64, 128), (37, 50), (101, 134), (331, 576)]


def normal(*shape, seed=0, power=1):
    """Normal weights; power 3 gives heavy tails."""
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return 0.05 * weights**power


# --------------------------------------------------------------------------- levels


def test_levels_are_quantiles_of_a_normal_distribution():
    p = 1 - (1 / 30 + 1 / 32) / 2
    top = norm.ppf(p)
    levels = nf4_levels()
    assert levels[7] == 0 and levels[0] == -1 and levels[15] == 1
    for k in range(1, 8):  # k steps of (p - 1/2) / 8 above the middle, of (p - 1/2) / 7 below
        assert levels[7 + k].item() == pytest.approx(
            norm.ppf(0.5 + (p - 0.5) * k / 8) / top, abs=1e-6
        )
        assert levels[7 - k].item() == pytest.approx(
            -norm.ppf(0.5 + (p - 0.5) * k / 7) / top, abs=1e-6
        )


def test_levels_are_those_of_bitsandbytes():
    assert torch.equal(nf4_levels(), bnb.get_4bit_type("nf4", device="cpu"))
    theirs = bnb.get_4bit_type("fp4", device="cpu").unique()  # theirs has two zeros
    torch.testing.assert_close(fp4_levels(), theirs, rtol=0, atol=1e-6)
    assert torch.equal(dynamic_levels(), bnb.create_dynamic_map())
    assert len(dynamic_levels().unique()) == 256


def test_uniform_levels_by_hand():
    assert uniform_levels(3).tolist() == pytest.approx([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1])
    assert len(uniform_levels()) == 15


# --------------------------------------------------------------------------- blocks


def test_blocks_by_hand():
    # blocks (1, -2, 0.6), (0, 0, 0), (5,): scales 2, 0, 5
    x = torch.tensor([[1.0, -2.0, 0.6, 0.0], [0.0, 0.0, 5.0, 0.0]]).flatten()[:7]
    levels = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    codes, scales = quantize_blocks(x, levels, 3)
    assert scales.tolist() == [2.0, 0.0, 5.0]
    # 0.6 / 2 = 0.3 lies nearer to 0.5 than to 0
    assert codes.tolist() == [2, 0, 2, 1, 1, 1, 3]
    assert dequantize_blocks(codes, scales, levels, 3).tolist() == [1, -2, 1, 0, 0, 0, 5]


@pytest.mark.parametrize("levels", [nf4_levels(), fp4_levels(), uniform_levels()])
def test_every_weight_gets_its_nearest_level(levels):
    x = normal(7, 64)
    codes, scales = quantize_blocks(x, levels)
    distances = ((x / scales[:, None])[..., None] - levels).abs()
    chosen = distances.flatten(0, 1)[torch.arange(7 * 64), codes.int()]
    assert (chosen - distances.amin(dim=-1).flatten()).max() < 1e-6


def test_pairs_are_packed_and_unpacked():
    codes = torch.randint(0, 16, (31,), generator=torch.Generator().manual_seed(0))
    packed = pack_pairs(codes.to(torch.uint8))
    assert len(packed) == 16
    assert unpack_pairs(packed, 31).tolist() == codes.tolist()


def test_what_lies_on_the_levels_comes_back_exactly():
    values = nf4_levels()[torch.arange(64) % 16]
    blocks = torch.stack([values, 2 * values, 0 * values])
    codes, scales = quantize_blocks(blocks, nf4_levels())
    assert torch.equal(dequantize_blocks(codes, scales, nf4_levels()), blocks.flatten())
    assert torch.equal(quantize_nf4(torch.zeros(3, 64)).dequantize(), torch.zeros(3, 64))


def test_bits_per_weight():
    assert bits_per_weight() == 4 + 1 / 8 + 1 / 512
    assert bits_per_weight(double=False) == 4.5
    # 512 x 64 weights: 512 scales, exactly two blocks of them, and the mean's 32 bits
    stored = quantize_nf4(normal(512, 64)).bits_per_weight
    assert stored == pytest.approx(bits_per_weight() + 32 / (512 * 64), abs=1e-12)


def test_nf4_beats_int4_and_fp4_on_normal_weights_and_not_on_uniform_ones():
    tables = (nf4_levels(), uniform_levels(), fp4_levels())
    # recorded over 5 seeds: 0.0919, 0.1076, 0.1218, standard deviations below 0.0003
    ours, integers, floats = (relative_error(normal(331, 576), table) for table in tables)
    assert 0.090 < ours < 0.094
    assert integers - ours > 0.012 and floats - ours > 0.025
    even = torch.rand(331, 576, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert relative_error(even, uniform_levels()) < relative_error(even, nf4_levels())


def test_double_quantisation_costs_little():
    weight = normal(331, 576)
    once = relative_error(weight, nf4_levels())
    twice = float((quantize_nf4(weight).dequantize() - weight).norm() / weight.norm())
    assert once < twice < 1.01 * once


def test_faults_are_refused():
    with pytest.raises(TypeError, match="int64"):
        quantize_nf4(torch.arange(64))
    with pytest.raises(ValueError, match="NaN"):
        quantize_nf4(torch.tensor([1.0, float("nan")]))


# --------------------------------------------------------------------------- bitsandbytes


@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_and_values_equal_bitsandbytes(shape, dtype, power):
    weight = normal(*shape, power=power).to(dtype)
    packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    double, nested = bnb.quantize_4bit(
        weight, blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    ours = quantize_nf4(weight)
    assert torch.equal(ours.packed, packed.flatten())
    assert torch.equal(ours.packed, double.flatten())
    assert torch.equal(quantize_blocks(weight, nf4_levels())[1], state.absmax)
    assert torch.equal(ours.scale_mean, nested.offset)
    assert torch.equal(ours.scale_scales, nested.state2.absmax)
    # from the same stored numbers: the same weights, bit for bit
    stored = NF4Weight(packed.flatten(), shape, nested.absmax, nested.state2.absmax, nested.offset)
    assert torch.equal(stored.dequantize(dtype), bnb.dequantize_4bit(double, nested))


def test_scale_codes_equal_bitsandbytes_except_on_the_border_of_two_levels():
    """Its CPU kernel first rounds to 2^16 steps on [-1, 1]; ours takes the nearest level.

    So the two may differ, by one level, for a number within half a step (1.53e-5) of a middle.
    """
    levels, generator = dynamic_levels(), torch.Generator().manual_seed(0)
    scales = torch.rand(101 * 256, generator=generator) * 2 - 1
    ours, largest = quantize_blocks(scales, levels, 256)
    theirs, _ = bnb.quantize_blockwise(scales, blocksize=256)
    differ = (ours != theirs).nonzero().flatten()
    assert len(differ) < 0.01 * len(scales)
    unit = scales / largest.repeat_interleave(256)
    low, high = (f(ours, theirs)[differ].int() for f in (torch.minimum, torch.maximum))
    assert ((high - low) == 1).all()
    assert ((unit[differ] - (levels[high] + levels[low]) / 2).abs() < 1.6e-5).all()


def test_a_layer_computes_what_theirs_does():
    linear = nn.Linear(128, 64)
    linear.weight.data = normal(64, 128)
    theirs = Linear4bit(128, 64, compute_dtype=torch.float32, quant_type="nf4")
    theirs.weight = Params4bit(linear.weight.data.clone(), requires_grad=False, quant_type="nf4")
    theirs.bias.data = linear.bias.data.clone()
    theirs = theirs.to("cpu")  # this is what quantises
    x = normal(7, 128, seed=1) * 20
    ours = NF4Linear(linear)
    # sums of 128 products of size 0.05, in another order
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


# --------------------------------------------------------------------------- the layer


def test_the_layer_is_the_dequantised_linear_layer_forward_and_back():
    linear = nn.Linear(67, 41)
    layer, x = NF4Linear(linear), normal(5, 3, 67, seed=2).requires_grad_()
    dense = layer.dense()
    assert torch.equal(dense.weight, quantize_nf4(linear.weight).dequantize())
    assert torch.equal(layer(x), dense(x))
    (mine,) = torch.autograd.grad(layer(x).square().sum(), x)
    (other,) = torch.autograd.grad(dense(x).square().sum(), x)
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)
    assert not any(weight.requires_grad for weight in layer.parameters())


def test_no_unpacked_matrix_is_kept_for_the_backward_pass():
    layer, x = NF4Linear(nn.Linear(512, 256)), normal(2, 512).requires_grad_()
    assert saved_bytes(lambda: layer(x), besides=(x,)) < 512 * 256  # the matrix has 4 times that


def test_scales_stay_float32_in_a_bfloat16_model():
    layer = NF4Linear(nn.Linear(64, 32)).bfloat16()
    assert layer.scale_mean.dtype == layer.scale_scales.dtype == torch.float32
    assert layer.bias.dtype == torch.bfloat16
    assert layer(torch.ones(1, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_layers_of_a_model_are_quantised_and_come_back(ours, ids):
    names, before = set(ours.state_dict()), logits_of(ours, ids)
    dense = sum(w.numel() for n, w in ours.named_parameters() if "blocks" in n and w.dim() == 2)
    quantize_linears(ours)
    layers = [m for m in ours.modules() if isinstance(m, NF4Linear)]
    assert len(layers) == 3 * 4 and isinstance(ours.head, nn.Linear)
    stored = sum(b.numel() * b.element_size() for m in layers for b in m.buffers())
    assert 8 * stored / dense < 4.2
    after = logits_of(ours, ids)
    assert 0.01 < (after - before).norm() / before.norm() < 0.5
    plain = dequantize_linears(ours)
    assert set(plain.state_dict()) == names
    torch.testing.assert_close(logits_of(plain, ids), after, rtol=0, atol=1e-5)


def test_stored_layers_load_again(ours, ids):
    stored = quantize_linears(ours).state_dict()
    again = quantize_linears(make_ours())
    again.load_state_dict(stored)
    assert torch.equal(logits_of(again, ids), logits_of(ours, ids))


def test_only_plain_linear_layers_are_quantised(ours):
    inject_lora(ours, ["qkv"])
    with pytest.raises(ValueError, match="no linear layer"):
        quantize_linears(nn.Sequential(nn.ReLU()))
    quantize_linears(ours, ["feed_forward.up"])
    with pytest.raises(TypeError, match="NF4Linear"):
        quantize_linears(ours, ["feed_forward.up"])


# --------------------------------------------------------------------------- QLoRA


def test_qlora_trains_on_four_bit_weights():
    ids, model = make_ids(), quantize_linears(make_ours())
    before = logits_of(model, ids)
    inject_lora(model, "all-linear", r=3)
    assert torch.equal(logits_of(model, ids), before)
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
    with pytest.raises(TypeError, match="dequantised"):
        merge_lora(model)
    expected = logits_of(model, ids)
    merged = merge_lora(dequantize_linears(model))
    assert lora_layers(merged) == {}
    torch.testing.assert_close(logits_of(merged, ids), expected, rtol=0, atol=2e-4)


def test_qlora_trains_as_many_numbers_as_lora():
    model = inject_lora(make_ours(), "all-linear", r=3)
    quantised = inject_lora(quantize_linears(make_ours()), "all-linear", r=3)
    numbers = [count_parameters(m, trainable=True) for m in (model, quantised)]
    assert numbers[0] == numbers[1] > 0
