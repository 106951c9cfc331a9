"""Chapter 4 - LLaMA: the decoder that most open models of today descend from.

Differences from GPT-2 (``gpt.py``): rotary positions instead of a table, RMSNorm instead of
LayerNorm, a gated feed-forward network with silu, no biases, and fewer key than query heads.
``Llama.from_pretrained`` reads SmolLM2, LLaMA 1-3 and others that kept this form.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from course_utils.nn.blocks import Recipe
from course_utils.nn.checkpoints import Rule, fill, read_config, read_tensors, translate
from course_utils.nn.families import Decoder
from course_utils.nn.positions import RotaryScaling

_OURS, _THEIRS = "stack.blocks.{i}", "model.layers.{i}"
RULES = (
    Rule("tokens.weight", ("model.embed_tokens.weight",)),
    Rule("stack.norm.weight", ("model.norm.weight",)),
    Rule(f"{_OURS}.attention_norm.weight", (f"{_THEIRS}.input_layernorm.weight",)),
    Rule(f"{_OURS}.feed_forward_norm.weight", (f"{_THEIRS}.post_attention_layernorm.weight",)),
    Rule(
        f"{_OURS}.attention.qkv.weight",
        tuple(f"{_THEIRS}.self_attn.{part}_proj.weight" for part in "qkv"),
    ),
    Rule(f"{_OURS}.attention.out.weight", (f"{_THEIRS}.self_attn.o_proj.weight",)),
    Rule(
        f"{_OURS}.feed_forward.up.weight",
        (f"{_THEIRS}.mlp.gate_proj.weight", f"{_THEIRS}.mlp.up_proj.weight"),
    ),
    Rule(f"{_OURS}.feed_forward.down.weight", (f"{_THEIRS}.mlp.down_proj.weight",)),
)
HEAD = Rule("head.weight", ("lm_head.weight",))


def llama_recipe(config: Mapping) -> Recipe:
    """The recipe in a LLaMA ``config.json``.

    Raises:
        ValueError: the configuration asks for a part that LLaMA does not have, such as biases.
    """
    for name, known in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if config.get(name, known) != known:
            raise ValueError(f"LLaMA has {name} = {known!r}, this configuration {config[name]!r}")
    base, scaling = _rotary(config)
    return Recipe(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads"),
        head_size=config.get("head_dim"),
        ff_size=config["intermediate_size"],
        context=config.get("max_position_embeddings", 0),
        positions="rotary",
        norm="rms",
        norm_eps=config.get("rms_norm_eps", 1e-6),
        activation="silu",
        gated=True,
        bias=False,
        tied=config.get("tie_word_embeddings", False),
        rotary_base=base,
        rotary_scaling=scaling,
    )


def _rotary(config: Mapping) -> tuple[float, RotaryScaling | None]:
    """Base and scaling; transformers 5 writes one dictionary where older files had two keys."""
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = rotary.get("rope_theta", config.get("rope_theta", 10_000.0))
    kind = rotary.get("rope_type", rotary.get("type", "default"))
    if kind == "default":
        return base, None
    scaling = RotaryScaling(
        kind,
        rotary["factor"],
        rotary.get("original_max_position_embeddings", 8192),
        rotary.get("low_freq_factor", 1.0),
        rotary.get("high_freq_factor", 4.0),
    )
    return base, scaling


class Llama(Decoder):
    """A decoder with rotary positions, RMSNorm, a gated network, grouped heads and no biases.

    Called as ``model(ids, *, padding_mask=None, positions=None, cache=None)``: logits (B, T, V).

    Source: Touvron et al. 2023, "LLaMA", section 2.2; "Llama 2", section 2.2 (grouped heads).
    """

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, pack: bool = True
    ) -> Llama:
        """Load published weights from a folder with config.json and safetensors.

        Args:
            path: the folder, such as ``assets.path("smollm2-135m-instruct")``.
            dtype: float32 equals the reference to rounding; bfloat16 halves the memory that
                each decoded token has to read.
            pack: store the matrices in the order that decodes fastest on this CPU
                (``int4.pack``). False keeps plain ``nn.Linear`` layers, to train or to adapt.
        """
        from course_utils.nn import int4

        model = cls.from_tensors(read_config(path), read_tensors(path), dtype=dtype)
        return int4.pack(model) if pack else model

    @classmethod
    def from_tensors(
        cls, config: Mapping, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> Llama:
        """Build from a configuration and tensors under their published names."""
        recipe = llama_recipe(config)
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced
            model = cls(recipe)
        rules = RULES if recipe.tied else (*RULES, HEAD)
        ignore = r"rotary_emb\.inv_freq$" + (r"|^lm_head\.weight$" if recipe.tied else "")
        fill(model, translate(tensors, rules, recipe.layers, ignore), dtype)
        return model
