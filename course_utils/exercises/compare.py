"""Comparing an answer with what was expected, whatever container it comes in.

A list, a tuple, a numpy array and a torch tensor with the same content are the same answer.
Every comparison returns the empty string, or one sentence that says where the two differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from course_utils.exercises.describe import kind, quoted, short

# rounding of a float32 answer beside a float64 reference: 2^-24 = 6e-8 a step, many steps
FLOAT32_TOLERANCE = 1e-5
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def plain(value: Any) -> Any:
    """The same content in Python's own types: arrays, tuples and iterators become lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (*_ATOMS, type)):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return {_key(item) for item in value}
    if isinstance(value, Iterable) and not callable(value):
        return [plain(item) for item in value]
    return value


def _key(value: Any) -> Any:
    """Like :func:`plain`, but hashable."""
    if isinstance(value, tuple):
        return tuple(_key(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def same(got: Any, expected: Any) -> bool:
    """True if two plain values are equal; NaN equals NaN, floats up to their last digits."""
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        return got.keys() == expected.keys() and all(same(got[k], expected[k]) for k in got)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(same, got, expected))
    if isinstance(got, float) or isinstance(expected, float):
        return _same_number(got, expected)
    try:
        return bool(got == expected)
    except Exception:  # the learner's own __eq__ may be broken
        return False


def _same_number(got: Any, expected: Any) -> bool:
    if not (isinstance(got, (int, float)) and isinstance(expected, (int, float))):
        return False
    if math.isnan(got) or math.isnan(expected):
        return math.isnan(got) and math.isnan(expected)
    return math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-12)


def difference(got: Any, expected: Any, where: str = "") -> str:
    """Where two plain values first differ, as one sentence; empty if they are the same."""
    if same(got, expected):
        return ""
    place = _at(where)
    if _form(got) != _form(expected):
        return f"Expected {kind(expected)}{place}, received {kind(got)}."
    if isinstance(expected, Mapping):
        return _mapping_difference(got, expected, where)
    if isinstance(expected, set):
        return _set_difference(got, expected, where)
    if isinstance(expected, list):
        return _list_difference(got, expected, where)
    if not place:
        return ""
    return f"Expected {_value(expected)}{place}, received {_value(got)}."


def _value(value: Any) -> str:
    return quoted(short(value, 80))


def _at(where: str) -> str:
    return f" at {quoted(where)}" if where else ""


def _form(value: Any) -> str:
    """Values of one form can be compared item by item; others are answers of the wrong type."""
    if isinstance(value, (int, float, complex)):
        return "number"
    forms = {str: "text", list: "list", dict: "dict", set: "set", type(None): "none"}
    return forms.get(type(value), "other")


def _mapping_difference(got: Mapping, expected: Mapping, where: str) -> str:
    missing = [key for key in expected if key not in got]
    extra = [key for key in got if key not in expected]
    if missing or extra:
        return _missing_or_extra(missing, extra, "key", where)
    first = next(key for key in expected if not same(got[key], expected[key]))
    return difference(got[first], expected[first], f"{where}[{short(first, 60)}]")


def _set_difference(got: set, expected: set, where: str) -> str:
    missing, extra = [x for x in expected if x not in got], [x for x in got if x not in expected]
    return _missing_or_extra(missing, extra, "element", where)


def _missing_or_extra(missing: list, extra: list, noun: str, where: str) -> str:
    missing, extra = sorted(missing, key=repr), sorted(extra, key=repr)
    parts = []
    if missing:
        parts.append(f"{noun} {_value(missing[0])} is missing{_and_more(missing)}")
    if extra:
        parts.append(f"{noun} {_value(extra[0])} should not be there{_and_more(extra)}")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + (f",{_at(where)}." if where else ".")


def _and_more(items: list) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def _list_difference(got: list, expected: list, where: str) -> str:
    pairs = zip(got, expected, strict=False)
    first = next((i for i, pair in enumerate(pairs) if not same(*pair)), None)
    inner = "" if first is None else difference(got[first], expected[first], f"{where}[{first}]")
    if len(got) == len(expected):
        return inner
    counts = f"Expected {_items(len(expected))}{_at(where)}"
    return f"{counts}, received {_items(len(got))}. {inner}".strip()


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def is_close(got: Any, expected: Any, tolerance: float) -> bool:
    """True if all numbers agree: ``|got - expected| <= tolerance * max(1, |expected|)``.

    A float32 answer is given at least ``FLOAT32_TOLERANCE``.
    """
    return gap(got, expected, tolerance) is None


def gap(got: Any, expected: Any, tolerance: float, where: str = "") -> str | None:
    """None if the numbers are close, else where they differ ("" for two single numbers)."""
    if isinstance(expected, Mapping):
        return _mapping_gap(got, expected, tolerance, where)
    try:
        want = numbers(expected)
    except (TypeError, ValueError):
        return _sequence_gap(got, expected, tolerance, where)
    place = _at(where)
    try:
        have = numbers(got)
    except (TypeError, ValueError):
        return f"Expected {kind(expected)}{place}, received {kind(got)}."
    if have.shape != want.shape:
        return _shape_sentence(have.shape, want.shape, place)
    return _number_gap(have, want, tolerance, where)


