"""Measured costs reach the file, the cards and the README; hand-written words stay."""

import json

import pytest

from course_utils.runner import chapters, cost, record, timings
from course_utils.runner.layout import Layout
from course_utils.runner.run import Outcome

KEY = "01_foundations/01_tiny"


@pytest.fixture
def made(course):
    made = course()
    made.lesson(KEY).notebook.parent.mkdir(parents=True)
    made.lesson(KEY).notebook.write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    return made


def outcome(seconds=75.0, peak=640, assets=("minilm-l6",)):
    return Outcome(KEY, seconds, peak, 3, 0, 1, {}, "", assets=assets)


def readme(made, between=""):
    path = made.root / "README.md"
    path.write_text(f"# Course\n{chapters.BEGIN}\n{between}\n{chapters.END}\nEnd\n")
    return path


def test_two_columns_are_stored_side_by_side(made):
    timings.store(outcome(), made)
    timings.store(outcome(150.0), made, avx2=True)
    stored = cost.read(made)
    assert stored["lessons"][KEY]["this"]["seconds"] == 75.0
    assert stored["lessons"][KEY]["avx2"]["seconds"] == 150.0
    assert stored["lessons"][KEY]["assets"] == ["minilm-l6"]
    assert set(stored["machines"]) == {"this", "avx2"}


def test_a_lesson_that_is_gone_leaves_the_file(made):
    stored = {"machines": {}, "lessons": {"09_x/01_gone": {"this": {}}}}
    made.timings.parent.mkdir()
    made.timings.write_text(json.dumps(stored))
    timings.store(outcome(), made)
    assert list(cost.read(made)["lessons"]) == [KEY]


def test_the_machine_is_named_without_its_name():
    import platform

    words = timings.machine()
    assert "cores" in words
    assert "GB" in words
    assert platform.node() not in words
    assert "AVX2" in timings.machine(avx2=True)


def test_the_quickest_of_several_runs_counts(made, monkeypatch, tmp_path):
    runs = iter([outcome(9.0), outcome(7.0), outcome(8.0)])
    monkeypatch.setattr(timings, "run_one", lambda *given: next(runs))
    monkeypatch.setattr(timings, "asset_folders", dict)
    assert timings.measure(made.lesson(KEY), made, tmp_path, repeats=3).seconds == 7.0


def test_the_readme_gets_a_table_with_links(made):
    path = readme(made)
    timings.store(outcome(), made)
    assert timings.refresh(made) == ["README.md"]
    text = path.read_text()
    link = "[01_tiny](notebooks/01_foundations/01_tiny.ipynb)"
    assert f"| {link} | add two numbers; say what `SEED` does | 1.2 | 640 MB | none |" in text
    assert "### 1 Foundations" in text
    assert text.startswith("# Course\n")
    assert text.endswith(f"{chapters.END}\nEnd\n")
    assert timings.refresh(made) == []


def test_a_description_written_by_hand_stays(made):
    row = "| [01_tiny](notebooks/01_foundations/01_tiny.ipynb) | sums, by hand | 9 | 9 | none |"
    path = readme(made, f"{chapters.HEAD}\n{row}")
    assert chapters.update_readme(made)
    assert "| sums, by hand | not measured yet |" in path.read_text()


def test_a_readme_without_markers_is_left_alone(made):
    path = made.root / "README.md"
    path.write_text("# Course\n")
    assert not chapters.update_readme(made)
    assert path.read_text() == "# Course\n"


def test_lessons_not_built_are_not_linked(made):
    made.lesson(KEY).notebook.unlink()
    assert "](" not in chapters.table(made, {})


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (
            "# **You will be able to**\n# - a b,\n#   c\n# - d.\n#\n# **Before you start:** - x",
            "a b, c; d",
        ),
        ("# **You will be able to** …\n#\n# 1. one\n# 2. two\n#\n# More.\n# - no", "one; two"),
        ("# **You will be able to**\n#\n# * a | b\n\n# %%\n# - no", "a / b"),
        ("# Nothing.", ""),
    ],
)
def test_objectives_are_found(tmp_path, objectives, expected):
    made = Layout(tmp_path)
    path = made.lesson("01_a/01_b").source
    path.parent.mkdir(parents=True)
    path.write_text(f"# %% [markdown]\n# # T\n#\n{objectives}\n")
    assert chapters.covers(made.lesson("01_a/01_b")) == expected


def test_recorded_runs_hold_values_spread_and_origin(made, monkeypatch, tmp_path):
    def run_one(lesson, layout, out, settings):
        seed = settings.parameters["SEED"]
        return Outcome(KEY, 1.0, 1, 1, 0, 0, {"f1": 0.5 + seed / 10, "always": 1.0}, "")

    monkeypatch.setattr("course_utils.runner.run.run_one", run_one)
    record.record(made.lesson(KEY), made, [0, 2, 4], "laptop", tmp_path)
    stored = record.recorded(KEY, made)
    assert [run["seed"] for run in stored["runs"]] == [0, 2, 4]
    # 0.5, 0.7, 0.9: mean 0.7, sample standard deviation sqrt((0.04 + 0 + 0.04) / 2) = 0.2
    assert stored["summary"]["f1"] == {"mean": pytest.approx(0.7), "sd": pytest.approx(0.2), "n": 3}
    assert stored["commit"] == "unknown"
    assert {"machine", "date", "profile"} <= set(stored)


def test_a_failed_seed_records_nothing(made, monkeypatch, tmp_path):
    failed = Outcome(KEY, 1, 1, 0, 0, 0, {}, "", error="boom")
    monkeypatch.setattr("course_utils.runner.run.run_one", lambda *given: failed)
    with pytest.raises(RuntimeError, match="SEED = 3"):
        record.record(made.lesson(KEY), made, [3], "laptop", tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m course_utils record"):
        record.recorded(KEY, made)


def test_one_run_has_no_spread():
    assert record.summary([{"a": 1.0}])["a"]["sd"] is None
    assert record.summary([{"a": float("nan")}, {"b": 1.0}, {"b": 2.0}]).keys() == {"b"}


def test_the_commit_is_named_in_a_working_copy(root):
    assert len(record.commit(root).rstrip("+")) == 12
