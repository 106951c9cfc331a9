"""Chapter 4 - Contextual headers: a chunk that says where it comes from.

"He lost the final" is a good answer to a question about Agassi and names nobody. The title and
the section are known when a text is cut; put in front of the chunk, they are embedded and indexed
with it. What a reader is shown stays the chunk alone.
"""

from __future__ import annotations

from collections.abc import Iterable

ARROW = " > "


def with_header(text: str, title: str, section: str = "") -> str:
    """The chunk with a first line "Title > Section"; only for embedding and indexing.

    >>> with_header("He lost the final.", "Andre Agassi", "2004-2006 / Final years")
    'Andre Agassi > 2004-2006 > Final years\\nHe lost the final.'

    Source: Anthropic 2024, "Introducing Contextual Retrieval", does it with a sentence that a
    language model writes; titles cost nothing.
    """
    parts = [part.strip() for part in (title, *section.split("/")) if part.strip()]
    return f"{ARROW.join(parts)}\n{text}" if parts else text


def without_header(text: str) -> str:
    """The chunk alone: what stands after the first line."""
    return text.split("\n", 1)[-1]


def add_headers(passages: Iterable) -> list[str]:
    """Texts with headers of objects that have ``text``, ``title`` and ``section``."""
    return [with_header(p.text, p.title, p.section) for p in passages]