def _mapping_gap(got: Any, expected: Mapping, tolerance: float, where: str) -> str | None:
    if not isinstance(got, Mapping):
        return f"Expected {kind(expected)}{_at(where)}, received {kind(got)}."
    if got.keys() != expected.keys():
        return _mapping_difference(got, expected, where)
    return _first(
        gap(got[key], expected[key], tolerance, f"{where}[{short(key, 60)}]") for key in expected
    )


def _sequence_gap(got: Any, expected: Any, tolerance: float, where: str) -> str | None:
    """Unequal rows, or a tuple of differently shaped arrays: one item after the other."""
    if isinstance(expected, (str, set, frozenset)) or not isinstance(expected, Iterable):
        got, expected = plain(got), plain(expected)
        return None if same(got, expected) else difference(got, expected, where)
    expected = list(expected)
    if isinstance(got, (str, Mapping)) or not isinstance(got, Iterable):
        return f"Expected {kind(expected)}{_at(where)}, received {kind(got)}."
    got = list(got)
    if len(got) != len(expected):
        return f"Expected {_items(len(expected))}, received {_items(len(got))}."
    return _first(
        gap(got[i], expected[i], tolerance, f"{where}[{i}]") for i in range(len(expected))
    )


def _first(gaps: Iterable[str | None]) -> str | None:
    return next((text for text in gaps if text is not None), None)


def numbers(value: Any) -> np.ndarray:
    """Numbers in any container as one array.

    Raises:
        TypeError: for anything that is not a number.
        ValueError: for rows of unequal length.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.numpy() if value.dtype.itemsize > 2 else value.float().numpy()
    if isinstance(value, (str, bytes, Mapping, set, frozenset, type(None))):
        raise TypeError(f"expected numbers, got {type(value).__name__}")
    if not isinstance(value, np.ndarray) and isinstance(value, Iterable):
        value = _numbers_of_items(list(value))
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers, got {array.dtype}")
    return array


def _numbers_of_items(items: list) -> np.ndarray:
    if all(isinstance(item, (int, float, complex)) for item in items):
        return np.asarray(items, dtype=None if items else float)
    return np.array([numbers(item) for item in items])


def _shape_sentence(got: tuple, expected: tuple, place: str) -> str:
    if len(got) == len(expected) == 1:
        return f"Expected {expected[0]:,} numbers{place}, received {got[0]:,}."
    wanted = f"shape {expected}" if expected else "one number"
    received = f"shape {got}" if got else "one number"
    return f"Expected {wanted}{place}, received {received}."


def _number_gap(have: np.ndarray, want: np.ndarray, tolerance: float, where: str) -> str | None:
    wrong = _too_far(have, want, tolerance)
    if not wrong.any():
        return None
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = where + "".join(f"[{i}]" for i in first)
    if np.isnan(have[first]):
        return f"The result is NaN (not a number){_at(place)}: look for 0/0, log(0) or an overflow."
    if not place:
        return ""
    values = f"expected {_digits(want[first])}, received {_digits(have[first])}"
    return f"{int(wrong.sum()):,} of {wrong.size:,} numbers differ, first{_at(place)}: {values}."


def _too_far(have: np.ndarray, want: np.ndarray, tolerance: float) -> np.ndarray:
    """Which numbers differ; NaN agrees with NaN, an infinity with itself."""
    if have.dtype == np.float32:
        tolerance = max(tolerance, FLOAT32_TOLERANCE)
    wide = complex if "c" in (have.dtype.kind, want.dtype.kind) else float
    have, want = have.astype(wide), want.astype(wide)
    allowed = tolerance * np.maximum(1, np.where(np.isfinite(want), np.abs(want), 1))
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(have - want) <= allowed)
    return wrong & ~((have == want) | (np.isnan(have) & np.isnan(want)))


def _digits(value: complex | float) -> str:
    return f"{value:.8g}"


def unchanged(now: Any, before: Any) -> bool:
    """True if plain data (containers, arrays, tensors, text, numbers) is as it was before."""
    if now is before:
        return True
    if type(now) is not type(before):
        return False
    if hasattr(now, "detach") and hasattr(now, "untyped_storage"):
        return now.shape == before.shape and unchanged(*map(numbers, (now, before)))
    if isinstance(now, np.ndarray):
        return now.shape == before.shape and bool(((now == before) | (now != now)).all())
    if isinstance(now, Mapping):
        same_keys = list(now) == list(before)
        return same_keys and all(unchanged(now[key], before[key]) for key in now)
    if isinstance(now, (list, tuple)):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if isinstance(now, (str, bytes, bytearray, int, float, set, frozenset)):
        return now == before or now != now
    return True
