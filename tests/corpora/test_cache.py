"""The cache of cleaned corpora: built once, mended when damaged, never half-written."""

import errno
import json

import pytest
from datasets import Dataset

from course_utils import config, corpora
from course_utils.assets.errors import AssetError
from course_utils.corpora import cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "course_home", lambda: tmp_path)
    return tmp_path / "corpora"


class Builder:
    """Makes a data set and counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return Dataset.from_dict({"text": [f"row {i}" for i in range(7)]})


def test_built_once_then_read(home):
    build = Builder()
    first = cache.cached("seven", "k1", build)
    again = cache.cached("seven", "k1", build)
    assert build.calls == 1
    assert first["text"] == again["text"] == [f"row {i}" for i in range(7)]
    assert [p.name for p in home.iterdir()] == ["seven-k1"]


def test_another_key_builds_anew(home):
    build = Builder()
    cache.cached("seven", "k1", build)
    cache.cached("seven", "k2", build)
    assert build.calls == 2


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_damage_is_mended(home, name, content):
    build = Builder()
    cache.cached("seven", "k", build)
    file = home / "seven-k" / name
    file.unlink() if content is None else file.write_bytes(content)
    data = cache.cached("seven", "k", build)
    assert data["text"][6] == "row 6"
    assert build.calls == 2


def test_map_writes_nothing_into_the_cache(home):
    data = cache.cached("seven", "k", Builder())
    before = sorted(p.name for p in home.rglob("*"))
    data.map(lambda row: {"n": len(row["text"])})
    assert sorted(p.name for p in home.rglob("*")) == before


def test_full_disk_is_one_sentence_and_leaves_nothing(home, monkeypatch):
    def full(self, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Dataset, "save_to_disk", full)
    with pytest.raises(AssetError, match="disk is full"):
        cache.cached("seven", "k", Builder())
    assert list(home.iterdir()) == []


def test_whoever_comes_second_uses_what_the_first_wrote(home):
    build = Builder()

    def slow():
        cache.cached("seven", "k", build)  # another process, meanwhile
        return build()

    assert len(cache.cached("seven", "k", slow)) == 7
    assert [p.name for p in home.iterdir()] == ["seven-k"]


def test_cache_key_changes_with_the_cleaner(home, monkeypatch):
    from course_utils.corpora import wikitext

    corpora.wikipedia_bg()
    monkeypatch.setattr(wikitext, "version", lambda: "another cleaner")
    corpora.wikipedia_bg()
    assert len(list(home.glob("wikipedia_bg-*"))) == 2


def test_stored_form_is_plain(home):
    """No machine path is remembered in the cache."""
    cache.cached("seven", "k", Builder())
    state = json.loads((home / "seven-k" / "state.json").read_text())
    assert str(home) not in json.dumps(state)
