"""``python -m course_utils assets``: the table of assets, and the commands that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_utils import assets
from course_utils.assets.errors import COMMAND, AssetError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLOUR = {"present": "green", "missing": "yellow", "damaged": "red"}


def main(fetch: bool = False, pin: bool = False, console: Console | None = None) -> int:
    """Fetch, pin, or with neither print the tables.

    Returns:
        0, or 1 after an error that was told in one sentence.
    """
    from rich.console import Console

    console = console or Console()
    try:
        if fetch:
            assets.fetch()
        if pin:
            _tell_pins(console, *assets.pin())
        rows = assets.table()
        if fetch and not pin:
            _tell_present(console, rows)
            return 0
    except AssetError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True, highlight=False)
        return 1
    console.print(bundled(rows), hub(rows), sep="\n")
    missing = [row.name for row in rows if row.state in ("missing", "damaged")]
    if missing:
        console.print(f"Not here: {', '.join(missing)}. To get them: {COMMAND}", highlight=False)
    return 0


def _tell_present(console: Console, rows: list[assets.Row]) -> None:
    """One line after a fetch: set-up calls it at each start, and a table would be in the way."""
    here = [row for row in rows if row.state == "present"]
    size = _megabytes(sum(row.bytes or 0 for row in here))
    console.print(f"Models and texts are here: {len(here)} assets, {size}.", highlight=False)


def bundled(rows: list[assets.Row]) -> Table:
    """What the course brings: models and corpora that load without a network."""
    columns = ("name", "size", "state", "where from", "licence", "used by")
    table = _table("Bundled models and corpora", columns)
    for row in rows:
        if row.state != "hub only":
            state = f"[{_COLOUR[row.state]}]{row.state}[/]"
            size = _megabytes(row.bytes) if row.bytes else "installed"
            table.add_row(row.name, size, state, row.source, row.licence, row.used_by)
    return table


def hub(rows: list[assets.Row]) -> Table:
    """What ``MODELS = "hub"`` loads instead or in addition."""
    columns = ("name", "Hub id", "size", "revision", "used by")
    table = _table('MODELS = "hub"', columns)
    for row in rows:
        if row.hub:
            size = _megabytes(row.hub_bytes)
            table.add_row(row.name, row.hub, size, row.revision, row.used_by)
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(title=title, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column in ("name", "size", "state"), overflow="fold")
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _tell_pins(console: Console, found: dict[str, str], refused: dict[str, str]) -> None:
    console.print(f"{len(found)} revisions pinned in data/hub_revisions.json", highlight=False)
    for name, reason in refused.items():
        console.print(f"not pinned: {name} ({reason})", markup=False, highlight=False)
