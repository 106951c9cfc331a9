"""Chapter 4 - The tools of the lesson: calculator, search, python, memory.

Each tool is a few lines around the module that does the work; its docstring is what a model reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from course_utils.agents import calculator as arithmetic
from course_utils.agents.memory import Memory
from course_utils.agents.sandbox import python_text
from course_utils.agents.searching import SearchIndex, best_sentences
from course_utils.agents.tools import FunctionTool, Registry, ToolError, tool

Short = Annotated[str, {"maxLength": 120}]
OBSERVATION = 300  # characters of an article that the model gets to read


def calculator(expression: Short) -> str:
    """Compute an arithmetic expression.

    Args:
        expression: numbers, + - * / ** and brackets, such as (3 + 4) * 5.
    """
    return arithmetic.calculator_text(arithmetic.calculate(expression))


def python(code: Short) -> str:
    """Run one line of Python and return its value.

    Args:
        code: an expression; math and statistics are there.
    """
    return python_text(code)


def search_tool(index: SearchIndex, room: int = OBSERVATION) -> Callable[[str], str]:
    """A search function over an index, ready for :func:`~course_utils.agents.tools.tool`."""

    def search(query: Annotated[str, {"maxLength": 200}]) -> str:
        """Look a fact up in the encyclopedia.

        Args:
            query: words that the article should hold.
        """
        hits = index.search(query, top_k=1)
        if not hits:
            raise ToolError(f"no article holds a word of {query!r}")
        return f"{hits[0].title}: {best_sentences(hits[0].text, query, room)}"

    return search


def memory_tools(memory: Memory) -> list[FunctionTool]:
    """``remember`` and ``recall`` on one memory."""

    def remember(key: Annotated[str, {"maxLength": 24}], text: Short) -> str:
        """Keep a note for later.

        Args:
            key: a short name. text: the note.
        """
        return memory.store(key, text)

    def recall(key: Annotated[str, {"maxLength": 60}]) -> str:
        """Read a note again.

        Args:
            key: its name, or words like those of the note.
        """
        return memory.recall(key)

    return [tool(remember), tool(recall)]


def course_tools(index: SearchIndex | None, memory: Memory | None = None) -> Registry:
    """The box of the lesson: calculator, search, python, remember, recall.

    Args:
        index: what to search in; None leaves ``search`` out.
        memory: notes of before; by default empty.
    """
    notes = memory_tools(memory if memory is not None else Memory())
    search = [] if index is None else [tool(search_tool(index))]
    return Registry([tool(calculator), *search, tool(python), *notes])


def wikipedia_index(paragraphs: int | None = None) -> SearchIndex:
    """An index of the bundled Wikipedia's paragraphs of 80 characters and more."""
    from course_utils import corpora

    rows = corpora.wikipedia(min_characters=80)
    kept = rows if paragraphs is None else rows.select(range(min(paragraphs, len(rows))))
    return SearchIndex(kept)
