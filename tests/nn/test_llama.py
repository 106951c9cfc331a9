"""LLaMA: hand numbers, invariants (cache, padding, causality), transformers as oracle."""

import dataclasses
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from course_utils import assets
from course_utils.nn import int4
from course_utils.nn.blocks import Recipe, RMSNorm
from course_utils.nn.generation import generate
from course_utils.nn.llama import Llama, llama_recipe

# pairwise distinct primes where the architecture allows: V=97, F=37, L=3, H=6 on H_kv=2, D=14
CONFIG = {
    "vocab_size": 97,
    "hidden_size": 84,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 131,
    "rms_norm_eps": 1e-5,
}
# float32 with three layers: sums of up to 84 products, each rounded to 6e-8
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def pair(seed: int = 0, **changes) -> tuple[Llama, LlamaForCausalLM]:
    """Ours and theirs with the same random weights (norm weights random too, not ones)."""
    torch.manual_seed(seed)
    config = LlamaConfig(**CONFIG | changes)
    theirs = LlamaForCausalLM(config).eval()
    for name, weight in theirs.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.2)
    ours = Llama.from_tensors(config.to_dict(), theirs.state_dict())
    return ours, theirs


def ids_of(batch: int = 5, length: int = 11, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_one_layer_with_silent_parts_is_norm_then_embeddings_by_hand():
    recipe = Recipe(3, 2, 1, 1, 2, positions="rotary", norm="rms", gated=True, bias=False)
    model = Llama(recipe)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)  # attention and feed-forward add nothing
    model.tokens.weight.data = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]])
    model.stack.norm.weight.data = torch.tensor([1.0, 2.0])
    # token 0: mean square (9 + 16) / 2 = 12.5, normalised (3, 4) / 12.5^0.5, weighted (1, 2)
    root = 12.5**0.5
    expected = torch.tensor([3 * 3 + 8 * 4, 3.0, -16.0]) / root
    torch.testing.assert_close(model(torch.tensor([[0]]))[0, 0], expected, rtol=1e-5, atol=0)


def norm_of(width: int, dtype: torch.dtype, eps: float = 1e-5) -> RMSNorm:
    norm = RMSNorm(width, eps).to(dtype)
    torch.nn.init.normal_(norm.weight, mean=1.0, generator=torch.Generator().manual_seed(2))
    return norm


@pytest.mark.parametrize("length", [1, 3])  # the short cut for one position, and torch's own form
def test_rms_norm_by_hand(length):
    norm = RMSNorm(2, eps=3.5)
    norm.weight.data = torch.tensor([1.0, 2.0])
    x = torch.tensor([3.0, 4.0]).expand(5, length, 2)
    # mean square 12.5, with eps 16: divided by 4
    torch.testing.assert_close(norm(x), torch.tensor([0.75, 2.0]).expand(5, length, 2))


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])  # at 1e-4 eps is larger than the mean square
@pytest.mark.parametrize("mean", [0.0, 3.0])  # a mean must not be subtracted
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # relative to the largest number; bfloat16: two roundings to 8 bits, as in transformers
    [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2**-7)],
)
def test_rms_norm_of_one_position_equals_torch(size, mean, dtype, tolerance):
    norm = norm_of(577, dtype)
    x = torch.randn(5, 1, 577, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = (size * (x + mean)).to(dtype)
    weight = norm.weight.detach().double()
    exact = torch.nn.functional.rms_norm(x.double(), (577,), weight, norm.eps)
    got = norm(x).detach()
    assert got.dtype == dtype
    assert float((got - exact).abs().max()) < tolerance * float(exact.abs().max())


def test_rms_norm_of_one_position_has_the_gradients_of_many():
    norm = norm_of(7, torch.float64)
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(norm, x[:, :1].clone().requires_grad_())
    gradients = []
    for parts in ([x], x.split(1, dim=1)):
        norm.zero_grad()
        torch.cat([norm(part) for part in parts], dim=1).pow(3).sum().backward()
        gradients.append(norm.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 6}])
def test_logits_equal_transformers(changes):
    ours, theirs = pair(**changes)
    ids = ids_of()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, **TOLERANCE)


