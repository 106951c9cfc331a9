"""Chapter 4 - Chroma held at arm's length: open, check, close, and errors that say what to do.

ChromaDB keeps texts and metadata in an SQLite file and the vectors in an HNSW graph beside it, a
network of neighbours that is searched by walking towards the query (Malkov & Yashunin 2016). Its
default embedder downloads a model at first use; here the embedder is always passed in.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.rag.embedding import Embedder
from course_utils.rag.store import CollectionError

GRAPH = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
SAME = 1e-2  # cosine distance of a text to itself, at most: another machine's rounding
EMBEDDER, HEADERS = "embedder", "headers"  # keys in the collection's metadata


@lru_cache(maxsize=1)
def embedding_function_class() -> type:
    """A class that shows one of our embedders to Chroma, registered under its name."""
    from chromadb import EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function

    class CourseEmbedding(EmbeddingFunction):
        """Our embedder, as Chroma calls it."""

        def __init__(self, embedder: Embedder | None = None) -> None:
            self.embedder = embedder

        def __call__(self, input: Sequence[str]) -> list[np.ndarray]:
            if self.embedder is None:
                raise ValueError(
                    "this collection was made with an embedder of the course: open it with "
                    "AdvancedRAGSystem, or pass embedding_function"
                )
            return list(self.embedder.encode(list(input)))

        @staticmethod
        def name() -> str:
            return "course_utils"

        def get_config(self) -> dict[str, Any]:
            return {"embedder": getattr(self.embedder, "name", "")}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> CourseEmbedding:
            return CourseEmbedding()

    return register_embedding_function(CourseEmbedding)


def open_client(folder: Path) -> Any:
    """A client of the files in a folder, without telemetry.

    Raises:
        CollectionError: the files are damaged.
    """
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    folder.mkdir(parents=True, exist_ok=True)
    with damage(folder):
        try:
            return chromadb.PersistentClient(
                path=str(folder), settings=Settings(anonymized_telemetry=False)
            )
        except BaseException:
            # Chroma remembers a system that failed to start, and would give it out again
            SharedSystemClient._identifier_to_system.pop(str(folder), None)
            raise


def open_collection(
    client: Any, name: str, embedder: Embedder, folder: Path, headers: bool = False
) -> Any:
    """The collection of this name, made if it is new: cosine space, our embedder.

    Raises:
        CollectionError: made with another embedder, or damaged.
        ValueError: a name that Chroma does not take.
    """
    from chromadb.errors import InvalidArgumentError

    function = embedding_function_class()(embedder)
    try:
        with damage(folder):
            known = {c.name for c in client.list_collections()}
            if name not in known:
                return client.create_collection(
                    name,
                    metadata={EMBEDDER: embedder.name, HEADERS: headers},
                    embedding_function=function,
                    configuration={"hnsw": GRAPH},
                )
            collection = client.get_collection(name, embedding_function=function)
    except InvalidArgumentError as error:
        raise ValueError(f"{name!r} is no name for a collection: {error}") from None
    _check_embedder(collection, name, embedder, headers)
    return collection


def compare(held: set[str], promised: set[str], name: str) -> None:
    """The documents of the index are those of the journal, or an error that counts the others."""
    lost, extra = promised - held, held - promised
    if lost or extra:
        raise CollectionError(
            f"the index of {name!r} lacks {len(lost)} of {len(promised)} documents of its journal "
            f"and has {len(extra)} that are not there. Nothing is lost: "
            "AdvancedRAGSystem.rebuild(collection_name, persist_directory) makes it anew"
        )


def check_graph(collection: Any, vectors: np.ndarray, folder: Path) -> None:
    """Search the graph for vectors of texts that are stored: at least one must find itself.

    A damaged graph is not always an error to Chroma: it can also give wrong neighbours in silence.
    """
    with damage(folder):
        found = collection.query(query_embeddings=vectors, n_results=1, include=["distances"])
        near = [row[0] for row in found["distances"] if row]
        if min(near, default=np.inf) > SAME:
            raise OSError("the graph does not find its own texts")


def upsert(
    client: Any, collection: Any, rows: Sequence[tuple[str, str, dict]], vectors: np.ndarray
) -> None:
    """Write (id, text, metadata) and vectors, in batches that SQLite can take."""
    size = client.get_max_batch_size()
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        names, texts, known = zip(*rows[part], strict=True)
        collection.upsert(
            ids=list(names), documents=list(texts), metadatas=list(known), embeddings=vectors[part]
        )


def drop_collection(folder: Path, name: str) -> None:
    """Remove a collection; files too damaged for that are set aside."""
    try:
        client = open_client(folder)
        try:
            with damage(folder):
                if name in {c.name for c in client.list_collections()}:
                    client.delete_collection(name)
        finally:
            client.close()
    except CollectionError:
        set_aside(folder)


def _check_embedder(collection: Any, name: str, embedder: Embedder, headers: bool) -> None:
    known = collection.metadata or {}
    made_with = known.get(EMBEDDER)
    if made_with == embedder.name and known.get(HEADERS, False) != headers:
        raise CollectionError(
            f"the collection {name!r} was made with headers={not headers}: pass the same, or call "
            "AdvancedRAGSystem.rebuild(...)"
        )
    if made_with != embedder.name:
        raise CollectionError(
            f"the collection {name!r} was made with the embedder {made_with!r}, you search with "
            f"{embedder.name!r}: their vectors cannot be compared. Open it with the first one, or "
            "call AdvancedRAGSystem.rebuild(...) with the new one, which embeds all documents anew"
        )


@contextmanager
def damage(folder: Path) -> Iterator[None]:
    """Turn what Chroma raises on broken files into one sentence that says what to do."""
    from chromadb.errors import ChromaError, InvalidArgumentError

    try:
        yield
    except (InvalidArgumentError, CollectionError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Chroma's Rust part panics with a BaseException
        broken = (
            isinstance(error, (ChromaError, OSError)) or "panic" in type(error).__name__.lower()
        )
        if not broken and not _names_files(error):
            raise
        reason = " ".join(str(error).split())[:160]
        raise CollectionError(
            f"the index in {folder.name} is damaged ({reason}). Nothing is lost: the documents "
            "stand in the journal beside it. AdvancedRAGSystem.rebuild(collection_name, "
            "persist_directory) makes the index anew and keeps the damaged files"
        ) from error


def _names_files(error: BaseException) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("tenant", "sqlite", "database", "malformed", "hnsw"))


def set_aside(folder: Path) -> Path | None:
    """Move Chroma's files, not the journals, into a new folder ``damaged-N``; its path."""
    files = [f for f in folder.iterdir() if _is_chroma(f)]
    if not files:
        return None
    number = 1 + sum(1 for _ in folder.glob("damaged-*"))
    target = folder / f"damaged-{number}"
    target.mkdir()
    for file in files:
        shutil.move(str(file), target / file.name)
    return target


def _is_chroma(file: Path) -> bool:
    return file.name.startswith("chroma.sqlite3") or (file / "header.bin").exists()
