"""The two files that pin what is fetched: ``data/assets.txt`` and ``data/hub_revisions.json``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.assets.errors import AssetError

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.+!_-]+)"
    r"(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True)
class Requirement:
    """One line of ``data/assets.txt``: an exact version and the hashes it may have."""

    name: str
    version: str
    sha256: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line as pip reads it."""
        return f"{self.name}=={self.version} " + " ".join(f"--hash=sha256:{h}" for h in self.sha256)


def data_folder() -> Path:
    """The repository's ``data`` folder.

    Raises:
        AssetError: the package was installed without the repository around it.
    """
    folder = Path(__file__).resolve().parents[2] / "data"
    if not (folder / "assets.txt").is_file():
        raise AssetError(
            "The course's data folder is not beside the package course_utils: clone the "
            "repository and install it from there with `pip install -e .`"
        )
    return folder


def requirements(file: Path | None = None) -> dict[str, Requirement]:
    """The pinned wheels, by name.

    Args:
        file: a pip requirements file; default ``data/assets.txt``.

    Raises:
        AssetError: a line without exact version and sha256 hash, with its number.
    """
    file = file or data_folder() / "assets.txt"
    found = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            requirement = _parse(line, f"{file.name}, line {number}")
            found[requirement.name] = requirement
    return found


def _parse(line: str, where: str) -> Requirement:
    match = _LINE.fullmatch(line)
    if match is None:
        raise AssetError(f"{where}: expected `name==version --hash=sha256:…`, got {line!r}")
    hashes = re.findall(r"[0-9a-f]{64}", match["hashes"])
    return Requirement(match["name"], match["version"], tuple(hashes))


def revisions(file: Path | None = None) -> dict[str, str]:
    """Hub id → commit, as the last ``assets --pin`` wrote them; empty before the first."""
    file = file or data_folder() / "hub_revisions.json"
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise AssetError(f"{file.name} is not valid JSON ({error}); restore it with git.") from None


def write_revisions(found: dict[str, str], file: Path | None = None) -> None:
    """Store Hub id → commit, sorted, whole or not at all."""
    file = file or data_folder() / "hub_revisions.json"
    draft = file.with_name(file.name + ".tmp")
    text = json.dumps(dict(sorted(found.items())), indent=2) + "\n"
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
