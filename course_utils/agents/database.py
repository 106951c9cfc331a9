"""Chapter 4 - A database that a model may read and nothing else.

SQL that a model wrote is a program of a stranger. Four locks, each by SQLite itself and none by
searching the text for bad words: an *authorizer* that is asked for every table, function and kind
of statement while the query is compiled; ``query_only``; a budget of instructions in place of a
clock; limits on rows and on the size of values.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from course_utils.agents.tools import FunctionTool, ToolError, tool

COUNTS = {"paragraphs": "INTEGER", "words": "INTEGER"}
SCHEMA: dict[str, dict[str, str]] = {
    "articles": {"title": "TEXT", "sections": "INTEGER", **COUNTS},
    "sections": {"title": "TEXT", "section": "TEXT", **COUNTS},
}
FUNCTIONS = frozenset(
    ("count", "sum", "avg", "min", "max", "abs", "round", "lower", "upper", "length", "like")
)
READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})
LONGEST = 10_000  # bytes of one value, and of a query
STRIDE = 1000  # instructions between two looks at the budget


@dataclass(frozen=True)
class Answer:
    """What a query gave; ``more`` says that rows were left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False

    def __str__(self) -> str:
        lines = [" | ".join(map(_shown, row)) for row in self.rows] or ["no rows"]
        return "\n".join(lines + ["... more rows"] * self.more)


class Database:
    """An open database behind the four locks.

    Args:
        connection: from now on of this object; nothing can be written through it any more.
        rows: of an answer at most.
        instructions: of SQLite's machine for one query; a count is the same on every computer.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, rows: int = 20, instructions: int = 5_000_000
    ) -> None:
        self.connection, self.rows, self.instructions = connection, rows, instructions
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = tuple(name for (name,) in found)
        connection.execute("PRAGMA query_only = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST)
        connection.set_authorizer(self._may)
        connection.set_progress_handler(self._tick, STRIDE)
        self._refused, self._spent = "", 0
        self._one = threading.Lock()  # a server's threads share the counts above

    def query(self, sql: str) -> Answer:
        """Run one SELECT.

        Raises:
            ToolError: not one SELECT over the known tables, or too expensive; says which.
        """
        with self._one:
            self._refused, self._spent = "", 0
            try:
                cursor = self.connection.execute(sql)
                if cursor.description is None:
                    raise ToolError("only a SELECT is answered, and this is none")
                found = cursor.fetchmany(self.rows + 1)
                cursor.close()
            except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
                raise ToolError(self._sentence(error)) from error
        columns = tuple(column[0] for column in cursor.description or ())
        return Answer(columns, tuple(found[: self.rows]), len(found) > self.rows)

    def values(self, table: str, column: str) -> list[str]:
        """All different values of a column: what a question may name. For programs, no row limit.

        Raises:
            ValueError: the database has no such column.
        """
        if column not in SCHEMA.get(table, {}):
            raise ValueError(f"there is no column {table}.{column}")
        with self._one:
            self._refused, self._spent = "", 0
            found = self.connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
        return [value for (value,) in found]

    def _may(self, action: int, first: str | None, second: str | None, *_: Any) -> int:
        """SQLite's question while it compiles: may this be done?"""
        known = action != sqlite3.SQLITE_READ or first in self.tables
        if action == sqlite3.SQLITE_FUNCTION:
            known = (second or "").lower() in FUNCTIONS
        if action in READS and known:
            return sqlite3.SQLITE_OK
        what = "function" if action == sqlite3.SQLITE_FUNCTION else "table"
        self._refused = (
            f"the {what} {second if what == 'function' else first!r} is not offered"
            if action in READS
            else "this database can only be read, with one plain SELECT"
        )
        return sqlite3.SQLITE_DENY

    def _tick(self) -> int:
        """Called every STRIDE instructions; anything but 0 stops the query."""
        self._spent += STRIDE
        return int(self._spent > self.instructions)

    def _sentence(self, error: Exception) -> str:
        if self._spent > self.instructions:
            return f"the query was stopped after {self.instructions:,} instructions"
        return self._refused or str(error)


def article_database(rows: Iterable[Mapping[str, str]], /, **limits: int) -> Database:
    """Counts of articles and sections, in memory.

    Args:
        rows: paragraphs with ``title``, ``section`` and ``text``.
        limits: of :class:`Database`.
    """
    paragraphs: Counter[tuple[str, str]] = Counter()
    words: Counter[tuple[str, str]] = Counter()
    for row in rows:
        where = row["title"], row["section"]
        paragraphs[where] += 1
        words[where] += len(row["text"].split())
    sections = [(*where, paragraphs[where], words[where]) for where in paragraphs]
    articles: dict[str, list[int]] = {}
    for title, _, *counts in sections:
        old = articles.setdefault(title, [0, 0, 0])
        articles[title] = [a + b for a, b in zip(old, (1, *counts), strict=True)]
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    for table, columns in SCHEMA.items():
        connection.execute(create_text(table, columns))
    _fill(connection, "articles", [(title, *counts) for title, counts in articles.items()])
    _fill(connection, "sections", sections)
    connection.commit()
    return Database(connection, **limits)


def create_text(table: str, columns: Mapping[str, str]) -> str:
    """The statement that makes a table: what a model gets to read of a database.

    >>> create_text("a", {"x": "TEXT", "y": "INTEGER"})
    'CREATE TABLE a (x TEXT, y INTEGER)'
    """
    return f"CREATE TABLE {table} ({', '.join(f'{k} {v}' for k, v in columns.items())})"


def sql_tool(database: Database) -> FunctionTool:
    """The database as a tool for models and for MCP."""

    def sql(query: Annotated[str, {"maxLength": 400}]) -> str:
        """Read from a database of encyclopedia articles with one SELECT.

        Args:
            query: over articles(title, sections, paragraphs, words) and
                sections(title, section, paragraphs, words).
        """
        return str(database.query(query))

    return tool(sql)


def _fill(connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    marks = ", ".join("?" * len(SCHEMA[table]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
