"""path, fetch, table and the command line, on the tiny wheel and on the real assets."""

import hashlib
import io
import json

import pytest
from rich.console import Console

from course_utils import assets, config
from course_utils.assets import catalogue, console, download, hub, pins, reporting, store
from course_utils.assets.catalogue import Asset
from course_utils.assets.errors import COMMAND, AssetError

REAL = [name for name, asset in catalogue.ASSETS.items() if asset.wheel or asset.package]


@pytest.fixture
def tiny(monkeypatch, place, pip):
    """A catalogue with the tiny wheel, one package and one Hub model."""
    table = {
        "words": Asset("words", "tiny", "free", "tests", wheel="tiny-words", folder="words"),
        "mail": Asset("mail", "a package", "PSF", "tests", package="email", folder="mime"),
        "big": Asset("big", "a model", "MIT", "tests", hub="lab/big", hub_bytes=7_000_000),
    }
    monkeypatch.setattr(catalogue, "ASSETS", table)
    monkeypatch.setattr(catalogue, "_BY_HUB_ID", {"lab/big": table["big"]})
    monkeypatch.setattr(catalogue, "WHEELS", {"tiny-words": place.wheel})
    pinned = {"tiny-words": place.requirement}
    monkeypatch.setattr(pins, "requirements", lambda: pinned)
    monkeypatch.setattr(pins, "revisions", dict)
    monkeypatch.setattr(store, "root", lambda: place.root)
    return table


@pytest.fixture
def hub_mode():
    config.setup(models="hub")
    yield
    config.setup()


def test_missing_asset_is_one_sentence_with_the_command(tiny):
    with pytest.raises(AssetError) as caught:
        assets.path("words")
    assert str(caught.value) == f"The asset 'words' is not there yet; get it with: {COMMAND}"


def test_unknown_name_lists_the_known_ones(tiny):
    with pytest.raises(AssetError, match=r"'word'\. Known names: words, mail, big\."):
        assets.path("word")


def test_fetch_then_path(tiny, place):
    assert assets.fetch(["words", "mail"], progress=False)["words"] == place.folder / "words"
    assert (assets.path("words") / "seven.txt").exists()
    assert (assets.path("mail") / "text.py").exists()


def test_damaged_asset_is_told_and_mended_by_fetch(tiny, place, capsys):
    assets.fetch(progress=False)
    (place.folder / "words" / "seven.txt").unlink()
    with pytest.raises(AssetError, match=r"damaged \(words/seven.txt is missing\)"):
        assets.path("words")
    assets.fetch()
    assert assets.path("words").is_dir()
    said = capsys.readouterr().err
    assert "tiny-words: downloading" in said
    assert said.count("downloading") == 1


def test_hub_only_asset_needs_the_hub(tiny):
    with pytest.raises(AssetError, match='MODELS = "hub"'):
        assets.path("big")


def test_fetch_of_a_hub_only_asset_needs_the_hub_too(tiny):
    with pytest.raises(AssetError, match='MODELS = "hub"'):
        assets.fetch(["big"])


def test_package_without_its_data(tiny, monkeypatch):
    tiny["mail"] = Asset("mail", "", "", "", package="email", folder="nowhere")
    with pytest.raises(AssetError, match="pip install email"):
        assets.path("mail")
    tiny["mail"] = Asset("mail", "", "", "", package="no_such_package_here", folder="x")
    with pytest.raises(AssetError, match="not installed"):
        assets.path("mail")


def test_wheel_without_a_pin_is_told(tiny, monkeypatch):
    monkeypatch.setattr(pins, "requirements", dict)
    with pytest.raises(AssetError, match="no line for tiny-words"):
        assets.path("words")


def test_table_tells_the_state(tiny, place):
    states = {row.name: row.state for row in assets.table()}
    assert states == {"words": "missing", "mail": "present", "big": "hub only"}
    assets.fetch(progress=False)
    rows = {row.name: row for row in assets.table()}
    assert rows["words"].present
    assert rows["words"].bytes == 7 * 6 + 11 * 7  # "seven\n" and "eleven\n"
    assert rows["words"].source == "wheel tiny-words 1.3"
    assert (rows["big"].hub, rows["big"].revision) == ("lab/big", "unverified")
    (place.folder / "words" / "seven.txt").unlink()
    assert {row.name: row.state for row in assets.table()}["words"] == "damaged"
    tiny["mail"] = Asset("mail", "", "", "", package="no_such_package_here")
    assert {row.name: row.state for row in assets.table()}["mail"] == "missing"


def test_command_line(tiny, pip):
    out = io.StringIO()
    screen = Console(file=out, width=150)
    assert console.main(console=screen) == 0
    assert f"Not here: words. To get them: {COMMAND}" in out.getvalue()
    assert "lab/big" in out.getvalue()
    out.truncate(0)
    assert console.main(fetch=True, console=screen) == 0
    assert "Models and texts are here: " in out.getvalue()
    assert out.getvalue().count("\n") == 1  # set-up says it at every start
    assert console.main(console=screen) == 0
    assert "Not here" not in out.getvalue()


