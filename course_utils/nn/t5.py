"""Chapter 4 - T5: encoder and decoder, and every task as text in, text out.

Differences from BART (``bart.py``): positions are learned biases on distances, norms stand
before each part and only scale, nothing has a bias, scores are not divided by sqrt(D). The task
is named in the input, as in ``translate English to German: ...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from course_utils.nn.blocks import Recipe
from course_utils.nn.checkpoints import Rule, fill, read_config, read_tensors, translate
from course_utils.nn.families import EncoderDecoder


def _half(side: str, cross: bool, gated: bool) -> tuple[Rule, ...]:
    """Rules of the encoder or the decoder; theirs numbers the parts of a block 0, 1, 2."""
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.block.{{i}}.layer"
    last = 2 if cross else 1
    wide = ("wi_0", "wi_1") if gated else ("wi",)
    self_attention, dense = f"{theirs}.0.SelfAttention", f"{theirs}.{last}.DenseReluDense"
    rules = [
        Rule(f"{side}.norm.weight", (f"{side}.final_layer_norm.weight",)),
        Rule(
            f"{side}.distances.bias.weight",
            (f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
        ),
        Rule(f"{ours}.attention_norm.weight", (f"{theirs}.0.layer_norm.weight",)),
        Rule(f"{ours}.attention.qkv.weight", tuple(f"{self_attention}.{p}.weight" for p in "qkv")),
        Rule(f"{ours}.attention.out.weight", (f"{self_attention}.o.weight",)),
        Rule(f"{ours}.feed_forward_norm.weight", (f"{theirs}.{last}.layer_norm.weight",)),
        Rule(f"{ours}.feed_forward.up.weight", tuple(f"{dense}.{p}.weight" for p in wide)),
        Rule(f"{ours}.feed_forward.down.weight", (f"{dense}.wo.weight",)),
    ]
    if cross:
        attention = f"{theirs}.1.EncDecAttention"
        rules += [
            Rule(f"{ours}.cross_norm.weight", (f"{theirs}.1.layer_norm.weight",)),
            Rule(f"{ours}.cross.query.weight", (f"{attention}.q.weight",)),
            Rule(f"{ours}.cross.kv.weight", (f"{attention}.k.weight", f"{attention}.v.weight")),
            Rule(f"{ours}.cross.out.weight", (f"{attention}.o.weight",)),
        ]
    return tuple(rules)


# copies of the shared embedding, and a bias table that the first T5 had and never used
IGNORED = r"^(encoder|decoder)\.embed_tokens\.weight$|EncDecAttention\.relative_attention_bias"


def t5_recipes(config: Mapping) -> tuple[Recipe, Recipe]:
    """The recipes of encoder and decoder in a T5 ``config.json``."""
    projection = config.get("feed_forward_proj", "relu")
    activation = {"relu": "relu", "gated-gelu": "gelu_tanh", "gated-silu": "silu"}.get(projection)
    if activation is None:
        raise ValueError(f"T5 has relu, gated-gelu or gated-silu, got {projection!r}")
    encoder = Recipe(
        vocab_size=config["vocab_size"],
        hidden_size=config["d_model"],
        layers=config["num_layers"],
        heads=config["num_heads"],
        head_size=config["d_kv"],
        ff_size=config["d_ff"],
        causal=False,
        positions="relative",
        norm="rms",
        norm_eps=config.get("layer_norm_epsilon", 1e-6),
        activation=activation,
        gated=projection.startswith("gated"),
        bias=False,
        scale_scores=False,
    )
    layers = config.get("num_decoder_layers") or encoder.layers
    return encoder, replace(encoder, layers=layers, causal=True, cross=True)


class T5(EncoderDecoder):
    """An encoder-decoder with relative positions; ``model(ids, target_ids)`` gives logits.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
    Text-to-Text Transformer", section 2.1.
    """

    def __init__(self, encoder: Recipe, decoder: Recipe, *, scale_output: bool = True) -> None:
        # T5's embeddings have variance 1: as an output matrix they need a factor. T5 1.1 has none.
        scale = decoder.hidden_size**-0.5 if scale_output else 1.0
        super().__init__(encoder, decoder, output_scale=scale)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, dtype: torch.dtype = torch.float32) -> T5:
        """Load published weights from a folder with config.json and safetensors."""
        return cls.from_tensors(read_config(path), read_tensors(path), dtype=dtype)

    @classmethod
    def from_tensors(
        cls, config: Mapping, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> T5:
        """Build from a configuration and tensors under their published names."""
        encoder, decoder = t5_recipes(config)
        # Configurations disagree on what "tied" means for T5 1.1; the file itself does not.
        head = tensors.get("lm_head.weight")
        decoder = replace(decoder, tied=head is None or torch.equal(head, tensors["shared.weight"]))
        scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
        with torch.device("meta"):
            model = cls(encoder, decoder, scale_output=scaled)
        # The halves may differ in depth, so each is translated with its own number of layers.
        top = [Rule("tokens.weight", ("shared.weight",))]
        if not decoder.tied:
            top.append(Rule("head.weight", ("lm_head.weight",)))
        ignore = IGNORED + (r"|^lm_head\.weight$" if decoder.tied else "")
        weights = translate(_part(tensors, ""), top, 1, ignore)
        for side, recipe in (("encoder", encoder), ("decoder", decoder)):
            rules = _half(side, recipe.cross, recipe.gated)
            weights |= translate(_part(tensors, f"{side}."), rules, recipe.layers, IGNORED)
        fill(model, weights, dtype)
        return model


def _part(tensors: Mapping[str, Tensor], side: str) -> dict[str, Tensor]:
    """Tensors of one half, or with an empty side those of neither."""
    halves = ("encoder.", "decoder.")
    return {
        n: t
        for n, t in tensors.items()
        if (n.startswith(side) if side else not n.startswith(halves))
    }