@pytest.mark.parametrize(
    "rotary",
    [
        {"rope_type": "default", "rope_theta": 500.0},
        {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0},
        {
            "rope_type": "llama3",
            "rope_theta": 1000.0,
            "factor": 8.0,
            "original_max_position_embeddings": 61,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    ],
)
def test_rotary_variants_equal_transformers(rotary):
    ours, theirs = pair(rope_parameters=rotary)
    ids = ids_of(length=101)
    with torch.no_grad():
        # the last bit of an angle (1e-7) times 100 positions; a wrong scaling moves logits by 1
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=5e-4)


def test_old_and_new_spelling_of_the_rotary_base_agree():
    old = llama_recipe(CONFIG | {"rope_theta": 7.0})
    new = llama_recipe(CONFIG | {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}})
    assert old == new
    assert old.rotary_base == 7.0


def test_padding_on_the_left_equals_transformers_and_the_unpadded_row():
    ours, theirs = pair()
    ids = ids_of(batch=3)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[2, :7] = 0
    with torch.no_grad():
        got, expected = ours(ids, padding_mask=mask), theirs(ids, attention_mask=mask).logits
        alone = ours(ids[:1, 4:])
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], **TOLERANCE)
    torch.testing.assert_close(got[:1, 4:], alone, **TOLERANCE)
    assert got.isfinite().all()  # rows of padding see nothing, and stay finite


@pytest.mark.parametrize("steps", [[11], [1] * 11, [5, 1, 3, 2]])
@pytest.mark.parametrize("padded", [False, True])
def test_cached_equals_uncached(steps, padded):
    ours, _ = pair()
    ours = ours.double()  # float64: what remains is the order of the sums
    ids = ids_of(batch=2)
    mask = torch.ones_like(ids, dtype=torch.bool)
    if padded:
        mask[1, :3] = False
    cache = ours.new_cache(2, 13)
    parts, start = [], 0
    with torch.no_grad():
        for step in steps:
            part = slice(start, start + step)
            given = mask[:, part] if padded else None
            parts.append(ours(ids[:, part], padding_mask=given, cache=cache))
            start += step
        whole = ours(ids, padding_mask=mask if padded else None)
    torch.testing.assert_close(torch.cat(parts, dim=1)[mask], whole[mask], rtol=0, atol=1e-12)


def test_a_later_token_changes_nothing_before_it():
    ours, _ = pair()
    ids = ids_of()
    changed = ids.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 97
    with torch.no_grad():
        before, after = ours(ids), ours(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_only_distances_between_positions_matter():
    ours, _ = pair()
    ids = ids_of()
    with torch.no_grad():
        shifted = ours(ids, positions=torch.arange(11) + 23)
        stretched = ours(ids, positions=torch.arange(11) * 3)
        plain = ours(ids)
    # angles grow with the position, so float32 keeps one digit less of them
    torch.testing.assert_close(shifted, plain, rtol=0, atol=1e-4)
    assert not torch.allclose(stretched, plain, atol=1e-2)


def test_grouped_heads_are_repeated_heads():
    grouped, theirs = pair()
    weights = {k: v.clone() for k, v in theirs.state_dict().items()}
    for name in list(weights):
        if "k_proj" in name or "v_proj" in name:  # (H_kv * D, C) -> (H * D, C)
            weights[name] = weights[name].view(2, 14, 84).repeat_interleave(3, 0).flatten(0, 1)
    full = Llama.from_tensors(CONFIG | {"num_key_value_heads": 6}, weights)
    ids = ids_of()
    with torch.no_grad():
        torch.testing.assert_close(full(ids), grouped(ids), **TOLERANCE)
        a, b = full.new_cache(5, 11), grouped.new_cache(5, 11)
        torch.testing.assert_close(
            full(ids[:, :1], cache=a), grouped(ids[:, :1], cache=b), **TOLERANCE
        )
    assert a.nbytes == 3 * b.nbytes == 11 * 5 * full.recipe.kv_bytes_per_token(4)


def test_gradients_reach_every_weight():
    ours, _ = pair()
    ours(ids_of()).logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ours.parameters())


def test_loaded_weights_are_our_own_copies():
    ours, theirs = pair()
    with torch.no_grad():
        before = theirs(ids_of()).logits.clone()
        for weight in ours.parameters():
            weight.zero_()
        assert torch.equal(theirs(ids_of()).logits, before)


