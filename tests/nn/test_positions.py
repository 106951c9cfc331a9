"""Positions: by hand, the relative property of rotary ones, and transformers as oracle."""

import math

import pytest
import torch

from course_utils.nn.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from course_utils.nn.positions import (
    LearnedPositions,
    RotaryPositions,
    RotaryScaling,
    SinusoidalPositions,
    apply_rotary,
    interleaved_to_half,
    rotary_frequencies,
    rotary_tables,
    sinusoidal_table,
)

B, H, T, D = 2, 3, 7, 10


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# --- sinusoidal and learned ------------------------------------------------------------------


def test_sinusoidal_by_hand():
    table = sinusoidal_table(3, 4, base=100.0)  # angles t and t / 10
    expected = [math.sin(2), math.cos(2), math.sin(0.2), math.cos(0.2)]
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[2].tolist() == pytest.approx(expected, abs=1e-6)


def test_sinusoidal_equals_the_formula_in_float64():
    table = sinusoidal_table(101, 14)
    for t in (1, 50, 100):
        for i in range(7):
            angle = t / 10_000 ** (2 * i / 14)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_sinusoidal_dot_products_depend_on_the_distance_only():
    table = sinusoidal_table(53, 14)
    products = table @ table.T
    for distance in (0, 1, 11):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_positions_are_looked_up(kind):
    positions = kind(11, 6)
    rows = positions(torch.arange(11))
    ids = torch.tensor([[3, 1], [10, 0]])
    assert torch.equal(positions(ids), rows[ids])
    assert len(positions.state_dict()) == (kind is LearnedPositions)  # a formula is not saved


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
@pytest.mark.parametrize("wrong", [11, -1])
def test_positions_beyond_the_table_are_a_clear_error(kind, wrong):
    with pytest.raises(ValueError, match=r"0\.\.10.*max_length = 11"):
        kind(11, 6)(torch.tensor([0, wrong]))


# --- rotary ----------------------------------------------------------------------------------


def test_rotary_by_hand():
    """A quarter turn takes (1, 0) to (0, 1)."""
    cos, sin = torch.zeros(1, 2), torch.ones(1, 2)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    assert apply_rotary(x, cos, sin, "half").flatten().tolist() == [-3, -4, 1, 2]
    assert apply_rotary(x, cos, sin, "interleaved").flatten().tolist() == [-2, 1, -4, 3]


def test_frequencies_by_hand():
    assert rotary_frequencies(4, base=100.0).tolist() == pytest.approx([1, 0.1])


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_scores_depend_on_the_distance_only(layout):
    rotary = RotaryPositions(D, layout=layout)
    query, key = numbers(B, H, T, D), numbers(B, H, T, D, seed=1)
    positions = torch.arange(T)
    near = rotary(query, positions) @ rotary(key, positions).mT
    far = rotary(query, positions + 1009) @ rotary(key, positions + 1009).mT
    torch.testing.assert_close(near, far, atol=1e-3, rtol=0)  # float32 angles near 1000
    other = rotary(query, positions) @ rotary(key, positions + 1).mT
    assert not torch.allclose(near, other, atol=0.1)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_rotation_keeps_lengths_and_position_zero(layout):
    rotary, x = RotaryPositions(D, layout=layout), numbers(B, H, T, D)
    turned = rotary(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned, rotary(x, torch.arange(T)))


def test_positions_per_row():
    rotary, x = RotaryPositions(D), numbers(B, H, T, D)
    positions = torch.stack([torch.arange(T), torch.arange(T) + 5])
    both = rotary(x, positions)
    torch.testing.assert_close(both[0], rotary(x[:1], positions[0])[0])
    torch.testing.assert_close(both[1], rotary(x[1:], positions[1])[0])


def test_half_layout_equals_the_reference_library():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    config = LlamaConfig(
        hidden_size=H * D,
        num_attention_heads=H,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
    )
    query, key = numbers(B, H, T, D).float(), numbers(B, H, T, D, seed=1).float()
    positions = torch.stack([torch.arange(T), torch.arange(T) + 8000])
    cos, sin = LlamaRotaryEmbedding(config)(query, positions)
    theirs = apply_rotary_pos_emb(query, key, cos, sin)
    rotary = RotaryPositions(D, base=5000.0)
    for x, other in zip((query, key), theirs, strict=True):
        torch.testing.assert_close(rotary(x, positions), other, atol=1e-6, rtol=0)


def test_interleaved_layout_equals_complex_multiplication():
    """Meta's form: each pair is a complex number, turned by exp(i t theta)."""
    x, positions = numbers(B, H, T, D), torch.arange(T)
    angles = positions[:, None].double() * rotary_frequencies(D).double()
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    theirs = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    ours = RotaryPositions(D, layout="interleaved")(x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_reordered_weights_give_the_same_attention():
    """What the conversion of Meta's LLaMA weights to the other layout relies on."""
    torch.manual_seed(0)
    one = MultiHeadAttention(H * D, H, rotary=RotaryPositions(D, layout="interleaved")).double()
    two = MultiHeadAttention(H * D, H, rotary=RotaryPositions(D, layout="half")).double()
    state = one.state_dict()
    for name in ("query_projection", "key_projection"):
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] = interleaved_to_half(state[f"{name}.{kind}"], H)
    x = numbers(B, T, H * D)
    two.load_state_dict(one.state_dict())
    assert not torch.allclose(two(x, x, x)[0], one(x, x, x)[0], atol=1e-4)  # layouts do differ
    two.load_state_dict(state)
    torch.testing.assert_close(two(x, x, x)[0], one(x, x, x)[0], atol=1e-10, rtol=0)


