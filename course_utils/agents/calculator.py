"""Chapter 4 - A calculator that cannot do anything else.

``eval`` would be one line, and would run whatever a model, or a web page that the model has read,
puts into it. This one knows numbers, seven operators, brackets and a few functions. A text that is
not arithmetic is not refused by a list of bad words; there is simply no rule that reads it.

Precedence, low to high: ``+ -``, then ``* / // %``, then unary ``+ -``, then ``** ^`` (which bind
to the right), as in Python.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator

from course_utils.agents.tools import ToolError

Number = int | float

MAX_LENGTH = 200  # characters of an expression
MAX_DEPTH = 30  # brackets and signs inside each other
MAX_BITS = 4096  # of a whole number: about 1,200 digits

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?|\.\d+)"
    r"|(?P<name>[a-z]+)|(?P<mark>\*\*|//|[-+*/%^(),×÷−]))"
)
SAME = {"×": "*", "÷": "/", "−": "-", "^": "**"}
# operator: (binding power, binds to the right)
BINARY = {
    "+": (1, False),
    "-": (1, False),
    "*": (2, False),
    "/": (2, False),
    "//": (2, False),
    "%": (2, False),
    "**": (4, True),
}
UNARY = 3
APPLY: dict[str, Callable[[Number, Number], Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "sqrt": math.sqrt,
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "log": math.log,
    "exp": math.exp,
}
CONSTANTS = {"pi": math.pi, "e": math.e}


class CalculatorError(ToolError):
    """The text is no arithmetic, or has no value; says where."""


def calculate(expression: str) -> Number:
    """The value of an arithmetic expression, as Python would compute it.

    >>> calculate("2 + 3 * 4"), calculate("2 ^ 3 ^ 2"), calculate("-2 ** 2")
    (14, 512, -4)

    Args:
        expression: numbers (``1,250`` is allowed), ``+ - * / // % ** ^``, brackets, and
            ``sqrt abs round min max floor ceil log exp``, ``pi``, ``e``.

    Raises:
        CalculatorError: not arithmetic, no value, or too large.
    """
    if len(expression) > MAX_LENGTH:
        raise CalculatorError(f"an expression may have {MAX_LENGTH} characters, got more")
    parser = _Parser(list(tokens(expression)))
    try:
        value = parser.climb(0, 0)
    except (ArithmeticError, ValueError) as error:
        raise CalculatorError(f"no value: {error}") from error
    if parser.next is not None:
        raise CalculatorError(f"expected an operator or the end, found {parser.next[1]!r}")
    return _checked(value)


def calculator_text(value: Number) -> str:
    """A number as one would write it: whole if it is, else up to ten digits.

    >>> calculator_text(45.50), calculator_text(30.0), calculator_text(0.1 + 0.2)
    ('45.5', '30', '0.3')
    """
    if isinstance(value, int):
        return str(value)
    rounded = float(f"{value:.10g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else repr(rounded)


def tokens(expression: str) -> Iterator[tuple[str, str]]:
    """Pairs of kind (number, name, mark) and text.

    >>> list(tokens("2*pi"))
    [('number', '2'), ('mark', '*'), ('name', 'pi')]

    Raises:
        CalculatorError: a character that arithmetic does not know.
    """
    at, end = 0, len(expression.rstrip())
    while at < end:
        found = TOKEN.match(expression, at)
        if not found:
            rest = expression[at:].lstrip()
            raise CalculatorError(
                f"cannot read {rest[:12]!r} at character {end - len(rest.rstrip())}"
            )
        kind = str(found.lastgroup)
        text = found.group(kind)
        yield kind, SAME.get(text, text)
        at = found.end()


class _Parser:
    """Precedence climbing: one loop for all binary operators.

    Source: Richards & Whitby-Strevens 1979, "BCPL", section 6.6; Norvell 1999, "Parsing
    Expressions by Recursive Descent".
    """

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self.found, self.at = found, 0

    @property
    def next(self) -> tuple[str, str] | None:
        return self.found[self.at] if self.at < len(self.found) else None

    def take(self, *expected: str) -> str:
        """The next token; one of ``expected`` if any are given."""
        if self.next is None:
            raise CalculatorError(
                f"the expression ends where {' or '.join(expected) or 'a number'} is missing"
            )
        text = self.next[1]
        if expected and text not in expected:
            raise CalculatorError(f"expected {' or '.join(expected)}, found {text!r}")
        self.at += 1
        return text

    def climb(self, least: int, depth: int) -> Number:
        """Read operators that bind at least so tightly; what is looser is left to the caller."""
        left = self.operand(depth)
        while self.next and self.next[0] == "mark" and self.next[1] in BINARY:
            power, to_the_right = BINARY[self.next[1]]
            if power < least:
                break
            mark = self.take()
            right = self.climb(power if to_the_right else power + 1, depth + 1)
            left = _checked(_power(left, right) if mark == "**" else APPLY[mark](left, right))
        return left

    def operand(self, depth: int) -> Number:
        """A number, a name, a bracket, or a sign before one of them."""
        if depth > MAX_DEPTH:
            raise CalculatorError(f"nested deeper than {MAX_DEPTH}")
        if self.next is None:
            raise CalculatorError("the expression ends where a number is missing")
        kind, text = self.next
        self.take()
        if kind == "number":
            return _number(text)
        if kind == "name":
            return self.named(text, depth)
        if text == "(":
            value = self.climb(0, depth + 1)
            self.take(")")
            return value
        if text in ("+", "-"):
            value = self.climb(UNARY, depth + 1)
            return -value if text == "-" else value
        raise CalculatorError(f"expected a number, found {text!r}")

    def named(self, name: str, depth: int) -> Number:
        """A constant, or a function and its arguments."""
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name not in FUNCTIONS:
            known = ", ".join([*FUNCTIONS, *CONSTANTS])
            raise CalculatorError(f"unknown name {name!r}; known are {known}")
        self.take("(")
        arguments = [self.climb(0, depth + 1)]
        while self.take(",", ")") == ",":
            arguments.append(self.climb(0, depth + 1))
        try:
            return _checked(FUNCTIONS[name](*arguments))
        except TypeError as error:
            raise CalculatorError(f"{name} cannot take {len(arguments)} arguments here") from error


def _number(text: str) -> Number:
    plain = text.replace(",", "")
    return int(plain) if plain.isdigit() else float(plain)


def _power(base: Number, exponent: Number) -> Number:
    """Refused before it is computed: ``9 ** 9 ** 9`` would fill the memory of any machine."""
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and exponent * math.log2(abs(base)) > MAX_BITS:
        raise CalculatorError(f"{base} ** {exponent} is too large")
    value = base**exponent
    if isinstance(value, complex):
        raise CalculatorError(f"no real value: {base} ** {exponent}")
    return value


def _checked(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise CalculatorError("the number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise CalculatorError("no finite value")
    return value
