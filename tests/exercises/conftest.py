"""Exercise tests: no progress is written, and a table of verdicts ends the run."""

from __future__ import annotations

from collections import Counter

import pytest

VERDICTS = {
    "reference": "reference solutions passed",
    "alternative": "alternative solutions passed",
    "stub": "untouched stubs refused as not attempted",
    "wrong": "wrong answers refused with their sentence",
}
_counts: Counter[tuple[str, bool]] = Counter()


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """Every test has a progress file of its own, and writes to it only if it asks to."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "course-home"))
    monkeypatch.setenv("COURSE_NO_PROGRESS", "1")
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    from course_utils.exercises import store

    store._session.clear()
    return tmp_path / "course-home"


@pytest.fixture
def remembers(monkeypatch):
    """Progress is written, as in a learner's session."""
    monkeypatch.delenv("COURSE_NO_PROGRESS")


def pytest_runtest_logreport(report):
    if report.when == "call":
        for name, value in report.user_properties:
            if name in VERDICTS:
                _counts[name, value and report.passed] += 1


def pytest_terminal_summary(terminalreporter):
    if not _counts:
        return
    terminalreporter.section("exercise verdicts")
    for name, text in VERDICTS.items():
        right, total = _counts[name, True], _counts[name, True] + _counts[name, False]
        terminalreporter.write_line(f"{right:5d} of {total:5d} {text}")
