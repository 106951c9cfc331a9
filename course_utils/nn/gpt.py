"""Chapter 4 - GPT-2: a decoder that reads from left to right and predicts the next token.

The first of the five families here. Against the transformer of 2017 it drops the encoder, puts
norms before each part instead of after it, learns one vector per position, and uses the output
matrix twice: as token embeddings and as next-token scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from course_utils.nn.blocks import Recipe
from course_utils.nn.checkpoints import (
    Rule,
    fill,
    read_config,
    read_tensors,
    translate,
    without_prefix,
)
from course_utils.nn.families import Decoder


def _both(ours: str, theirs: str, transpose: bool = False) -> tuple[Rule, Rule]:
    """Rules for a layer's weight and bias; the bias is a vector and never transposed."""
    return (
        Rule(f"{ours}.weight", (f"{theirs}.weight",), transpose),
        Rule(f"{ours}.bias", (f"{theirs}.bias",)),
    )


_OURS, _THEIRS = "stack.blocks.{i}", "h.{i}"
RULES = (
    Rule("tokens.weight", ("wte.weight",)),
    Rule("stack.places.embedding.weight", ("wpe.weight",)),
    *_both("stack.norm", "ln_f"),
    *_both(f"{_OURS}.attention_norm", f"{_THEIRS}.ln_1"),
    # GPT-2 stores matrices as (in, out): its layers came from a one-wide convolution
    *_both(f"{_OURS}.attention.qkv", f"{_THEIRS}.attn.c_attn", transpose=True),
    *_both(f"{_OURS}.attention.out", f"{_THEIRS}.attn.c_proj", transpose=True),
    *_both(f"{_OURS}.feed_forward_norm", f"{_THEIRS}.ln_2"),
    *_both(f"{_OURS}.feed_forward.up", f"{_THEIRS}.mlp.c_fc", transpose=True),
    *_both(f"{_OURS}.feed_forward.down", f"{_THEIRS}.mlp.c_proj", transpose=True),
)
# old checkpoints carry the causal triangle as a tensor
IGNORED = r"^h\.\d+\.attn\.(bias|masked_bias)$|^lm_head\.weight$"
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}


def gpt2_recipe(config: Mapping) -> Recipe:
    """The recipe in a GPT-2 ``config.json``."""
    width = config["n_embd"]
    activation = config.get("activation_function", "gelu_new")
    return Recipe(
        vocab_size=config["vocab_size"],
        hidden_size=width,
        layers=config["n_layer"],
        heads=config["n_head"],
        ff_size=config.get("n_inner") or 4 * width,
        context=config["n_positions"],
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        activation=_ACTIVATIONS.get(activation, activation),
    )


class GPT2(Decoder):
    """A pre-norm decoder with learned positions and tied embeddings.

    Called as ``model(ids, *, padding_mask=None, positions=None, cache=None)``: logits (B, T, V).

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
    section 2.3.
    """

    @classmethod
    def from_pretrained(cls, path: str | Path, *, dtype: torch.dtype = torch.float32) -> GPT2:
        """Load published weights from a folder with config.json and safetensors."""
        return cls.from_tensors(read_config(path), read_tensors(path), dtype=dtype)

    @classmethod
    def from_tensors(
        cls, config: Mapping, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> GPT2:
        """Build from a configuration and tensors under their published names."""
        recipe = gpt2_recipe(config)
        with torch.device("meta"):
            model = cls(recipe)
        bare = without_prefix(tensors, "transformer.")
        fill(model, translate(bare, RULES, recipe.layers, IGNORED), dtype)
        return model
