"""Progress: one JSON file, written whole or not at all, shared by every open notebook."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course_utils import config

VERSION = 1
LOCK_SECONDS = 5
_STATUSES = ("failed", "passed")
# what is remembered while nothing may be written: CI, a read-only disk
_session: dict[str, Any] = {}


def path() -> Path:
    """Where the progress of this user is kept."""
    return config.course_home() / "progress.json"


def writes() -> bool:
    """False in builds and tests (``COURSE_NO_PROGRESS=1`` or ``COURSE_STRICT=1``)."""
    return os.environ.get("COURSE_NO_PROGRESS", "") != "1" and not config.strict()


def empty() -> dict[str, Any]:
    """The content of a fresh file."""
    return {"version": VERSION, "exercises": {}, "quizzes": {}}


def read() -> tuple[dict[str, Any], str]:
    """What is remembered, and a sentence if the file could not be read as it should."""
    if not writes():
        return copy.deepcopy(_session or empty()), ""
    try:
        return _read_file(path())
    except (OSError, NewerFile) as error:
        return copy.deepcopy(_session or empty()), _not_saved(error)


def update(change: Callable[[dict[str, Any]], None]) -> str:
    """Read, change and write under a lock; returns a sentence if that was not possible."""
    if not writes():
        _in_session(change)
        return ""
    from filelock import FileLock, Timeout

    where = path()
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{where}.lock", timeout=LOCK_SECONDS):
            content, note = _read_file(where)
            change(content)
            _write_file(where, content)
    except (OSError, Timeout, NewerFile) as error:
        _in_session(change)
        return _not_saved(error)
    return note


class NewerFile(Exception):
    """The file was written by a later version of the course; it is left alone."""


def _in_session(change: Callable[[dict[str, Any]], None]) -> None:
    if not _session:
        _session.update(empty())
    change(_session)


def _not_saved(error: Exception) -> str:
    return f"Your progress could not be saved ({error}); it is kept until this notebook closes."


def _read_file(where: Path) -> tuple[dict[str, Any], str]:
    """The file's content; what cannot be read is set aside under another name, not lost."""
    try:
        text = where.read_text(encoding="utf-8")
    except FileNotFoundError:
        return empty(), ""
    except UnicodeDecodeError:
        return empty(), _set_aside(where)
    try:
        content = json.loads(text)
    except ValueError:
        return empty(), _set_aside(where)
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise NewerFile("the progress file belongs to a later version of the course")
    kept = _valid_part(content)
    return kept, "" if kept == content else _set_aside(where)


def _valid_part(content: Any) -> dict[str, Any]:
    """Every entry that has the right form."""
    kept = empty()
    if not isinstance(content, dict):
        return kept
    for group, valid in (("exercises", _valid_exercise), ("quizzes", _valid_quiz)):
        entries = content.get(group)
        if isinstance(entries, dict):
            kept[group] = {key: entry for key, entry in entries.items() if valid(entry)}
    return kept


def _valid_exercise(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("status") in (None, *_STATUSES)
        and all(isinstance(entry.get(key, 0), int) for key in ("attempts", "hints"))
    )


def _valid_quiz(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), int) for key in ("best", "of", "tries")
    )


def _set_aside(where: Path) -> str:
    number = 1
    while (aside := where.with_name(f"progress.damaged-{number}.json")).exists():
        number += 1
    with contextlib.suppress(FileNotFoundError):  # another notebook was faster
        where.replace(aside)
    return f"The progress file was damaged; it was kept as {aside.name}, and a new one begun."


def _write_file(where: Path, content: dict[str, Any]) -> None:
    handle, temporary = tempfile.mkstemp(dir=where.parent, prefix=".progress-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(where)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _today() -> str:
    return datetime.date.today().isoformat()


def _entry(content: dict[str, Any], exercise_id: str) -> dict[str, Any]:
    fresh = {"status": None, "attempts": 0, "hints": 0, "solution_seen": False}
    return content["exercises"].setdefault(exercise_id, fresh)


def remember_check(exercise_id: str, status: str) -> str:
    """Count an attempt; the best status stays. Returns a sentence if it was not saved."""
    if status not in _STATUSES:
        return ""

    def change(content: dict[str, Any]) -> None:
        entry = _entry(content, exercise_id)
        entry["attempts"] = entry.get("attempts", 0) + 1
        entry["date"] = _today()
        if status == "passed" and entry.get("status") != "passed":
            entry["passed_on"] = _today()
            entry["alone"] = not entry.get("solution_seen", False)
        if entry.get("status") != "passed":
            entry["status"] = status

    return update(change)


def remember_hint(exercise_id: str, available: int) -> tuple[int, str]:
    """Go one step down the ladder; returns the number of hints now shown, and a note."""
    shown = 1

    def change(content: dict[str, Any]) -> None:
        nonlocal shown
        entry = _entry(content, exercise_id)
        shown = entry["hints"] = min(entry.get("hints", 0) + 1, available)

    note = update(change)
    return shown, note


def remember_solution(exercise_id: str) -> tuple[bool, str]:
    """Note that the solution was seen; returns whether the exercise was passed before."""
    passed = False

    def change(content: dict[str, Any]) -> None:
        nonlocal passed
        entry = _entry(content, exercise_id)
        passed = entry.get("status") == "passed"
        entry["solution_seen"] = True

    note = update(change)
    return passed, note


def remember_quiz(quiz_id: str, right: int, of: int) -> str:
    """Count a finished quiz; the best score stays."""

    def change(content: dict[str, Any]) -> None:
        entry = content["quizzes"].setdefault(quiz_id, {"best": 0, "of": of, "tries": 0})
        entry["tries"] += 1
        entry["best"], entry["of"] = max(entry["best"], right), of
        entry["date"] = _today()

    return update(change)


def forget(what: str) -> tuple[int, str]:
    """Forget an exercise, a lesson, a chapter or ``"all"``; returns how many entries went."""
    gone = 0

    def change(content: dict[str, Any]) -> None:
        nonlocal gone
        for group in ("exercises", "quizzes"):
            keys = [key for key in content[group] if what == "all" or _within(key, what)]
            gone += len(keys)
            for key in keys:
                del content[group][key]

    note = update(change)
    return gone, note


def _within(key: str, what: str) -> bool:
    return key == what or key.startswith(f"{what}.")
