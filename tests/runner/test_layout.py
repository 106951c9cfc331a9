"""Patterns name the lessons a reader means; files are written whole or not at all."""

import pytest

from course_utils.runner import layout as where


@pytest.fixture
def made(course, text):
    keys = ("00_start_here", "01_foundations/02_words", "04_llms/01_attention", "04_llms/10_rag")
    return course(dict.fromkeys(keys, text))


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("04_llms/01", ["04_llms/01_attention"]),
        ("04_llms/1", ["04_llms/10_rag"]),
        ("04_llms", ["04_llms/01_attention", "04_llms/10_rag"]),
        ("lessons/01_foundations/02_words.py", ["01_foundations/02_words"]),
        ("notebooks/04_llms/10_rag.ipynb", ["04_llms/10_rag"]),
        ("notebooks/04_llms", ["04_llms/01_attention", "04_llms/10_rag"]),
        ("0?_*/*a*", ["04_llms/01_attention", "04_llms/10_rag"]),
        ("start", ["00_start_here"]),
    ],
)
def test_a_pattern_names_lessons(made, pattern, keys):
    assert [lesson.key for lesson in made.select([pattern])] == keys


def test_no_pattern_means_all_in_reading_order(made):
    keys = [lesson.key for lesson in made.select()]
    assert keys == sorted(keys)
    assert len(keys) == 4


def test_overlapping_patterns_name_a_lesson_once(made):
    assert len(made.select(["04_llms", "attention"])) == 2


def test_a_pattern_without_lesson_is_refused_with_the_known_names(made):
    with pytest.raises(ValueError, match=r"no lesson matches '05_x'.*04_llms/10_rag"):
        made.select(["04_llms", "05_x"])


def test_numbers_and_titles(made):
    numbers = {lesson.key: lesson.number for lesson in made.all_lessons()}
    assert numbers["04_llms/10_rag"] == "4.10"
    assert numbers["00_start_here"] == "0.0"
    assert made.lesson("04_llms/10_rag").title == "A tiny lesson"


def test_the_repository_is_read_from_pyproject(made):
    assert made.repository() == where.PLACEHOLDER
    (made.root / "pyproject.toml").write_text('[tool.course]\nrepository = "ada/course"\n')
    assert made.repository() == "ada/course"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b.txt"
    where.write_whole(path, "old")

    def fails(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(where.Path, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        where.write_whole(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]