def test_command_line_error_is_one_sentence_and_status_1(tiny, pip):
    pip.code, pip.log = 1, "THESE PACKAGES DO NOT MATCH THE HASHES [boom]"
    out = io.StringIO()
    assert console.main(fetch=True, console=Console(file=out, width=40)) == 1
    assert out.getvalue().count("\n") == 1
    assert "sha256" in out.getvalue()
    assert "Traceback" not in out.getvalue()


def test_cli_is_the_runners_door(tiny, capsys):
    assert assets.cli(fetch=True) == 0
    assert assets.cli() == 0
    assert "words" in capsys.readouterr().out


def test_hub_mode_asks_for_the_pinned_revision(tiny, hub_mode, monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot(name, revision):
        asked.append((name, revision))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert assets.path("big") == tmp_path
    monkeypatch.setattr(pins, "revisions", lambda: {"lab/big": "abc123"})
    assert assets.path("lab/big") == tmp_path
    assert asked == [("lab/big", None), ("lab/big", "abc123")]
    assert assets.fetch(["big"]) == {"big": tmp_path}
    assets.fetch(["words"], progress=False)
    assert (assets.path("words") / "seven.txt").exists()  # no Hub id: bundled in both modes


def test_hub_failure_is_one_sentence(tiny, hub_mode, monkeypatch):
    import huggingface_hub

    def fail(name, revision):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(AssetError) as caught:
        assets.path("big")
    assert "lab/big could not be loaded" in str(caught.value)
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pin_offline_is_one_sentence_and_writes_nothing(tiny, monkeypatch):
    """The real client, told by HF_HUB_OFFLINE that there is no network."""
    written = []
    monkeypatch.setattr(pins, "write_revisions", written.append)
    out = io.StringIO()
    assert console.main(pin=True, console=Console(file=out, width=400)) == 1
    assert "The Hub cannot be reached" in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert written == []


def test_pin_writes_what_it_found_and_names_what_it_did_not(tiny, monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    class Answer:
        sha, status_code, headers, text, request = "c0ffee", 404, {}, "", None
        url = "x"

        def json(self):
            return {}

    def info(self, name):
        if name == "lab/gone":
            raise RepositoryNotFoundError("404 gone", response=Answer())
        return Answer()

    tiny["gone"] = Asset("gone", "", "", "", hub="lab/gone")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    written = []
    monkeypatch.setattr(pins, "revisions", lambda: {"lab/old": "1"})
    monkeypatch.setattr(pins, "write_revisions", written.append)
    out = io.StringIO()
    assert console.main(pin=True, console=Console(file=out, width=150)) == 0
    assert written == [{"lab/old": "1", "lab/big": "c0ffee"}]
    assert "not pinned: lab/gone (RepositoryNotFoundError" in out.getvalue()


def test_status_of_a_pinned_model_is_short(tiny, monkeypatch):
    monkeypatch.setattr(pins, "revisions", lambda: {"lab/big": "0123456789abcdef"})
    assert hub.status(tiny["big"]) == "0123456789"


def test_bar_on_a_terminal(monkeypatch):
    out = io.StringIO()
    screen = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **options: screen)
    with reporting.reporter("tiny-words", 1000, show=True) as tick:
        tick("downloading", 500)
        tick("unpacking", 2000)  # pip's own files count too: never above the total
    assert "tiny-words" in out.getvalue()
    assert "ready" in out.getvalue()


# The real assets, as `make assets` has put them into the cache.


def test_every_bundled_asset_is_here():
    for name in REAL:
        assert any(assets.path(name).iterdir()), name


def test_real_repeat_neither_hashes_nor_calls_pip(monkeypatch):
    def never(*args):
        raise AssertionError("a repeated fetch must be a few hundred stat calls")

    assets.fetch(progress=False)  # refreshes the times of a copied cache
    monkeypatch.setattr(download, "sha256", never)
    monkeypatch.setattr(download, "run_pip", never)
    assert set(assets.fetch()) == set(REAL)


def test_sizes_in_the_catalogue_are_the_real_ones():
    for name, wheel in catalogue.WHEELS.items():
        folder = store.root() / f"{name}-{pins.requirements()[name].version}"
        stamp = json.loads((folder / "stamp.json").read_text())
        unpacked = sum(file["bytes"] for file in stamp["files"].values())
        assert unpacked == wheel.kept_bytes + wheel.converted_bytes, name


def test_nothing_that_runs_by_itself_is_kept():
    suffixes = {p.suffix for p in store.root().rglob("*") if p.is_file()}
    assert not suffixes & {".pickle", ".pkl", ".js", ".so", ".bin", ".whl"}


def test_minilm_weights_are_the_published_ones():
    digest = hashlib.sha256((assets.path("minilm-l6") / "model.safetensors").read_bytes())
    assert digest.hexdigest().startswith("53aa5117")
    assert digest.hexdigest().endswith("28d9db")


def test_hub_ids_are_distinct_and_complete():
    ids = [asset.hub for asset in catalogue.ASSETS.values() if asset.hub]
    assert len(ids) == len(set(ids))
    assert all(len(name.split("/")) == 2 for name in ids)
    for asset in catalogue.ASSETS.values():
        assert asset.licence
        assert asset.about
        assert asset.used_by
