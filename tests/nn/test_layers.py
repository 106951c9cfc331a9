"""Norms, activations, feed-forward networks, dropout, residuals: by hand and against torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.nn import layers
from course_utils.nn.layers import (
    ACTIVATIONS,
    Dropout,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    Residual,
    RMSNorm,
    SwiGLU,
    make_feed_forward,
    make_norm,
)

B, T, C, WIDE = 3, 5, 7, 13
EXACT = 1e-10


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def randomised(module: nn.Module) -> nn.Module:
    """Ones and zeros would hide a missing weight or bias."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def test_layer_norm_by_hand():
    """1, 3 has mean 2 and variance 1 (divided by 2, not by 1)."""
    norm = LayerNorm(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([10.0, 100.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.25]))
    assert norm(torch.tensor([1.0, 3.0])).tolist() == pytest.approx([-9.5, 100.25])


def test_rms_norm_by_hand():
    """3, 4, 0, 0 has a mean square of 25 / 4."""
    norm = RMSNorm(4, eps=0.0)
    expected = [1.2, 1.6, 0, 0]
    assert norm(torch.tensor([3.0, 4.0, 0.0, 0.0])).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("ours, theirs", [(LayerNorm, nn.LayerNorm), (RMSNorm, nn.RMSNorm)])
def test_norms_equal_torch(ours, theirs, eps):
    mine, other = randomised(ours(C, eps)), theirs(C, eps).double()
    other.load_state_dict(mine.state_dict())
    x, y = (numbers(B, T, C).requires_grad_() for _ in range(2))
    torch.testing.assert_close(mine(x), other(y), atol=EXACT, rtol=0)
    mine(x).pow(3).sum().backward()
    other(y).pow(3).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-9, rtol=1e-10)
    torch.testing.assert_close(mine.weight.grad, other.weight.grad, atol=1e-9, rtol=1e-10)


@pytest.mark.parametrize("norm", [LayerNorm(C), RMSNorm(C)])
def test_norms_forget_the_scale_of_their_input(norm):
    x = numbers(B, T, C).float() + 1
    torch.testing.assert_close(norm(1000 * x), norm(x), atol=1e-4, rtol=1e-4)
    shifted = torch.allclose(norm(x + 1000), norm(x), atol=1e-2)
    assert shifted == isinstance(norm, LayerNorm)  # only layer norm forgets a shift


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", [LayerNorm(C), RMSNorm(C)])
def test_norms_survive_half_precision(norm, dtype):
    """300 squared is 90,000: past the end of float16."""
    x = (300 * numbers(B, T, C)).to(dtype)
    result = norm.to(dtype)(x)
    assert result.dtype == dtype
    wide = norm.to(torch.float32)(x.float())
    torch.testing.assert_close(result.float(), wide, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    "name, theirs",
    [
        ("relu", F.relu),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", F.silu),
    ],
)
def test_activations_equal_torch(name, theirs):
    x = torch.linspace(-8, 8, 97, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), theirs(x), atol=EXACT, rtol=0)


def test_gelu_by_hand():
    assert layers.gelu(torch.tensor(1.0)).item() == pytest.approx(0.8413447, abs=1e-6)  # Phi(1)
    assert layers.silu(torch.tensor(1.0)).item() == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize("kind", [*ACTIVATIONS, "swiglu"])
def test_feed_forward_equals_its_formula(kind):
    layer = randomised(make_feed_forward(kind, C, WIDE))
    x = numbers(B, T, C)
    if kind == "swiglu":
        gate = x @ layer.gate.weight.T
        expected = (gate * torch.sigmoid(gate) * (x @ layer.up.weight.T)) @ layer.down.weight.T
    else:
        hidden = ACTIVATIONS[kind](x @ layer.up.weight.T + layer.up.bias)
        expected = hidden @ layer.down.weight.T + layer.down.bias
    torch.testing.assert_close(layer(x), expected, atol=EXACT, rtol=0)