def test_weights_missing_left_over_or_of_another_shape_are_refused():
    ours, theirs = pair()
    weights = theirs.state_dict()
    missing = {k: v for k, v in weights.items() if k != "model.layers.2.mlp.up_proj.weight"}
    with pytest.raises(ValueError, match=r"no tensor 'model\.layers\.2\.mlp\.up_proj"):
        Llama.from_tensors(CONFIG, missing)
    with pytest.raises(ValueError, match=r"1 tensors of the checkpoint are not used.*extra"):
        Llama.from_tensors(CONFIG, weights | {"extra.bias": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"weights do not fit.*tokens\.weight: model \(89, 84\)"):
        Llama.from_tensors(CONFIG | {"vocab_size": 89}, weights)
    with pytest.raises(ValueError, match="attention_bias"):
        Llama.from_tensors(CONFIG | {"attention_bias": True}, weights)
    assert ours.recipe.vocab_size == 97


def test_masks_and_caches_that_do_not_fit_are_refused():
    ours, _ = pair()
    ids = ids_of(batch=2)
    with pytest.raises(ValueError, match=r"\(B, T\) = \(2, 11\); got \(2, 7\)"):
        ours(ids, padding_mask=torch.ones(2, 7))
    with pytest.raises(ValueError, match="2 rows of 11 new positions"):
        ours(ids, cache=ours.new_cache(2, 10))
    with pytest.raises(ValueError, match="multiple of key heads"):
        Recipe(97, 84, 3, 6, 37, kv_heads=4)
    with pytest.raises(ValueError, match="positions must be one of learned, rotary, relative"):
        Recipe(97, 84, 3, 6, 37, positions="sinusoidal")


@pytest.mark.parametrize(
    ("sizes", "weights", "kv_bytes"),
    [
        # published configurations; counts as transformers gives them for the same sizes
        ((32_000, 4096, 32, 32, 11_008, 0, None), 6_738_415_616, 524_288),
        ((32_000, 8192, 80, 64, 28_672, 0, 8), 68_976_648_192, 327_680),
    ],
)
def test_llama_2_on_the_meta_device_has_the_published_size(sizes, weights, kv_bytes):
    llama = dataclasses.replace(llama_recipe(CONFIG), head_size=None, tied=False)
    names = ("vocab_size", "hidden_size", "layers", "heads", "ff_size", "context", "kv_heads")
    recipe = dataclasses.replace(llama, **dict(zip(names, sizes, strict=True)))
    with torch.device("meta"):
        model = Llama(recipe)
    assert sum(p.numel() for p in model.parameters()) == weights
    assert recipe.kv_bytes_per_token(2) == kv_bytes


def test_from_pretrained_reads_one_file_and_several(tmp_path):
    ours, theirs = pair()
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").exists()
    ids = ids_of()
    for folder in ("one", "many"):
        loaded = Llama.from_pretrained(tmp_path / folder)
        assert not loaded.training
        with torch.no_grad():
            assert torch.equal(loaded(ids), ours(ids))
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        Llama.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        Llama.from_pretrained(tmp_path)


@pytest.fixture(scope="module")
def smollm2():
    path = assets.path("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.padding_side = "left"
    return path, tokenizer


def test_smollm2_equals_transformers_in_float32(smollm2):
    path, tokenizer = smollm2
    ours = Llama.from_pretrained(path)
    theirs = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    texts = ["The capital of France is", "Once upon a time there was", "2 + 2 ="]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    ids, mask = batch.input_ids, batch.attention_mask
    with torch.no_grad():
        difference = (ours(ids, padding_mask=mask) - theirs(**batch).logits).abs()
    # logits reach 30; thirty layers of float32 leave about 5e-5
    assert float(difference[mask.bool()].max()) < 1e-4
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = theirs.generate(**batch, max_new_tokens=12, **options)
    assert torch.equal(generate(ours, ids, 12, attention_mask=mask), expected)


def test_smollm2_in_bfloat16_stays_near_float32(smollm2):
    path, tokenizer = smollm2
    ids = tokenizer("The Nile is a river in Africa. It flows", return_tensors="pt").input_ids
    exact = Llama.from_pretrained(path)
    half = Llama.from_pretrained(path, dtype=torch.bfloat16)
    plain = Llama.from_pretrained(path, dtype=torch.bfloat16, pack=False)
    with torch.no_grad():
        logits = [m(ids).float().log_softmax(-1) for m in (exact, half, plain)]
    probabilities = logits[0].exp()
    for other in logits[1:]:  # measured 0.002-0.004 nats per token; 8 bits of precision
        assert float((probabilities * (logits[0] - other)).sum(-1).mean()) < 0.02
    assert not any(isinstance(m, int4.StripLinear | int4.PackedLinear) for m in plain.modules())
