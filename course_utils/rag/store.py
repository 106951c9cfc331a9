"""Chapter 4 - One file for a collection: sources, chunks and vectors, whole or not at all.

The file is a zip archive with a manifest that names the embedder and the hash of each member. It
is written beside its place and renamed, so a crash leaves the old file. What does not fit is
refused with a sentence that says what to do.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.assets.files import written_whole

FORMAT = "rag-collection"
VERSION = 1


class CollectionError(ValueError):
    """A stored collection cannot be used; the message says why, and what to do."""


def write_collection(
    path: str | Path, embedder: str, content: Mapping[str, Any], vectors: np.ndarray
) -> None:
    """Write a collection; an existing file is replaced only when the new one is complete.

    Args:
        path: of the file; its folder is made if it is missing.
        embedder: the name of what made the vectors.
        content: sources and chunks, as JSON can hold them.
        vectors: (N, C) float32.
    """
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(vectors, np.float32))
    text = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    members = {"content.json": text, "vectors.npy": buffer.getvalue()}
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in members.items()}
    manifest = {"format": FORMAT, "version": VERSION, "embedder": embedder, "sha256": hashes}
    members["manifest.json"] = json.dumps(manifest, indent=1).encode()
    with written_whole(path) as out, zipfile.ZipFile(out, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)


def read_collection(path: str | Path, embedder: str) -> tuple[dict[str, Any], np.ndarray]:
    """Content and vectors of a stored collection.

    Args:
        path: of the file. embedder: the name of the one that will embed the questions.

    Raises:
        FileNotFoundError: there is no such file.
        CollectionError: not a collection, of a later version, damaged, or made with another
            embedder.
    """
    path = Path(path)
    members = _members(path)
    manifest = _manifest(path, members)
    if manifest["embedder"] != embedder:
        raise CollectionError(
            f"{path.name} was made with the embedder {manifest['embedder']!r}, you search with "
            f"{embedder!r}: their vectors cannot be compared. Load it with the first, or add the "
            "documents anew"
        )
    for name, wanted in manifest["sha256"].items():
        if hashlib.sha256(members.get(name, b"")).hexdigest() != wanted:
            raise _damaged(path, f"{name} does not have the hash of its manifest")
    vectors = np.load(io.BytesIO(members["vectors.npy"]), allow_pickle=False)
    return json.loads(members["content.json"].decode("utf-8", "surrogatepass")), vectors


def _members(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise
    # flipped bits look like unknown methods, passwords or impossible places in the file
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, str(error)) from None


def _manifest(path: Path, members: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        manifest = json.loads(members["manifest.json"])
        known = manifest["format"] == FORMAT and {"vectors.npy", "content.json"} <= set(
            manifest["sha256"]
        )
        version = int(manifest["version"])
    except (KeyError, ValueError, TypeError):
        raise _damaged(path, "it has no readable manifest") from None
    if not known or version > VERSION:
        raise CollectionError(
            f"{path.name} is a collection of version {version}, this code reads up to {VERSION}: "
            "update the course, or add the documents anew"
        )
    return manifest


def _damaged(path: Path, why: str) -> CollectionError:
    return CollectionError(
        f"{path.name} is not a whole collection ({why}): nothing was loaded. Restore the file, or "
        "add the documents anew and save again"
    )
