"""Progress: written whole, by several processes, never lost; hints, solutions, the overview."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from course_utils.exercises import check, hint, progress, solution, store
from course_utils.exercises.ch00_00 import cosine, dot_product
from course_utils.exercises.overview import overview_card


def stored() -> dict:
    return json.loads(store.path().read_text())


def test_the_best_status_stays_and_attempts_count(remembers):
    for answer in (None, dot_product, cosine, dot_product):
        check("0.0.2", answer)
    entry = stored()["exercises"]["0.0.2"]
    assert (entry["status"], entry["attempts"], entry["alone"]) == ("passed", 3, True)
    assert entry["passed_on"] == entry["date"]
    assert stored()["version"] == 1


def test_an_untouched_stub_writes_nothing(remembers):
    check("0.0.2", None)
    assert not store.path().exists()


@pytest.mark.parametrize("variable", ["COURSE_NO_PROGRESS", "COURSE_STRICT"])
def test_builds_and_tests_write_nothing_but_remember_in_the_session(
    monkeypatch, remembers, variable, capsys
):
    monkeypatch.setenv(variable, "1")
    check("0.0.2", cosine)
    hint("0.0.2")
    hint("0.0.2")
    progress()
    out = capsys.readouterr().out
    assert not store.path().exists()
    assert "[Hint 2 of 3]" in out
    assert "0.0.2 passed, 1 attempt, 2 hints" in out


def test_hints_are_a_ladder_that_ends(remembers, capsys):
    for shown in ("Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"):
        assert hint("0.0.1") is None
        out = capsys.readouterr().out
        assert f"[{shown}]" in out
    assert "That was the last hint" in out
    assert "Hint 1 (nudge)" in out
    assert stored()["exercises"]["0.0.1"]["hints"] == 3


def test_the_solution_is_shown_and_remembered(remembers, capsys):
    assert solution("0.0.2") is None
    out = capsys.readouterr().out
    assert "import math" in out
    assert "def cosine(" in out
    assert "Your progress now says that you have seen it" in out
    check("0.0.2", cosine)
    progress()
    assert "0.0.2 passed after seeing the solution, 1 attempt" in capsys.readouterr().out


@pytest.mark.parametrize("call", [hint, solution])
@pytest.mark.parametrize("bad", ["0.0.77", None, "x"])
def test_unknown_ids_are_a_sentence(call, bad, capsys):
    assert call(bad) is None
    assert "There is no exercise" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "", "[1]", "null", '{"version": "x"}', "\x00\x01"])
def test_a_damaged_file_is_set_aside(remembers, content, capsys):
    store.path().parent.mkdir(parents=True)
    store.path().write_text(content)
    check("0.0.2", cosine)
    out = capsys.readouterr().out
    aside = store.path().with_name("progress.damaged-1.json")
    assert aside.read_text() == content
    assert aside.name in out
    assert stored()["exercises"]["0.0.2"]["status"] == "passed"


def test_damaged_bytes_are_set_aside_and_earlier_ones_kept(remembers):
    store.path().parent.mkdir(parents=True)
    for number in (1, 2):
        store.path().write_bytes(b"\xff\xfe")
        check("0.0.2", cosine)
        assert store.path().with_name(f"progress.damaged-{number}.json").exists()


def test_good_entries_survive_a_bad_one(remembers):
    good = {"status": "passed", "attempts": 2, "hints": 0, "solution_seen": False}
    store.path().parent.mkdir(parents=True)
    content = {"version": 1, "exercises": {"0.0.1": good, "0.0.2": "?"}, "quizzes": {"0.0": 3}}
    store.path().write_text(json.dumps(content))
    check("0.0.3", len)
    assert stored()["exercises"]["0.0.1"] == good
    assert "0.0.2" not in stored()["exercises"]
    assert stored()["quizzes"] == {}


def test_a_file_of_a_later_version_is_left_alone(remembers, capsys):
    store.path().parent.mkdir(parents=True)
    store.path().write_text('{"version": 99}')
    check("0.0.2", cosine)
    progress()
    assert "later version" in capsys.readouterr().out
    assert store.path().read_text() == '{"version": 99}'


def test_an_unwritable_home_is_a_sentence(remembers, monkeypatch, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("COURSE_HOME", str(blocked / "below"))
    assert check("0.0.2", cosine).status == "passed"
    progress()
    out = capsys.readouterr().out
    assert "could not be saved" in out
    assert "0.0.2 passed" in out


def test_a_failed_write_leaves_the_old_file(remembers, monkeypatch):
    check("0.0.2", cosine)
    before = store.path().read_text()

    def full(handle):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    check("0.0.1", len)
    assert store.path().read_text() == before
    assert sorted(p.name for p in store.path().parent.iterdir() if "lock" not in p.name) == [
        "progress.json"
    ]


def test_two_processes_lose_nothing(remembers, course_home):
    code = textwrap.dedent(
        """
        import sys
        from course_utils.exercises import store
        for i in range(40):
            assert store.remember_check(f"{sys.argv[1]}.1.{i}", "passed") == ""
            assert store.remember_check("7.7.7", "failed") == ""
        """
    )
    env = os.environ | {"COURSE_HOME": str(course_home)}
    runs = [
        subprocess.Popen([sys.executable, "-c", code, name], env=env, stderr=subprocess.PIPE)
        for name in "12"
    ]
    for run in runs:
        assert run.wait(60) == 0, run.stderr.read()
    assert len(stored()["exercises"]) == 81
    assert stored()["exercises"]["7.7.7"]["attempts"] == 80


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("1.2.1", ["1.2.11", "1.20.1", "2.1.1"]),
        ("1.2", ["1.20.1", "2.1.1"]),
        ("1", ["2.1.1"]),
        ("all", []),
        ("9", ["1.2.1", "1.2.11", "1.20.1", "2.1.1"]),
    ],
)
def test_reset_forgets_what_is_named(remembers, what, left, capsys):
    for exercise_id in ("1.2.1", "1.2.11", "1.20.1", "2.1.1"):
        store.remember_check(exercise_id, "passed")
    progress(reset=what)
    assert sorted(stored()["exercises"]) == sorted(left)
    assert f"Forgotten: {4 - len(left)} " in capsys.readouterr().out


def test_quiz_scores_keep_the_best(remembers):
    for right in (2, 5, 3):
        store.remember_quiz("0.0", right, 5)
    assert stored()["quizzes"]["0.0"]["best"] == 5
    assert stored()["quizzes"]["0.0"]["tries"] == 3


TITLES = {"0.0.1": "a", "0.0.2": "b", "1.1.1": "c", "1.2.1": "d<b>"}


def card_with(*passed: str):
    content = store.empty()
    for exercise_id in passed:
        content["exercises"][exercise_id] = {"status": "passed", "attempts": 1}
    content["quizzes"]["0.0"] = {"best": 4, "of": 5, "tries": 1}
    return overview_card(TITLES, ["0.0", "1.1"], content)


def test_the_overview_has_a_bar_for_each_chapter():
    text = card_with("0.0.1").plain()
    assert "[Progress] 1 of 4 exercises passed" in text
    assert f"0 Start              [{'#' * 10}{'.' * 10}] 1 of 2 exercises" in text
    assert "1 of 1 quizzes (4 of 5 answers right)" in text
    assert f"1 Foundations        [{'.' * 20}] 0 of 2 exercises, 0 of 1 quizzes" in text


@pytest.mark.parametrize(
    ("passed", "following"),
    [
        ((), "0.0.1"),
        (("0.0.1",), "0.0.2"),
        (("1.1.1",), "1.2.1"),
        (("1.2.1",), "0.0.1"),
        (tuple(TITLES), "Every exercise is passed"),
    ],
)
def test_the_overview_says_what_comes_next(passed, following):
    assert following in card_with(*passed).plain().splitlines()[-1]


def test_the_overview_escapes_and_says_numbers_beside_the_bar():
    html = card_with("0.0.1", "1.1.1", "0.0.2").html()
    assert "<b>" not in html
    assert "width:100%" in html
    assert "2 of 2 exercises" in html
