"""Chapter 4 - JSON schema: to a regular expression, and to check what came out.

A schema without recursion describes a regular language once strings, numbers and arrays have a
longest form. Bounds that the schema does not give are taken from :class:`Limits`: without them
"always valid" would be false, because the longest object would not fit the tokens that are left.
Keywords that cannot be honoured are refused; ignored ones would be broken promises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting import regex_syntax as rx

Schema = Mapping[str, Any]

NOTES = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs"}
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum"},
    "number": set(),
    "boolean": set(),
    "null": set(),
}
# how JSON writes the characters that may not stand in a string as they are
ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f", "\b": r"\b"}
# JSON allows the invisible DEL (127) too; nobody wants it, and libraries leave it out
PLAIN = rx.complement(((0, 31), (34, 34), (92, 92), (127, 127)))


class SchemaError(ValueError):
    """The schema asks for something that is not supported; says what and where."""


@dataclass(frozen=True)
class Limits:
    """Bounds where the schema gives none, and the separators.

    Attributes:
        length: characters of a string. items: elements of an array.
        digits: of an integer. decimals: after a number's point.
        comma, colon: as ``json.dumps`` writes them, which is what models have read most.
    """

    length: int = 64
    items: int = 8
    digits: int = 12
    decimals: int = 6
    comma: str = ", "
    colon: str = ": "


def schema_regex(schema: Schema, limits: Limits | None = None) -> str:
    """A regular expression for exactly the JSON texts that we want for a schema.

    Objects hold their properties in the schema's order, no others, and no free white space (a
    model that may write blanks without end sometimes does).

    Args:
        schema: types object, array, string, integer, number, boolean, null; enum, const, anyOf,
            and ``$ref`` into ``$defs`` without recursion.
        limits: bounds and separators.

    >>> schema_regex({"enum": ["yes", "no"]})
    '(?:"yes"|"no")'

    Raises:
        SchemaError: a keyword or type that is not supported, with its place.
    """
    return _Writer(limits or Limits(), schema.get("$defs", {})).write(schema, "$", ())


class _Writer:
    def __init__(self, limits: Limits, definitions: Mapping[str, Schema]) -> None:
        self.limits, self.definitions = limits, definitions

    def write(self, schema: Schema, at: str, inside: tuple[str, ...]) -> str:
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{at}: a schema must be an object, got {schema!r}")
        if "$ref" in schema:
            return self.reference(schema, at, inside)
        for key in ("const", "enum", "anyOf"):
            if key in schema:
                _only(schema, {key, "type"} if key != "anyOf" else {key}, at)
                return self.choice(key, schema[key], at, inside)
        kind = schema.get("type")
        if isinstance(kind, list):
            options = [self.typed({**schema, "type": one}, at, inside, kind) for one in kind]
            return _either(options)
        return self.typed(schema, at, inside, [kind])

    def typed(self, schema: Schema, at: str, inside: tuple, kinds: Sequence[str]) -> str:
        kind = schema.get("type")
        if kind not in KEYWORDS:
            raise SchemaError(f"{at}: expected a type out of {', '.join(KEYWORDS)}; got {kind!r}")
        _only(schema, {"type"}.union(*(KEYWORDS.get(one, set()) for one in kinds)), at)
        if kind == "object":
            return self.object(schema, at, inside)
        if kind == "array":
            return self.array(schema, at, inside)
        if kind == "string":
            return self.string(schema, at)
        if kind == "integer":
            return self.integer(schema, at)
        if kind == "number":
            whole = self.integer({}, at)
            return rf"{whole}(?:\.[0-9]{{1,{self.limits.decimals}}})?"
        return "null" if kind == "null" else "(?:true|false)"

    def reference(self, schema: Schema, at: str, inside: tuple[str, ...]) -> str:
        _only(schema, {"$ref"}, at)
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        if name not in self.definitions:
            raise SchemaError(f"{at}: $ref must name one of $defs, got {schema['$ref']!r}")
        if name in inside:
            raise SchemaError(f"{at}: {name} contains itself; that is no regular language")
        return self.write(self.definitions[name], f"{at}.{name}", (*inside, name))

    def choice(self, key: str, value: Any, at: str, inside: tuple[str, ...]) -> str:
        if key == "const":
            return rx.literal(self.dumps(value))
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise SchemaError(f"{at}: {key} needs a list with at least one entry, got {value!r}")
        if key == "enum":
            return _either([rx.literal(self.dumps(entry)) for entry in value])
        return _either([self.write(s, f"{at}.anyOf[{i}]", inside) for i, s in enumerate(value)])

    def dumps(self, value: Any) -> str:
        separators = (self.limits.comma, self.limits.colon)
        return json.dumps(value, ensure_ascii=False, separators=separators)

    def object(self, schema: Schema, at: str, inside: tuple[str, ...]) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        missing = sorted(set(required) - set(properties))
        if missing:
            raise SchemaError(f"{at}: required but not described: {', '.join(missing)}")
        if not isinstance(schema.get("additionalProperties", False), bool):
            raise SchemaError(f"{at}: additionalProperties may only be true or false")
        colon = rx.literal(self.limits.colon)
        parts = [
            rx.literal(json.dumps(name, ensure_ascii=False))
            + colon
            + self.write(value, f"{at}.{name}", inside)
            for name, value in properties.items()
        ]
        needed = [name in required for name in properties]
        return r"\{" + _members(parts, needed, rx.literal(self.limits.comma)) + r"\}"

    def array(self, schema: Schema, at: str, inside: tuple[str, ...]) -> str:
        if "items" not in schema:
            raise SchemaError(f"{at}: an array needs items")
        low, high = _bounds(schema, "Items", self.limits.items, at)
        item = self.write(schema["items"], f"{at}[]", inside)
        if high == 0:
            return r"\[\]"
        more = f"(?:{rx.literal(self.limits.comma)}(?:{item})){{{max(low - 1, 0)},{high - 1}}}"
        filled = f"(?:{item}){more}"
        return rf"\[{filled}\]" if low else rf"\[(?:{filled})?\]"

    def string(self, schema: Schema, at: str) -> str:
        if "pattern" not in schema:
            low, high = _bounds(schema, "Length", self.limits.length, at)
            return f'"{rx.to_pattern(rx.Repeat(_written(rx.ANY), low, high))}"'
        if "minLength" in schema or "maxLength" in schema:
            raise SchemaError(f"{at}: put the length into the pattern; both are not supported")
        pattern = schema["pattern"]
        if not (pattern.startswith("^") and pattern.endswith("$")):
            raise SchemaError(f"{at}: a pattern must begin with ^ and end with $, got {pattern!r}")
        try:
            tree = rx.replace_chars(rx.parse(pattern[1:-1]), _written)
        except ValueError as error:
            raise SchemaError(f"{at}: {error}") from error
        return f'"(?:{rx.to_pattern(tree)})"'

    def integer(self, schema: Schema, at: str) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is None and high is None:
            return rf"(?:-?(?:0|[1-9][0-9]{{0,{self.limits.digits - 1}}}))"
        largest = 10**self.limits.digits - 1
        low, high = -largest if low is None else low, largest if high is None else high
        if not (isinstance(low, int) and isinstance(high, int) and low <= high):
            raise SchemaError(f"{at}: expected whole numbers minimum <= maximum")
        return _either(integer_range(low, high))


def integer_range(low: int, high: int) -> list[str]:
    """Patterns that together match the decimal numbers low to high.

    >>> integer_range(0, 120)
    ['[0-9]', '[1-9][0-9]', '1[01][0-9]', '120']
    """
    if low < 0:
        negative = ["-" + part for part in integer_range(max(1, -high), -low)]
        return negative + (integer_range(0, high) if high >= 0 else [])
    found = []
    for size in range(len(str(low)), len(str(high)) + 1):
        first, last = max(low, 10 ** (size - 1) if size > 1 else 0), min(high, 10**size - 1)
        found += _same_size(str(first), str(last))
    return found


def _same_size(low: str, high: str) -> list[str]:
    """Numbers of as many digits: cut where the first digits differ, until the rest is free."""
    if low == high:
        return [low]
    rest = len(low) - 1
    if low[0] == high[0]:
        return [low[0] + tail for tail in _same_size(low[1:], high[1:])]
    first, last, found = int(low[0]), int(high[0]), []
    if low[1:] != "0" * rest:
        found += [low[0] + tail for tail in _same_size(low[1:], "9" * rest)]
        first += 1
    tails = []
    if high[1:] != "9" * rest:
        tails = [high[0] + tail for tail in _same_size("0" * rest, high[1:])]
        last -= 1
    if first <= last:
        free = {0: "", 1: "[0-9]"}.get(rest, f"[0-9]{{{rest}}}")
        found.append(rx.to_pattern(rx.Chars(((48 + first, 48 + last),))) + free)
    return found + tails


def _written(ranges: rx.Ranges) -> rx.Node:
    """Characters of a text as they are written inside a JSON string."""
    plain = rx.Chars(rx.common(ranges, PLAIN))
    escaped = [c for c in ESCAPES if rx.common(ranges, ((ord(c), ord(c)),))]
    options = [_texts(ESCAPES[c]) for c in escaped]
    if plain.ranges:
        options.insert(0, plain)
    return options[0] if len(options) == 1 else rx.Either(tuple(options)) if options else plain


def _texts(text: str) -> rx.Node:
    return rx.Sequence(tuple(rx.Chars(((ord(c), ord(c)),)) for c in text))


def _members(parts: Sequence[str], needed: Sequence[bool], comma: str) -> str:
    """Properties in order, optional ones left out at will, commas only between two."""
    if not parts:
        return ""
    if not any(needed):
        tails = ("".join(f"(?:{comma}{p})?" for p in parts[i + 1 :]) for i in range(len(parts)))
        return f"(?:{'|'.join(p + tail for p, tail in zip(parts, tails, strict=True))})?"
    anchor = needed.index(True)
    before = "".join(f"(?:{part}{comma})?" for part in parts[:anchor])
    pairs = zip(parts[anchor + 1 :], needed[anchor + 1 :], strict=True)
    after = "".join(comma + part if must else f"(?:{comma}{part})?" for part, must in pairs)
    return before + parts[anchor] + after


def _either(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


def _bounds(schema: Schema, what: str, default: int, at: str) -> tuple[int, int]:
    low = schema.get(f"min{what}", 0)
    high = schema.get(f"max{what}", max(default, low))
    if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high):
        raise SchemaError(f"{at}: expected whole numbers 0 <= min{what} <= max{what}")
    return low, high


def _only(schema: Schema, known: set[str], at: str) -> None:
    unknown = sorted(set(schema) - known - NOTES)
    if unknown:
        raise SchemaError(
            f"{at}: {', '.join(unknown)} not supported here; known are {', '.join(sorted(known))}"
        )
