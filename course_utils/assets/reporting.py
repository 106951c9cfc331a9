"""Progress of a fetch: a bar where somebody watches, one line a wheel where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[str, int], None]


@contextmanager
def reporter(name: str, total: int, show: bool) -> Iterator[Tick]:
    """A function that is told ``(step, bytes so far)`` and shows it.

    Args:
        name: the wheel.
        total: its size in bytes.
        show: False for silence.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not show:
        yield _silent
    elif console.is_terminal:
        with _bar(console, name, total) as tick:
            yield tick
    else:
        yield _lines(console, name, total)


def _silent(step: str, done: int) -> None:
    del step, done


def _lines(console: object, name: str, total: int) -> Tick:
    """Say each step once, for log files."""
    said: set[str] = set()

    def tick(step: str, done: int) -> None:
        del done
        if step not in said:
            said.add(step)
            console.print(f"{name}: {step} ({total / 1e6:.0f} MB)", highlight=False)

    return tick


@contextmanager
def _bar(console: object, name: str, total: int) -> Iterator[Tick]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.fields[wheel]:<20} {task.description:<12}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("checking", total=total, wheel=name)

        def tick(step: str, done: int) -> None:
            progress.update(task, description=step, completed=min(done, total))

        yield tick
        progress.update(task, description="ready", completed=total)
