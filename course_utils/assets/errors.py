"""The one error of this room, and the command that mends it."""

from __future__ import annotations

import errno
from pathlib import Path

COMMAND = "python -m course_utils assets --fetch"


class AssetError(RuntimeError):
    """An asset is missing, damaged or could not be fetched; the message is one clear sentence."""


def from_os_error(error: OSError, what: str, needed: int, folder: Path) -> AssetError:
    """The sentence for a file system that refused to store an asset.

    Args:
        error: what the operating system said.
        what: the asset, as the reader knows it.
        needed: free bytes that the step needs.
        folder: where it was to be stored.
    """
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return AssetError(
            f"The disk is full: {what} needs {needed / 1e6:.0f} MB in {folder}; nothing was kept. "
            f"Make room there (or set COURSE_HOME to another disk), then run: {COMMAND}"
        )
    return AssetError(
        f"{what} could not be stored in {folder} ({error.strerror or error}); nothing was kept. "
        f"Mend that (or set COURSE_HOME to another folder), then run: {COMMAND}"
    )
