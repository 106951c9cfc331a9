"""Chapter 4 - The library way: llguidance's masks, to compare with ours and to use at work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from course_utils.prompting.json_schema import Limits, Schema


class LibraryMask:
    """llguidance behind the calls of the lesson: allowed tokens, take one, may it end.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        schema: a JSON schema, or ``pattern=`` a regular expression instead.
        limits: only the separators are used; bounds must stand in the schema.

    Raises:
        ValueError: the library refuses the grammar.
    """

    def __init__(
        self,
        tokenizer: Any,
        schema: Schema | None = None,
        *,
        pattern: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        from llguidance import LLMatcher

        if (schema is None) == (pattern is None):
            raise ValueError("expected a schema or a pattern, one of the two")
        limits = limits or Limits()
        if pattern is not None:
            grammar = LLMatcher.grammar_from_regex(pattern)
        else:
            form = {"item_separator": limits.comma, "key_separator": limits.colon}
            form["whitespace_flexible"] = False
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=form)
        self._tokenizer = _library_tokenizer(tokenizer)
        self._matcher = LLMatcher(self._tokenizer, grammar)
        if self._matcher.is_error():
            raise ValueError(f"llguidance refuses the grammar: {self._matcher.get_error()}")

    def allowed(self) -> np.ndarray:
        """(V,) booleans, the end token included."""
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        bits = allocate_token_bitmask(1, self._tokenizer.vocab_size)
        fill_next_token_bitmask(self._matcher, bits, 0)
        flat = np.unpackbits(bits.view(np.uint8)[0], bitorder="little")
        return flat[: self._tokenizer.vocab_size].astype(bool)

    def take(self, token: int) -> None:
        """Go on after a token.

        Raises:
            ValueError: the token is not allowed here.
        """
        if not self._matcher.consume_token(int(token)):
            raise ValueError(f"token {token} is not allowed here: {self._matcher.get_error()}")


def library_masks(
    tokenizer: Any, ids: Sequence[int], schema: Schema | None = None, **options: Any
) -> Iterator[np.ndarray]:
    """The library's masks before each of some tokens and after the last."""
    mask = LibraryMask(tokenizer, schema, **options)
    for token in ids:
        yield mask.allowed()
        mask.take(token)
    yield mask.allowed()


_KNOWN: list[tuple[Any, Any]] = []


def _library_tokenizer(tokenizer: Any) -> Any:
    """Building it takes a second, so the last one is kept."""
    import llguidance.hf

    if not _KNOWN or _KNOWN[0][0] is not tokenizer:
        _KNOWN[:] = [(tokenizer, llguidance.hf.from_tokenizer(tokenizer))]
    return _KNOWN[0][1]
