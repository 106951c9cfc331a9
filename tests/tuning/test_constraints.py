"""Constraints that a program checks: each kind obeyed and broken by hand, and both traps."""

import json
import string

import pytest

from course_utils.tuning.constraints import (
    CHECKS,
    bullets,
    check_constraint,
    compliance,
    lines,
    sentences,
    words,
)
from course_utils.tuning.languages import SMALL_WORDS, detect_language, language_scores

# kind, parameters, replies that obey, replies that do not
CASES = [
    ("max_words", {"n": 3}, ["one two three", "- one two", "a, b!"], ["one two three four"]),
    ("min_words", {"n": 3}, ["one two three", "one two three four"], ["one two", "one - two"]),
    ("exact_words", {"n": 2}, ["well-known fact", "3.5 mm"], ["one", "one two three"]),
    ("sentences", {"n": 2}, ["Go. Now!", 'He said "Go." Then he left.'], ["Go now.", "A. B. C."]),
    ("sentences", {"n": 1}, ["Dr. Ito left at 3.5 km/h.", "no stop at all"], ["Why? No."]),
    ("lines", {"n": 2}, ["a\nb", "a\n\nb\n"], ["a", "a\nb\nc"]),
    ("bullets", {"n": 2}, ["- a\n- b", "Two:\n* a\n• b"], ["- a", "-a\n-b", "1. a\n2. b"]),
    ("numbered", {"n": 2}, ["1. a\n2. b", "So:\n1) a\n2) b"], ["1. a", "1. a\n3. b", "2. a\n1. b"]),
    ("starts_with", {"text": "Dear"}, ["Dear Ann,", "  Dear Ann"], ["dear Ann", "Oh Dear"]),
    ("ends_with", {"text": "Thank you."}, ["Done. Thank you.\n"], ["Thank you. Bye", "Thank you"]),
    ("contains", {"text": "art"}, ["Art is long", "an art."], ["a party", "arts"]),
    ("contains", {"text": "?!"}, ["What?!"], ["What?"]),
    ("excludes", {"text": "art"}, ["a party", "arts"], ["the ART of war"]),
    ("one_of", {"options": ["yes", "no"]}, ["Yes", " no.\n"], ["yes, it is", "maybe"]),
    ("extract", {"text": "12 May"}, ["12 may", "12 May."], ["on 12 May", "12 May 2020"]),
    ("json_keys", {"keys": ["a", "b"]}, ['{"b": 1, "a": 2}', '```json\n{"a": 1, "b": 2}\n```'],
     ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', "[1]", "a: 1, b: 2", 'Here: {"a": 1, "b": 2}']),
    ("lowercase", {}, ["all small, 3 times."], ["Not all small", "123"]),
    ("uppercase", {}, ["ALL LARGE!"], ["nOT", "!?"]),
    ("language", {"code": "fr"}, ["Le chat dort sur le canapé."], ["The cat sleeps on it.", "42"]),
    ("number", {"value": 1200}, ["1,200 km", "3 * 400 = 1200.", "It is 1200.0"], ["120", "none"]),
    ("number", {"value": -2.5}, ["at -2.5 degrees"], ["2.5", "7-2.5"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "parameters", "good", "bad"), CASES)
def test_each_kind_by_hand(kind, parameters, good, bad):
    constraint = {"kind": kind, **parameters}
    assert [check_constraint(reply, constraint) for reply in good] == [True] * len(good)
    assert [check_constraint(reply, constraint) for reply in bad] == [False] * len(bad)


def test_every_kind_has_a_case():
    assert {kind for kind, *_ in CASES} == set(CHECKS)


@pytest.mark.parametrize(("kind", "parameters"), [(c[0], c[1]) for c in CASES])
def test_an_empty_reply_obeys_nothing(kind, parameters):
    assert not check_constraint(" \n", {"kind": kind, **parameters})


def test_malformed_constraints_are_refused():
    with pytest.raises(ValueError, match="unknown kind of constraint 'rhymes'; known are max_wo"):
        check_constraint("a", {"kind": "rhymes"})
    with pytest.raises(ValueError, match="max_words takes n; got none"):
        check_constraint("a", {"kind": "max_words"})
    with pytest.raises(ValueError, match="lowercase takes no parameter; got n"):
        check_constraint("a", {"kind": "lowercase", "n": 3})
    with pytest.raises(ValueError, match="'pt' is not one of en"):
        check_constraint("a", {"kind": "language", "code": "pt"})


def test_none_counts_as_absent():
    row = {"kind": "max_words", "n": 2, "text": None, "keys": None}
    assert check_constraint("two words", row) and not check_constraint("no less than", row)


def test_every_authored_reply_obeys_its_own_constraints():
    from course_utils import corpora

    rows = [row for row in corpora.authored("instructions") if row["constraints"]]
    assert len(rows) >= 400
    failed = [(r["id"], compliance(r["response"], r["constraints"])["failed"]) for r in rows]
    assert [entry for entry in failed if entry[1]] == []


def test_compliance_by_hand():
    constraints = [{"kind": "max_words", "n": 2}, {"kind": "lowercase"}, {"kind": "lines", "n": 1}]
    assert compliance("good dog", constraints) == {
        "all": True, "share": 1.0, "checks": [True] * 3, "failed": []
    }  # fmt: skip
    found = compliance("Good dogs bark", constraints)
    assert found["checks"] == [False, False, True] and not found["all"]
    assert found["share"] == pytest.approx(1 / 3)
    assert found["failed"] == ["max_words", "lowercase"]
    with pytest.raises(ValueError, match="no constraint"):
        compliance("a", [])


def test_counts_by_hand_and_against_the_json_of_python():
    assert len(words("- a  b\n(c) ... 7")) == 4
    assert sentences("One.\nTwo… Three?! ") == ["One.", "Two…", "Three?!"]
    assert lines("\na\n \nb") == ["a", "b"] and bullets("- a\n-- b\n  * c") == 2
    value = {letter: {"nested": [1, None]} for letter in string.ascii_lowercase[:7]}
    reply = json.dumps(value, indent=2)
    assert check_constraint(reply, {"kind": "json_keys", "keys": list(value)})


def test_the_answer_is_the_same_however_long_the_text():
    # max_words n holds exactly when min_words n + 1 does not
    for size in (1, 2, 5, 13):
        reply = " ".join(["word"] * size)
        for n in (1, 3, 7):
            most = check_constraint(reply, {"kind": "max_words", "n": n})
            assert most != check_constraint(reply, {"kind": "min_words", "n": n + 1})


SENTENCES = {
    "en": ["Good morning!", "Where is the station?", "Birds sing in the tree."],
    "fr": ["Où est la gare ?", "Merci beaucoup.", "Il pleut beaucoup aujourd'hui."],
    "de": ["Ich trinke gern Kaffee.", "Vielen Dank für deine Hilfe.", "Wo ist der Bahnhof?"],
    "es": [
        "Hoy llueve mucho.",
        "Los pájaros cantan.",
        "Ella come una manzana roja todos los días.",
    ],
    "it": ["Oggi piove molto.", "Dov'è la stazione?", "Mi piace leggere."],
}


@pytest.mark.parametrize("code", SENTENCES)
def test_short_sentences_are_told_apart(code):
    assert [detect_language(text) for text in SENTENCES[code]] == [code] * 3


def test_scores_by_hand():
    # "der" and "und" are German alone; "die" too; "la" counts a third for each of three
    assert language_scores("der und die")["de"] == 3
    assert language_scores("la")["fr"] == pytest.approx(1 / 3)
    assert detect_language("la") is None and detect_language("Ω 42") is None
    assert set(language_scores("")) == set(SMALL_WORDS)


def test_english_wikipedia_is_english_and_bulgarian_is_none_of_these():
    from course_utils import corpora

    texts = [row["text"] for row in corpora.wikipedia(200).select(range(101))]
    assert sum(detect_language(text) == "en" for text in texts) >= 100
    foreign = [row["text"] for row in corpora.wikipedia_bg().select(range(11))]
    assert sum(detect_language(text) == "en" for text in foreign) <= 2  # some quote English names
