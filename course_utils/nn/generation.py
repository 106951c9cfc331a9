"""Chapter 4 - Generation: the loop around a decoder.

One step asks the model for the scores of the next token, a *chooser* picks one, and the token
becomes part of the input. With a cache the model sees only that token; without one, the whole
text again. Batches are padded on the left, so that every row's last token stands in the last
column; which columns are padding is said by ``attention_mask`` and never guessed from ids,
because a padding id may well occur in real text.

Letters: B batch, T prompt length, n new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from course_utils.nn import sampling
from course_utils.nn.cache import KVCache

Chooser = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits (B, V), history, real -> ids (B,)


class DecoderModel(Protocol):
    """What ``generate`` needs of a model."""

    def __call__(
        self,
        ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V)."""

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache."""


def generate(
    model: DecoderModel,
    input_ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int | None = None,
    stop_ids: int | Iterable[int] = (),
    attention_mask: Tensor | None = None,
    pad_id: int | None = None,
    use_cache: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue a batch of prompts.

    Args:
        model: called as ``model(ids, *, padding_mask, positions, cache)``.
        input_ids: (B, T), padded on the left.
        max_new_tokens: at most so many new tokens per row, the prompt not counted.
        temperature: 0 takes the best token (greedy); above 0 samples.
        top_k, top_p, min_p, repetition_penalty, no_repeat_ngram_size: see ``sampling``.
        stop_ids: a row ends with the first of these that it produces.
        attention_mask: (B, T), 1 or True = real token; None: no padding.
        pad_id: fills finished rows; by default the first stop id.
        use_cache: False computes every step from the start (same result, to see the price).
        generator: source of random numbers for sampling.

    Returns:
        (B, T + n) ids, prompt included, n <= max_new_tokens: it stops when all rows have.

    Raises:
        ValueError: shapes do not fit, or padding is not on the left.
    """
    choose = chooser(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        generator=generator,
    )
    stops = _stop_ids(stop_ids)
    pad_id = pad_id if pad_id is not None else next(iter(stops), 0)
    text = Text(model, input_ids, max_new_tokens, attention_mask, use_cache=use_cache)
    running = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
    for _ in range(max_new_tokens):
        token = text.choose(choose)
        text.add(token.masked_fill(~running, pad_id))
        running &= ~_is_in(token, stops)
        if not bool(running.any()):
            break
    return text.ids


