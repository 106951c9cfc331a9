"""`make bench`: one table of ratios.

Each module of this folder has a function ``rows()`` that returns dictionaries with the keys
``name``, ``ours``, ``other``, ``ratio`` and ``unit``: medians of several repeats of the same work,
measured alternately in one run, so that a noisy machine disturbs both sides alike.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from course_utils import config

COLUMNS = ("name", "ours", "other", "ratio", "unit")


def modules(only: str = "") -> list[str]:
    """Names of the benchmarks, those whose name starts with ``only``."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [name for name in found if name.startswith(only) and not name.startswith("_")]


def main(only: str = "") -> int:
    names = modules(only)
    if not names:
        print(f"no benchmark starts with {only!r}; there are: {', '.join(modules())}")
        return 2
    console = Console()
    console.print(" · ".join(f"{key} {value}" for key, value in config.machine().items()))
    table = Table(*COLUMNS, title="ratio > 1: ours is faster")
    for name in names:
        console.print(f"[dim]running bench.{name}[/dim]")
        for row in importlib.import_module(f"bench.{name}").rows():
            table.add_row(*(_cell(row[column]) for column in COLUMNS))
    console.print(table)
    return 0


def _cell(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,.3g}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
