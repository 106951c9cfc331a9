"""Read, compare, clean and write notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.runner.cells import LANGUAGE, LessonError
from course_utils.runner.layout import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

MAX_OUTPUT = 1_000_000  # bytes of one cell's outputs
PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE_PATH = re.compile(r"(?:/home/|/Users/|[A-Z]:\\Users\\)[\w.-]+|/root/[\w.]+|/tmp/[\w.-]+")


def read_notebook(path: Path) -> NotebookNode | None:
    """A stored notebook; None when there is none."""
    import nbformat

    return nbformat.read(path, as_version=4) if path.exists() else None


def write_notebook(path: Path, book: NotebookNode) -> None:
    """Validate a notebook and write it whole or not at all."""
    import nbformat

    nbformat.validate(book)
    write_whole(path, nbformat.writes(book) + "\n")


def signature(book: NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    """Kind, source and tags of every cell."""
    return [(c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in book.cells]


def same_cells(one: NotebookNode, other: NotebookNode) -> bool:
    """Whether two notebooks have the same cells by kind, source and tags."""
    return signature(one) == signature(other)


def same_code(one: NotebookNode, other: NotebookNode) -> bool:
    """Whether two notebooks have the same code; the Colab cell, idle here, may differ."""
    return _code(one) == _code(other)


def take_outputs(book: NotebookNode, stored: NotebookNode) -> None:
    """Give the code cells of a notebook the outputs of one with the same code."""
    old = [cell for cell in stored.cells if cell.cell_type == "code"]
    new = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell, source in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = source.outputs, source.execution_count


def clean(book: NotebookNode) -> None:
    """Remove what must not be stored: widget views and state, timing metadata."""
    book.metadata.pop("widgets", None)
    book.metadata["language_info"] = dict(LANGUAGE)  # without the version of this Python
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in map(_without_widget, cell.outputs) if kept]


def refuse(book: NotebookNode) -> None:
    """Raise when an output may not be stored.

    Raises:
        LessonError: a bare picture, a picture without alternative text, outputs over 1 MB,
            or a path of this machine.
    """
    for number, cell in enumerate(book.cells):
        for problem in output_problems(cell):
            head = cell.source.splitlines()[0] if cell.source else ""
            raise LessonError(f"cell {number} ({head}): {problem}")


def output_problems(cell: NotebookNode) -> list[str]:
    """What in a cell's outputs may not be stored, as sentences."""
    outputs = cell.get("outputs", [])
    found = [problem for output in outputs for problem in _problems(output)]
    size = sum(len(output_text(output).encode()) for output in outputs)
    if size > MAX_OUTPUT:
        found.append(f"its outputs have {size:,} bytes, allowed are {MAX_OUTPUT:,}")
    return found


def code_lines(cell: NotebookNode) -> int:
    """Non-blank lines of a code cell; 0 for the others."""
    if cell.cell_type != "code":
        return 0
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def picture_alts(html: str) -> list[str]:
    """The alternative text of every ``<img>`` in a text, empty where there is none.

    >>> picture_alts('<img alt="a dog" src="x"><img src="y">')
    ['a dog', '']
    """
    tags = re.findall(r"<img\b[^>]*>", html)
    found = [re.search(r"\balt=(?:\"([^\"]*)\"|'([^']*)')", tag) for tag in tags]
    return [(m.group(1) or m.group(2) or "").strip() if m else "" for m in found]


def output_text(output: NotebookNode) -> str:
    """Everything an output holds, as one text."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return "\n".join(output.traceback)
    values = output.get("data", {}).values()
    return "\n".join(v if isinstance(v, str) else json.dumps(v) for v in values)


def _problems(output: NotebookNode) -> list[str]:
    text = output_text(output)
    bare = [kind for kind in PICTURES if kind in output.get("data", {})]
    found = [f"shows a bare {kind}; use plotting.show(fig, alt=...)" for kind in bare]
    if not all(picture_alts(text)):
        found.append("shows a picture without alternative text")
    path = MACHINE_PATH.search(re.sub(r"base64,[^\"']+", "", text)) if not bare else None
    return found + ([f"prints a path of this machine: {path.group()}"] if path else [])


def _code(book: NotebookNode) -> list[str]:
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return ["" if "colab" in c.metadata.get("tags", ()) else c.source for c in cells]


def _without_widget(output: NotebookNode) -> NotebookNode | None:
    """The output without its widget view; None when only the widget's name would be left."""
    if WIDGET not in output.get("data", {}):
        return output
    del output.data[WIDGET]
    return output if set(output.data) - {"text/plain"} else None
