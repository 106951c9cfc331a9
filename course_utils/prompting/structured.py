"""Chapter 4 - ConstrainedText generation: text that is valid by construction.

At each step the tokens that cannot lead to a valid text get probability zero. Where only one
continuation is left, it is appended without asking the model. The result always parses; whether it
is *right* is another question.

Letters: B batch, T tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from course_utils.nn import sampling
from course_utils.nn.cache import KVCache
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.json_schema import Limits, Schema, schema_regex
from course_utils.prompting.token_mask import TokenMask, trie_of
from course_utils.prompting.validated import InvalidOutput, find_json

Messages = Sequence[Mapping[str, str]]

THIN = 0.75  # share of rows still running at which the finished ones are dropped
WORTHWHILE = 8  # tokens that prompts must share before reading them once pays


@dataclass
class ConstrainedText:
    """One generated text and what it cost.

    Attributes:
        ids: tokens written, the end token not counted.
        text: their text. value: the JSON value, None when the language was no JSON.
        chosen: tokens for which the model was asked. forced: tokens that needed no question.
        log_mass: for each question, log of the probability that the model gave to the allowed
            tokens, the end token included: how far the mask pushed.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    value: Any = None
    chosen: int = 0
    forced: int = 0
    log_mass: list[float] = field(default_factory=list)


def schema_mask(schema: Schema, tokenizer: Any, limits: Limits | None = None) -> TokenMask:
    """The mask of a JSON schema over a tokenizer's vocabulary; build it once, use it often.

    Raises:
        SchemaError: the schema holds something that is not supported.
    """
    return TokenMask(compile_regex(schema_regex(schema, limits)), trie_of(tokenizer))


def generate_json(
    model: Any,
    tokenizer: Any,
    messages: Messages,
    schema: Schema | TokenMask,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> ConstrainedText:
    """An answer that is valid for a schema, whatever the model is.

    Args:
        model: as for ``nn.generation.generate``.
        tokenizer: a fast Hugging Face tokenizer with a chat template.
        messages: dictionaries with role and content.
        schema: see ``json_schema.schema_regex``; or a mask made by :func:`schema_mask`.
        max_new_tokens: the object is always finished within it.
        temperature: 0 takes the best allowed token.

    Raises:
        ValueError: not even the shortest object is sure to fit ``max_new_tokens``.
    """
    return generate_json_batch(
        model,
        tokenizer,
        [messages],
        schema,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        generator=generator,
    )[0]


def generate_json_batch(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Messages],
    schema: Schema | TokenMask,
    **options: Any,
) -> list[ConstrainedText]:
    """:func:`generate_json` for several conversations at once."""
    mask = schema if isinstance(schema, TokenMask) else schema_mask(schema, tokenizer)
    prompts = [chat_ids(tokenizer, messages) for messages in conversations]
    options.setdefault("end_id", tokenizer.eos_token_id)
    found = constrained(model, prompts, mask, **options)
    for result in found:
        result.value = json.loads(result.text)
    return found


def chat_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The prompt of a conversation, up to where the assistant begins to write."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


def constrained(
    model: Any,
    prompts: Sequence[Sequence[int]],
    mask: TokenMask,
    *,
    end_id: int | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    force: bool = True,
) -> list[ConstrainedText]:
    """Continue prompts with texts of an automaton's language.

    Args:
        model: called as ``model(ids, *, padding_mask, cache)``, with ``new_cache``.
        prompts: token ids, one list a row.
        mask: allowed tokens.
        end_id: allowed exactly where the text is complete. None: a text ends as soon as it can.
        max_new_tokens: forced tokens count too, the end token does not.
        temperature: 0 takes the best allowed token, above 0 samples among the allowed.
        force: append spans without a choice in one go. False asks the model for each token.

    Raises:
        ValueError: ``max_new_tokens`` is too small to be sure of a complete text.
    """
    least = int(mask.distance[START])
    if max_new_tokens < least:
        raise ValueError(
            f"max_new_tokens = {max_new_tokens} is too small: a complete text may need {least}"
        )
    rows = [_Row(mask, end_id, max_new_tokens, force=force) for _ in prompts]
    reader = _Reader(model, len(rows))
    blocks = [[*prompt, *row.run_on()] for prompt, row in zip(prompts, rows, strict=True)]
    active = rows
    while not all(row.done for row in active):
        logits = reader.read(blocks)
        blocks = [
            [] if row.done else row.choose(scores, temperature, generator)
            for row, scores in zip(active, logits, strict=True)
        ]
        running = [i for i, row in enumerate(active) if not row.done]
        if 0 < len(running) <= THIN * len(active):  # finished rows cost as much as others
            reader.keep(running)
            active, blocks = [active[i] for i in running], [blocks[i] for i in running]
    for row in rows:
        row.result.text = mask.trie.text(row.result.ids).decode()
    return [row.result for row in rows]


