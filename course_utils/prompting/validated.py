"""Chapter 4 - Structured output: ask for JSON, find it, check it, and say what was wrong.

A model's answer is text. It becomes data when it can be parsed and fits a schema; if it does not,
the error goes back to the model as the next message. (Lesson 15 makes invalid answers impossible.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting.llm import LLM, Messages, check_messages


class InvalidOutput(ValueError):
    """An answer that is not the data that was asked for; the message is for the model to read."""


@dataclass(frozen=True)
class Structured:
    """Data from a model, or the reasons why there is none.

    Attributes:
        value: the data; None if no attempt was valid.
        attempts: how many answers it took.
        errors: what was wrong with the invalid ones.
        texts: all answers.
    """

    value: Any
    attempts: int
    errors: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether data came."""
        return self.value is not None


def find_json(text: str) -> Any:
    """The first JSON object or array in a text, whatever stands around it.

    >>> find_json('Sure! ```json\\n{"age": 30}\\n``` Anything else?')
    {'age': 30}

    Raises:
        InvalidOutput: there is none, or it breaks off.
    """
    decoder, fault = json.JSONDecoder(), None
    for place, character in enumerate(text):
        if character not in "{[":
            continue
        try:
            return decoder.raw_decode(text, place)[0]
        except json.JSONDecodeError as error:
            fault = fault or error  # of the first brace: what the model meant to write
    if fault is None:
        raise InvalidOutput("the answer holds no JSON object")
    raise InvalidOutput(f"the JSON is broken: {fault.msg} at character {fault.pos}")


def check_schema(value: Any, schema: Mapping[str, Any] | type) -> Any:
    """The value if it fits a JSON schema, or as an object of a pydantic model.

    Raises:
        InvalidOutput: with the first fault and its place.
    """
    if isinstance(schema, type):
        from pydantic import ValidationError

        try:
            return schema.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise InvalidOutput(f"{place}: {first['msg']}") from None
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    fault = best_match(Draft202012Validator(dict(schema)).iter_errors(value))
    if fault is not None:
        place = ".".join(map(str, fault.absolute_path)) or "the whole"
        raise InvalidOutput(f"{place}: {fault.message}"[:300])
    return value


def ask_for_data(
    llm: LLM,
    conversations: Sequence[Messages],
    schema: Mapping[str, Any] | type,
    *,
    attempts: int = 3,
    **sampling: Any,
) -> list[Structured]:
    """Ask until the answer is valid: each retry shows the model its answer and what was wrong.

    Args:
        llm: from ``connect()``.
        conversations: N prompts that ask for JSON.
        schema: a JSON schema, or a pydantic model.
        attempts: answers at most, of each.
        sampling: see ``chat``.

    Returns:
        N results, in order; those without valid data have ``value`` None.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    talks = [list(check_messages(messages)) for messages in conversations]
    texts: list[list[str]] = [[] for _ in talks]
    errors: list[list[str]] = [[] for _ in talks]
    values: list[Any] = [None] * len(talks)
    waiting = list(range(len(talks)))
    for _ in range(attempts):
        answers = llm.chat_batch([talks[i] for i in waiting], **sampling) if waiting else []
        for i, text in zip(waiting, answers, strict=True):
            texts[i].append(text)
            try:
                values[i] = check_schema(find_json(text), schema)
            except InvalidOutput as fault:
                errors[i].append(str(fault))
                talks[i] += _complaint(text, str(fault))
        waiting = [i for i in waiting if len(errors[i]) == len(texts[i])]
    return [
        Structured(value, len(said), tuple(wrong), tuple(said))
        for value, said, wrong in zip(values, texts, errors, strict=True)
    ]


def _complaint(text: str, fault: str) -> list[dict[str, str]]:
    said = text.strip() or "(nothing)"
    asks = f"That was not valid: {fault}. Answer with the corrected JSON object only."
    return [{"role": "assistant", "content": said}, {"role": "user", "content": asks}]
