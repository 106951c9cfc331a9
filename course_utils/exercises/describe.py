"""Short descriptions of any value: what a learner reads under "expected" and "received"."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LIMIT = 240
_PLURAL = {"list": "items", "tuple": "items", "dict": "keys", "set": "elements"}


class _Short(reprlib.Repr):
    """Cuts long containers and strings in the middle, and survives a ``repr`` that raises."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 8
        self.maxdict = 8
        self.maxlevel = 5
        self.maxstring = 100
        self.maxlong = 60
        self.maxother = LIMIT

    def repr_float(self, value: float, level: int) -> str:
        plain_digits = value == 0 or 1e-4 < abs(value) < 1e8
        return repr(round(value, 8)) if plain_digits else f"{value:.6g}"

    def repr_instance(self, value: Any, level: int) -> str:
        if isinstance(value, np.generic):
            return self.repr1(value.item(), level)
        if is_array(value):
            return _array(value)
        try:
            text = repr(value)
        except Exception:  # the learner's own __repr__ may be broken
            return f"<{type(value).__name__} object whose repr fails>"
        return text if len(text) <= self.maxother else text[: self.maxother - 1] + "…"


def is_array(value: Any) -> bool:
    """True for numpy arrays and torch tensors, without importing either."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "tolist")


def short(value: Any, limit: int = LIMIT) -> str:
    """A readable ``repr`` of at most ``limit`` characters; arrays come with shape and type.

    >>> short(list(range(100)))
    '[0, 1, 2, 3, 4, 5, 6, 7, ...] (100 items)'
    """
    text = _Short().repr(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    size = _length(value)
    if size is not None and size > 8 and not is_array(value):
        text += f" ({size:,} {_PLURAL.get(type(value).__name__, 'items')})"
    elif isinstance(value, str) and len(value) > 100:
        text += f" ({len(value):,} characters)"
    return text


def quoted(text: str) -> str:
    """Between backticks, as code: no part of it is then read as markup or as a formula."""
    return "`" + text.replace("`", "'") + "`"


def kind(value: Any) -> str:
    """What a value is, in words: ``"a list of 3 items"``, ``"an array of shape (2, 3)"``."""
    if value is None:
        return "None"
    if is_array(value):
        word = "a tensor" if type(value).__module__.startswith("torch") else "an array"
        return f"{word} of shape {tuple(value.shape)}" if value.shape else f"one number ({word})"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, type) or callable(value):
        return f"{'a class' if isinstance(value, type) else 'a function'} ({name_of(value)})"
    name = type(value).__name__
    size = _length(value)
    size_text = "" if size is None else f" of {size:,} {_noun(name, size)}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}{size_text}"


def name_of(fn: Callable | type) -> str:
    """The name a learner would call this by."""
    return getattr(fn, "__name__", None) or type(fn).__name__


def call_text(name: str, args: tuple, kwargs: Mapping[str, Any]) -> str:
    """The call as the learner would type it, with shortened arguments."""
    room = max(60, LIMIT // max(1, len(args) + len(kwargs)))
    parts = [short(value, room) for value in args]
    parts += [f"{key}={short(value, room)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(parts)})"


def _noun(name: str, size: int) -> str:
    noun = _PLURAL.get(name, "items")
    return noun[:-1] if size == 1 else noun


def _length(value: Any) -> int | None:
    """Length of a plain container; None for anything whose ``len`` might be the learner's own."""
    return len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else None


def _array(value: Any) -> str:
    """Shape, element type and the first numbers; only those are turned into Python objects."""
    torch_like = type(value).__module__.startswith("torch")
    word = "tensor" if torch_like else "array"
    dtype = str(value.dtype).removeprefix("torch.")
    if not value.shape:
        return f"{word}({_Short().repr(value.tolist())}, {dtype})"
    head = value[tuple(slice(0, 6) for _ in value.shape)]
    numbers = _Short().repr(head.tolist())
    more = "" if tuple(head.shape) == tuple(value.shape) else ", first rows and columns"
    return f"{word} of shape {tuple(value.shape)}, {dtype}{more}: {numbers}"
