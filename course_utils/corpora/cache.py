"""Corpora that take seconds to make are made once and kept in the user's cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils import config
from course_utils.assets.errors import from_os_error

if TYPE_CHECKING:
    from datasets import Dataset

NEEDED = 50_000_000  # bytes, generously: the largest cached corpus has 4 MB


def cached(name: str, key: str, build: Callable[[], Dataset]) -> Dataset:
    """A data set from the cache, or built and put there.

    Args:
        name: of the corpus.
        key: changes whenever the result would: a hash of the code and the source file.
        build: makes the data set.

    Returns:
        The data set, in memory: ``map`` on it writes nothing into the cache.

    Raises:
        AssetError: the disk is full or the cache cannot be written.
    """
    folder = config.course_home() / "corpora" / f"{name}-{key}"
    found = _load(folder)
    if found is None:
        _store(build(), folder)
        found = _load(folder)
    return found


def _load(folder: Path) -> Dataset | None:
    if not folder.is_dir():
        return None
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder), keep_in_memory=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged: build anew
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _store(data: Dataset, folder: Path) -> None:
    """Write beside the place, then rename; whoever comes second uses what the first wrote."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder.parent) as draft:
            data.save_to_disk(str(Path(draft) / "data"))
            try:
                (Path(draft) / "data").rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise from_os_error(error, f"the corpus {folder.name}", NEEDED, folder.parent) from error
