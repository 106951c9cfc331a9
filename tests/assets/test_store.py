"""The cache: whole or not at all, quick when it is there, mended when it is damaged."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from course_utils.assets import download, store
from course_utils.assets.errors import COMMAND, AssetError


def nothing_left(place):
    """True if the cache holds no folder of the wheel and no draft, only lock files."""
    return all(p.suffix == ".lock" for p in place.root.iterdir()) if place.root.exists() else True


def test_fetch_unpacks_what_is_kept_and_nothing_else(place, pip, steps, files, kept):
    assert store.fault(place) == "is not there yet"
    assert store.ensure(place, None, steps) is True
    assert files(place.folder) == kept | {"stamp.json"}
    assert (place.folder / "words" / "seven.txt").read_bytes() == b"seven\n" * 7
    assert steps.told == ["downloading", "unpacking"]
    assert store.fault(place, thorough=True) is None


def test_second_fetch_does_nothing(place, pip, steps):
    store.ensure(place, None, steps)
    assert store.ensure(place, None, steps) is False
    assert pip.calls == 1


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: shutil.rmtree(f), "not there"),
        (lambda f: (f / "words" / "seven.txt").unlink(), "missing"),
        (lambda f: (f / "words" / "seven.txt").write_bytes(b"cut"), "another size"),
        (lambda f: (f / "stamp.json").unlink(), "lost its stamp"),
        (lambda f: (f / "stamp.json").write_text("{"), "lost its stamp"),
        (lambda f: (f / "stamp.json").write_text("[]"), "lost its stamp"),
    ],
)
def test_damage_is_seen_and_mended(place, pip, steps, harm, words, files, kept):
    store.ensure(place, None, steps)
    harm(place.folder)
    assert words in store.fault(place)
    assert store.ensure(place, None, steps) is True
    assert store.fault(place, thorough=True) is None
    assert files(place.folder) == kept | {"stamp.json"}


def test_damage_of_the_same_size_is_seen_by_a_thorough_look(place, pip, steps):
    store.ensure(place, None, steps)
    file = place.folder / "words" / "seven.txt"
    file.write_bytes(b"SEVEN\n" * 7)
    os.utime(file, ns=(0, 0))
    assert store.fault(place) is None  # the quick look of assets.path compares sizes
    assert "another content" in store.fault(place, thorough=True)
    store.ensure(place, None, steps)
    assert file.read_bytes() == b"seven\n" * 7


def test_a_copied_cache_is_accepted_and_remembered(place, pip, steps):
    store.ensure(place, None, steps)
    file = place.folder / "words" / "seven.txt"
    os.utime(file, ns=(0, 0))  # as after cp without -p
    assert store.fault(place, thorough=True) is None
    assert file.stat().st_mtime_ns != 0


def test_a_new_version_of_the_recipe_or_wheel_is_fetched_again(place, pip, steps):
    store.ensure(place, None, steps)
    newer = store.Place(
        store.Wheel(**(vars(place.wheel) | {"recipe": 2})), place.requirement, place.root
    )
    assert "another version" in store.fault(newer)
    other = store.Requirement(place.wheel.name, "1.3", ("0" * 64,))
    assert "another version" in store.fault(store.Place(place.wheel, other, place.root))


def test_conversion_runs_before_the_folder_appears(place, pip, steps, files):
    def convert(folder):
        assert not place.folder.exists()
        (folder / "converted").write_text("x" * 13)

    store.ensure(place, convert, steps)
    assert "converted" in files(place.folder)
    (place.folder / "converted").unlink()
    assert "converted is missing" in store.fault(place)


FAILURES = {
    "wrong hash": ({"code": 1, "log": "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"}, "sha256"),
    "no network": (
        {"code": 1, "log": "NewConnectionError: [Errno -3] ...\nERROR: No matching distribution"},
        "registry cannot be reached",
    ),
    "pip: disk full": ({"code": 2, "log": "OSError: [Errno 28] No space left on device"}, "full"),
    "pip killed": ({"code": -9, "log": ""}, "signal 9"),
    "pip absent": ({"code": 1, "log": "No module named pip"}, "ensurepip"),
    "pip: other": ({"code": 1, "log": "note\nERROR: flux capacitor\n"}, "flux capacitor"),
    "pip: silent": ({"code": 3, "log": ""}, "exit 3"),
    "Ctrl-C": ({"error": KeyboardInterrupt()}, "interrupted"),
    "disk full": ({"error": OSError(errno.ENOSPC, "No space left")}, "disk is full"),
    "not allowed": ({"error": OSError(errno.EACCES, "Permission denied")}, "Permission denied"),
}


@pytest.mark.parametrize(("how", "words"), FAILURES.values(), ids=FAILURES)
def test_each_failure_is_one_sentence_with_the_command_and_leaves_nothing(
    place, pip, steps, how, words
):
    vars(pip).update(how)
    with pytest.raises(AssetError) as caught:
        store.ensure(place, None, steps)
    message = str(caught.value)
    assert words in message
    assert COMMAND in message
    assert "\n" not in message
    assert nothing_left(place)
    vars(pip).update(code=0, log="", error=None)  # and the same command mends it
    assert store.ensure(place, None, steps) is True


def test_wheel_with_another_hash_is_refused_even_if_pip_accepts_it(place, pip, steps):
    pip.wheel.write_bytes(pip.wheel.read_bytes() + b"tampered")
    with pytest.raises(AssetError, match="sha256 differs"):
        store.ensure(place, None, steps)
    assert nothing_left(place)


def test_disk_full_while_unpacking(place, pip, steps, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(AssetError, match="disk is full"):
        store.ensure(place, None, steps)
    assert nothing_left(place)


def test_disk_too_small_is_told_before_the_download(place, pip, steps, monkeypatch):
    usage = shutil.disk_usage(place.root.parent.parent)._replace(free=place.needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(AssetError, match="disk is full"):
        store.ensure(place, None, steps)
    assert pip.calls == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_failure_while_converting_keeps_the_old_folder(place, pip, steps, error, files, kept):
    store.ensure(place, None, steps)
    (place.folder / "words" / "seven.txt").unlink()

    def convert(folder):
        raise error

    with pytest.raises(AssetError):
        store.ensure(place, convert, steps)
    assert files(place.folder) == kept - {"words/seven.txt"} | {"stamp.json"}
    assert [p.name for p in place.root.iterdir() if p.name.startswith(".")] == []


def test_leftovers_of_a_killed_process_are_cleared(place, pip, steps):
    draft = place.root / f".{place.wheel.name}-abc" / "files"
    draft.mkdir(parents=True)
    (draft / "half").write_text("x")
    store.ensure(place, None, steps)
    assert not draft.exists()


def test_wheel_without_the_expected_files_is_refused(place, pip, steps):
    odd = store.Wheel(**(vars(place.wheel) | {"keep": (("elsewhere/", "words"),)}))
    with pytest.raises(AssetError, match="holds nothing"):
        store.ensure(store.Place(odd, place.requirement, place.root), None, steps)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "tiny_words/data/../../evil.txt"])
def test_entries_that_point_outside_are_dropped(place, name):
    assert store._target(name, place.wheel) is None


CHILD = """
import sys, time
from pathlib import Path
from course_utils.assets import store
from course_utils.assets.catalogue import Wheel
from course_utils.assets.pins import Requirement
root, digest, name = sys.argv[1:]
wheel = Wheel("tiny-words", 1000, 500, (("tiny_words/data/", "words"),), ("*.pickle",))
place = store.Place(wheel, Requirement("tiny-words", "1.3", (digest,)), Path(root))
told = []
done = store.ensure(place, lambda f: time.sleep(0.7), lambda step, n: told.append(step))
print(name, done, "waiting for another process" in told)
"""


def test_two_processes_with_the_real_pip_fetch_once(place, wheel_file, root, files, kept):
    """Both succeed; one does the work, the other waits for it."""
    registry = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheel_file.parent),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(root),
    }
    arguments = [str(place.root), place.requirement.sha256[0]]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments, name],
            env=os.environ | registry,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    results = [out.split()[1:] for out, _ in outputs]
    assert sorted(results) == [["False", "True"], ["True", "False"]]
    assert files(place.folder) == kept | {"stamp.json"}


def test_repeat_neither_hashes_nor_calls_pip(place, pip, steps, monkeypatch):
    store.ensure(place, None, steps)

    def never(*args):
        raise AssertionError("a repeat must be a few stat calls")

    monkeypatch.setattr(download, "sha256", never)
    monkeypatch.setattr(download, "run_pip", never)
    assert store.ensure(place, None, steps) is False
