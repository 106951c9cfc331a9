"""From a lesson's text to the cells of its notebook, not yet executed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from course_utils.runner import cost
from course_utils.runner.layout import Layout, Lesson

if TYPE_CHECKING:
    from nbformat import NotebookNode

ExerciseCells = Callable[[str], list[tuple[str, str]]]

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
BINDER_CHAPTERS = ("00", "01", "02", "03")  # later chapters need more than Binder's memory
NOTEBOOK_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)\.ipynb(?:#[^)]*)?\)")
EXERCISE = re.compile(r"^exercise\(\s*[\"']([\d.]+)[\"']\s*\)\s*$", re.MULTILINE)


class LessonError(ValueError):
    """A lesson's text breaks a rule of the builder; the message says which and where."""


def expand(
    lesson: Lesson, layout: Layout, exercise_cells: ExerciseCells | None = None
) -> NotebookNode:
    """The notebook of a lesson, with everything the build adds, without outputs.

    Args:
        lesson: the lesson to read.
        layout: the course it belongs to (repository name, measured costs).
        exercise_cells: turns an exercise's id into ``[(kind, source), …]``; the default
            asks ``course_utils.exercises``.

    Raises:
        LessonError: if the lesson has no title cell, no parameters cell, no ``{{cost}}`` or
            an exercise line in a cell without the tag.
    """
    import jupytext
    from nbformat import from_dict

    text = jupytext.read(lesson.source, fmt="py:percent")
    _check(lesson, text.cells)
    cells: list[NotebookNode] = []
    for number, cell in enumerate(text.cells):
        cell.metadata.pop("lines_to_next_cell", None)
        cells += _exercise(lesson, cell, exercise_cells or package_cells)
        if number == 0:
            cells += [_badges(lesson, layout), _colab(layout)]
    _put_cost(cells, cost.card(lesson, layout))
    _unlink_planned(cells, lesson, layout)
    for number, cell in enumerate(cells):
        cell.id = f"{lesson.stem}-{number:03d}"[-64:]
    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return from_dict(book)


def package_cells(exercise_id: str) -> list[tuple[str, str]]:
    """The cells that ``course_utils.exercises`` has for an exercise."""
    from course_utils.exercises import notebook_cells

    return notebook_cells(exercise_id)


def draft_cells(exercise_id: str) -> list[tuple[str, str]]:
    """As :func:`package_cells`, but a sentence where the exercise is not written yet."""
    try:
        return package_cells(exercise_id)
    except Exception as error:
        return [("markdown", f"*Exercise {exercise_id}: {type(error).__name__}: {error}*")]


def exercise_ids(source: str) -> list[str]:
    """The ids of the exercises that a lesson's text places."""
    return EXERCISE.findall(source)


def _check(lesson: Lesson, cells: list) -> None:
    where = lesson.source.name
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise LessonError(f"{where}: the first cell must be markdown and start with '# Title'")
    if not any("{{cost}}" in cell.source for cell in cells if cell.cell_type == "markdown"):
        raise LessonError(f"{where}: no markdown cell holds {{{{cost}}}}, the cost card's place")
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise LessonError(f"{where}: {len(tagged)} cells have the tag parameters, expected 1")


def _exercise(lesson: Lesson, cell: NotebookNode, find: ExerciseCells) -> list[NotebookNode]:
    """The cell itself, or what stands for its ``exercise("…")`` line."""
    from nbformat.v4 import new_code_cell, new_markdown_cell

    ids = EXERCISE.findall(cell.source) if cell.cell_type == "code" else []
    if not ids:
        return [cell]
    if "exercise" not in cell.metadata.get("tags", []) or EXERCISE.sub("", cell.source).strip():
        raise LessonError(
            f"{lesson.source.name}: exercise({ids[0]!r}) must stand alone "
            'in a cell that begins with: # %% tags=["exercise"]'
        )
    made = []
    for kind, source in (pair for exercise_id in ids for pair in find(exercise_id)):
        if kind == "markdown":
            made.append(new_markdown_cell(source.strip("\n")))
        else:
            made.append(new_code_cell(source.strip("\n"), metadata={"tags": ["exercise"]}))
    return made


def _badges(lesson: Lesson, layout: Layout) -> NotebookNode:
    from nbformat.v4 import new_markdown_cell

    repository, path = layout.repository(), f"notebooks/{lesson.key}.ipynb"
    # our own pictures: those of the two sites break without a network
    pictures = "../" * lesson.key.count("/") + "badges"
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{path}"
    links = [f"[![Open in Google Colab]({pictures}/colab.svg)]({colab})"]
    if lesson.key.startswith(BINDER_CHAPTERS):
        binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?labpath={path}"
        links.append(f"[![Launch on Binder]({pictures}/binder.svg)]({binder})")
    return new_markdown_cell(" ".join(links), metadata={"tags": ["badges"]})


def _colab(layout: Layout) -> NotebookNode:
    from nbformat.v4 import new_code_cell

    repository = layout.repository()
    folder = f"/content/{repository.split('/')[1]}"
    lines = [
        "import os, sys  # this cell does nothing outside Google Colab",
        'if "google.colab" in sys.modules:',
        f'    if not os.path.isdir("{folder}"):',
        f"        !git clone -q --depth 1 https://github.com/{repository} {folder}",
        f'    os.chdir("{folder}")',
        "    sys.path.insert(0, os.getcwd())",
        '    !pip install -q -e ".[lessons]"  # keeps Colab\'s own torch',
        "    !python -m course_utils assets --fetch",
    ]
    return new_code_cell("\n".join(lines), metadata={"tags": ["colab"]})


def _put_cost(cells: list[NotebookNode], card: str) -> None:
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("{{cost}}", card)


def _unlink_planned(cells: list[NotebookNode], lesson: Lesson, layout: Layout) -> None:
    """Links to lessons that are not written yet become words; they come alive with the lesson."""
    folder = lesson.notebook.parent

    def link(match: re.Match[str]) -> str:
        target = os.path.normpath(folder / match[2])
        key = os.path.relpath(target, layout.notebooks)
        written = (layout.lessons / f"{key}.py").exists()
        return match[0] if written else f"{match[1]} (planned)"

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = NOTEBOOK_LINK.sub(link, cell.source)
