"""Exercises: checked in the notebook, with hints, solutions, quizzes and remembered progress.

``check(exercise_id, answer)`` runs an answer on fresh random inputs and shows a card. Nothing
here raises at a learner. The exercises of lesson 1.2 are in ``ch01_02.py``, its quiz in
``quizzes/01_02.yaml``.
"""

from __future__ import annotations

from course_utils.exercises import catalogue, sources
from course_utils.exercises.catalogue import registry
from course_utils.exercises.checking import Result, check, hint, solution
from course_utils.exercises.engine import Exercise, Trial, Wrong
from course_utils.exercises.overview import progress
from course_utils.exercises.quizview import quiz

__all__ = [
    "Exercise",
    "Result",
    "Trial",
    "Wrong",
    "check",
    "hint",
    "notebook_cells",
    "progress",
    "quiz",
    "registry",
    "solution",
]


def notebook_cells(exercise_id: str) -> list[tuple[str, str]]:
    """The cells that stand for ``exercise("1.2.1")`` in a built notebook.

    Returns:
        ``[("markdown", statement), ("code", stub + check line)]``.

    Raises:
        KeyError: if there is no such exercise.
    """
    return sources.notebook_cells(catalogue.find(exercise_id))
