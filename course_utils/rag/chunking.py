"""Chapter 4 - Chunking: long texts cut into pieces that know where they come from.

Four ways, each a little cleverer than the one before: a window of fixed size, whole sentences,
the largest separators first, and sections with their headings. Every chunk keeps its offsets, so
that an answer can point at the place in the source: ``text[chunk.start : chunk.end] ==
chunk.text``. White space at the ends of a chunk is left out; no other character is lost.

Sizes are characters: they need no tokenizer, and a chunk of 900 English characters has some 200
tokens.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

Span = tuple[int, int]
SIZE = 900  # characters; a text up to this length stays whole
SEPARATORS = ("\n\n", "\n", " ", "")
HEADING = re.compile(
    r"^(?:#{1,6}[ \t]+(?P<markdown>.+?)[ \t]*#*|(={1,6})[ \t]*(?P<wiki>.+?)[ \t]*\2)[ \t]*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Chunk:
    """A piece of a text.

    Attributes:
        text: what stands at [start, end) of the source.
        start, end: offsets in characters.
        section: the heading above it, if the chunker knows headings.
    """

    text: str
    start: int
    end: int
    section: str = ""


Chunker = Callable[[str], list[Chunk]]


def fixed_chunks(text: str, size: int = SIZE, overlap: int = 0) -> list[Chunk]:
    """A window of ``size`` characters that moves on by ``size - overlap``.

    >>> [c.text for c in fixed_chunks("abcdefgh", size=4, overlap=1)]
    ['abcd', 'defg', 'gh']

    Args:
        text: of any length.
        size: of a chunk, in characters.
        overlap: characters that a chunk shares with the one before.

    Raises:
        ValueError: unless 0 <= overlap < size.
    """
    _check_sizes(size, overlap)
    spans = []
    for start in range(0, len(text), size - overlap):
        spans.append((start, min(start + size, len(text))))
        if start + size >= len(text):
            break
    return _chunks(text, spans)


def sentence_chunks(text: str, size: int = SIZE, overlap: int = 0) -> list[Chunk]:
    """Whole sentences, as many as fit; a sentence longer than ``size`` is cut by the window.

    Args:
        text, size: see :func:`fixed_chunks`.
        overlap: a chunk begins with the last sentences of the one before, at most so many
            characters of them.

    Raises:
        ValueError: unless 0 <= overlap < size.
    """
    from course_utils.text.sentences import punkt_splitter

    _check_sizes(size, overlap)
    pieces: list[Span] = []
    for start, end in punkt_splitter().span_tokenize(text):
        whole = fixed_chunks(text[start:end], size, overlap)
        pieces += [(start + part.start, start + part.end) for part in whole]
    return _chunks(text, _packed(pieces, size, overlap))


def recursive_chunks(
    text: str, size: int = SIZE, overlap: int = 0, separators: Sequence[str] = SEPARATORS
) -> list[Chunk]:
    """Cut at the largest separator that helps: paragraphs, then lines, then words, then letters.

    A piece that is still too long is cut again by the next separator; neighbours that fit
    together are put back into one chunk. LangChain's ``RecursiveCharacterTextSplitter`` finds
    the same chunks.

    Args:
        text, size, overlap: see :func:`fixed_chunks`; the overlap consists of whole pieces.
        separators: from large to small; the empty text (letters) is added if it is missing, so
            that no chunk is longer than ``size``.

    Raises:
        ValueError: unless 0 <= overlap < size.
    """
    _check_sizes(size, overlap)
    ladder = (*(mark for mark in separators if mark), "")
    return _chunks(text, _recursive(text, (0, len(text)), size, overlap, ladder))


def section_chunks(text: str, size: int = SIZE, overlap: int = 0) -> list[Chunk]:
    """Sections first: no chunk spans two of them, and each knows its heading.

    A heading is a line ``# like this`` (Markdown) or ``== like this ==`` (Wikipedia). It opens
    its section and stays in the text, for it says what the section is about.

    Args:
        text, size, overlap: see :func:`recursive_chunks`, which cuts each section.
    """
    _check_sizes(size, overlap)
    found = [(m.start(), m["markdown"] or m["wiki"]) for m in HEADING.finditer(text)]
    borders = [(0, ""), *found, (len(text), "")]
    chunks = []
    for (start, heading), (end, _) in itertools.pairwise(borders):
        spans = _recursive(text, (start, end), size, overlap, SEPARATORS)
        chunks += [replace(chunk, section=heading) for chunk in _chunks(text, spans)]
    return chunks


CHUNKERS: dict[str, Callable[[str, int, int], list[Chunk]]] = {
    "fixed": fixed_chunks,
    "sentence": sentence_chunks,
    "recursive": recursive_chunks,
    "section": section_chunks,
}


def whole_or(chunker: Callable[[str, int, int], list[Chunk]], size: int, overlap: int) -> Chunker:
    """A chunker that leaves texts up to ``size`` characters as they are, spaces included."""

    def cut(text: str) -> list[Chunk]:
        if len(text) <= size:
            return [Chunk(text, 0, len(text))]
        return chunker(text, size, overlap)

    return cut


def _check_sizes(size: int, overlap: int) -> None:
    if not 0 <= overlap < size:
        raise ValueError(f"need 0 <= overlap < size, got size {size} and overlap {overlap}")


def _chunks(text: str, spans: Iterable[Span]) -> list[Chunk]:
    """Chunks of spans without the white space at their ends; blank ones fall away."""
    found = []
    for start, end in spans:
        piece = text[start:end]
        body = piece.strip()
        if body:
            start += len(piece) - len(piece.lstrip())
            found.append(Chunk(body, start, start + len(body)))
    return found


def _packed(pieces: Iterable[Span], size: int, overlap: int) -> Iterator[Span]:
    """Neighbouring pieces joined up to ``size``; each chunk reaches back by whole pieces."""
    held: list[Span] = []
    for piece in pieces:
        if held and piece[1] - held[0][0] > size:
            yield held[0][0], held[-1][1]
            # back to what may be repeated, and far enough that the new piece fits
            while held and (held[-1][1] - held[0][0] > overlap or piece[1] - held[0][0] > size):
                held = held[1:]
        held.append(piece)
    if held:
        yield held[0][0], held[-1][1]


def _recursive(
    text: str, span: Span, size: int, overlap: int, separators: Sequence[str]
) -> Iterator[Span]:
    mark, smaller = _separator(text[slice(*span)], separators)
    fitting: list[Span] = []
    for start, end in _split(text, span, mark):
        if end - start < size or not smaller:
            fitting.append((start, end))
            continue
        yield from _packed(fitting, size, overlap)
        fitting = []
        yield from _recursive(text, (start, end), size, overlap, smaller)
    yield from _packed(fitting, size, overlap)


def _separator(text: str, separators: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The first separator that occurs, and those after it."""
    for i, mark in enumerate(separators):
        if mark in text:  # the empty text is in every text
            return mark, separators[i + 1 :]
    return "", ()


def _split(text: str, span: Span, mark: str) -> Iterator[Span]:
    """Spans that begin with the separator (all but the first), or single letters."""
    start, end = span
    cuts = range(start, end) if not mark else _places(text, span, mark)
    borders = [start, *cuts, end]
    yield from ((a, b) for a, b in itertools.pairwise(borders) if a < b)


def _places(text: str, span: Span, mark: str) -> Iterator[int]:
    place = text.find(mark, *span)
    while place >= 0:
        yield place
        place = text.find(mark, place + len(mark), span[1])