class _Row:
    """One text: where it stands in the automaton and how many tokens are left."""

    def __init__(self, mask: TokenMask, end_id: int | None, room: int, *, force: bool) -> None:
        self.mask, self.end_id, self.room, self.force = mask, end_id, room, force
        self.state, self.done, self.result = START, False, ConstrainedText()

    def run_on(self) -> list[int]:
        """Append the span without a choice, if any; the tokens for the model to read."""
        span = self.mask.forced(self.state) if self.force else []
        self._append(span)
        self.result.forced += len(span)
        ends_at_once = self.end_id is None and self.mask.may_end(self.state)
        self.done = ends_at_once or self.mask.automaton.is_final(self.state)
        return span

    def choose(
        self, scores: Tensor, temperature: float, generator: torch.Generator | None
    ) -> list[int]:
        """Take one allowed token by these scores (V,), and what it forces."""
        allowed = torch.zeros(len(scores), dtype=torch.bool)
        found = torch.from_numpy(self.mask.allowed(self.state, self.room))
        allowed[: len(found)] = found[: len(scores)]
        if self.end_id is not None:
            allowed[self.end_id] = self.mask.may_end(self.state)
        kept = scores.masked_fill(~allowed.to(scores.device), -math.inf)
        self.result.chosen += 1
        self.result.log_mass.append(float(kept.logsumexp(0) - scores.logsumexp(0)))
        token = _pick(kept, temperature, generator)
        if token == self.end_id:
            self.done = True
            return []
        self._append([token])
        return [token, *self.run_on()]

    def _append(self, ids: Sequence[int]) -> None:
        self.state = self.mask.state_of(ids, self.state)
        self.result.ids += ids
        self.room -= len(ids)


def _pick(scores: Tensor, temperature: float, generator: torch.Generator | None) -> int:
    if temperature == 0:
        return int(scores.argmax())
    scaled = sampling.temperature_scaled(scores[None], temperature)
    return int(sampling.draw(scaled, generator))


class _Reader:
    """The model and its cache, fed with blocks of different lengths, padded on the left."""

    def __init__(self, model: Any, rows: int) -> None:
        self.model, self.rows, self.cache = model, rows, None

    @torch.inference_mode()
    def read(self, blocks: Sequence[Sequence[int]]) -> Tensor:
        """Scores (B, V) after the last token of each row; an empty block gives any numbers."""
        if self.cache is None:
            blocks = self._shared(blocks)
        width = max(map(len, blocks))
        ids = torch.zeros(self.rows, width, dtype=torch.long)
        real = torch.zeros(self.rows, width, dtype=torch.bool)
        for i, block in enumerate(blocks):
            if block:
                ids[i, -len(block) :] = torch.tensor(block)
                real[i, -len(block) :] = True
        self._make_room(width)
        return self._scores(ids, None if bool(real.all()) else real)

    def _scores(self, ids: Tensor, real: Tensor | None) -> Tensor:
        device = self.cache.real.device
        padding = None if real is None else real.to(device)
        step = getattr(self.model, "next_logits", None)
        if step is not None:  # the scores after the last position alone
            return step(ids.to(device), padding_mask=padding, cache=self.cache).float()
        return self.model(ids.to(device), padding_mask=padding, cache=self.cache)[:, -1].float()

    def _shared(self, blocks: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """Read what all prompts begin with once, for one row; returns what is left of each."""
        shared = min(_common_start(blocks), min(map(len, blocks)) - 1)
        if self.rows == 1 or shared < WORTHWHILE:
            return blocks
        self.cache = self.model.new_cache(1, shared)
        self._scores(torch.tensor([blocks[0][:shared]]), None)
        return [block[shared:] for block in blocks]

    def _make_room(self, new: int) -> None:
        """A cache for the present and some time to come; the old one's content moves over."""
        filled = 0 if self.cache is None else self.cache.filled
        if self.cache is not None and filled + new <= self.cache.length:
            return
        old, self.cache = self.cache, self.model.new_cache(self.rows, filled + 2 * new + 64)
        if old is not None:
            one_for_all = len(old.real) == 1
            _copy(old, self.cache, [0] * self.rows if one_for_all else range(self.rows))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        old, self.rows = self.cache, len(rows)
        self.cache = self.model.new_cache(self.rows, old.length)
        _copy(old, self.cache, rows)


def _copy(old: KVCache, new: KVCache, rows: Sequence[int]) -> None:
    """Row i of the new cache becomes row ``rows[i]`` of the old one."""
    rows, end = list(rows), old.filled
    for ours, theirs in ((new.keys, old.keys), (new.values, old.values)):
        for target, source in zip(ours, theirs, strict=True):
            target[:, :, :end] = source[rows, :, :end]
    new.real[:, :end] = old.real[rows, :end]
    new.filled, new.padded = end, old.padded


def _common_start(blocks: Sequence[Sequence[int]]) -> int:
    columns = zip(*blocks, strict=False)
    return next((i for i, c in enumerate(columns) if len(set(c)) > 1), min(map(len, blocks)))


def validate(instance: Any, schema: Schema) -> list[str]:
    """What is wrong with a value: one sentence a fault with its place; empty if it is valid.

    >>> validate({"age": "12"}, {"type": "object", "properties": {"age": {"type": "integer"}}})
    ["age: '12' is not of type 'integer'"]
    """
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema).iter_errors(instance), key=lambda e: str(e.path))
    return [f"{'.'.join(map(str, error.path)) or 'the value'}: {error.message}" for error in errors]


def checked(text: str, schema: Schema) -> tuple[Any, list[str]]:
    """A free answer read and validated: (value or None, faults)."""
    try:
        value = find_json(text)
    except InvalidOutput as error:
        return None, [str(error)]
    return value, validate(value, schema)
