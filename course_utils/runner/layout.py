"""Where lessons, notebooks and data lie, and which lessons a pattern names."""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = "OWNER/nlp-llm-curriculum"
START = "00_start_here"


@dataclass(frozen=True)
class Lesson:
    """One lesson: its key (``04_llms/01_attention``), its text and its notebook."""

    key: str
    source: Path
    notebook: Path

    @property
    def stem(self) -> str:
        """The file name without folder and suffix."""
        return self.source.stem

    @property
    def number(self) -> str:
        """Chapter and lesson as exercises and quizzes name them.

        >>> Lesson("04_llms/01_attention", Path("a.py"), Path("a.ipynb")).number
        '4.1'
        """
        chapter, _, name = self.key.rpartition("/")
        return f"{_leading_number(chapter)}.{_leading_number(name)}"

    @property
    def title(self) -> str:
        """The first heading of the lesson, or its key when it has none."""
        found = re.search(r"^# # (.+)$", self.source.read_text(encoding="utf-8"), re.MULTILINE)
        return found.group(1).strip() if found else self.key


@dataclass(frozen=True)
class Layout:
    """The folders of one copy of the course."""

    root: Path

    @classmethod
    def here(cls) -> Layout:
        """The copy this package is imported from."""
        return cls(Path(__file__).resolve().parents[2])

    @property
    def lessons(self) -> Path:
        """Folder of the lessons' text."""
        return self.root / "lessons"

    @property
    def notebooks(self) -> Path:
        """Folder of the built notebooks."""
        return self.root / "notebooks"

    @property
    def package(self) -> Path:
        """Folder of ``course_utils``."""
        return self.root / "course_utils"

    @property
    def timings(self) -> Path:
        """The measured cost of each notebook."""
        return self.root / "data" / "timings.json"

    @property
    def runs(self) -> Path:
        """Folder for everything a run leaves behind; git ignores it."""
        return self.root / "runs"

    def all_lessons(self) -> list[Lesson]:
        """Every lesson, in reading order."""
        keys = sorted(
            path.relative_to(self.lessons).with_suffix("").as_posix()
            for path in self.lessons.rglob("*.py")
            if ".ipynb_checkpoints" not in path.parts
        )
        return [self.lesson(key) for key in keys]

    def lesson(self, key: str) -> Lesson:
        """The lesson with this key, whether its files exist or not."""
        return Lesson(key, self.lessons / f"{key}.py", self.notebooks / f"{key}.ipynb")

    def select(self, patterns: list[str] | tuple[str, ...] = ()) -> list[Lesson]:
        """The lessons that any of the patterns names; all of them without a pattern.

        Args:
            patterns: a part of a key (``04_llms/01``), a glob, or a file's path.

        Raises:
            ValueError: if a pattern names no lesson.
        """
        lessons = self.all_lessons()
        if not patterns:
            return lessons
        chosen: list[Lesson] = []
        for pattern in patterns:
            found = [lesson for lesson in lessons if names(pattern, lesson.key)]
            if not found:
                known = ", ".join(lesson.key for lesson in lessons) or "none"
                raise ValueError(f"no lesson matches {pattern!r}; lessons: {known}")
            chosen += found
        return sorted(set(chosen), key=lambda lesson: lesson.key)

    def repository(self) -> str:
        """``OWNER/NAME`` of the public repository, from pyproject.toml's [tool.course]."""
        import tomllib

        path = self.root / "pyproject.toml"
        if not path.exists():
            return PLACEHOLDER
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        return tools.get("course", {}).get("repository", PLACEHOLDER)


def names(pattern: str, key: str) -> bool:
    """Whether a pattern names a lesson.

    >>> names("lessons/04_llms/01_attention.py", "04_llms/01_attention")
    True
    >>> names("04_llms/1", "04_llms/01_attention"), names("04*/01*", "04_llms/01_attention")
    (False, True)
    """
    plain = re.sub(r"\.(py|ipynb)$", "", pattern.replace("\\", "/").removeprefix("./"))
    plain = re.sub(r"^(.*/)?(lessons|notebooks)(/|$)", "", plain)
    return plain in key or fnmatch.fnmatchcase(key, plain)


def write_whole(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _leading_number(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits.group()) if digits else 0