def test_rotary_attention_is_causal_and_position_aware():
    torch.manual_seed(0)
    attention = MultiHeadAttention(H * D, H, rotary=RotaryPositions(D)).double()
    x = numbers(B, T, H * D)
    order = torch.arange(T - 1, -1, -1)
    straight, _ = attention(x, x, x)
    turned, _ = attention(x[:, order], x[:, order], x[:, order])
    assert not torch.allclose(turned[:, order], straight, atol=1e-4)
    moved, _ = attention(x, x, x, causal_mask(T), positions=torch.arange(T) + 3)
    here, _ = attention(x, x, x, causal_mask(T))
    torch.testing.assert_close(moved, here, atol=1e-5, rtol=0)


def test_frequencies_stay_exact_in_a_bfloat16_model():
    attention = MultiHeadAttention(H * D, H, rotary=RotaryPositions(D)).bfloat16()
    assert torch.equal(attention.rotary.frequencies, rotary_frequencies(D))
    assert not any("rotary" in name for name in attention.state_dict())


# --- scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, factor", [("linear", 4.0), ("llama3", 8.0)])
def test_scaling_equals_the_reference_library(kind, factor):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {
        "rope_type": kind,
        "rope_theta": 500_000.0,
        "factor": factor,
        "original_max_position_embeddings": 8192,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    if kind == "linear":
        parameters = {k: parameters[k] for k in ("rope_type", "rope_theta", "factor")}
    config = LlamaConfig(
        hidden_size=H * 64,
        num_attention_heads=H,
        max_position_embeddings=65536,
        rope_parameters=parameters,
    )
    theirs, _ = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    ours = RotaryPositions(64, 500_000.0, scaling=RotaryScaling(kind, factor)).frequencies
    torch.testing.assert_close(ours, theirs, atol=0, rtol=1e-5)


def test_ntk_scales_the_slowest_pair_and_keeps_the_fastest():
    plain = rotary_frequencies(64)
    scaled = RotaryScaling("ntk", 4.0).apply(plain, 10_000.0)
    assert scaled[0].item() == 1
    assert (plain[-1] / scaled[-1]).item() == pytest.approx(4, rel=1e-4)
    assert (scaled[1:] < plain[1:]).all()


@pytest.mark.parametrize("kind", ["linear", "ntk", "llama3"])
def test_factor_one_changes_nothing(kind):
    plain = rotary_frequencies(D)
    torch.testing.assert_close(RotaryScaling(kind, 1.0).apply(plain, 10_000.0), plain)


def test_interpolation_puts_long_positions_into_the_trained_range():
    rotary, scaled = RotaryPositions(D), RotaryPositions(D, scaling=RotaryScaling("linear", 4.0))
    x = numbers(1, 1, 5, D)
    long, short = torch.arange(0, 20, 4), torch.arange(5)
    torch.testing.assert_close(scaled(x, long), rotary(x, short), atol=1e-5, rtol=0)


# --- errors and mutations --------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: rotary_frequencies(7), "even"),
        (lambda: sinusoidal_table(3, 5), "even"),
        (lambda: RotaryScaling("yarn", 2.0), "kind"),
        (lambda: RotaryScaling("linear", 0.5), "factor"),
        (
            lambda: apply_rotary(
                torch.zeros(1, 1, 2, 4), torch.zeros(2, 2), torch.zeros(2, 2), "x"
            ),
            "layout",
        ),
        (
            lambda: apply_rotary(torch.zeros(1, 1, 2, 4), torch.zeros(3, 2), torch.zeros(3, 2)),
            "tables",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_turning_only_the_query_is_noticed():
    """The relative property needs both turned; with one turned, scores drift with position."""
    rotary, x = RotaryPositions(D), numbers(B, H, T, D)
    right, _ = scaled_dot_product_attention(rotary(x), rotary(x), x)
    moved = torch.arange(T) + 3
    right_moved, _ = scaled_dot_product_attention(rotary(x, moved), rotary(x, moved), x)
    wrong, _ = scaled_dot_product_attention(rotary(x), x, x)
    wrong_moved, _ = scaled_dot_product_attention(rotary(x, moved), x, x)
    torch.testing.assert_close(right, right_moved, atol=1e-5, rtol=0)
    assert not torch.allclose(wrong, wrong_moved, atol=1e-2)


def test_tables_have_a_shape_for_each_kind_of_positions():
    frequencies = rotary_frequencies(D)
    assert rotary_tables(torch.arange(T), frequencies)[0].shape == (T, D // 2)
    assert rotary_tables(torch.zeros(B, T), frequencies)[1].shape == (B, T, D // 2)
