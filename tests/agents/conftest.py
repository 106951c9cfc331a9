"""A small corpus and a box of tools for the agents' tests."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace

import pytest
import torch

from course_utils import assets
from course_utils.agents.searching import SearchIndex
from course_utils.agents.toolbox import course_tools
from course_utils.agents.tools import Registry

ROWS = [
    {"title": "Ann Lee", "text": "Ann Lee was born in 1932. She wrote poems."},
    {"title": "Cairo", "text": "The Nile flows through Cairo."},
    {"title": "Mount Etna", "text": "The volcano is 3,357 metres high."},
]


@pytest.fixture
def index() -> SearchIndex:
    return SearchIndex(ROWS)


@pytest.fixture
def box(index: SearchIndex) -> Registry:
    return course_tools(index)


@pytest.fixture(scope="session")
def llm():
    """SmolLM2's tokenizer with a model of one small random layer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from course_utils.nn.llama import Llama

    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=2048,
        tie_word_embeddings=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        model = Llama.from_pretrained(folder)
    return SimpleNamespace(model=model.eval(), tokenizer=tokenizer)
