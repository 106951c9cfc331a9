"""Chapter 4 - Families: encoder, decoder, encoder-decoder, each from a recipe.

``gpt``, ``llama``, ``bert``, ``t5`` and ``bart`` add to these classes only a recipe read from
the published configuration and a table of weight names. Every model is called as
``model(ids, *, padding_mask=None, positions=None, cache=None)`` and returns a tensor.

Letters: B batch, T query length, S key length, C width, H heads, V vocabulary.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.blocks import Block, Recipe, make_norm
from course_utils.nn.cache import KVCache
from course_utils.nn.positions import LearnedPositions, rotary_frequencies
from course_utils.nn.sight import RelativePositions, Sight, rotary_pair, visible


class Stack(nn.Module):
    """Positions, blocks and a last norm: what encoders and decoders have in common.

    Args:
        recipe: see :class:`course_utils.nn.blocks.Recipe`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        learned, relative = recipe.positions == "learned", recipe.positions == "relative"
        self.places = LearnedPositions(recipe.context, recipe.hidden_size) if learned else None
        self.distances = RelativePositions(recipe.heads, recipe.causal) if relative else None
        self.embedding_norm = make_norm(recipe) if recipe.norm_embeddings else None
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.layers))
        # in post-norm the last block ends with a norm already
        self.norm = make_norm(recipe) if recipe.order == "pre" else None

    def forward(
        self,
        x: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
        memory: list[tuple[Tensor, Tensor]] | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (B, T, C) -> hidden states (B, T, C)."""
        positions, mask = visible(x, padding_mask, positions, cache, causal=self.recipe.causal)
        if self.places is not None:
            x = x + self.places(positions)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        sight = self._sight(x, positions, mask, cache)
        for i, block in enumerate(self.blocks):
            store = None if cache is None else partial(cache.append, i)
            x = block(x, sight, store, None if memory is None else memory[i], memory_mask)
        if cache is not None:
            cache.advance(x.shape[1])
        return x if self.norm is None else self.norm(x)

    def _sight(
        self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: KVCache | None
    ) -> Sight:
        if self.distances is not None:
            past = 0 if cache is None else cache.filled
            bias = self.distances(past, x.shape[1]).to(x.dtype)
            return Sight(bias if mask is None else bias.masked_fill(~mask, -torch.inf))
        if self.recipe.positions != "rotary":
            return Sight(mask)
        frequencies = self.rotary_frequencies().to(x.device)
        return Sight(mask, rotary_pair(positions, frequencies, x.dtype))

    def rotary_frequencies(self) -> Tensor:
        """Radians per position of each pair (D/2,)."""
        base, scaling = self.recipe.rotary_base, self.recipe.rotary_scaling
        frequencies = rotary_frequencies(self.recipe.width, base)
        return frequencies if scaling is None else scaling.apply(frequencies, base)


class Decoder(nn.Module):
    """Token ids in, scores for the next token out: GPT-2 and LLaMA are two recipes for it.

    Args:
        recipe: causal, without cross-attention.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.tokens = nn.Embedding(recipe.vocab_size, recipe.hidden_size)
        self.stack = Stack(recipe)
        shape = (recipe.hidden_size, recipe.vocab_size)
        self.head = None if recipe.tied else nn.Linear(*shape, bias=False)

    def forward(
        self,
        ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Scores for the token after each position.

        Args:
            ids: (B, T); with a cache, only the new tokens.
            padding_mask: (B, T), True or 1 = real token (a tokenizer's attention_mask).
            positions: (T,) or (B, T); by default the number of real tokens before each.
            cache: from :meth:`new_cache`; it is filled in place.

        Returns:
            logits (B, T, V).
        """
        inputs = {"padding_mask": padding_mask, "positions": positions, "cache": cache}
        return self.logits(self.hidden(ids, **inputs))

    def hidden(self, ids: Tensor, **inputs) -> Tensor:
        """The last hidden states (B, T, C), after the final norm; arguments of forward."""
        return self.stack(self.tokens(ids), **inputs)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V); with tied weights, products with every token's embedding."""
        return F.linear(hidden, self.tokens.weight) if self.head is None else self.head(hidden)

    def next_logits(self, ids: Tensor, **inputs) -> Tensor:
        """Logits (B, V) after the last position only: a prompt needs no others."""
        return self.logits(self.hidden(ids, **inputs)[:, -1:])[:, 0]

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``batch`` rows of at most ``length`` tokens."""
        return _new_cache(self.recipe, self.tokens.weight, batch, length)


def _new_cache(recipe: Recipe, like: Tensor, batch: int, length: int) -> KVCache:
    return KVCache(
        recipe.layers,
        batch,
        recipe.key_heads,
        length,
        recipe.width,
        dtype=like.dtype,
        device=like.device,
    )


class Encoder(nn.Module):
    """Token ids in, one vector per token out, each having seen both sides: BERT.

    Args:
        recipe: not causal.
        kinds: number of segment types with an embedding each (BERT: 2).
    """

    def __init__(self, recipe: Recipe, kinds: int = 0) -> None:
        super().__init__()
        self.recipe = recipe
        self.tokens = nn.Embedding(recipe.vocab_size, recipe.hidden_size)
        self.kinds = nn.Embedding(kinds, recipe.hidden_size) if kinds else None
        self.stack = Stack(recipe)

    def forward(
        self,
        ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: None = None,
        token_types: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, T, C) of ids (B, T).

        Args:
            padding_mask: (B, T), True or 1 = real token.
            positions: (T,) or (B, T); by default the number of real tokens before each.
            cache: must be None: a new token would change every state before it.
            token_types: (B, T), 0 for the first sentence and 1 for the second.
        """
        if cache is not None:
            raise ValueError("an encoder sees both sides, so none of its states can be cached")
        x = self.tokens(ids)
        if self.kinds is not None:
            x = x + self.kinds(torch.zeros_like(ids) if token_types is None else token_types)
        return self.stack(x, padding_mask=padding_mask, positions=positions)


class EncoderDecoder(nn.Module):
    """An encoder reads the source, a causal decoder with cross-attention writes: T5 and BART.

    Args:
        encoder, decoder: their recipes; the decoder's has ``cross=True``.
        embedding_scale: factor on token embeddings (BART with ``scale_embedding``).
        output_scale: factor on the last hidden states before a tied output matrix (T5).
        output_bias: whether logits get a bias vector (BART).
    """

    def __init__(
        self,
        encoder: Recipe,
        decoder: Recipe,
        *,
        embedding_scale: float = 1.0,
        output_scale: float = 1.0,
        output_bias: bool = False,
    ) -> None:
        super().__init__()
        self.recipe, self.encoder_recipe = decoder, encoder
        self.tokens = nn.Embedding(decoder.vocab_size, decoder.hidden_size)
        self.encoder, self.decoder = Stack(encoder), Stack(decoder)
        self.embedding_scale, self.output_scale = embedding_scale, output_scale
        shape = (decoder.hidden_size, decoder.vocab_size)
        self.head = None if decoder.tied else nn.Linear(*shape, bias=False)
        self.bias = nn.Parameter(torch.zeros(decoder.vocab_size)) if output_bias else None

    def forward(
        self,
        ids: Tensor,
        target_ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V) after each target token (B, T), for a source ids (B, S).

        Args:
            padding_mask: (B, S) of the source. target_mask: (B, T); True or 1 = real token.
        """
        return self.given(ids, padding_mask=padding_mask)(target_ids, padding_mask=target_mask)

    def encode(self, ids: Tensor, *, padding_mask: Tensor | None = None) -> Tensor:
        """The encoder's hidden states (B, S, C) of the source ids (B, S)."""
        return self.encoder(self.tokens(ids) * self.embedding_scale, padding_mask=padding_mask)

    def given(self, ids: Tensor, *, padding_mask: Tensor | None = None) -> Conditioned:
        """A decoder for this source, which ``generate`` and ``beam_search`` can drive."""
        return Conditioned(self, self.encode(ids, padding_mask=padding_mask), padding_mask)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V)."""
        if self.head is None:
            scores = F.linear(hidden * self.output_scale, self.tokens.weight)
        else:
            scores = self.head(hidden)
        return scores if self.bias is None else scores + self.bias


class Conditioned:
    """The decoder half of a model together with one encoded source: follows the call protocol.

    Args:
        model: the encoder-decoder.
        encoded: (B, S, C). source_mask: (B, S), True or 1 = real token, or None.
    """

    def __init__(self, model: EncoderDecoder, encoded: Tensor, source_mask: Tensor | None) -> None:
        self.model = model
        self.encoded, self.source_mask = encoded, source_mask

    def __call__(
        self,
        ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) after each target token (B, T)."""
        memory = self._memory(len(ids)) if cache is None else cache.memory
        mask = None
        if self.source_mask is not None:
            mask = self._rows(self.source_mask.bool(), len(ids))[:, None, None]  # (B, 1, 1, S)
        hidden = self.model.decoder(
            self.model.tokens(ids) * self.model.embedding_scale,
            padding_mask=padding_mask,
            positions=positions,
            cache=cache,
            memory=memory,
            memory_mask=mask,
        )
        return self.model.logits(hidden)

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache that already holds every layer's keys and values of the source."""
        model = self.model
        cache = _new_cache(model.recipe, model.tokens.weight, batch, length)
        cache.memory = self._memory(batch)
        return cache

    def _memory(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        encoded = self._rows(self.encoded, batch)
        return [block.cross.remember(encoded) for block in self.model.decoder.blocks]

    def _rows(self, x: Tensor, batch: int) -> Tensor:
        """One copy of each source row per beam: neighbouring rows belong together."""
        if batch % len(x):
            raise ValueError(f"{batch} target rows do not belong to {len(x)} source rows")
        return x.repeat_interleave(batch // len(x), dim=0)
