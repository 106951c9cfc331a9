"""Measure what each notebook costs, and show it on the cards and in the README."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from course_utils.runner import cost
from course_utils.runner.build import update_card
from course_utils.runner.chapters import update_readme
from course_utils.runner.layout import Layout, Lesson, write_whole
from course_utils.runner.run import Outcome, Settings, run_one

COLUMNS = ("this", "avx2")


def machine(*, avx2: bool = False) -> str:
    """This machine in general words: cores, memory, kind of bf16 units; no name."""
    import psutil

    memory = round(psutil.virtual_memory().total / 2**30)
    words = f"{os.cpu_count()} cores, {memory} GB, one thread"
    if avx2:
        return f"{words}, AVX2 only (most laptops)"
    return f"{words}, {'with' if _has_bf16() else 'without'} bf16 units"


def measure(
    lesson: Lesson, layout: Layout, out: Path, *, avx2: bool = False, repeats: int = 1
) -> Outcome:
    """Run a notebook at its defaults in a fresh kernel; the quickest of ``repeats`` runs."""
    settings = Settings(threads=1, offline=True, avx2=avx2, watch=asset_folders())
    runs = []
    for _ in range(repeats):
        runs.append(run_one(lesson, layout, out, settings))
        if runs[-1].error:
            return runs[-1]
    return min(runs, key=lambda outcome: outcome.seconds)


def asset_folders() -> dict[str, str]:
    """Name → folder of every fetched asset, to see which of them a notebook opens.

    Data that come with an installed package are left out: they are no download.
    """
    from course_utils import assets

    here = [row.name for row in assets.table() if row.present and row.source.startswith("wheel")]
    return {name: str(assets.path(name)) for name in here}


def store(outcome: Outcome, layout: Layout, *, avx2: bool = False) -> None:
    """Write one measurement to data/timings.json, beside the others."""
    stored = cost.read(layout)
    column = COLUMNS[avx2]
    stored["machines"][column] = machine(avx2=avx2)
    entry: dict[str, Any] = stored["lessons"].setdefault(outcome.key, {})
    entry[column] = {
        "seconds": outcome.seconds,
        "peak_mb": outcome.peak_mb,
        "date": date.today().isoformat(),
    }
    entry["assets"] = list(outcome.assets)
    known = {lesson.key for lesson in layout.all_lessons()}
    stored["lessons"] = {
        key: stored["lessons"][key] for key in sorted(known & set(stored["lessons"]))
    }
    write_whole(layout.timings, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


def refresh(layout: Layout) -> list[str]:
    """Bring all cost cards and the README's table up to date; names what changed."""
    changed = [lesson.key for lesson in layout.all_lessons() if update_card(lesson, layout)]
    return changed + (["README.md"] if update_readme(layout) else [])


def _has_bf16() -> bool:
    """Whether the processor says that it multiplies bfloat16 (Linux only; else False)."""
    path = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not path.exists():
        return False
    words = set(path.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
