"""Build notebooks from lessons: expand, execute, check, write whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.runner import cost
from course_utils.runner import notebook as books
from course_utils.runner.cells import ExerciseCells, LessonError, draft_cells, expand
from course_utils.runner.execute import CellError, environment, execute
from course_utils.runner.freshness import digest
from course_utils.runner.layout import Layout, Lesson
from course_utils.runner.rules import problems, statistics_line

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Built:
    """What happened to one lesson: ``fresh``, ``built``, ``prose`` (no execution) or ``failed``."""

    key: str
    status: str
    message: str = ""


def build(
    lesson: Lesson,
    layout: Layout,
    *,
    force: bool = False,
    draft: bool = False,
    exercise_cells: ExerciseCells | None = None,
) -> Built:
    """Bring one notebook up to date.

    Args:
        lesson: the lesson to build.
        layout: the course it belongs to.
        force: execute even if nothing changed.
        draft: write to runs/draft, and let exercises be missing.
        exercise_cells: see :func:`course_utils.runner.cells.expand`.
    """
    try:
        book = expand(lesson, layout, draft_cells if draft else exercise_cells)
        stored = None if force or draft else books.read_notebook(lesson.notebook)
        status = state(lesson, layout, stored)
    except (LessonError, SyntaxError, LookupError, ValueError, ImportError) as error:
        return Built(lesson.key, "failed", f"{type(error).__name__}: {error}")
    if status == "stale" or not books.same_code(book, stored):
        return _execute(book, lesson, layout, draft)
    if status == "fresh" and books.same_cells(book, stored):
        return Built(lesson.key, "fresh")
    books.take_outputs(book, stored)
    return _finish(book, lesson, layout, lesson.notebook, "prose")


def state(lesson: Lesson, layout: Layout, stored: NotebookNode | None) -> str:
    """``fresh``, ``prose`` (only markdown changed) or ``stale``."""
    course = (stored.metadata.get("course") or {}) if stored else {}
    if course.get("hash") == digest(lesson, layout):
        return "fresh"
    return "prose" if course.get("code") == digest(lesson, layout, prose=False) else "stale"


def update_card(lesson: Lesson, layout: Layout) -> bool:
    """Put the newest cost card into a stored notebook; True if that changed the file."""
    book = books.read_notebook(lesson.notebook)
    if book is None:
        return False
    card, before = cost.card(lesson, layout), books.signature(book)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = cost.put_card(cell.source, card)
    if books.signature(book) == before:
        return False
    books.write_notebook(lesson.notebook, book)
    return True


def _execute(book: NotebookNode, lesson: Lesson, layout: Layout, draft: bool) -> Built:
    target = layout.runs / "draft" / f"{lesson.key}.ipynb" if draft else lesson.notebook
    try:
        execute(book, lesson.notebook.parent, environment(layout, strict=True))
        books.clean(book)
        books.refuse(book)
    except (CellError, LessonError) as error:
        kept = layout.runs / "failed" / f"{lesson.key}.ipynb"
        books.write_notebook(kept, book)
        return Built(lesson.key, "failed", f"{error}\nkept: {kept.relative_to(layout.root)}")
    return _finish(book, lesson, layout, target, "built")


def _finish(book: NotebookNode, lesson: Lesson, layout: Layout, path: Path, status: str) -> Built:
    book.metadata["course"] = {
        "lesson": f"lessons/{lesson.key}.py",
        "hash": digest(lesson, layout),
        "code": digest(lesson, layout, prose=False),
    }
    books.write_notebook(path, book)
    notes = [f"written: {path.relative_to(layout.root)}", statistics_line(book)]
    notes += [f"warning: {problem}" for problem in problems(book)]
    return Built(lesson.key, status, "\n".join(notes))
