"""Files that are there whole or not at all."""

import pytest

from course_utils.assets.files import written_whole


def test_a_file_appears_with_its_folder(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with written_whole(path) as out:
        out.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]


def test_after_an_error_the_old_file_is_there_and_no_draft(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), written_whole(path) as out:
        out.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
