"""data/assets.txt and data/hub_revisions.json."""

import pytest

from course_utils.assets import catalogue, pins
from course_utils.assets.errors import AssetError

HASH, OTHER = "0123456789abcdef" * 4, "f" * 64


def write(tmp_path, text):
    file = tmp_path / "assets.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_lines_comments_and_several_hashes(tmp_path):
    text = f"# note\n\n  one==1.2 --hash=sha256:{HASH}\ntwo-b==3.post1 --hash=sha256:{HASH} "
    found = pins.requirements(write(tmp_path, text + f"--hash=sha256:{OTHER}\n"))
    assert list(found) == ["one", "two-b"]
    assert found["one"] == pins.Requirement("one", "1.2", (HASH,))
    assert found["two-b"].sha256 == (HASH, OTHER)
    assert found["one"].line == f"one==1.2 --hash=sha256:{HASH}"


@pytest.mark.parametrize(
    "line", ["one==1.2", f"one>=1.2 --hash=sha256:{HASH}", "one==1 --hash=sha256:12", "one"]
)
def test_a_line_without_exact_version_and_hash_is_refused_with_its_number(tmp_path, line):
    with pytest.raises(AssetError, match=r"assets\.txt, line 2: expected"):
        pins.requirements(write(tmp_path, f"# first\n{line}\n"))


def test_shipped_file_pins_exactly_the_wheels_of_the_catalogue():
    assert set(pins.requirements()) == set(catalogue.WHEELS)


def test_data_folder_is_the_repositorys(root):
    assert pins.data_folder() == root / "data"


def test_package_without_its_repository_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(pins, "__file__", str(tmp_path / "a" / "b" / "pins.py"))
    with pytest.raises(AssetError, match="pip install -e"):
        pins.data_folder()


def test_revisions_round_trip_sorted_and_whole(tmp_path):
    file = tmp_path / "hub.json"
    assert pins.revisions(file) == {}
    pins.write_revisions({"z/b": "22", "a/c": "11"}, file)
    assert pins.revisions(file) == {"a/c": "11", "z/b": "22"}
    assert file.read_text().index("a/c") < file.read_text().index("z/b")
    assert [p.name for p in tmp_path.iterdir()] == ["hub.json"]


def test_broken_revisions_are_told(tmp_path):
    file = tmp_path / "hub.json"
    file.write_text("{")
    with pytest.raises(AssetError, match="not valid JSON"):
        pins.revisions(file)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "hub.json"
    pins.write_revisions({"a/b": "1"}, file)

    def refuse(self, target):
        raise OSError("no")

    monkeypatch.setattr(type(file), "replace", refuse)
    with pytest.raises(OSError, match="no"):
        pins.write_revisions({"a/b": "2"}, file)
    assert pins.revisions(file) == {"a/b": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["hub.json"]
