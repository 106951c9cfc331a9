"""Comparing values: containers are the same answer, differences are said in one sentence."""

from __future__ import annotations

import doctest
import math
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from course_utils.exercises import compare, describe
from course_utils.exercises.copies import copied


def equal(got, expected) -> bool:
    return compare.same(compare.plain(got), compare.plain(expected))


def where(got, expected) -> str:
    return compare.difference(compare.plain(got), compare.plain(expected))


NESTED = [[1, 2, 3], [5, 7, 11]]


@pytest.mark.parametrize(
    "got",
    [
        NESTED,
        tuple(map(tuple, NESTED)),
        np.array(NESTED),
        np.array(NESTED, dtype=np.float32),
        torch.tensor(NESTED),
        torch.tensor(NESTED, dtype=torch.bfloat16),
        [np.array(row) for row in NESTED],
        [torch.tensor(row) for row in NESTED],
        (iter(row) for row in NESTED),
        [range(1, 4), (5, 7, 11)],
    ],
)
def test_the_same_numbers_in_any_container_are_equal_and_close(got):
    got = [list(row) for row in got] if hasattr(got, "__next__") else got
    assert equal(got, NESTED)
    assert compare.is_close(got, NESTED, 1e-9)


@pytest.mark.parametrize(
    ("got", "expected", "verdict"),
    [
        (math.nan, math.nan, True),
        ([math.nan], [0.0], False),
        (0.1 + 0.2, 0.3, True),
        (0.3001, 0.3, False),
        (3, 3.0, True),
        (True, 1, True),
        ("3", 3, False),
        ("ab", ["a", "b"], False),
        ({3, 5}, frozenset([5, 3]), True),
        ({(1, 2)}, {(np.int64(1), 2)}, True),
        ([3, 5], {3, 5}, False),
        (Counter("aab"), {"a": 2, "b": 1}, True),
        ({"a": np.array([1, 2])}, OrderedDict(a=[1, 2]), True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (np.str_("a"), "a", True),
        ([], (), True),
        ([], np.array([]), True),
        ([[]], [], False),
        (None, None, True),
        (None, 0, False),
        (10**30, 10**30 + 1, False),
    ],
)
def test_equality(got, expected, verdict):
    assert equal(got, expected) is verdict
    assert bool(where(got, expected)) is not verdict or not isinstance(expected, (list, dict, set))


@pytest.mark.parametrize(
    ("got", "expected", "sentence"),
    [
        (["a", "c"], ["a", "b"], "Expected `'b'` at `[1]`, received `'c'`."),
        ([[1], [2, 3]], [[1], [2, 5]], "Expected `5` at `[1][1]`, received `3`."),
        (["a"], ["a", "b"], "Expected 2 items, received 1 item."),
        (
            ["x", "b", "c"],
            ["a", "b"],
            "Expected 2 items, received 3 items. Expected `'a'` at `[0]`",
        ),
        ({"a": 1}, {"a": 1, "b": 2}, "Key `'b'` is missing."),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1}, "Key `'b'` should not be there (and 1 more)."),
        ({"a": [1, 2]}, {"a": [1, 3]}, "Expected `3` at `['a'][1]`, received `2`."),
        ({1, 2}, {2, 3}, "Element `3` is missing; element `1` should not be there."),
        ("ab", ["a", "b"], "Expected a list of 2 items, received a string."),
        ([1, None], [1, 2], "Expected a whole number at `[1]`, received None."),
    ],
)
def test_the_first_difference_is_named(got, expected, sentence):
    assert where(got, expected).startswith(sentence)


def test_two_plain_values_need_no_place():
    assert where("a", "b") == ""
    assert compare.gap(0.5, 0.25, 1e-6) == ""


