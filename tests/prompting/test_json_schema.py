"""Schemas: by hand, invariants, jsonschema as the oracle."""

from __future__ import annotations

import json
import random
import re

import pytest

from course_utils.prompting import json_schema as js
from course_utils.prompting.automata import compile_regex
from course_utils.prompting.json_schema import Limits, SchemaError, schema_regex
from course_utils.prompting.structured import checked, validate

from .test_automata import random_member

ADDRESS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 7},
        "zip": {"type": ["integer", "null"]},
    },
    "required": ["city"],
}
SCHEMAS = (
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": '^[A-Z]{2}-\\d{1,3}["\\\\]?$'},
    {"type": "integer"},
    {"type": "integer", "minimum": -17, "maximum": 1203},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["é", 3, None, True, {"a": [1, "x"]}]},
    {"const": 'say "hi"\n'},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {"type": "array", "items": {"enum": [1, 2]}, "maxItems": 5},
    {"type": "array", "items": {"type": "null"}, "maxItems": 0},
    {"anyOf": [{"type": "integer"}, ADDRESS]},
    {"type": "object", "properties": {}},
    {
        "type": "object",
        "properties": {"a": {"const": 1}, "b": ADDRESS, "c": {"type": "boolean"}},
        "required": ["b"],
    },
    {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}},
    {"$defs": {"A": ADDRESS}, "type": "array", "items": {"$ref": "#/$defs/A"}, "maxItems": 2},
)


def test_by_hand():
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 2]}},
        "required": ["ok", "n"],
    }
    assert schema_regex(schema) == r'\{"ok": (?:true|false), "n": (?:1|2)\}'
    tight = schema_regex(schema, Limits(comma=",", colon=":"))
    assert tight == r'\{"ok":(?:true|false),"n":(?:1|2)\}'


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_every_text_is_valid_for_jsonschema(schema):
    automaton, rng = compile_regex(schema_regex(schema)), random.Random(3)
    for _ in range(120):
        text = random_member(automaton, rng).decode()
        assert validate(json.loads(text), schema) == [], text
        assert len(text.encode()) <= automaton.longest


@pytest.mark.parametrize(
    "schema, value",
    [
        (SCHEMAS[0], 'a\n"é'),
        (SCHEMAS[1], 'AB-12"'),
        (SCHEMAS[3], -17),
        (SCHEMAS[3], 1203),
        (SCHEMAS[4], -0.5),
        (SCHEMAS[7], {"a": [1, "x"]}),
        (SCHEMAS[8], 'say "hi"\n'),
        (SCHEMAS[12], {"city": "Łódź", "zip": None}),
        (SCHEMAS[14], {"a": 1, "b": {"city": ""}, "c": True}),
        (SCHEMAS[14], {"b": {"city": "x", "zip": 4}}),
        (SCHEMAS[15], {"a": 1, "c": 3}),
        (SCHEMAS[15], {"b": 2}),
        (SCHEMAS[15], {}),
        (SCHEMAS[16], [{"city": "a"}, {"city": "b"}]),
    ],
)
def test_valid_values_are_accepted(schema, value):
    text = json.dumps(value, ensure_ascii=False)
    assert compile_regex(schema_regex(schema)).accepts(text)


@pytest.mark.parametrize(
    "schema, text",
    [
        (SCHEMAS[0], '"abcdef"'),
        (SCHEMAS[0], '"a"'),
        (SCHEMAS[0], '"a\nb"'),
        (SCHEMAS[2], "007"),
        (SCHEMAS[3], "1204"),
        (SCHEMAS[3], "-18"),
        (SCHEMAS[15], '{"a": 1, }'),
        (SCHEMAS[15], '{"c": 3, "a": 1}'),
        (SCHEMAS[14], '{"a": 1}'),
        (SCHEMAS[9], "[true]"),
    ],
)
def test_other_texts_are_not(schema, text):
    assert not compile_regex(schema_regex(schema)).accepts(text)


def test_integer_range_is_exact():
    rng = random.Random(5)
    for _ in range(60):
        low = rng.randint(-1200, 1200)
        high = low + rng.choice([0, 1, 7, 90, 999, 1501])
        pattern = re.compile("|".join(js.integer_range(low, high)))
        found = [n for n in range(low - 130, high + 130) if pattern.fullmatch(str(n))]
        assert found == list(range(low, high + 1))


def test_pattern_same_as_re_on_the_text():
    schema = {"type": "string", "pattern": '^(?:[^x]{2}|"+\\\\)$'}
    automaton, rng = compile_regex(schema_regex(schema)), random.Random(7)
    for _ in range(400):
        text = "".join(rng.choice('xa"\\\né') for _ in range(rng.randrange(5)))
        expected = bool(re.fullmatch(schema["pattern"][1:-1], text))
        assert automaton.accepts(json.dumps(text, ensure_ascii=False)) == expected, text


@pytest.mark.parametrize(
    "schema, says",
    [
        ({"type": "string", "format": "date"}, "format not supported"),
        ({"type": "text"}, "expected a type"),
        ({}, "expected a type"),
        ({"type": "array"}, "needs items"),
        ({"type": "string", "maxLength": -1}, "0 <= minLength"),
        ({"type": "string", "pattern": "a+"}, "begin with ^"),
        ({"type": "string", "pattern": "^(?=a)$"}, "only (?:...)"),
        ({"type": "string", "pattern": "^a$", "maxLength": 3}, "into the pattern"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "not described: a"),
        ({"type": "object", "properties": {"a": {"type": "x"}}}, "$.a"),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "only be true or false"),
        ({"enum": []}, "at least one"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum <= maximum"),
        ({"$ref": "other.json"}, "$defs"),
        (
            {
                "$defs": {"T": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
                "$ref": "#/$defs/T",
            },
            "contains itself",
        ),
        ({"oneOf": [{"type": "null"}]}, "expected a type"),
    ],
)
def test_refused_with_the_place(schema, says):
    with pytest.raises(SchemaError, match=re.escape(says)):
        schema_regex(schema)


def test_reading_free_answers():
    value, faults = checked('Sure:\n```json\n{"city": 5}\n``` done', ADDRESS)
    assert value == {"city": 5} and "city: 5 is not of type" in faults[0]
    assert checked('{"city": "x"}', ADDRESS) == ({"city": "x"}, [])
    value, faults = checked("none", ADDRESS)
    assert value is None and "no JSON" in faults[0]
    assert checked('{"city": "x', ADDRESS)[0] is None
