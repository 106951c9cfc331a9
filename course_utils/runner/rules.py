"""The form that every stored notebook must have, as rules that return what they found wrong.

The builder prints what they find, the structure tests insist on it.
"""

from __future__ import annotations

import base64
import json
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.claims import HELD, NOT_HELD
from course_utils.runner import cost
from course_utils.runner.notebook import (
    MACHINE_PATH,
    code_lines,
    output_problems,
    output_text,
    picture_alts,
)

if TYPE_CHECKING:
    from nbformat import NotebookNode

MAX_LINES = 25
MAX_MEDIAN_LINES = 6
MAX_PICTURE = 60_000  # bytes
MAX_NOTEBOOK = 1_000_000
MIN_CLAIMS = 3
PICTURE = re.compile(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:href|src)=[\"']([^\"']+)[\"']")
STRAIGHT = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|#|//)", re.IGNORECASE)


def clean_run(book: NotebookNode) -> list[str]:
    """Code cells are numbered 1 to n: one run, from top to bottom."""
    counts = [cell.execution_count for cell in _code(book)]
    return [] if counts == [*range(1, len(counts) + 1)] else [f"execution counts are {counts}"]


def no_errors(book: NotebookNode) -> list[str]:
    """No cell stores an error or a warning; failures are caught and printed."""
    return [
        f"cell {number} stores {'an error' if o.output_type == 'error' else 'text on stderr'}"
        for number, o in _outputs(book)
        if o.output_type == "error" or o.get("name") == "stderr"
    ]


def title_and_objectives(book: NotebookNode) -> list[str]:
    """The first cell has a title and says what the reader will be able to do."""
    first = book.cells[0].source if book.cells else ""
    found = [] if first.startswith("# ") else ["the first cell has no title"]
    return found + ([] if "able to" in first else ["the first cell states no objectives"])


def parameters_tag(book: NotebookNode) -> list[str]:
    """Exactly one cell has the tag ``parameters``, for papermill."""
    count = len(_tagged(book, "parameters"))
    return [] if count == 1 else [f"{count} cells have the tag parameters"]


def exercise_tag(book: NotebookNode) -> list[str]:
    """At least one cell has the tag ``exercise``, and no line of the builder is left."""
    found = [] if _tagged(book, "exercise") else ["no cell has the tag exercise"]
    left = [cell for cell in _code(book) if re.match(r"exercise\(", cell.source)]
    return found + [f"left unexpanded: {cell.source}" for cell in left]


def outputs_can_be_read(book: NotebookNode) -> list[str]:
    """Pictures have alternative text, none is bare, no output is huge or shows a local path."""
    found = [(n, problem) for n, cell in enumerate(book.cells) for problem in output_problems(cell)]
    for number, cell in _markdown(book):
        if not all(picture_alts(cell.source)) or re.search(r"!\[\s*\]\(", cell.source):
            found.append((number, "has a picture without alternative text"))
    return [f"cell {number}: {problem}" for number, problem in found]


def small_pictures(book: NotebookNode) -> list[str]:
    """No picture is larger than 60 kB."""
    found = []
    for number, output in _outputs(book):
        sizes = [len(base64.b64decode(data)) for data in PICTURE.findall(output_text(output))]
        found += [
            f"cell {number}: a picture of {n:,} bytes, allowed {MAX_PICTURE:,}"
            for n in sizes
            if n > MAX_PICTURE
        ]
    return found


def small_notebook(book: NotebookNode) -> list[str]:
    """The whole notebook stays under 1 MB."""
    size = len(json.dumps(book).encode())
    return [] if size < MAX_NOTEBOOK else [f"{size:,} bytes, allowed {MAX_NOTEBOOK:,}"]


def cost_card(book: NotebookNode) -> list[str]:
    """One cost card stands in the notebook."""
    cards = sum(cell.source.count(cost.BEGIN) for _, cell in _markdown(book))
    left = ["{{cost}} is left"] if any("{{cost}}" in cell.source for cell in book.cells) else []
    return left + ([] if cards == 1 else [f"{cards} cost cards"])


