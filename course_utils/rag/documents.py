"""Chapter 4 - Documents on their way in: read from files, checked, named, given metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.rag.simple import content_id

MAX_CHARACTERS = 2_000_000  # of one document: some 1,000 pages
RESERVED = "_"  # keys of metadata that begin so are the system's
Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """A text with an id and what is known about it."""

    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a file, or an error that names the first bad byte.

    Raises:
        ValueError: the bytes are not in this encoding.
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not {encoding}: byte 0x{raw[error.start]:02x} at position "
            f"{error.start} ({error.reason}). Nothing was added. Say how it was written, such as "
            "encoding='cp1252' (Western Windows), 'latin-1' or 'utf-16'; in the wrong one letters "
            "come out as others without an error"
        ) from None


def make_documents(
    texts: Sequence[str],
    metadata: Metadata | Sequence[Metadata | None] | None = None,
    ids: Sequence[str] | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> list[Document]:
    """Checked documents; an equal text under the same id counts once.

    Args:
        texts: N texts. metadata: one for all, or a list of N; values are texts, numbers or
            truth values. ids: by default a hash of each text.

    Raises:
        TypeError, ValueError: not texts, blank ones, too long ones, one id for two texts, or
            metadata that cannot be stored; the message says which.
    """
    _check_list(texts, "document")
    if ids is not None:
        _check_list(ids, "id")
    names = [content_id(t) for t in texts] if ids is None else list(ids)
    if len(names) != len(texts):
        raise ValueError(f"got {len(names)} ids for {len(texts)} documents")
    facts = _metadata_list(metadata, len(texts))
    found: dict[str, Document] = {}
    for i, (name, text, known) in enumerate(zip(names, texts, facts, strict=True)):
        if len(text) > max_characters:
            raise ValueError(
                f"document {i} has {len(text):,} characters, allowed are {max_characters:,}: cut "
                "it into its chapters, each with an id, or raise max_characters. Nothing was added"
            )
        if name in found and found[name].text != text:
            raise ValueError(
                f"the id {name!r} stands for two different texts in this call: an id names one "
                "document. Nothing was added"
            )
        found[name] = Document(name, text, _checked_metadata(known, i))
    return list(found.values())


def _check_list(values: Sequence[str], what: str) -> None:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"expected a list, got a single text: put the {what} into a list")
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"{what} {i} must be a text, got {type(value).__name__}")
        if not value.strip():
            raise ValueError(f"{what} {i} is blank")


def _metadata_list(metadata: Any, count: int) -> list[Metadata]:
    if metadata is None or isinstance(metadata, Mapping):
        return [metadata or {}] * count
    if isinstance(metadata, str) or len(metadata) != count:
        raise ValueError(f"expected metadata as one dictionary or a list of {count} dictionaries")
    return [known or {} for known in metadata]


def _checked_metadata(metadata: Metadata, place: int) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata {place} must be a dictionary, got {type(metadata).__name__}")
    for key, value in metadata.items():
        if not isinstance(key, str) or key.startswith((RESERVED, "chroma:")):
            raise ValueError(f"metadata {place}: {key!r} is no key; take a text without {RESERVED}")
        if not isinstance(value, (str, int, float, bool)):
            raise TypeError(
                f"metadata {place}: {key!r} is a {type(value).__name__}; only texts, numbers and "
                "truth values can be filtered"
            )
    return dict(metadata)
