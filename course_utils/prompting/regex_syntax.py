r"""Chapter 4 - Regular expressions as trees: parse a pattern, print it again.

The part of the syntax that describes *regular* languages, and nothing else: characters, classes
``[a-z]`` and ``[^"]``, ``\d \w \s`` (ASCII), groups, ``|``, and ``* + ? {m} {m,} {m,n}``. A pattern
always describes the whole text (``re.fullmatch``). Back-references, look-around, anchors and lazy
repetition are refused: no finite automaton follows the first two, and the others say nothing about
which texts belong to a language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]  # code points, both ends included, sorted, disjoint

LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)  # halves of UTF-16 pairs: no UTF-8 text holds them
CLASSES: dict[str, Ranges] = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": ((9, 13), (32, 32)),
}
CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11}
MEANS_SOMETHING = set(r"\.[]{}()*+?|^$")


@dataclass(frozen=True)
class Chars:
    """One character out of a set; an empty set matches nothing."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    """One part after the other; no parts is the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part, ``low`` to ``high`` times; high None means without end."""

    part: Node
    low: int
    high: int | None


Node = Chars | Sequence | Either | Repeat


def parse(pattern: str) -> Node:
    """The tree of a pattern.

    Raises:
        ValueError: not closed, nothing to repeat, or a construct that is not supported here.
    """
    reader = _Reader(pattern)
    node = reader.either()
    if reader.at < len(pattern):
        reader.fail(f"unexpected {pattern[reader.at]!r}")
    return node


def union(ranges: list[tuple[int, int]]) -> Ranges:
    """Sorted disjoint ranges of the same characters."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All characters but these, and never a surrogate."""
    found, start = [], 0
    for low, high in union([*ranges, SURROGATES]):
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, LAST)) if start <= LAST else tuple(found)


def common(first: Ranges, second: Ranges) -> Ranges:
    """Characters of both."""
    both = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return union([(low, high) for low, high in both if low <= high])


ANY = complement(())


def literal(text: str) -> str:
    """A pattern for exactly this text.

    >>> literal("1+1")
    '1\\\\+1'
    """
    return "".join(_spelled(ord(c)) for c in text)


def to_pattern(node: Node) -> str:
    """A pattern with this tree; ``parse(to_pattern(node))`` describes the same texts."""
    match node:
        case Chars(ranges):
            return _spelled_class(ranges)
        case Sequence(parts):
            return "".join(_grouped(p) if isinstance(p, Either) else to_pattern(p) for p in parts)
        case Either(options):
            return "|".join(map(to_pattern, options))
        case Repeat(part, low, high):
            inner = to_pattern(part) if isinstance(part, Chars) else _grouped(part)
            return inner + _spelled_bounds(low, high)


def replace_chars(node: Node, change: Callable[[Ranges], Node]) -> Node:
    """The tree with every set of characters replaced by ``change(ranges)``."""
    match node:
        case Chars(ranges):
            return change(ranges)
        case Sequence(parts):
            return Sequence(tuple(replace_chars(p, change) for p in parts))
        case Either(options):
            return Either(tuple(replace_chars(o, change) for o in options))
        case Repeat(part, low, high):
            return Repeat(replace_chars(part, change), low, high)