class Text:
    """A batch of texts that grows by one token per row, with the model and cache behind it.

    Args:
        model, input_ids, attention_mask, use_cache: see :func:`generate`.
        room: new tokens to reserve memory for.
    """

    def __init__(
        self,
        model: DecoderModel,
        input_ids: Tensor,
        room: int,
        attention_mask: Tensor | None = None,
        *,
        use_cache: bool = True,
    ) -> None:
        _check_prompt(input_ids, room, attention_mask)
        batch, self.length = input_ids.shape
        self.model, self.seen = model, 0
        self._ids = torch.nn.functional.pad(input_ids, (0, room))
        self._real = torch.ones_like(self._ids, dtype=torch.bool)
        if attention_mask is not None:
            self._real[:, : self.length] = attention_mask.bool()
        self.padded = not bool(self._real.all())
        self.cache = model.new_cache(batch, self.length + room) if use_cache else None

    @property
    def ids(self) -> Tensor:
        """(B, T so far)."""
        return self._ids[:, : self.length]

    @property
    def real(self) -> Tensor:
        """(B, T so far), True = real token."""
        return self._real[:, : self.length]

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Scores (B, V) of the next token; with a cache, only what is new goes through."""
        ids, real = self.ids[:, self.seen :], self.real[:, self.seen :]
        mask = real if self.padded and not bool(real.all()) else None
        if self.cache is not None:
            self.seen = self.length
        # a model may offer scores after the last position alone; the contract is all of them
        last = getattr(self.model, "next_logits", None)
        if last is not None:
            return last(ids, padding_mask=mask, cache=self.cache)
        return self.model(ids, padding_mask=mask, cache=self.cache)[:, -1]

    @torch.inference_mode()
    def choose(self, rule: Chooser) -> Tensor:
        """Next token of each row (B,) by this rule."""
        return rule(self.logits(), self.ids, self.real)

    def add(self, token: Tensor) -> None:
        """Write one token per row (B,) behind the text."""
        self._ids[:, self.length] = token
        self.length += 1

    def repeat(self, times: int) -> None:
        """Each row ``times`` times, neighbours: a prompt read once for several continuations."""
        self._ids = self._ids.repeat_interleave(times, dim=0)
        self._real = self._real.repeat_interleave(times, dim=0)
        if self.cache is not None:
            self.cache.repeat(times)

    def select(self, rows: Tensor) -> None:
        """Row i becomes a copy of the old row ``rows[i]``."""
        self._ids, self._real = self._ids[rows], self._real[rows]
        if self.cache is not None:
            self.cache.select(rows)


def chooser(
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int | None = None,
    generator: torch.Generator | None = None,
) -> Chooser:
    """The rule that picks the next token, as a function of logits, history and real tokens."""
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")

    def choose(logits: Tensor, history: Tensor, real: Tensor) -> Tensor:
        if repetition_penalty != 1.0:
            logits = sampling.repetition_penalised(logits, history, repetition_penalty, real)
        if no_repeat_ngram_size:
            logits = sampling.without_repeated_ngrams(logits, history, no_repeat_ngram_size, real)
        if temperature == 0:
            return logits.argmax(dim=-1)
        kept = sampling.filtered(
            logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
        )
        return sampling.draw(kept, generator)

    return choose


def stream(
    model: DecoderModel, input_ids: Tensor, max_new_tokens: int, **options: Any
) -> Iterator[int]:
    """The new tokens of one prompt, each as soon as it is known.

    Args:
        input_ids: (1, T) or (T,). options: those of :func:`generate`.

    Yields:
        token ids; a stop id ends the stream and is not part of it.
    """
    ids = input_ids[None] if input_ids.dim() == 1 else input_ids
    if len(ids) != 1:
        raise ValueError(f"stream takes one prompt, got {len(ids)}")
    stops = _stop_ids(options.pop("stop_ids", ()))
    mask, use_cache = options.pop("attention_mask", None), options.pop("use_cache", True)
    rule = chooser(**options)
    text = Text(model, ids, max_new_tokens, mask, use_cache=use_cache)
    for _ in range(max_new_tokens):
        token = text.choose(rule)
        if int(token) in stops:
            return
        text.add(token)
        yield int(token)


def token_log_probs(
    model: DecoderModel, ids: Tensor, *, attention_mask: Tensor | None = None
) -> Tensor:
    """Log probability, in nats, of every token after the first, given those before it.

    Args:
        ids: (B, T). attention_mask: (B, T), 1 or True = real token.

    Returns:
        (B, T-1); entry t belongs to token t+1. Entries of padding tokens mean nothing.
    """
    with torch.no_grad():
        logits = model(ids, padding_mask=attention_mask)[:, :-1]
    chosen = logits.gather(-1, ids[:, 1:, None])[..., 0]
    # log softmax of one entry, without a second (B, T, V) tensor
    return chosen - logits.logsumexp(dim=-1)


def _stop_ids(stop_ids: int | Iterable[int]) -> tuple[int, ...]:
    return (stop_ids,) if isinstance(stop_ids, int) else tuple(int(i) for i in stop_ids)


def _is_in(token: Tensor, ids: tuple[int, ...]) -> Tensor:
    return torch.isin(token, torch.tensor(ids, dtype=token.dtype, device=token.device))


def _check_prompt(input_ids: Tensor, room: int, attention_mask: Tensor | None) -> None:
    if input_ids.dim() != 2 or input_ids.shape[1] == 0 or input_ids.is_floating_point():
        raise ValueError(
            f"input_ids must be whole numbers (B, T) with T >= 1; got {input_ids.dtype} of shape "
            f"{tuple(input_ids.shape)}"
        )
    if room < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {room}")
    if attention_mask is None:
        return
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask must have the shape of input_ids, {tuple(input_ids.shape)}; "
            f"got {tuple(attention_mask.shape)}"
        )
    if not bool(attention_mask[:, -1].all()):
        raise ValueError("pad on the left: a row whose last column is padding has no next token")
