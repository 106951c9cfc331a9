"""Chapter 4 - BART: BERT's encoder and GPT's decoder, trained to repair damaged text.

Differences from T5 (``t5.py``): learned positions, LayerNorm after each part and after the
embeddings, biases everywhere, scores divided by sqrt(D), the same block otherwise.
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
from course_utils.nn.families import EncoderDecoder

OFFSET = 2  # the first two rows of the position table were never used for positions


def _both(ours: str, *theirs: str) -> tuple[Rule, Rule]:
    """Rules for a layer's weight and bias."""
    return (
        Rule(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs)),
        Rule(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)),
    )


def _half(side: str, cross: bool) -> tuple[Rule, ...]:
    """Rules of the encoder or the decoder."""
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.layers.{{i}}"
    rules = [
        Rule(f"{side}.places.embedding.weight", (f"{side}.embed_positions.weight",)),
        *_both(f"{side}.embedding_norm", f"{side}.layernorm_embedding"),
        *_both(f"{ours}.attention.qkv", *(f"{theirs}.self_attn.{p}_proj" for p in "qkv")),
        *_both(f"{ours}.attention.out", f"{theirs}.self_attn.out_proj"),
        *_both(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm"),
        *_both(f"{ours}.feed_forward.up", f"{theirs}.fc1"),
        *_both(f"{ours}.feed_forward.down", f"{theirs}.fc2"),
        *_both(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm"),
    ]
    if cross:
        attention = f"{theirs}.encoder_attn"
        rules += [
            *_both(f"{ours}.cross.query", f"{attention}.q_proj"),
            *_both(f"{ours}.cross.kv", f"{attention}.k_proj", f"{attention}.v_proj"),
            *_both(f"{ours}.cross.out", f"{attention}.out_proj"),
            *_both(f"{ours}.cross_norm", f"{attention}_layer_norm"),
        ]
    return tuple(rules)


def bart_recipes(config: Mapping) -> tuple[Recipe, Recipe]:
    """The recipes of encoder and decoder in a BART ``config.json``."""
    halves = []
    for side in ("encoder", "decoder"):
        halves.append(
            Recipe(
                vocab_size=config["vocab_size"],
                hidden_size=config["d_model"],
                layers=config[f"{side}_layers"],
                heads=config[f"{side}_attention_heads"],
                ff_size=config[f"{side}_ffn_dim"],
                context=config["max_position_embeddings"],
                causal=side == "decoder",
                order="post",
                norm_embeddings=True,
                activation=config.get("activation_function", "gelu"),
                cross=side == "decoder",
            )
        )
    return halves[0], halves[1]


class Bart(EncoderDecoder):
    """A post-norm encoder-decoder with learned positions; ``model(ids, target_ids)`` gives logits.

    Source: Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training", section 2.
    """

    def __init__(self, encoder: Recipe, decoder: Recipe, *, scale_embedding: bool = False) -> None:
        scale = decoder.hidden_size**0.5 if scale_embedding else 1.0
        super().__init__(encoder, decoder, embedding_scale=scale, output_bias=True)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, dtype: torch.dtype = torch.float32) -> Bart:
        """Load published weights from a folder with config.json and safetensors."""
        return cls.from_tensors(read_config(path), read_tensors(path), dtype=dtype)

    @classmethod
    def from_tensors(
        cls, config: Mapping, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> Bart:
        """Build from a configuration and tensors under their published names."""
        encoder, decoder = bart_recipes(config)
        with torch.device("meta"):
            model = cls(encoder, decoder, scale_embedding=config.get("scale_embedding", False))
        bare = without_prefix(tensors, "model.")
        weights = _top(bare, decoder.vocab_size)
        for side, recipe in (("encoder", encoder), ("decoder", decoder)):
            part = {n: t for n, t in bare.items() if n.startswith(f"{side}.")}
            rules = _half(side, recipe.cross)
            weights |= translate(part, rules, recipe.layers, r"embed_tokens\.weight$")
            table = f"{side}.places.embedding.weight"
            weights[table] = weights[table][OFFSET:]
        fill(model, weights, dtype)
        return model


def _top(tensors: Mapping[str, Tensor], words: int) -> dict[str, Tensor]:
    """What encoder and decoder share; a base model's file has no output bias, which is zero."""
    part = {n: t for n, t in tensors.items() if not n.startswith(("encoder.", "decoder."))}
    bias = part.pop("final_logits_bias", torch.zeros(1, words))
    weights = translate(part, [Rule("tokens.weight", ("shared.weight",))], 1, r"^lm_head\.weight$")
    return weights | {"bias": bias[0]}
