"""Which tests belong to one lesson: ``make test ONLY=04_llms/01``."""

from __future__ import annotations

import re
from pathlib import Path

from course_utils.runner.freshness import imported
from course_utils.runner.layout import Layout, Lesson

# every lesson uses these; a lesson's own tests are those of what it teaches
COMMON = {"config", "claims", "plotting", "assets", "corpora", "exercises", "runner"}


def unit_tests(lesson: Lesson, layout: Layout) -> set[str]:
    """Unit tests of the modules that a lesson imports, as paths from the root.

    Tests mirror the package: ``course_utils/nn/attention.py`` is tested by the files
    ``tests/nn/test_attention*.py``; a name imported from a room brings the room's tests.
    """
    found: set[Path] = set()
    for name in imported(lesson.source.read_text(encoding="utf-8")):
        _, room, *rest = [*name.split("."), ""]
        if not room or room in COMMON:
            continue
        folder = layout.root / "tests" / room
        module = layout.package.joinpath(room, rest[0]).with_suffix(".py") if rest[0] else None
        if module and module.exists():
            found |= set(folder.glob(f"test_{rest[0]}*.py"))
        elif rest[0]:
            found |= set(folder.glob("test_*.py"))
    return {path.relative_to(layout.root).as_posix() for path in found}


def belongs(test: str, lesson: Lesson, files: set[str]) -> bool:
    """Whether a test belongs to a lesson.

    Args:
        test: pytest's id, such as ``tests/nn/test_attention.py::test_rows[3-5]``.
        lesson: the lesson.
        files: see :func:`unit_tests`.
    """
    path, _, name = test.partition("::")
    if path in files or lesson.key in name:
        return True
    exercise = rf"(?<![\d.]){re.escape(lesson.number)}(\.\d+)?(?![\d.])"
    chapter, number = lesson.number.split(".")
    module = f"ch{int(chapter):02d}_{int(number):02d}"
    in_exercises = path.startswith("tests/exercises/")
    return in_exercises and bool(re.search(exercise, name) or module in test)
