"""Chapter 4 - A journal: what was put in and taken out, line by line; the index is made from it.

An index is fast and can break. The journal is slow and cannot: lines are only added, each is
checked by its own hash, and a line that a crash cut in half was never promised. Whoever has the
journal can make the index anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_utils.rag.store import CollectionError

Entry = dict[str, Any]  # {"text": …, "metadata": …}


def append(path: Path, operations: Sequence[Mapping[str, Any]]) -> None:
    """Add operations, all on disk before this returns; an unfinished last line is cut off first.

    Args:
        path: of the journal. operations: ``{"put": id, "text", "metadata"}`` or ``{"delete": id}``.
    """
    _cut_torn_line(path)
    lines = []
    for operation in operations:
        body = json.dumps(operation, ensure_ascii=True, sort_keys=True)
        lines.append(f"{_digest(body)} {body}\n")
    with path.open("a", encoding="ascii") as file:
        file.write("".join(lines))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> dict[str, Entry]:
    """What is in the collection after all operations, by id, in the order of first arrival.

    Raises:
        CollectionError: a line in the middle is damaged; its number is named.
    """
    if not path.exists():
        return {}
    raw = path.read_bytes().split(b"\n")
    state: dict[str, Entry] = {}
    for number, line in enumerate(raw[:-1], 1):  # after the last newline: nothing, or a torn line
        operation = _operation(line, path, number)
        if "delete" in operation:
            state.pop(operation["delete"], None)
        else:
            entry = {"text": operation["text"], "metadata": operation["metadata"]}
            state[operation["put"]] = entry
    return state


def _operation(line: bytes, path: Path, number: int) -> dict[str, Any]:
    digest, _, body = line.decode("ascii", "replace").partition(" ")
    if digest != _digest(body):
        raise CollectionError(
            f"line {number} of {path.name} is damaged: it does not have the hash in front of it. "
            "Nothing was changed; restore the file, or remove this line to give up what it says"
        )
    return json.loads(body)


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        whole = file.read()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            file.truncate(end)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("ascii", "replace")).hexdigest()[:16]
