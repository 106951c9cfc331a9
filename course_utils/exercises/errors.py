"""One sentence for each error in a learner's code, with his own line instead of a traceback."""

from __future__ import annotations

from typing import Any

from course_utils.exercises.describe import quoted
from course_utils.exercises.limits import own_line, raised_here

MESSAGE_LIMIT = 240

# what to look at, by error; the first class that matches speaks
_ADVICE: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((UnboundLocalError,), "The name is used before it gets a value inside the function."),
    ((NameError,), "Is the name spelled right, and defined or imported in your notebook?"),
    ((ImportError,), "Everything that the exercise needs is already installed."),
    ((RecursionError,), "The function calls itself without an end: which case stops it?"),
    ((SystemExit,), "A function should return a value, not leave Python."),
    ((KeyError,), "The dictionary has no such key: `.get` or a test with `in` may help."),
    ((IndexError,), "A position lies outside the sequence: look at the first and last step."),
    ((ZeroDivisionError,), "Which input makes the divisor zero, and what should come out then?"),
    ((SyntaxError,), "Some code given to `exec`, `eval` or `import` is not valid Python."),
    ((MemoryError,), "The inputs are small: does a list or an array grow in a loop?"),
)


def sentence(error: BaseException, answer: Any) -> str:
    """``"Your code stopped with ValueError: … at line 3: `…`."`` and what to look at."""
    message = " ".join(str(error).split())
    if len(message) > MESSAGE_LIMIT:
        message = message[: MESSAGE_LIMIT - 1] + "…"
    what = quoted(type(error).__name__ + (f": {message}" if message else ""))
    line = own_line(error.__traceback__, answer)
    if line is None:
        return f"The call stopped with {what}.{_for_outside(error)}{_advice(error)}"
    return f"Your code stopped with {what}, at {line_text(line)}.{_advice(error)}"


def line_text(line: tuple[int, str]) -> str:
    """``"line 3: `return a / b`"``; without the text where the source is not to be had."""
    number, text = line
    return f"line {number}: {quoted(text)}" if text else f"line {number}"


def is_stub(error: BaseException, answer: Any) -> bool:
    """True if this NotImplementedError is the stub's own and not a library's complaint."""
    if not isinstance(error, NotImplementedError):
        return False
    return not error.args or raised_here(error.__traceback__, answer)


def _advice(error: BaseException) -> str:
    return next((f" {text}" for classes, text in _ADVICE if isinstance(error, classes)), "")


def _for_outside(error: BaseException) -> str:
    """No line of the learner's ran: mostly the signature does not fit."""
    if isinstance(error, TypeError):
        return " Does your function take the arguments that the stub names?"
    return ""