def test_swiglu_equals_the_reference_library():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    theirs = LlamaMLP(
        LlamaConfig(hidden_size=C, intermediate_size=WIDE, num_attention_heads=1, head_dim=2)
    ).double()
    ours = SwiGLU(C, WIDE).double()
    names = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
    state = theirs.state_dict()
    ours.load_state_dict({f"{a}.weight": state[f"{b}.weight"] for a, b in names.items()})
    x = numbers(B, T, C)
    torch.testing.assert_close(ours(x), theirs(x), atol=EXACT, rtol=0)


def test_rms_norm_equals_the_reference_library_in_bfloat16():
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    ours, theirs = RMSNorm(C, 1e-5), LlamaRMSNorm(C, 1e-5)
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    x = numbers(B, T, C).bfloat16()
    assert torch.equal(ours.bfloat16()(x), theirs.bfloat16()(x))


@pytest.mark.parametrize("layer", [FeedForward(C, WIDE), GatedFeedForward(C, WIDE)])
def test_positions_do_not_see_one_another(layer):
    x = numbers(B, T, C).float()
    changed = x.clone()
    changed[:, 2] += 1
    same = [0, 1, 3, 4]
    torch.testing.assert_close(layer(changed)[:, same], layer(x)[:, same])
    assert not torch.allclose(layer(changed)[:, 2], layer(x)[:, 2])


def test_dropout_equals_torch_with_the_same_seed():
    ours, theirs, x = Dropout(0.3), nn.Dropout(0.3), numbers(B, T, C)
    torch.manual_seed(2)
    mine = ours(x)
    torch.manual_seed(2)
    torch.testing.assert_close(mine, theirs(x), atol=EXACT, rtol=0)


def test_dropout_keeps_the_expected_value_and_is_off_in_evaluation():
    dropout, ones = Dropout(0.4), torch.ones(40_009)
    torch.manual_seed(3)
    values = dropout(ones)
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert values.mean().item() == pytest.approx(1, abs=0.02)  # sd 0.004
    assert dropout.eval()(ones) is ones
    assert Dropout(0.0)(ones) is ones


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_dropout_refuses_other_shares(p):
    with pytest.raises(ValueError, match="dropout"):
        Dropout(p)


def test_residual_orders_by_hand():
    """With a norm that halves and a sub-layer that adds 6."""

    class Half(nn.Module):
        def forward(self, x):
            return x / 2

    x, add6 = torch.tensor([4.0]), lambda y: y + 6
    assert Residual(Half(), order="post")(x, add6).item() == 7  # (4 + 10) / 2
    assert Residual(Half(), order="pre")(x, add6).item() == 12  # 4 + (2 + 6)
    assert Residual(Half(), order="post", add=False)(x, add6).item() == 5
    assert Residual(Half(), order="pre", add=False)(x, add6).item() == 8


def test_residual_drops_only_the_sublayer():
    torch.manual_seed(4)
    x = torch.full((997,), 5.0)
    y = Residual(nn.Identity(), 0.5, "pre")(x, torch.ones_like)
    assert set(y.unique().tolist()) == {5.0, 7.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Residual(nn.Identity(), order="middle"),
        lambda: make_norm("batch", C),
        lambda: make_feed_forward("tanh", C, WIDE),
        lambda: FeedForward(C, WIDE, "swish"),
        lambda: GatedFeedForward(C, WIDE, "swiglu"),
    ],
)
def test_unknown_names_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_make_norm():
    assert isinstance(make_norm("layer", C), LayerNorm)
    assert make_norm("rms", C, 0.5).eps == 0.5
    assert make_norm("none", C)(x := numbers(C)) is x


def test_mutations_are_noticed():
    """A variance divided by C - 1, or a norm over the wrong axis, is not torch's."""
    x = numbers(B, T, C)
    right = F.layer_norm(x, (C,))
    sample = (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)
    wrong_axis = LayerNorm(T)(x.mT.float()).mT
    assert not torch.allclose(sample, right, atol=1e-3)
    assert not torch.allclose(wrong_axis.double(), right, atol=1e-3)
    torch.testing.assert_close(LayerNorm(C).double()(x), right, atol=EXACT, rtol=0)
