"""Chapter 4 - BERT: an encoder whose positions see both sides.

Differences from GPT-2 (``gpt.py``): no causal mask, norms after each part as in 2017, one more
norm after the embeddings, an embedding for "first or second sentence", and no next-token scores:
it returns one vector per token. Trained to fill in masked words; :class:`MaskedWordHead` is the
part that turns a vector into scores for words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.blocks import ACTIVATIONS, Recipe
from course_utils.nn.checkpoints import (
    Rule,
    fill,
    read_config,
    read_tensors,
    translate,
    without_prefix,
)
from course_utils.nn.families import Encoder


def _both(ours: str, *theirs: str) -> tuple[Rule, Rule]:
    """Rules for a layer's weight and bias."""
    return (
        Rule(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs)),
        Rule(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)),
    )


_OURS, _THEIRS, _SELF = "stack.blocks.{i}", "encoder.layer.{i}", "encoder.layer.{i}.attention.self"
RULES = (
    Rule("tokens.weight", ("embeddings.word_embeddings.weight",)),
    Rule("kinds.weight", ("embeddings.token_type_embeddings.weight",)),
    Rule("stack.places.embedding.weight", ("embeddings.position_embeddings.weight",)),
    *_both("stack.embedding_norm", "embeddings.LayerNorm"),
    *_both(f"{_OURS}.attention.qkv", *(f"{_SELF}.{part}" for part in ("query", "key", "value"))),
    *_both(f"{_OURS}.attention.out", f"{_THEIRS}.attention.output.dense"),
    *_both(f"{_OURS}.attention_norm", f"{_THEIRS}.attention.output.LayerNorm"),
    *_both(f"{_OURS}.feed_forward.up", f"{_THEIRS}.intermediate.dense"),
    *_both(f"{_OURS}.feed_forward.down", f"{_THEIRS}.output.dense"),
    *_both(f"{_OURS}.feed_forward_norm", f"{_THEIRS}.output.LayerNorm"),
)
# heads of the published model, which this encoder does not have
IGNORED = r"^(pooler|cls|classifier|qa_outputs)\.|position_ids$"
HEAD_RULES = (
    *_both("dense", "cls.predictions.transform.dense"),
    *_both("norm", "cls.predictions.transform.LayerNorm"),
    Rule("bias", ("cls.predictions.bias",)),
)
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}


def bert_recipe(config: Mapping) -> Recipe:
    """The recipe in a BERT ``config.json``.

    Raises:
        ValueError: positions other than learned absolute ones.
    """
    kind = config.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        raise ValueError(f"BERT has absolute positions, this configuration {kind!r}")
    activation = config.get("hidden_act", "gelu")
    return Recipe(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        ff_size=config["intermediate_size"],
        context=config["max_position_embeddings"],
        causal=False,
        order="post",
        norm_embeddings=True,
        norm_eps=config.get("layer_norm_eps", 1e-12),
        activation=_ACTIVATIONS.get(activation, activation),
    )


class Bert(Encoder):
    """A post-norm encoder with learned positions: one vector per token.

    Called as ``model(ids, *, padding_mask=None, positions=None)``: hidden states (B, T, C).

    Source: Devlin et al. 2019, "BERT", section 3.
    """

    @classmethod
    def from_pretrained(cls, path: str | Path, *, dtype: torch.dtype = torch.float32) -> Bert:
        """Load published weights (BERT, MiniLM, …) from a folder; heads in the file are left out.

        Args:
            path: folder with config.json and safetensors, such as ``assets.path("minilm-l6")``.
        """
        return cls.from_tensors(read_config(path), read_tensors(path), dtype=dtype)

    @classmethod
    def from_tensors(
        cls, config: Mapping, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> Bert:
        """Build from a configuration and tensors under their published names."""
        recipe = bert_recipe(config)
        with torch.device("meta"):
            model = cls(recipe, kinds=config.get("type_vocab_size", 2))
        bare = _modern_names(without_prefix(tensors, "bert."))
        fill(model, translate(bare, RULES, recipe.layers, IGNORED), dtype)
        return model


def _modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Files converted from TensorFlow call a norm's weight and bias gamma and beta."""
    old = {".gamma": ".weight", ".beta": ".bias"}
    renamed = {}
    for name, tensor in tensors.items():
        stem, dot, last = name.rpartition(".")
        renamed[stem + old.get(dot + last, dot + last)] = tensor
    return renamed


class MaskedWordHead(nn.Module):
    """Scores for the word at each position: BERT's fill-in head on tied embeddings.

    ``norm(f(W h + b)) E^T + b'`` with E the token embeddings (V, C).

    Args:
        embeddings: E, shared with the encoder and kept outside this module's parameters.
        activation: f.

    Source: Devlin et al. 2019, section 3.1, task 1; the layout is that of the published code.
    """

    def __init__(self, embeddings: Tensor, activation: str = "gelu", eps: float = 1e-12) -> None:
        super().__init__()
        words, width = embeddings.shape
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(words))
        self.activation = ACTIVATIONS[activation]
        self._shared = [embeddings]  # in a list, so that it is not a second parameter

    @classmethod
    def from_tensors(
        cls, bert: Bert, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> MaskedWordHead:
        """The head of a published masked language model, for an encoder loaded from the same file.

        Raises:
            ValueError: the file has no such head (all-MiniLM-L6-v2 has none).
        """
        if not any(name.startswith("cls.predictions.") for name in tensors):
            raise ValueError(
                "this checkpoint has no masked-word head (no cls.predictions.* tensors)"
            )
        own = {n: t for n, t in _modern_names(tensors).items() if n.startswith("cls.predictions.")}
        recipe = bert.recipe
        head = cls(bert.tokens.weight, recipe.activation, recipe.norm_eps)
        fill(head, translate(own, HEAD_RULES, 1, r"\.decoder\."), dtype)
        return head

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V)."""
        return F.linear(self.transform(hidden), self._shared[0], self.bias)

    def transform(self, hidden: Tensor) -> Tensor:
        """The vector (..., C) that is compared with every word's embedding."""
        return self.norm(self.activation(self.dense(hidden)))
