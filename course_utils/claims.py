"""Claims: the numbers a lesson stands on, measured in the reader's own run.

A claim prints one line with the value it found. An *exact* claim (ours equals theirs, rows
sum to one) is an identity and raises whenever it is false. A *measured* claim (an accuracy,
a ratio) raises only in CI and at the unchanged laptop profile; elsewhere it says that it did
not hold and lets the reader go on, because changing a parameter is how one learns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from course_utils import config

HELD = "[claim held]"
NOT_HELD = "[claim did not hold here]"


class ClaimError(AssertionError):
    """A claim was false where it must be true."""


@dataclass(frozen=True)
class Claim:
    """One checked statement: what was expected, what was measured, and the verdict."""

    text: str
    value: float
    expected: str
    held: bool

    def __str__(self) -> str:
        mark = HELD if self.held else NOT_HELD
        return f"{mark} {self.text}: {_number(self.value)} (expected {self.expected})"


def claim(
    text: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    equals: float | None = None,
    tolerance: float = 0.0,
    kind: str | None = None,
) -> None:
    """Check a number, print the verdict with the number.

    Args:
        text: what the number means, with its unit.
        value: the measured number; a bool counts as 0 or 1.
        at_least, at_most: bounds, one or both; ``equals`` stands alone.
        tolerance: largest allowed ``|value - equals|``.
        kind: ``"exact"`` (default with ``equals``) or ``"measured"`` (default with bounds).

    Raises:
        ClaimError: exact and false; or measured, false, ``COURSE_STRICT=1`` and the
            parameters are those of the stored run.
        TypeError: no expectation was given, ``equals`` came with a bound, a tolerance
            came without ``equals``, or ``kind`` is unknown.
    """
    kind = kind or ("exact" if equals is not None else "measured")
    _check_arguments(at_least, at_most, equals, tolerance, kind)
    value = float(value)
    if equals is not None:
        held = abs(value - equals) <= tolerance
    else:
        held = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    result = Claim(text, value, _expectation(at_least, at_most, equals, tolerance), held)
    must_hold = kind == "exact" or (config.strict() and config.current().unchanged)
    if not held and must_hold:
        raise ClaimError(str(result))
    print(result)


def say(text: str) -> None:
    """Show a sentence that holds measured numbers, as Markdown in a notebook, else as text.

    Markdown cells never hold a measured number: it would be the author's, not the reader's.
    """
    try:
        from IPython import get_ipython
        from IPython.display import Markdown, display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
    else:
        display(Markdown(text))


def _check_arguments(
    at_least: float | None, at_most: float | None, equals: float | None, tolerance: float, kind: str
) -> None:
    if equals is None and at_least is None and at_most is None:
        raise TypeError("a claim needs at_least, at_most or equals")
    if equals is not None and (at_least is not None or at_most is not None):
        raise TypeError("equals stands alone; use at_least and at_most for a range")
    if equals is None and tolerance:
        raise TypeError("tolerance goes with equals")
    if kind not in ("exact", "measured"):
        raise TypeError(f"kind must be 'exact' or 'measured', got {kind!r}")


def _expectation(
    at_least: float | None, at_most: float | None, equals: float | None, tolerance: float
) -> str:
    if equals is not None:
        return f"{_number(equals)} ± {_number(tolerance)}" if tolerance else _number(equals)
    bounds = [("at least", at_least), ("at most", at_most)]
    return " and ".join(f"{word} {_number(bound)}" for word, bound in bounds if bound is not None)


def _number(value: float) -> str:
    """Four significant digits; whole numbers whole.

    >>> _number(3.0), _number(0.123456), _number(2e-12)
    ('3', '0.1235', '2e-12')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"
