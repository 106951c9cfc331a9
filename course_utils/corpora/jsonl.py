"""Data sets written for this course: ``data/authored/<name>.jsonl``, checked when read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.assets.pins import data_folder
from course_utils.corpora.cards import Card

if TYPE_CHECKING:
    from datasets import Dataset


def folder() -> Path:
    """Where the authored sets lie."""
    return data_folder() / "authored"


def load(name: str, columns: Sequence[str] | None = None) -> Dataset:
    """One authored set.

    Args:
        name: file name without ``.jsonl``.
        columns: columns that must be there; None asks for none.

    Raises:
        ValueError: unknown name, or the first line that is no valid row.
    """
    from datasets import Dataset

    return Dataset.from_list(read(file_of(name), columns))


def file_of(name: str) -> Path:
    """The file of an authored set; a ValueError that lists the known ones if there is none."""
    file = folder() / f"{name}.jsonl"
    if not file.is_file():
        known = ", ".join(sorted(p.stem for p in folder().glob("*.jsonl"))) or "none yet"
        raise ValueError(f"There is no authored data set called {name!r}. Known: {known}.")
    return file


def read(file: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a JSONL file; all must have the same columns with values of the same types.

    Raises:
        ValueError: with file, line number, what was expected and what came.
    """
    rows: list[dict[str, Any]] = []
    if not file.stat().st_size:
        raise ValueError(f"{file.name} holds no rows")
    for number, line in enumerate(_lines(file), 1):
        where = f"{file.name}, line {number}"
        row = _parse(line, where)
        _check(row, rows[0] if rows else row, columns, where)
        rows.append(row)
    return rows


def _lines(file: Path) -> list[str]:
    """Lines ended by a line feed only: U+2028 and its kind may stand inside a string."""
    return file.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not valid JSON ({error}): {line[:60]!r}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with named columns, got {line[:60]!r}")
    return row


def _check(row: dict, first: dict, columns: Sequence[str] | None, where: str) -> None:
    missing = [column for column in columns or () if column not in row]
    if missing:
        raise ValueError(f"{where}: lacks the columns {', '.join(missing)}")
    if row.keys() != first.keys():
        raise ValueError(f"{where}: expected the columns {list(first)}, got {list(row)}")
    for column, value in row.items():
        if isinstance(value, str) and not value.strip() and first[column]:
            continue  # an empty answer can be meant: unanswerable questions
        if not _same_kind(value, first[column]):
            raise ValueError(
                f"{where}: column {column!r} holds {type(first[column]).__name__} in the first "
                f"row, {type(value).__name__} here"
            )


def _same_kind(value: object, other: object) -> bool:
    numbers = (int, float)
    if value is None or other is None:
        return True
    if isinstance(value, bool) or isinstance(other, bool):
        return type(value) is type(other)
    if isinstance(value, numbers) and isinstance(other, numbers):
        return True
    return type(value) is type(other)


def card(name: str) -> Card:
    """The card of an authored set, with its rows counted now."""
    rows = read(file_of(name))
    return Card(
        name=name,
        about="written for this course",
        rows={"all": len(rows)},
        columns=tuple(rows[0]),
        licence="the course's own (Apache-2.0)",
        source=f"data/authored/{name}.jsonl",
        used_by="see data/README.md",
        faults=("small, and written by the course's authors: a test bed, not a benchmark",),
    )
