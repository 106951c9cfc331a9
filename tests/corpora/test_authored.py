"""Authored sets: valid rows, or one sentence that says which line is not."""

import pytest

from course_utils import corpora
from course_utils.corpora import jsonl

GOOD = '{"text": "a", "label": 1, "tags": ["x"]}\n{"text": "b", "label": 0, "tags": []}\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "folder", lambda: tmp_path)
    return tmp_path


def test_rows_come_in_file_order(folder):
    (folder / "two.jsonl").write_text(GOOD)
    data = corpora.authored("two")
    assert data.column_names == ["text", "label", "tags"]
    assert data["text"] == ["a", "b"]


BAD = {
    "not JSON": ('{"text": "a"}\n{"text": }\n', r"two\.jsonl, line 2: not valid JSON"),
    "empty line": ('{"text": "a"}\n\n{"text": "b"}\n', "line 2: not valid JSON"),
    "no object": ('["a"]\n', "line 1: expected an object"),
    "other columns": ('{"text": "a"}\n{"texts": "b"}\n', r"expected the columns \['text'\], got"),
    "other type": ('{"text": "a"}\n{"text": 3}\n', "column 'text' holds str in the first row, int"),
    "bool for number": ('{"n": 1}\n{"n": true}\n', "holds int in the first row, bool here"),
    "no rows": ("", r"two\.jsonl holds no rows"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_bad_rows_are_told_with_their_line(folder, content, words):
    (folder / "two.jsonl").write_text(content)
    with pytest.raises(ValueError, match=words):
        corpora.authored("two")


def test_wanted_columns_must_be_there(folder):
    (folder / "two.jsonl").write_text(GOOD)
    assert len(corpora.authored("two", columns=("text", "label"))) == 2
    with pytest.raises(ValueError, match="line 1: lacks the columns answer"):
        corpora.authored("two", columns=("text", "answer"))


def test_missing_values_and_whole_numbers_among_decimals_are_fine(folder):
    (folder / "two.jsonl").write_text('{"a": null, "n": 1}\n{"a": "x", "n": 2.5}\n')
    assert corpora.authored("two")["n"] == [1.0, 2.5]


def test_line_separators_inside_a_string_do_not_split_a_row(folder):
    (folder / "two.jsonl").write_text('{"a": "x\u2028y"}\n', encoding="utf-8")
    assert corpora.authored("two")["a"] == ["x\u2028y"]


def test_unknown_name_lists_the_known_ones(folder):
    (folder / "two.jsonl").write_text(GOOD)
    with pytest.raises(ValueError, match=r"'too'\. Known: two\."):
        corpora.authored("too")


def test_card_counts_now(folder):
    (folder / "two.jsonl").write_text(GOOD)
    card = corpora.card("two")
    assert card.rows == {"all": 2}
    assert card.columns == ("text", "label", "tags")


@pytest.mark.parametrize("file", sorted(jsonl.folder().glob("*.jsonl")), ids=lambda f: f.stem)
def test_every_shipped_set_is_valid(file):
    assert len(corpora.authored(file.stem)) > 0
