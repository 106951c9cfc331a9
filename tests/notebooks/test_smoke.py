"""Every notebook runs from top to bottom at ``smoke``, through papermill, without a network.

Executed copies are kept in runs/smoke; a failed one holds its error. No time is asserted: what
a notebook costs is in data/timings.json, and the time of this run goes to pytest's report.
"""

import pytest

from course_utils.runner.layout import Layout
from course_utils.runner.run import Settings, run_one

LAYOUT = Layout.here()
BUILT = [lesson for lesson in LAYOUT.all_lessons() if lesson.notebook.exists()]


@pytest.mark.parametrize("lesson", BUILT, ids=lambda lesson: lesson.key)
def test_a_notebook_runs_in_smoke(lesson, record_property):
    settings = Settings({"PROFILE": "smoke"}, threads=1, offline=True)
    outcome = run_one(lesson, LAYOUT, LAYOUT.runs / "smoke", settings)
    record_property("seconds", outcome.seconds)
    record_property("peak_mb", outcome.peak_mb)
    assert not outcome.error, f"{lesson.key}: {outcome.error}\nkept: {outcome.output}"
    assert outcome.held + outcome.not_held > 0, f"{lesson.key} printed no claim"


def test_notebooks_are_built():
    """A collection without notebooks would pass by doing nothing."""
    assert BUILT
