"""``--lesson`` keeps the tests of a lesson: its notebook, its exercises, its modules."""

import pytest

from course_utils.runner.layout import Layout
from course_utils.runner.selection import belongs, unit_tests

SOURCE = """\
from course_utils import config
from course_utils.corpora import wikipedia
from course_utils.nn.attention import causal_mask
from course_utils.rag import SimpleRAGSystem
"""
FILES = (
    "course_utils/nn/attention.py",
    "course_utils/nn/transformer.py",
    "course_utils/rag/simple.py",
    "course_utils/corpora/texts.py",
    "tests/nn/test_attention.py",
    "tests/nn/test_attention_masks.py",
    "tests/nn/test_transformer.py",
    "tests/rag/test_simple.py",
    "tests/corpora/test_texts.py",
    "tests/core/test_config.py",
)


@pytest.fixture
def lesson(tmp_path):
    made = Layout(tmp_path)
    for name in (*FILES, "lessons/04_llms/01_attention.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lesson = made.lesson("04_llms/01_attention")
    lesson.source.write_text(SOURCE)
    return lesson


def test_unit_tests_mirror_the_modules_that_a_lesson_imports(lesson, tmp_path):
    assert unit_tests(lesson, Layout(tmp_path)) == {
        "tests/nn/test_attention.py",
        "tests/nn/test_attention_masks.py",
        "tests/rag/test_simple.py",
    }


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/nn/test_attention.py::test_rows[3-5]", True),
        ("tests/nn/test_transformer.py::test_rows", False),
        ("tests/notebooks/test_smoke.py::test_runs[04_llms/01_attention]", True),
        ("tests/notebooks/test_smoke.py::test_runs[04_llms/10_rag]", False),
        ("tests/exercises/test_answers.py::test_right[4.1.2-reference]", True),
        ("tests/exercises/test_answers.py::test_right[4.1]", True),
        ("tests/exercises/test_answers.py::test_right[4.10.2]", False),
        ("tests/exercises/test_answers.py::test_right[14.1.2]", False),
        ("tests/exercises/test_ch04_01.py::test_right", True),
        ("tests/runner/test_run.py::test_it[4.1.2]", False),
    ],
)
def test_a_test_belongs_to_a_lesson(lesson, tmp_path, test, expected):
    assert belongs(test, lesson, unit_tests(lesson, Layout(tmp_path))) is expected
