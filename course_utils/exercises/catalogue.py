"""Where the exercises are: one module ``chXX_YY.py`` a lesson, found by name."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from course_utils.exercises.engine import Exercise

FOLDER = Path(__file__).resolve().parent
NOTEBOOKS = FOLDER.parents[1] / "notebooks"
_MODULE = re.compile(r"ch(\d\d)_(\d\d)\.py")


def lessons() -> dict[str, str]:
    """Lesson id -> module name, in course order: ``{"0.0": "ch00_00", "1.1": "ch01_01"}``."""
    matches = map(_MODULE.fullmatch, sorted(file.name for file in FOLDER.iterdir()))
    return {f"{int(m[1])}.{int(m[2])}": m.string.removesuffix(".py") for m in matches if m}


def of_lesson(lesson: str) -> list[Exercise]:
    """The exercises of one lesson; only its own module is imported.

    Raises:
        KeyError: if the lesson has no exercises.
        ValueError: if an id does not belong to the module, or occurs twice.
    """
    module = importlib.import_module(f"course_utils.exercises.{lessons()[lesson]}")
    exercises = list(module.EXERCISES)
    ids = [exercise.id for exercise in exercises]
    strangers = [exercise.id for exercise in exercises if exercise.lesson != lesson]
    if strangers or len(set(ids)) != len(ids):
        raise ValueError(
            f"{module.__name__}: ids must be {lesson}.1, {lesson}.2 … without repetition; got {ids}"
        )
    return exercises


def find(exercise_id: str) -> Exercise:
    """One exercise by its id.

    Raises:
        KeyError: if there is none.
    """
    lesson = str(exercise_id).rpartition(".")[0]
    if lesson in lessons():
        for exercise in of_lesson(lesson):
            if exercise.id == exercise_id:
                return exercise
    raise KeyError(exercise_id)


def registry() -> dict[str, Exercise]:
    """Every exercise of the course by its id, in course order."""
    return {exercise.id: exercise for lesson in lessons() for exercise in of_lesson(lesson)}


def titles() -> dict[str, str]:
    """Exercise id -> title, read from the files without importing them (torch takes seconds)."""
    found: dict[str, str] = {}
    for module in lessons().values():
        tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        rows = [_literals(call) for call in calls if _is_exercise(call)]
        found |= {row["id"]: row.get("title", "") for row in rows if "id" in row}
    return found


def offered() -> list[str]:
    """Lessons whose notebook is there to be opened (all, where only the package is installed).

    Exercises may be ready before their lesson; ``progress()`` must not send anybody there.
    """
    if not NOTEBOOKS.is_dir():
        return list(lessons())
    return [lesson for lesson in lessons() if any(NOTEBOOKS.glob(_notebook_pattern(lesson)))]


def _notebook_pattern(lesson: str) -> str:
    """File pattern of a lesson's notebook.

    >>> _notebook_pattern("4.1"), _notebook_pattern("0.0")
    ('04_*/01_*.ipynb', '00_*.ipynb')
    """
    chapter, number = map(int, lesson.split("."))
    return f"{chapter:02}_*/{number:02}_*.ipynb" if chapter else f"{number:02}_*.ipynb"


def known_ids() -> list[str]:
    """Every exercise id, without importing the exercises."""
    return list(titles())


def _is_exercise(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "Exercise"


def _literals(call: ast.Call) -> dict[str, str]:
    return {
        keyword.arg: keyword.value.value
        for keyword in call.keywords
        if keyword.arg in ("id", "title") and isinstance(keyword.value, ast.Constant)
    }
