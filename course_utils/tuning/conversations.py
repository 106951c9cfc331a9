"""Chapter 4 - Conversations: turns with checked roles, from the forms in which data comes.

A conversation is a list of ``{"role": …, "content": …}``: a system message if any, then user and
assistant in turn. Data that says otherwise is refused with the place of the fault: a wrong role
read as "assistant" teaches the model to write the user's questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

Message = dict[str, str]
Conversation = list[Message]

ROLES = ("system", "user", "assistant")
OTHER_NAMES = {"human": "user", "gpt": "assistant", "bot": "assistant"}  # as data sets write them


def check_conversation(
    turns: Sequence[Mapping[str, str]], *, reply: bool = True, name: str = "the conversation"
) -> Conversation:
    """The same turns under the three role names, if they are a conversation.

    Args:
        turns: dictionaries with ``role`` and ``content``. ``human`` is read as user, ``gpt`` and
            ``bot`` as assistant.
        reply: True (to learn from): the last turn must be the assistant's. False (to answer):
            the user's.
        name: what an error calls these turns.

    Raises:
        ValueError: an unknown role, turns out of order, an empty turn.
        TypeError: a turn that is no dictionary of texts.
    """
    if not turns:
        raise ValueError(f"{name} has no turns")
    found = [_message(turn, f"turn {i} of {name}") for i, turn in enumerate(turns)]
    _check_order(found, name)
    last = "assistant" if reply else "user"
    if found[-1]["role"] != last:
        raise ValueError(f"{name} ends with the {found[-1]['role']}'s turn; expected {last}")
    return found


def _check_order(found: Conversation, name: str) -> None:
    """A system message or none, then user and assistant in turn."""
    first = int(found[0]["role"] == "system")
    for i, message in enumerate(found[first:]):
        expected = ROLES[1 + i % 2]
        if message["role"] != expected:
            raise ValueError(
                f"turn {i + first} of {name} is the {message['role']}'s; expected {expected}"
            )


def _message(turn: Mapping[str, str], name: str) -> Message:
    if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
        raise TypeError(f"{name} must be a dictionary with role and content, got {turn!r}")
    role, content = turn["role"], turn["content"]
    role = OTHER_NAMES.get(role, role)
    if role not in ROLES:
        raise ValueError(f"{name} has the role {role!r}; known are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise TypeError(f"the content of {name} must be a text, got {type(content).__name__}")
    if not content.strip():
        raise ValueError(f"{name} is empty")
    return {"role": role, "content": content}


def from_instruction(item: Mapping[str, str]) -> Conversation:
    """A row with ``instruction`` and ``response`` as a conversation of one question.

    Args:
        item: may also have ``input`` (a text that the instruction is about) and ``system``.

    Raises:
        ValueError: instruction or response is missing or empty.
    """
    for name in ("instruction", "response"):
        if not str(item.get(name) or "").strip():
            raise ValueError(f"expected a row with instruction and response, {name} is missing")
    asked = item["instruction"]
    if item.get("input"):
        asked = f"{asked}\n\n{item['input']}"
    turns = [("user", asked), ("assistant", item["response"])]
    if item.get("system"):
        turns.insert(0, ("system", item["system"]))
    return [{"role": role, "content": content} for role, content in turns]


def split_conversations(
    conversations: Iterable[Sequence[Mapping[str, str]]], held_out: float = 0.1, seed: int = 0
) -> tuple[list, list]:
    """Divide into a part to learn from and a part to measure on, without leakage.

    Conversations that open with the same question (case and spaces aside) stay together:
    otherwise the model would be measured on questions that it has learned.

    Args:
        held_out: share (0-1) of the conversations to hold out, about.

    Returns:
        the two parts, each in the order of the data.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"the share to hold out must lie between 0 and 1, got {held_out}")
    rows = list(conversations)
    groups = _by_opening(rows)
    random.Random(seed).shuffle(groups)
    chosen: set[int] = set()
    for group in groups:
        if len(chosen) >= round(held_out * len(rows)):
            break
        chosen.update(group)
    return [r for i, r in enumerate(rows) if i not in chosen], [rows[i] for i in sorted(chosen)]


def _by_opening(rows: list) -> list[list[int]]:
    """Numbers of the rows that open with the same question, together."""
    groups: dict[str, list[int]] = {}
    for i, turns in enumerate(rows):
        groups.setdefault(_opening(turns), []).append(i)
    return list(groups.values())


def _opening(turns: Sequence[Mapping[str, str]]) -> str:
    asked = next((t["content"] for t in turns if t["role"] in ("user", "human")), "")
    return " ".join(asked.lower().split())