@pytest.mark.parametrize(
    ("got", "expected", "tolerance", "verdict"),
    [
        (1.0000005, 1.0, 1e-6, True),
        (1.000002, 1.0, 1e-6, False),
        (1e6 + 0.5, 1e6, 1e-6, True),  # relative above one
        (1e6 + 2, 1e6, 1e-6, False),
        (np.float32(0.1), 0.1, 1e-12, True),  # float32 is given its rounding
        (np.float64(0.100001), 0.1, 1e-12, False),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1, 2], 1e-6, True),
        (torch.tensor(0.25), 0.25, 1e-6, True),
        ([0.25], 0.25, 1e-6, False),
        (math.nan, math.nan, 1e-6, True),
        (math.nan, 0.0, 1e-6, False),
        (math.inf, math.inf, 1e-6, True),
        (-math.inf, math.inf, 1e-6, False),
        (1e300, math.inf, 1e-6, False),
        (1 + 1j, 1 + 1j, 1e-6, True),
        (1 + 1j, 1.0, 1e-6, False),
        ({"a": 0.5}, {"a": 0.5}, 1e-6, True),
        ({"a": 0.5}, {"b": 0.5}, 1e-6, False),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0]], 1e-6, True),
        ([[1.0], [2.0, 3.1]], [[1.0], [2.0, 3.0]], 1e-6, False),
        ((np.ones((2, 3)), np.ones(5)), (np.ones((2, 3)), np.ones(5)), 1e-6, True),
        ([("a", 0.5)], [("a", 0.5)], 1e-6, True),
        ([("b", 0.5)], [("a", 0.5)], 1e-6, False),
        ("x", "x", 1e-6, True),
        ([], [], 1e-6, True),
        ([], [1.0], 1e-6, False),
        (True, 1.0, 1e-6, True),
        (None, 1.0, 1e-6, False),
    ],
)
def test_closeness(got, expected, tolerance, verdict):
    assert compare.is_close(got, expected, tolerance) is verdict


@pytest.mark.parametrize(
    ("got", "expected", "sentence"),
    [
        ([[1.0], [2.0, 9.0]], [[1.0], [2.0, 3.0]], "1 of 2 numbers differ, first at `[1][1]`: "),
        (np.ones((2, 3)), np.ones((3, 2)), "Expected shape (3, 2), received shape (2, 3)."),
        ([1.0, 2.0], 1.0, "Expected one number, received shape (2,)."),
        ([1.0], [1.0, 2.0], "Expected 2 numbers, received 1."),
        ({"a": 0.5}, {"a": 0.7}, ""),
        (None, [1.0], "Expected a list of 1 item, received None."),
        (
            {"a": [1, 2]},
            {"a": [1, 3]},
            "1 of 2 numbers differ, first at `['a'][1]`: expected 3, rec",
        ),
    ],
)
def test_gaps_are_named(got, expected, sentence):
    assert compare.gap(got, expected, 1e-6).startswith(sentence)


def test_copies_share_nothing_and_keep_kinds():
    data = {"a": [np.arange(3), torch.arange(3)], "b": (Counter("xx"), bytearray(b"q"), {5})}
    one, two = copied(data)
    one["a"][0][0] = one["a"][1][0] = 99
    one["b"][0]["x"] = 99
    one["b"][2].add(7)
    assert data["a"][0][0] == data["a"][1][0] == two["a"][0][0] == 0
    assert data["b"][0]["x"] == 2
    assert isinstance(one["b"][0], Counter)
    assert not compare.unchanged(one, two)
    assert compare.unchanged(data, two)


def test_one_list_given_twice_stays_one_list():
    xs = [3]
    (a, b), _ = copied([xs, xs])
    assert a is b is not xs


def test_doctests():
    assert doctest.testmod(describe).failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2], "[1, 2]"),
        (0.1 + 0.2, "0.3"),
        ("a" * 500, " (500 characters)"),
        (np.zeros((2, 3)), "array of shape (2, 3), float64: [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]"),
        (torch.zeros(40, 50), "tensor of shape (40, 50), float32, first rows and columns: "),
        (torch.tensor(2.5), "tensor(2.5, float32)"),
        (np.float64(0.5), "0.5"),
        ([np.float32(0.5), 0.0, 1e-12, 1e20], "[0.5, 0.0, 1e-12, 1e+20]"),
    ],
)
def test_short_descriptions(value, text):
    assert text in describe.short(value)
    assert len(describe.short(value)) < 300


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ([3], "a list of 1 item"),
        ({}, "a dict of 0 keys"),
        ((1, 2), "a tuple of 2 items"),
        ({1, 2}, "a set of 2 elements"),
        (np.zeros((2, 3)), "an array of shape (2, 3)"),
        (torch.zeros(()), "one number (a tensor)"),
        (True, "True or False"),
        (0.5, "a number"),
        (int, "a class (int)"),
        (len, "a function (len)"),
        (iter([]), "a list_iterator"),
        (1j, "a complex"),
    ],
)
def test_kinds_in_words(value, text):
    assert describe.kind(value) == text


def test_calls_are_shown_as_typed():
    assert describe.call_text("f", ([1, 2], "a"), {"k": 0.5}) == "f([1, 2], 'a', k=0.5)"
    assert len(describe.call_text("f", (list(range(1000)),) * 5, {})) < 800
