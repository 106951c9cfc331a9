"""The cost of a notebook: measured once, shown on its card and in the README's table."""

from __future__ import annotations

import json
import re
from typing import Any

from course_utils.runner.layout import Layout, Lesson

BEGIN, END = "<!-- cost:begin -->", "<!-- cost:end -->"
BINDER_MB = 1_500  # Binder grants about 2 GB to the whole session
CARD = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def read(layout: Layout) -> dict[str, Any]:
    """The stored measurements: ``{"machines": {...}, "lessons": {key: {column: {...}}}}``."""
    if not layout.timings.exists():
        return {"machines": {}, "lessons": {}}
    return json.loads(layout.timings.read_text(encoding="utf-8"))


def of(lesson: Lesson, layout: Layout) -> dict[str, Any]:
    """What is stored for one lesson; empty when it was never measured."""
    return read(layout)["lessons"].get(lesson.key, {})


def card(lesson: Lesson, layout: Layout) -> str:
    """The cost card in Markdown, between two comments by which it is found again."""
    measured = of(lesson, layout)
    lines = (
        _table(measured, read(layout)["machines"]) if measured else ["**Cost:** not measured yet."]
    )
    lines += ["", _rest(measured)]
    return "\n".join([BEGIN, *lines, END])


def put_card(source: str, new: str) -> str:
    """Markdown with its cost card replaced."""
    return CARD.sub(lambda _: new, source)


def minutes(seconds: float) -> str:
    """Seconds as minutes a reader can plan with.

    >>> minutes(4), minutes(50), minutes(130)
    ('0.1', '0.8', '2.2')
    """
    return f"{max(seconds / 60, 0.1):.1f}"


def memory(megabytes: float) -> str:
    """Megabytes in the unit that reads best.

    >>> memory(480), memory(1620)
    ('480 MB', '1.6 GB')
    """
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def _table(measured: dict[str, Any], machines: dict[str, str]) -> list[str]:
    columns = [name for name in ("this", "avx2") if name in measured]
    heads = [machines.get(name, name) for name in columns]
    return [
        f"| Cost, measured at `laptop` | {' | '.join(heads)} |",
        f"|---|{'---|' * len(columns)}",
        f"| minutes | {' | '.join(minutes(measured[c]['seconds']) for c in columns)} |",
        f"| peak memory | {' | '.join(memory(measured[c]['peak_mb']) for c in columns)} |",
    ]


def _rest(measured: dict[str, Any]) -> str:
    parts = [f"**Downloads:** {downloads(measured)}"]
    parts += ["**Profiles:** `smoke`, `laptop`, `full`", "**Models:** `bundled`, `hub`"]
    if measured:
        too_much = measured["this"]["peak_mb"] > BINDER_MB
        parts.append("**Binder:** no" if too_much else "**Binder:** yes")
    return " · ".join(parts)


def downloads(measured: dict[str, Any]) -> str:
    """What a lesson needs beyond the common set-up; at ``bundled`` always nothing.

    >>> downloads({"assets": ["minilm-l6"]})
    'none after the set-up (uses minilm-l6)'
    """
    used = measured.get("assets")
    return f"none after the set-up (uses {', '.join(used)})" if used else "none"
