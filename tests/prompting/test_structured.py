"""Generation under a mask: with a model of random scores, and equality of the ways to run it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from course_utils import assets
from course_utils.nn.llama import Llama
from course_utils.prompting import structured, structured_tools
from course_utils.prompting.automata import compile_regex
from course_utils.prompting.random_model import RandomScores
from course_utils.prompting.structured import constrained, schema_mask, validate
from course_utils.prompting.token_mask import TokenMask, TokenTrie
from course_utils.text.tokenization import BPETokenizer

END = 2
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 11},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "bé"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
}
TOOLS = [
    {"name": "add", "description": "Add.", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"]}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}},
    {"name": "find", "inputSchema": {
        "type": "object", "properties": {"q": {"type": "string", "maxLength": 7}},
        "required": ["q"]}},
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.from_hf(assets.path("smollm2-135m-instruct") / "tokenizer.json")


@pytest.fixture(scope="module")
def small():
    """A tiny LLaMA with random weights over SmolLM2's vocabulary."""
    from course_utils.nn.blocks import Recipe
    from course_utils.nn.families import Decoder

    torch.manual_seed(3)
    recipe = Recipe(vocab_size=49152, hidden_size=14, layers=2, heads=1, ff_size=19, context=0,
                    positions="rotary", norm="rms", activation="silu", gated=True, bias=False,
                    tied=True)  # fmt: skip
    return Decoder(recipe).eval()


PROMPTS = [[40, 50, 60, 70, 80], [41, 51, 61], [42, 52, 62, 72, 82, 92, 102]]


def test_valid_whatever_the_model(small, tokenizer):
    mask, generator = schema_mask(PERSON, tokenizer), torch.Generator().manual_seed(5)
    options = {"end_id": END, "temperature": 1.7, "generator": generator, "max_new_tokens": 90}
    for _ in range(5):
        for result in constrained(small, PROMPTS, mask, **options):
            assert validate(json.loads(result.text), PERSON) == []
            assert len(result.ids) == result.chosen + result.forced <= 90
            assert len(result.log_mass) == result.chosen
            assert all(-math.inf < m <= 1e-4 for m in result.log_mass)


def test_valid_out_of_noise(tokenizer):
    """Seventeen rows that end at different times: padding, growth of the cache, dropped rows."""
    noise, mask = RandomScores(49152, scale=3, seed=3), schema_mask(PERSON, tokenizer)
    found = constrained(noise, [[1]] * 17, mask, end_id=END, max_new_tokens=90)
    assert all(validate(json.loads(r.text), PERSON) == [] for r in found)
    assert len({len(r.ids) for r in found}) > 3


def test_tight_room_still_gives_a_complete_object(small, tokenizer):
    mask = schema_mask(PERSON, tokenizer)
    least = int(mask.distance[1])
    found = constrained(small, PROMPTS, mask, end_id=END, max_new_tokens=least)
    assert all(validate(json.loads(r.text), PERSON) == [] for r in found)
    with pytest.raises(ValueError, match=f"may need {least}"):
        constrained(small, PROMPTS, mask, end_id=END, max_new_tokens=least - 1)


def test_batch_equals_single_rows(small, tokenizer):
    """Padding inside the batch and the shared beginning change nothing."""
    mask = schema_mask(PERSON, tokenizer)
    prompts = [[*range(100, 111), *prompt] for prompt in PROMPTS]
    together = constrained(small, prompts, mask, end_id=END)
    for prompt, row in zip(prompts, together, strict=True):
        alone = constrained(small, [prompt], mask, end_id=END)[0]
        assert alone.ids == row.ids
        assert np.allclose(alone.log_mass, row.log_mass, atol=1e-3)  # float32, other order of sums


def test_greedy_choice_is_the_best_allowed_of_a_run_without_cache(small, tokenizer):
    mask = schema_mask(PERSON, tokenizer)
    row = constrained(small, PROMPTS[:1], mask, end_id=END, force=False)[0]
    assert row.forced == 0 and row.chosen >= len(row.ids)
    ids, state = list(PROMPTS[0]), 1
    for token in row.ids:
        with torch.no_grad():
            scores = small(torch.tensor([ids]))[0, -1]
        allowed = torch.from_numpy(mask.allowed(state).copy())
        scores = scores[: len(allowed)].masked_fill(~allowed, -math.inf)
        assert float(scores.max() - scores[token]) < 1e-4
        ids.append(token)
        state = mask.advance(state, token)


def test_end_only_where_complete():
    """A model that wants to stop at once may do so only after a whole number."""

    class Stops:
        def __init__(self):
            self.asked = 0

        def new_cache(self, batch, length):
            from course_utils.nn.cache import KVCache

            return KVCache(1, batch, 1, length, 1)

        def __call__(self, ids, *, padding_mask=None, cache=None):
            cache.reserve(len(ids), ids.shape[1], padding_mask)
            cache.advance(ids.shape[1])
            self.asked += 1
            scores = torch.zeros(*ids.shape, 4)
            scores[..., 3] = 9.0
            return scores

    mask = TokenMask(compile_regex("a{2,5}"), TokenTrie([b"a", b"aa", b"aaa"]))
    model = Stops()
    assert constrained(model, [[0]], mask, end_id=3)[0].text == "aa"
    assert model.asked == 3  # a, a, and only then the end
    assert constrained(model, [[0]], mask)[0].text == "aa"  # no end token: as soon as it can


def test_one_call_of_one_tool(small, tokenizer):
    mask = structured_tools.tools_mask(TOOLS, tokenizer)
    schema = structured_tools.call_schema(TOOLS)
    generator, seen = torch.Generator().manual_seed(7), set()
    for result in constrained(
        small, PROMPTS * 4, mask, end_id=END, temperature=2.0, generator=generator
    ):
        value = json.loads(result.text)
        assert validate(value, schema) == [] and set(value) == {"name", "arguments"}
        seen.add(value["name"])
    assert seen <= {"add", "now", "find"} and len(seen) > 1


def test_tools_are_described_and_checked():
    assert structured_tools.describe_tools(TOOLS[:1]).startswith("- add: Add. Arguments: {")
    with pytest.raises(ValueError, match="different names"):
        structured_tools.call_schema([TOOLS[0], TOOLS[0]])
    with pytest.raises(ValueError, match="type object"):
        structured_tools.call_schema([{"name": "x", "parameters": {"type": "string"}}])


def test_smollm2_end_to_end():
    from transformers import AutoTokenizer

    folder = assets.path("smollm2-135m-instruct")
    chat, model = AutoTokenizer.from_pretrained(folder), Llama.from_pretrained(folder, pack=False)
    messages = [
        {"role": "user", "content": "Tom Okafor, 51, is a nurse. Give name and age as JSON."}
    ]
    schema = {"type": "object", "properties": {"name": PERSON["properties"]["name"],
              "age": {"type": "integer"}}, "required": ["name", "age"]}  # fmt: skip
    found = structured.generate_json(model, chat, messages, schema)
    assert found.value == {"name": "Tom Okafor", "age": 51}
    assert found.forced > 0 and found.chosen < len(found.ids)
