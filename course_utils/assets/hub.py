"""The same names from the Hugging Face Hub, for ``MODELS = "hub"``."""

from __future__ import annotations

from pathlib import Path

from course_utils.assets import catalogue, pins
from course_utils.assets.catalogue import Asset
from course_utils.assets.errors import AssetError

PIN_COMMAND = "python -m course_utils assets --pin"


def snapshot(asset: Asset) -> Path:
    """Folder of a Hub model, downloaded on first use, at the pinned revision if there is one.

    Raises:
        AssetError: not cached and not reachable, or gated without a token.
    """
    from huggingface_hub import snapshot_download

    revision = pins.revisions().get(asset.hub)
    try:
        return Path(snapshot_download(asset.hub, revision=revision))
    except Exception as error:  # a dozen classes, of three libraries; each told in one sentence
        raise AssetError(
            f"{asset.hub} could not be loaded from the Hub ({_reason(error)}). With "
            'MODELS = "bundled" the lesson runs without it.'
        ) from error


def status(asset: Asset) -> str:
    """The pinned revision, shortened, or ``"unverified"``; empty without a Hub id.

    >>> status(Asset("x", "", "", ""))
    ''
    """
    if asset.hub is None:
        return ""
    return pins.revisions().get(asset.hub, "unverified")[:10]


def pin() -> tuple[dict[str, str], dict[str, str]]:
    """Ask the Hub for the current revision of every model of the table and store the answers.

    Returns:
        Hub id → commit for those found, and Hub id → reason for those that are not.

    Raises:
        AssetError: the Hub cannot be reached; nothing is written.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, found, refused = HfApi(), {}, {}
    for asset in catalogue.ASSETS.values():
        if asset.hub is None:
            continue
        try:
            found[asset.hub] = api.model_info(asset.hub).sha
        except HfHubHTTPError as error:  # the Hub answered: gone, renamed or gated
            refused[asset.hub] = _reason(error)
        except Exception as error:
            raise AssetError(
                f"The Hub cannot be reached ({_reason(error)}), so no revision was pinned and "
                f"nothing was written. Online, run: {PIN_COMMAND}"
            ) from error
    pins.write_revisions(pins.revisions() | found)
    return found, refused


def _reason(error: Exception) -> str:
    """The error's class and first line: what a reader can act on."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
