"""The README's table of notebooks, written between two markers."""

from __future__ import annotations

import re

from course_utils.runner import cost
from course_utils.runner.layout import Layout, Lesson, write_whole

BEGIN, END = "<!-- chapters:begin -->", "<!-- chapters:end -->"
NAMES = {
    "": "0 Start",
    "01_foundations": "1 Foundations",
    "02_tasks": "2 Tasks",
    "03_deep_learning": "3 Deep learning",
    "04_llms": "4 Language models",
    "05_multimodal": "5 Multimodal",
    "06_production": "6 Production",
    "07_projects": "7 Projects",
    "08_frontiers": "8 Frontiers",
}
HEAD = "| notebook | what it covers | minutes | RAM | downloads |\n|---|---|---|---|---|"
ROW = re.compile(r"^\| \[[^\]]*\]\(notebooks/(?P<key>[^)]+)\.ipynb\) \| (?P<covers>.*?) \|", re.M)
MAX_COVERS = 160


def update_readme(layout: Layout) -> bool:
    """Rewrite the table between the markers of README.md; True if that changed the file.

    A description that stands in the table already is kept: it may have been edited by hand.
    """
    path = layout.root / "README.md"
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    old, end, tail = rest.partition(END)
    if not begin or not end:
        return False
    new = f"{head}{BEGIN}\n{table(layout, kept_descriptions(old))}\n{END}{tail}"
    if new == text:
        return False
    write_whole(path, new)
    return True


def kept_descriptions(table_text: str) -> dict[str, str]:
    """Descriptions in an existing table, by lesson."""
    return {match["key"]: match["covers"].strip() for match in ROW.finditer(table_text)}


def table(layout: Layout, kept: dict[str, str]) -> str:
    """A heading and a table for each chapter that has notebooks."""
    chapters: dict[str, list[str]] = {}
    for lesson in layout.all_lessons():
        if lesson.notebook.exists():
            row = _row(lesson, layout, kept.get(lesson.key) or covers(lesson))
            chapters.setdefault(lesson.key.rpartition("/")[0], []).append(row)
    parts = [
        f"### {NAMES.get(folder, folder)}\n\n{HEAD}\n" + "\n".join(rows)
        for folder, rows in sorted(chapters.items())
    ]
    return "\n\n".join(parts) if parts else "No notebook is built yet: `make notebooks`."


def covers(lesson: Lesson) -> str:
    """What a lesson covers, from its objectives: the list after "You will be able to"."""
    text = lesson.source.read_text(encoding="utf-8")
    start = text.find("You will be able to")
    block = re.split(r"\n#\s*\n# (?!\s*[-*\d])|\n# %%|\n# \*\*Before", text[start:])[0]
    items = re.findall(r"^#\s+(?:[-*]|\d+\.)\s+(.+(?:\n#\s{3,}\S.*)*)", block, re.MULTILINE)
    plain = [
        re.sub(r"\s*\n#\s+", " ", item).strip().rstrip(".;,").replace("|", "/") for item in items
    ]
    chosen: list[str] = []
    for item in plain:
        if chosen and len("; ".join([*chosen, item])) > MAX_COVERS:
            break
        chosen.append(item)
    return "; ".join(chosen)


def _row(lesson: Lesson, layout: Layout, description: str) -> str:
    measured = cost.of(lesson, layout)
    here = measured.get("this")
    cells = [
        f"[{lesson.key.rpartition('/')[2]}](notebooks/{lesson.key}.ipynb)",
        description,
        cost.minutes(here["seconds"]) if here else "not measured yet",
        cost.memory(here["peak_mb"]) if here else "not measured yet",
        "none",
    ]
    return f"| {' | '.join(cells)} |"
