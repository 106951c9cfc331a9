"""Chapter 4 - Stored vectors: the articles' paragraphs, embedded once, come with the course.

Embedding the whole collection takes ten minutes of one core, and every learner would wait for the
same numbers. So they lie in ``data/vectors``, a byte a coordinate, found by a hash of the text:

    code = round(v / scale),   scale = max |v| / 127 in each row

A cosine moves by less than 0.002. Nothing is taken on trust: the file names the model, some rows
are computed again before the first use, and any text that is not there is embedded as usual.

Letters: N texts, C width.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_utils.assets.files import written_whole
from course_utils.assets.pins import data_folder
from course_utils.rag.chunking import SIZE, recursive_chunks, whole_or
from course_utils.rag.embedding import Embedder, MiniLMEmbedder
from course_utils.rag.headers import add_headers
from course_utils.rag.parents import cut_children
from course_utils.rag.passages import wikipedia_passages
from course_utils.rag.remembering import RememberingEmbedder

LEVELS = 127
PARTS = ("keys", "codes", "scales")
TOGETHER = 512  # texts between two signs of progress
RECHECKED = 64  # texts that are embedded again before the file is believed
TOLERANCE = 3e-3  # of a coordinate: half a step of the coarsest row, and another machine's rounding


@dataclass(frozen=True)
class StoredVectors:
    """Vectors by the hash of their text, a byte a coordinate.

    Attributes:
        name: of the embedder that made them.
        keys: (N,) uint64, ascending, see :func:`text_keys`.
        codes: (N, C) int8.
        scales: (N,) float32.
    """

    name: str
    keys: np.ndarray
    codes: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.keys)

    def find(self, texts: Sequence[str]) -> np.ndarray:
        """Row of each text, (N,); -1 where it is not stored."""
        if not len(self):
            return np.full(len(texts), -1)
        keys = text_keys(texts)
        rows = np.searchsorted(self.keys, keys).clip(max=len(self) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of length one, (N, C) float32."""
        raw = self.codes[rows] * self.scales[rows, None]
        return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


class ReadyEmbedder(RememberingEmbedder):
    """A remembering embedder that looks into a store before it computes.

    Args:
        embedder: for all texts that are not stored, and for the check.
        stored: of the same embedder.

    Raises:
        ValueError: the vectors are those of another embedder.
    """

    def __init__(self, embedder: Embedder, stored: StoredVectors) -> None:
        super().__init__(embedder)
        if stored.name != embedder.name:
            raise ValueError(f"vectors of {stored.name!r} cannot serve {embedder.name!r}")
        self.stored: StoredVectors | None = stored
        self._checked = False

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (N, C): remembered, stored, or computed."""
        missing = self.missing(texts)
        if missing and self.stored is not None:
            rows = self.stored.find(missing)
            known = [text for text, row in zip(missing, rows, strict=True) if row >= 0]
            if known and self._believed(known):
                self.learn(known, self.stored.vectors(rows[rows >= 0]))
        return super().encode(texts)

    def _believed(self, known: list[str]) -> bool:
        """Embed some of the texts again, once; a store that differs is put aside."""
        if not self._checked and self.stored is not None:
            places = np.unique(np.linspace(0, len(known) - 1, RECHECKED).astype(int))
            texts = [known[i] for i in places]
            again, kept = self.inner.encode(texts), self.stored.vectors(self.stored.find(texts))
            self._checked = True
            if np.abs(again - kept).max() > TOLERANCE:
                warnings.warn(
                    "the stored vectors are not those of this model here; texts are embedded anew",
                    stacklevel=3,
                )
                self.stored = None
        return self.stored is not None


def ready_embedder(
    embedder: MiniLMEmbedder | None = None, file: str | Path | None = None
) -> RememberingEmbedder:
    """An embedder that knows the course's texts already, if the stored vectors are its own.

    Args:
        embedder: by default MiniLM. file: by default the one that comes with the course.
    """
    embedder = embedder or MiniLMEmbedder()
    stored = read_stored(file or bundled_file())
    if stored is None or stored.name != embedder.name:
        return RememberingEmbedder(embedder)
    return ReadyEmbedder(embedder, stored)


def bundled_file() -> Path:
    """Where the course's stored vectors lie."""
    return data_folder() / "vectors" / "wikipedia_minilm.npz"


def course_texts() -> list[str]:
    """All texts that are stored: paragraphs, with headers, in chunks, and in small pieces."""
    passages = wikipedia_passages()
    texts = [passage.text for passage in passages]
    chunker = whole_or(recursive_chunks, SIZE, 0)  # of SimpleRAGSystem
    chunks = [chunk.text for text in texts for chunk in chunker(text)]
    return list(dict.fromkeys([*texts, *add_headers(passages), *chunks, *cut_children(texts)[0]]))


def text_keys(texts: Sequence[str]) -> np.ndarray:
    """The first eight bytes of each text's SHA-256 as numbers, (N,) uint64."""
    raw = b"".join(hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:8] for t in texts)
    return np.frombuffer(raw, ">u8").astype(np.uint64)


def store(name: str, texts: Sequence[str], vectors: np.ndarray) -> StoredVectors:
    """Vectors (N, C) in a byte a coordinate.

    Raises:
        ValueError: two texts with one key, or no vector for each text.
    """
    keys = text_keys(texts)
    order = np.argsort(keys)
    if len(np.unique(keys)) != len(keys) or len(vectors) != len(keys):
        raise ValueError(
            f"expected one vector for each of {len(keys)} different texts, got {len(vectors)} "
            f"vectors and {len(np.unique(keys))} different keys"
        )
    scales = (np.abs(vectors).max(axis=1) / LEVELS).astype(np.float32)
    codes = np.rint(vectors / scales[:, None]).astype(np.int8)
    return StoredVectors(name, keys[order], codes[order], scales[order])


def embed_all(
    embedder: Embedder, texts: Sequence[str], watch: Callable[[range], Iterable[int]] = iter
) -> StoredVectors:
    """A store of all texts, embedded a few hundred of like length at a time.

    Args:
        embedder: see :class:`Embedder`. texts: N different ones. watch: wraps the loop, to show
            how far it is, such as ``tqdm``.
    """
    texts = sorted(texts, key=len)
    parts = [
        embedder.encode(texts[start : start + TOGETHER])
        for start in watch(range(0, len(texts), TOGETHER))
    ]
    return store(embedder.name, texts, np.concatenate(parts))


def read_stored(file: str | Path) -> StoredVectors | None:
    """What :func:`write_stored` wrote; None if it is not there, not whole, or not that."""
    try:
        with np.load(file, allow_pickle=False) as parts:
            stored = StoredVectors(str(parts["name"]), *(parts[k] for k in PARTS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = stored.codes.ndim == 2 and len(stored.codes) == len(stored.scales) == len(stored)
    return stored if fits else None


def write_stored(stored: StoredVectors, file: str | Path) -> None:
    """Write the store; an existing file is replaced only when the new one is complete."""
    parts = {"name": np.array(stored.name), **{k: getattr(stored, k) for k in PARTS}}
    with written_whole(file) as out:
        np.savez(out, **parts)