def no_machine_path(book: NotebookNode) -> list[str]:
    """No cell's source names a folder of somebody's machine."""
    found = [(n, MACHINE_PATH.search(cell.source)) for n, cell in enumerate(book.cells)]
    return [f"cell {n} names {match.group()}" for n, match in found if match]


def no_widget_state(book: NotebookNode) -> list[str]:
    """No widget state or view is stored: hosts refuse to render notebooks that have some."""
    found = ["the metadata hold widget state"] if "widgets" in book.metadata else []
    views = [(n, o) for n, o in _outputs(book) if any("widget" in k for k in o.get("data", {}))]
    return found + [f"cell {number} stores a widget's view" for number, _ in views]


def small_cells(book: NotebookNode) -> list[str]:
    """No code cell has over 25 lines; the median, without stubs and set-up, is at most 6."""
    found = [
        f"cell {number} has {code_lines(cell)} lines, allowed {MAX_LINES}"
        for number, cell in enumerate(book.cells)
        if code_lines(cell) > MAX_LINES
    ]
    median = statistics.median([code_lines(cell) for cell in _own(book)] or [0])
    too_long = f"the median code cell has {median:g} lines, allowed {MAX_MEDIAN_LINES}"
    return found + ([too_long] if median > MAX_MEDIAN_LINES else [])


def claims_held(book: NotebookNode) -> list[str]:
    """At least three claims stand in the outputs, and all of them held."""
    text = "\n".join(output_text(output) for _, output in _outputs(book))
    count = text.count(HELD)
    found = [] if count >= MIN_CLAIMS else [f"{count} claims, expected at least {MIN_CLAIMS}"]
    return found + (["a stored claim did not hold"] if NOT_HELD in text else [])


RULES = (
    clean_run,
    no_errors,
    title_and_objectives,
    parameters_tag,
    exercise_tag,
    outputs_can_be_read,
    small_pictures,
    small_notebook,
    cost_card,
    no_machine_path,
    no_widget_state,
    small_cells,
    claims_held,
)


def dead_links(text: str, folder: Path) -> list[str]:
    """Relative links of a Markdown text that lead to no file.

    Args:
        text: Markdown, with or without HTML.
        folder: where the text lies.
    """
    # code and formulas hold brackets that are no links
    plain = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", "", text, flags=re.DOTALL)
    targets = [a or b for a, b in LINK.findall(plain)]
    local = [t for t in targets if not STRAIGHT.match(t)]
    return [t for t in local if not (folder / t.partition("#")[0]).exists()]


def notebook_links(book: NotebookNode, folder: Path) -> list[str]:
    """Dead relative links in the Markdown cells of a notebook."""
    found = [(n, dead_links(cell.source, folder)) for n, cell in _markdown(book)]
    return [f"cell {number}: {target}" for number, targets in found for target in targets]


def problems(book: NotebookNode) -> list[str]:
    """What all rules found wrong with a notebook."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(book)]


def statistics_line(book: NotebookNode) -> str:
    """How long a lesson is, in one line: cells, lines, words of prose, claims, pictures."""
    code = _own(book)
    words = sum(len(cell.source.split()) for _, cell in _markdown(book))
    text = "\n".join(output_text(output) for _, output in _outputs(book))
    return (
        f"{len(code)} code cells of {statistics.median([code_lines(c) for c in code] or [0]):g} "
        f"lines (median), {words / max(len(code), 1):.0f} words of prose each, "
        f"{text.count(HELD)} claims, {len(PICTURE.findall(text))} pictures, "
        f"{len(json.dumps(book)) / 1000:.0f} kB"
    )


def _code(book: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def _own(book: NotebookNode) -> list[NotebookNode]:
    """Code cells that the lesson's author wrote as part of the text."""
    apart = {"colab", "parameters", "exercise"}
    return [cell for cell in _code(book) if not apart & set(cell.metadata.get("tags", ()))]


def _markdown(book: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [(n, cell) for n, cell in enumerate(book.cells) if cell.cell_type == "markdown"]


def _tagged(book: NotebookNode, tag: str) -> list[NotebookNode]:
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", ())]


def _outputs(book: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [(n, o) for n, cell in enumerate(book.cells) for o in cell.get("outputs", ())]
