"""Every stored notebook has the form that it must have, and is built from its lesson."""

import os
import warnings

import pytest

from course_utils.runner import cost
from course_utils.runner.build import state
from course_utils.runner.cells import expand
from course_utils.runner.layout import Layout
from course_utils.runner.notebook import read_notebook, signature
from course_utils.runner.rules import RULES, notebook_links

LAYOUT = Layout.here()
LESSONS = LAYOUT.all_lessons()
BUILT = [lesson for lesson in LESSONS if lesson.notebook.exists()]


def each(lessons):
    return pytest.mark.parametrize("lesson", lessons, ids=lambda lesson: lesson.key)


@each(BUILT)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_notebook_keeps_the_rule(lesson, rule):
    assert rule(read_notebook(lesson.notebook)) == []


@each(BUILT)
def test_links_lead_somewhere(lesson):
    assert notebook_links(read_notebook(lesson.notebook), lesson.notebook.parent) == []


@each(LESSONS)
def test_a_notebook_equals_its_lesson(lesson):
    """By kind, source and tags; the cost card changes without a build."""

    def plain(book):
        return [(kind, cost.put_card(text, ""), tags) for kind, text, tags in signature(book)]

    stored = read_notebook(lesson.notebook)
    assert stored is not None, f"not built: python -m course_utils build {lesson.key}"
    assert plain(stored) == plain(expand(lesson, LAYOUT))


@each(BUILT)
def test_outputs_are_up_to_date(lesson):
    """Stale outputs are a warning on a branch and an error when everything is checked (ALL=1)."""
    status = state(lesson, LAYOUT, read_notebook(lesson.notebook))
    sentence = f"{lesson.key} is {status}: python -m course_utils build {lesson.key}"
    if os.environ.get("ALL") == "1":
        assert status == "fresh", sentence
    elif status != "fresh":
        warnings.warn(sentence, stacklevel=1)


def test_no_notebook_is_without_lesson():
    stored = {
        path.relative_to(LAYOUT.notebooks).with_suffix("").as_posix()
        for path in LAYOUT.notebooks.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    assert stored <= {lesson.key for lesson in LESSONS}
