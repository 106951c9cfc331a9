"""What a batch of notebooks shows: one live line each, and a table at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from course_utils.runner.run import Outcome


class Lines:
    """A progress line for each notebook, fed from files that the running processes write.

    Args:
        files: key of a notebook → file holding "cells done, cells in all".
        quiet: show nothing.
    """

    def __init__(self, files: dict[str, Path], quiet: bool = False) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = ("{task.description}", "{task.fields[status]}")
        text = [TextColumn(column) for column in columns]
        self._bars = Progress(text[0], BarColumn(), text[1], TimeElapsedColumn(), disable=quiet)
        self._files = files
        self._tasks = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Lines:
        for path in self._files.values():
            path.unlink(missing_ok=True)
        for key in self._files:
            self._tasks[key] = self._bars.add_task(key, total=None, start=False, status="waiting")
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._bars.stop()

    def finish(self, outcome: Outcome) -> None:
        """Mark a notebook as done."""
        task = self._tasks.pop(outcome.key)
        status = "[red]failed[/]" if outcome.error else "[green]done[/]"
        self._bars.update(task, total=1, completed=1, status=status)
        self._bars.stop_task(task)

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            for key, task in list(self._tasks.items()):
                counts = _counts(self._files[key])
                if counts:
                    done, total = counts
                    self._bars.start_task(task)
                    status = f"{done}/{total} cells"
                    self._bars.update(task, completed=done, total=total, status=status)


@contextmanager
def live_lines(files: dict[str, Path], quiet: bool = False) -> Iterator[Callable]:
    """Show a line for each notebook; yields a function to call with each outcome."""
    with Lines(files, quiet) as lines:
        yield lines.finish


def table(outcomes: list[Outcome]) -> Table:
    """The summary of a batch: seconds, memory, claims, exercises, verdict."""
    from rich.table import Table

    made = Table(title="Notebooks")
    for name in ("notebook", "seconds", "peak MB", "held", "not held", "exercises", "result"):
        made.add_column(name, justify="left" if name in ("notebook", "result") else "right")
    for o in sorted(outcomes, key=lambda outcome: outcome.key):
        numbers = (f"{o.seconds:.1f}", o.peak_mb, o.held, o.not_held, o.exercises)
        verdict = "[red]failed[/]" if o.error else "[green]done[/]"
        made.add_row(o.key, *map(str, numbers), verdict)
    return made


def _counts(path: Path) -> tuple[int, int] | None:
    """Cells done and in all; None before the first cell and in the middle of a write."""
    try:
        done, total = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(done), int(total)
