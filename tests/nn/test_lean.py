"""Lean decoding: the model's own scores and tokens, from a flat loop and a shortlist."""

import pytest
import torch
import torch.nn.functional as F

from course_utils import assets
from course_utils.nn import int4, lean
from course_utils.nn.blocks import Recipe, RMSNorm
from course_utils.nn.generation import generate
from course_utils.nn.gpt import GPT2, gpt2_recipe
from course_utils.nn.llama import Llama

pytestmark = pytest.mark.skipif(not int4.int4_works(), reason="no packed 4-bit product here")


def quantized(*, tied: bool = True, kv_heads: int = 1) -> Llama:
    """Random weights large enough that scores differ clearly: V 160, C 96, 2 layers, 3 heads."""
    torch.manual_seed(0)
    recipe = Recipe(
        160, 96, 2, 3, 160, kv_heads=kv_heads, tied=tied,
        positions="rotary", norm="rms", gated=True, bias=False, activation="silu",
    )  # fmt: skip
    model = Llama(recipe).eval().to(torch.bfloat16)
    return int4.quantize(model)


def prompt(rows: int = 1, length: int = 7) -> torch.Tensor:
    return torch.randint(160, (rows, length), generator=torch.Generator().manual_seed(1))


def decoded(model, ids, steps: int) -> list[torch.Tensor]:
    """Scores of each step when both read the same tokens."""
    cache, found = model.new_cache(1, ids.shape[1]), []
    start = ids.shape[1] - steps
    found.append(model.next_logits(ids[:, :start], cache=cache))
    for t in range(start, ids.shape[1]):
        found.append(model.next_logits(ids[:, t : t + 1], cache=cache))
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 3])
@torch.inference_mode()
def test_every_step_has_the_models_scores(tied, kv_heads):
    model = quantized(tied=tied, kv_heads=kv_heads)
    quick = lean.LeanDecoder(model, shortlist=0)
    ids = prompt(length=11)
    for ours, expected in zip(decoded(quick, ids, 5), decoded(model, ids, 5), strict=True):
        # bfloat16: another order of the same roundings
        error = (ours.float() - expected.float()).norm() / expected.float().norm()
        assert error < 0.02


@torch.inference_mode()
def test_the_compiled_loop_is_the_plain_one_bit_for_bit():
    model, ids = quantized(), prompt(length=11)
    compiled, plain = (lean.LeanDecoder(model, shortlist=0) for _ in range(2))
    plain.loop = lean.run_blocks
    assert compiled.loop is not plain.loop
    for ours, expected in zip(decoded(compiled, ids, 7), decoded(plain, ids, 7), strict=True):
        assert torch.equal(ours, expected)


def test_without_a_compiler_the_loop_runs_as_it_is(monkeypatch):
    def gone(function):
        raise RuntimeError("no TorchScript here")

    monkeypatch.setattr(torch.jit, "script", gone)
    assert lean.compiled_loop.__wrapped__() is lean.run_blocks


@torch.inference_mode()
def test_the_shortlist_is_exact_and_the_rest_is_near():
    model = quantized()
    x = torch.randn(1, 96, generator=torch.Generator().manual_seed(2)).bfloat16()
    exact = F.linear(x, model.tokens.weight).float()
    scores = lean.LeanDecoder(model, shortlist=5).scores(x)
    ranked = int4.Int4Linear(model.tokens.weight)(x).float()
    best = ranked.topk(5).indices[0]
    torch.testing.assert_close(scores[0, best], exact[0, best], rtol=0.01, atol=0.01)
    others = torch.ones(160, dtype=torch.bool)
    others[best] = False
    assert torch.equal(scores[0, others], ranked[0, others])


@pytest.mark.parametrize("rows", [1, 2])
def test_generate_drives_it(rows):
    model = quantized()
    quick = lean.LeanDecoder(model, shortlist=160)
    assert torch.equal(generate(quick, prompt(rows), 9), generate(model, prompt(rows), 9))


def test_padded_texts_and_calls_without_a_cache_go_to_the_model():
    model = quantized()
    quick = lean.LeanDecoder(model)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1]])
    theirs = generate(model, prompt(), 5, attention_mask=mask)
    assert torch.equal(generate(quick, prompt(), 5, attention_mask=mask), theirs)
    with torch.inference_mode():
        assert torch.equal(quick(prompt()), model(prompt()))
    once = generate(quick, prompt(), 5, use_cache=False)
    assert torch.equal(once, generate(model, prompt(), 5, use_cache=False))


def test_texts_longer_than_the_tables_go_to_the_model():
    model = quantized()
    short = lean.LeanDecoder(model, shortlist=160, length=9)
    assert torch.equal(generate(short, prompt(), 9), generate(model, prompt(), 9))


def test_a_full_cache_is_refused():
    quick = lean.LeanDecoder(quantized())
    cache = quick.new_cache(1, 7)
    quick.next_logits(prompt(), cache=cache)
    with pytest.raises(ValueError, match="7 positions"):
        quick.next_logits(prompt(length=1), cache=cache)


def test_rms_norm_is_the_modules():
    norm = RMSNorm(5, eps=1e-5)
    norm.weight.data = torch.tensor([1.0, 2.0, -3.0, 0.5, 0.0])
    x = torch.tensor([[3.0, -4.0, 0.0, 1.0, 2.0]])
    torch.testing.assert_close(lean.rms_norm(x, lean._norm(norm), norm.eps), norm(x[None])[0])


def plain_llama() -> Llama:
    return Llama(quantized().recipe)


def gpt2() -> GPT2:
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 11, "n_positions": 7}
    return GPT2(gpt2_recipe(sizes))


@pytest.mark.parametrize("make", [plain_llama, gpt2])
def test_other_models_are_refused(make):
    with pytest.raises(ValueError, match=r"expected a LLaMA after int4\.quantize"):
        lean.LeanDecoder(make())


@torch.inference_mode()
def test_smollm2_writes_the_same_tokens():
    path = assets.path("smollm2-135m-instruct")
    model = int4.quantize(Llama.from_pretrained(path, dtype=torch.bfloat16, pack=False))
    ids = torch.randint(100, 40_000, (1, 7), generator=torch.Generator().manual_seed(3))
    text = generate(model, ids, 32)
    theirs = torch.cat(decoded(model, text, 32)).argmax(dim=-1)
    ours = torch.cat(decoded(lean.LeanDecoder(model), text, 32)).argmax(dim=-1)
    # on the same text; in bfloat16 two tokens may be tied to the last bit
    assert int((ours == theirs).sum()) >= 30
