"""Packed weights: numbers by hand, equality with the plain product, the file's own 4-bit grid."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils import assets
from course_utils.nn import int4
from course_utils.nn.blocks import Recipe
from course_utils.nn.checkpoints import read_tensors
from course_utils.nn.generation import generate
from course_utils.nn.llama import Llama

needs_int4 = pytest.mark.skipif(not int4.int4_works(), reason="no packed 4-bit product here")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orders() -> list:
    """The ways to store a matrix that work here; which one pays is another question."""
    weight, x = normal(64, 32).bfloat16(), normal(3, 32).bfloat16()
    kinds = (int4.StripLinear, int4.PackedLinear)
    return [kind for kind in kinds if int4._works(kind, weight, x, F.linear(x, weight))]


def small(dtype: torch.dtype) -> Llama:
    # the packed product takes C_in in whole groups of 32 and C_out in multiples of 16
    torch.manual_seed(0)
    recipe = Recipe(97, 96, 2, 3, 160, positions="rotary", norm="rms", gated=True, bias=False)
    return Llama(recipe).eval().to(dtype)


def test_codes_by_hand():
    row = torch.tensor([[-1.0, 0.0, 0.5, 2.0, 7.0, 7.0, 7.0, 7.0]])
    codes, scale, low = int4.quantize_groups(row, group=4)
    # first group: -1 .. 2 in 15 steps of 0.2; second: one value, so a step of 0
    assert codes.tolist() == [[0, 5, 8, 15, 0, 0, 0, 0]]  # 0.5 is 7.5 steps: rounds to even
    torch.testing.assert_close(scale, torch.tensor([[0.2, 0.0]]))
    torch.testing.assert_close(low, torch.tensor([[-1.0, 7.0]]))
    back = int4.dequantize_groups(codes, scale, low)
    torch.testing.assert_close(back[0, [0, 1, 3, 4]], row[0, [0, 1, 3, 4]])


def test_the_error_is_at_most_half_a_step():
    weight = normal(7, 96)
    codes, scale, low = int4.quantize_groups(weight)
    error = (int4.dequantize_groups(codes, scale, low) - weight).abs()
    assert bool((error <= scale.repeat_interleave(32, 1) * 0.5001).all())
    # a Gaussian loses 7-8 % of its size; this is the number that SmolLM2 does not show
    relative = float(error.norm() / weight.norm())
    assert 0.06 < relative < 0.09


def test_weights_that_lie_on_a_grid_come_back_exactly():
    codes = torch.randint(0, 16, (7, 64), generator=torch.Generator().manual_seed(1))
    codes[:, ::32], codes[:, 1::32] = 0, 15  # Q4_1 uses its first and last level in every block
    scale, low = normal(7, 2).abs() + 0.1, normal(7, 2, seed=2)
    weight = int4.dequantize_groups(codes, scale, low)
    assert torch.equal(int4.quantize_groups(weight)[0], codes)


def test_smollm2_lies_on_such_a_grid():
    weights = read_tensors(assets.path("smollm2-135m-instruct"))
    weight = weights["model.layers.7.mlp.down_proj.weight"].float()
    error = int4.dequantize_groups(*int4.quantize_groups(weight)) - weight
    assert float(error.norm() / weight.norm()) < 0.005  # bfloat16 rounding, not 4-bit loss


def test_groups_that_do_not_divide_the_rows_are_refused():
    with pytest.raises(ValueError, match=r"group of 32 does not divide.*\(7, 48\)"):
        int4.quantize_groups(normal(7, 48))


@needs_int4
@pytest.mark.parametrize("bias", [False, True])
def test_the_4_bit_product_is_the_product_with_dequantized_weights(bias):
    weight, offset = normal(48, 96), normal(48, seed=3).bfloat16() if bias else None
    layer = int4.Int4Linear(weight, offset)
    x = normal(2, 5, 96, seed=4).bfloat16()
    exact = int4.dequantize_groups(*int4.quantize_groups(weight))
    expected = F.linear(x.float(), exact, None if offset is None else offset.float())
    # scales and outputs are bfloat16: 8 bits each
    torch.testing.assert_close(layer(x).float(), expected, rtol=0.02, atol=0.15)
    assert layer(x).shape == (2, 5, 48)
    assert layer.nbytes == 48 * 96 // 2 + 2 * 2 * 48 * 3


def test_a_model_packed_in_another_way_is_refused_by_name():
    layers = nn.Sequential(int4.StripLinear(torch.randn(32, 8)), nn.Linear(8, 8))
    with pytest.raises(ValueError, match=r"plain matrices; got StripLinear: load with pack=False"):
        int4.quantize(layers.bfloat16())


@needs_int4
def test_a_quantized_model_generates_with_a_cache():
    model, plain = small(torch.bfloat16), small(torch.bfloat16)
    assert int4.quantize(model) is model
    blocks = [m for m in model.modules() if isinstance(m, int4.Int4Linear)]
    assert len(blocks) == 2 * 4
    ids = torch.randint(0, 97, (1, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact, got = plain(ids).float(), model(ids).float()
    assert float((got - exact).norm() / exact.norm()) < 0.25  # Gaussian weights lose 8 % each
    assert generate(model, ids, 5).shape == (1, 16)


@needs_int4
def test_other_types_are_refused():
    with pytest.raises(TypeError, match="float32"):
        int4.quantize(small(torch.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 257])
@pytest.mark.parametrize("kind", orders())
@pytest.mark.parametrize("bias", [False, True])
def test_every_order_gives_the_plain_product(kind, dtype, rows, bias):
    weight, x = normal(96, 88).to(dtype), normal(rows, 1, 88, seed=1).to(dtype)
    offset = normal(96, seed=2).to(dtype) if bias else None
    layer = kind(weight, offset)
    assert torch.equal(layer.dense(), weight)
    expected = F.linear(x.float(), weight.float(), None if offset is None else offset.float())
    # sums of 88 products: float32 rounding, or bfloat16's 8 bits in the result
    exact = dtype == torch.float32
    tolerance = {"rtol": 0, "atol": 1e-4} if exact else {"rtol": 0.01, "atol": 0.1}
    torch.testing.assert_close(layer(x).float(), expected, **tolerance)


@pytest.mark.parametrize("kind", orders())
def test_a_packed_model_is_the_same_model(kind, monkeypatch):
    monkeypatch.setattr(int4, "best_order", lambda dtype, rows=1: kind)
    model, plain = small(torch.bfloat16), small(torch.bfloat16)
    assert int4.pack(model) is model
    assert not any(isinstance(m, nn.Linear) for m in model.modules())
    assert (model.head is None) == (kind is int4.StripLinear)  # the table itself is fast enough
    ids = torch.randint(0, 97, (3, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # another order of the same sums, rounded to 8 bits
        torch.testing.assert_close(model(ids), plain(ids), rtol=0.05, atol=0.1)


def test_matrices_that_do_not_fill_strips_stay_plain(monkeypatch):
    monkeypatch.setattr(int4, "best_order", lambda dtype, rows=1: int4.StripLinear)
    recipe = Recipe(97, 48, 1, 3, 160, positions="rotary", norm="rms", gated=True, bias=False)
    model = int4.pack(Llama(recipe))
    attention, network = model.stack.blocks[0].attention, model.stack.blocks[0].feed_forward
    assert isinstance(attention.qkv, nn.Linear)  # 144 rows
    assert isinstance(network.down, nn.Linear)  # 48 rows
    assert isinstance(network.up, int4.StripLinear)  # 320 rows


def test_the_plain_order_is_kept_where_it_is_the_fastest(monkeypatch):
    monkeypatch.setattr(int4, "best_order", lambda dtype, rows=1: None)
    model = int4.pack(small(torch.float32))
    assert sum(isinstance(m, nn.Linear) for m in model.modules()) == 2 * 4


def test_missing_operators_are_noticed(monkeypatch):
    def missing(*args, **kwargs):
        raise AttributeError("no such operator")

    monkeypatch.setattr(int4, "PackedLinear", missing)
    monkeypatch.setattr(int4, "Int4Linear", missing)
    assert int4.best_order.__wrapped__(torch.bfloat16) in (None, int4.StripLinear)
    assert int4.int4_works.__wrapped__() is False
    monkeypatch.setattr(int4, "int4_works", lambda: False)
    with pytest.raises(RuntimeError, match="no packed 4-bit product"):
        int4.quantize(small(torch.bfloat16))


def test_wrong_results_are_noticed(monkeypatch):
    monkeypatch.setattr(int4.StripLinear, "forward", lambda self, x: x.new_zeros(len(x), 96))
    weight, x = normal(96, 64), normal(1, 64)
    assert not int4._works(int4.StripLinear, weight, x, F.linear(x, weight))


def test_a_busy_moment_does_not_decide(monkeypatch):
    # each layer is called five times; the fast kind is interrupted at every third product
    calls = iter(range(10**6))

    def seconds(layer, x):
        return (
            9.0 if layer == "fast" and next(calls) % 3 == 0 else {"fast": 1.0, "slow": 2.0}[layer]
        )

    monkeypatch.setattr(int4, "_seconds", seconds)
    times = int4._in_turns({None: ["slow"] * 7, int4.StripLinear: ["fast"] * 7}, normal(1, 3))
    assert times == {None: 2.0, int4.StripLinear: 1.0}
