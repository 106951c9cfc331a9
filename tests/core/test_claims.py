"""When a claim holds, when it only says so, and when it stops the run."""

import pytest

from course_utils import claims, config
from course_utils.claims import ClaimError, claim, say


@pytest.fixture(autouse=True)
def _defaults():
    config.setup()
    yield
    config.setup()


@pytest.mark.parametrize(
    ("value", "expectation", "line"),
    [
        (0.834, {"at_least": 0.8}, "[claim held] accuracy: 0.834 (expected at least 0.8)"),
        (2, {"at_most": 3}, "[claim held] accuracy: 2 (expected at most 3)"),
        (
            0.5,
            {"at_least": 0, "at_most": 1},
            "[claim held] accuracy: 0.5 (expected at least 0 and at most 1)",
        ),
        (
            1e-11,
            {"equals": 0, "tolerance": 1e-10},
            "[claim held] accuracy: 1e-11 (expected 0 ± 1e-10)",
        ),
        (True, {"equals": 1}, "[claim held] accuracy: 1 (expected 1)"),
    ],
)
def test_a_claim_prints_what_it_measured(capsys, value, expectation, line):
    claim("accuracy", value, **expectation)
    assert capsys.readouterr().out.strip() == line


def test_bounds_include_their_ends(capsys):
    claim("x", 0.8, at_least=0.8, at_most=0.8)
    assert claims.HELD in capsys.readouterr().out


@pytest.mark.parametrize("strict", ["", "1"])
@pytest.mark.parametrize("profile", config.PROFILES)
def test_a_false_identity_always_stops(monkeypatch, strict, profile):
    monkeypatch.setenv("COURSE_STRICT", strict)
    config.setup(profile)
    with pytest.raises(ClaimError, match="ours = theirs"):
        claim("ours = theirs", 0.1, equals=0, tolerance=1e-6)


def test_nan_never_holds():
    for expectation in ({"equals": 0, "tolerance": 1}, {"at_least": 0, "kind": "exact"}):
        with pytest.raises(ClaimError, match="nan"):
            claim("x", float("nan"), **expectation)


@pytest.mark.parametrize(
    ("strict", "parameters", "stops"),
    [
        ("1", {}, True),
        ("", {}, False),
        ("1", {"seed": 1}, False),
        ("1", {"profile": "smoke"}, False),
        ("1", {"models": "hub"}, False),
    ],
)
def test_a_false_measurement_stops_only_the_strict_stored_run(
    monkeypatch, capsys, strict, parameters, stops
):
    monkeypatch.setenv("COURSE_STRICT", strict)
    config.setup(**parameters)
    if stops:
        with pytest.raises(ClaimError):
            claim("accuracy", 0.7, at_least=0.8)
        return
    claim("accuracy", 0.7, at_least=0.8)
    expected = "[claim did not hold here] accuracy: 0.7 (expected at least 0.8)"
    assert capsys.readouterr().out.strip() == expected


def test_a_bound_can_be_exact():
    with pytest.raises(ClaimError):
        claim("largest difference", 1e-3, at_most=1e-6, kind="exact")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs at_least, at_most or equals"),
        ({"equals": 1, "at_least": 0}, "equals stands alone"),
        ({"at_least": 1, "tolerance": 0.1}, "tolerance goes with equals"),
        ({"at_least": 1, "kind": "maybe"}, "'exact' or 'measured', got 'maybe'"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(arguments, words):
    with pytest.raises(TypeError, match=words):
        claim("x", 1, **arguments)


def test_say_prints_outside_a_notebook(capsys):
    say("accuracy is **0.83**")
    assert capsys.readouterr().out == "accuracy is **0.83**\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (12345.0, "12,345"),
        (0.123456, "0.1235"),
        (2e-12, "2e-12"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_short(value, text):
    assert claims._number(value) == text