class _Reader:
    """Recursive descent: either := sequence ('|' sequence)*, sequence := (atom repeats)*."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def fail(self, problem: str) -> None:
        raise ValueError(f"{problem} at position {self.at} of the pattern {self.pattern!r}")

    def peek(self, ahead: int = 0) -> str:
        return self.pattern[self.at + ahead : self.at + ahead + 1]

    def take(self) -> str:
        if self.at >= len(self.pattern):
            self.fail("unexpected end")
        self.at += 1
        return self.pattern[self.at - 1]

    def either(self) -> Node:
        options = [self.sequence()]
        while self.peek() == "|":
            self.take()
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def sequence(self) -> Node:
        parts = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeats(self.atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeats(self, node: Node) -> Node:
        bounds = self.bounds()
        if bounds is None:
            return node
        if self.peek() in ("?", "+", "*", "{"):
            self.fail("lazy, possessive or double repetition is not supported")
        return Repeat(node, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        sign = self.peek()
        if sign in ("*", "+", "?") and sign:
            self.take()
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        if sign != "{":
            return None
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, 0)].partition(",")
        if not low.isdigit() or not (high.isdigit() or high == ""):
            self.fail("expected {m}, {m,} or {m,n}")
        self.at = end + 1
        most = int(high) if high else None if comma else int(low)
        if most is not None and most < int(low):
            self.fail(f"{{{low},{high}}} asks for at least {low} and at most {high}")
        return int(low), most

    def atom(self) -> Node:
        sign = self.take()
        if sign == "(":
            return self.group()
        if sign == "[":
            return Chars(self.members())
        if sign == ".":
            return Chars(complement(((10, 10),)))
        if sign == "\\":
            return Chars(self.escape())
        if sign in MEANS_SOMETHING - {"]", "}"}:
            self.at -= 1
            self.fail(f"{sign!r} is not supported here; write \\{sign} for the character")
        return Chars(((ord(sign), ord(sign)),))

    def group(self) -> Node:
        if self.peek() == "?":
            if self.peek(1) != ":":
                self.fail("of the groups (?...) only (?:...) is supported")
            self.at += 2
        node = self.either()
        if self.peek() != ")":
            self.fail("a group is not closed")
        self.take()
        return node

    def members(self) -> Ranges:
        negated = self.peek() == "^"
        self.at += negated
        found: list[tuple[int, int]] = []
        while self.peek() != "]" or not found:
            found += self.member()
        self.take()
        return complement(union(found)) if negated else union(found)

    def member(self) -> Ranges:
        first = self.one_member()
        if self.peek() != "-" or self.peek(1) == "]":
            return first
        self.take()
        last = self.one_member()
        if len(first) != 1 or len(last) != 1 or first[0][0] > last[0][1]:
            self.fail("a range needs two characters in order")
        return ((first[0][0], last[0][1]),)

    def one_member(self) -> Ranges:
        sign = self.take()
        return self.escape() if sign == "\\" else ((ord(sign), ord(sign)),)

    def escape(self) -> Ranges:
        sign = self.take()
        if sign in ("x", "u", "U"):
            digits = {"x": 2, "u": 4, "U": 8}[sign]
            number = self.pattern[self.at : self.at + digits]
            if len(number) < digits or any(c not in "0123456789abcdefABCDEF" for c in number):
                self.fail(f"\\{sign} needs {digits} hexadecimal digits")
            self.at += digits
            return ((int(number, 16),) * 2,)
        if sign in CONTROLS:
            return ((CONTROLS[sign],) * 2,)
        if sign.lower() in CLASSES:
            ranges = CLASSES[sign.lower()]
            return ranges if sign.islower() else complement(ranges)
        if sign.isalnum():
            self.fail(f"\\{sign} is not supported")
        return ((ord(sign), ord(sign)),)


def _spelled(code: int) -> str:
    character = chr(code)
    if character in MEANS_SOMETHING or character == "-":
        return "\\" + character
    if character.isprintable():
        return character
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def _spelled_class(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _spelled(ranges[0][0])
    if not ranges:
        return r"[^\x00-\U0010ffff]"
    outside = complement(ranges)
    if ranges[-1][1] == LAST and outside:
        return f"[^{_members(outside)}]"
    return f"[{_members(ranges)}]"


def _members(ranges: Ranges) -> str:
    ends = ((_spelled(low), _spelled(high), low, high) for low, high in ranges)
    return "".join(a if i == j else f"{a}{b}" if j == i + 1 else f"{a}-{b}" for a, b, i, j in ends)


def _spelled_bounds(low: int, high: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((low, high))
    if short:
        return short
    return f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"


def _grouped(node: Node) -> str:
    return f"(?:{to_pattern(node)})"
