"""What the builder puts into a notebook, and which lessons it refuses."""

import ast
import json
import re
from pathlib import Path

import pytest

from course_utils.runner import cost
from course_utils.runner.cells import LessonError, draft_cells, expand
from course_utils.runner.layout import Layout

KEY = "01_foundations/01_tiny"


@pytest.fixture
def expanded(course, exercise_cells):
    def expand_it(text=None, repository=None, key=KEY):
        made = course({key: text} if text else None)
        if repository:
            line = f'[tool.course]\nrepository = "{repository}"\n'
            (made.root / "pyproject.toml").write_text(line)
        return expand(made.lesson(key), made, exercise_cells)

    return expand_it


def tags(book, index):
    return book.cells[index].metadata.get("tags", [])


def test_the_cells_stand_in_order(expanded):
    book = expanded()
    kinds = [cell.cell_type for cell in book.cells]
    assert kinds == ["markdown", "markdown", "code", "code", "code", "markdown", "code"]
    assert [tags(book, i) for i in range(1, 4)] == [["badges"], ["colab"], ["parameters"]]
    assert [cell.id for cell in book.cells][::6] == ["01_tiny-000", "01_tiny-006"]


def test_badges_and_colab_name_the_one_repository(expanded):
    book = expanded(repository="ada/course")
    path = "ada/course/blob/main/notebooks/01_foundations/01_tiny.ipynb"
    assert f"https://colab.research.google.com/github/{path}" in book.cells[1].source
    binder = "gh/ada/course/HEAD?labpath=notebooks/01_foundations/01_tiny.ipynb"
    assert binder in book.cells[1].source
    assert "https://github.com/ada/course /content/course" in book.cells[2].source


def test_badges_are_pictures_of_our_own_that_exist(expanded):
    source = expanded().cells[1].source
    pictures = re.findall(r"!\[([^\]]{10,})\]\(([^)]+)\)", source)
    assert [Path(path).name for _, path in pictures] == ["colab.svg", "binder.svg"]
    folder = Layout.here().root / "notebooks" / "01_foundations"
    assert all((folder / path).is_file() for _, path in pictures)


def test_a_link_to_a_lesson_that_is_not_written_becomes_words(expanded, text):
    links = "\n\n# %% [markdown]\n# [this](01_tiny.ipynb), [that](../04_llms/99_x.ipynb#part)\n"
    source = expanded(text + links).cells[-1].source
    assert source == "[this](01_tiny.ipynb), that (planned)"


def test_binder_is_offered_only_where_its_memory_is_enough(expanded, text):
    assert "mybinder" not in expanded(text, key="04_llms/01_tiny").cells[1].source


def test_the_colab_cell_is_short_and_idle_elsewhere(expanded):
    source = expanded().cells[2].source
    lines = source.splitlines()
    assert len(lines) <= 8
    assert all(line.startswith("    ") for line in lines[2:])
    plain = "\n".join(line.replace("!", "pass  # ") if "!" in line else line for line in lines)
    namespace = {}
    exec(compile(ast.parse(plain), "colab", "exec"), namespace)
    assert set(namespace) == {"__builtins__", "os", "sys"}


def test_an_exercise_line_becomes_statement_and_stub(expanded):
    book = expanded()
    assert book.cells[5].source == "### Exercise 1.1.1"
    assert book.cells[6].source == "def double(x: int): ..."
    assert tags(book, 6) == ["exercise"]


def test_several_exercises_may_share_a_cell(expanded, text):
    book = expanded(text + 'exercise("1.1.2")\n')
    assert [c.source for c in book.cells[5::2]] == ["### Exercise 1.1.1", "### Exercise 1.1.2"]


def test_the_card_says_what_was_measured(course, exercise_cells):
    made = course()
    assert "not measured yet" in cost.card(made.lesson(KEY), made)
    entry = {"this": {"seconds": 90, "peak_mb": 1600}, "avx2": {"seconds": 150, "peak_mb": 900}}
    entry["assets"] = ["minilm-l6"]
    stored = {"machines": {"this": "2 cores", "avx2": "AVX2"}, "lessons": {KEY: entry}}
    made.timings.parent.mkdir()
    made.timings.write_text(json.dumps(stored))
    title = expand(made.lesson(KEY), made, exercise_cells).cells[0].source
    assert "{{cost}}" not in title
    assert "| minutes | 1.5 | 2.5 |" in title
    assert "| peak memory | 1.6 GB | 900 MB |" in title
    assert "| 2 cores | AVX2 |" in title
    assert "uses minilm-l6" in title
    assert "**Binder:** no" in title


def test_the_card_can_be_replaced():
    card = f"{cost.BEGIN}\nold\n{cost.END}"
    assert cost.put_card(f"a\n{card}\nb", "new \\1") == "a\nnew \\1\nb"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("# {{cost}}", "#", "no markdown cell holds {{cost}}"),
        ("# # A tiny", "# A tiny", "must be markdown and start with '# Title'"),
        (' tags=["parameters"]', "", "0 cells have the tag parameters"),
        (' tags=["exercise"]', "", "exercise('1.1.1') must stand alone"),
        ('exercise("1.1.1")', 'exercise("1.1.1")\nprint(1)', "must stand alone"),
    ],
)
def test_a_lesson_that_breaks_a_rule_is_refused(expanded, text, old, new, sentence):
    assert old in text
    with pytest.raises(LessonError) as caught:
        expanded(text.replace(old, new))
    assert sentence in str(caught.value)
    assert "01_tiny.py" in str(caught.value)


def test_a_draft_may_lack_its_exercises():
    [(kind, source)] = draft_cells("99.99.1")
    assert kind == "markdown"
    assert "Exercise 99.99.1" in source
