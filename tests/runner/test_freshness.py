"""A notebook is stale when something that its outputs depend on has changed, and only then."""

import pytest

from course_utils.runner import freshness
from course_utils.runner.layout import Layout

KEY = "01_a/02_b"
LESSON = """\
# %% [markdown]
# # Title
# {{cost}}

# %% tags=["parameters"]
SEED = 0

# %%
from course_utils.room.used import f
f(authored("qa"))

# %% tags=["exercise"]
exercise("1.2.1")

# %%
quiz("1.2")
"""
FILES = {
    "lessons/01_a/02_b.py": LESSON,
    "course_utils/__init__.py": "",
    "course_utils/room/__init__.py": "",
    "course_utils/room/used.py": "def f(x):\n    from course_utils.room import deep\n    deep()",
    "course_utils/room/deep.py": "A = 1",
    "course_utils/room/unused.py": "B = 1",
    "course_utils/exercises/ch01_02.py": "from course_utils.room.help import g",
    "course_utils/exercises/ch01_03.py": "",
    "course_utils/exercises/quizzes/01_02.yaml": "- question: a",
    "course_utils/room/help.py": "def g(): ...",
    "data/authored/qa.jsonl": "{}",
    "data/authored/other.jsonl": "{}",
    "data/timings.json": "{}",
}
COUNTS = {
    name for name in FILES if not any(w in name for w in ("unused", "03", "other", "timings"))
}


@pytest.fixture
def made(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Layout(tmp_path)


def digest(made, **options):
    return freshness.digest(made.lesson(KEY), made, **options)


def test_the_inputs_are_found_through_all_imports(made):
    found = {p.relative_to(made.root).as_posix() for p in freshness.inputs(made.lesson(KEY), made)}
    assert found == COUNTS - {"lessons/01_a/02_b.py"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_change_counts_only_where_outputs_depend_on_it(made, name):
    before = digest(made)
    path = made.root / name
    path.write_text(path.read_text() + "\nC = 3\n")
    assert (digest(made) != before) == (name in COUNTS)


def test_comments_and_docstrings_of_modules_do_not_count(made):
    before = digest(made)
    path = made.root / "course_utils/room/used.py"
    path.write_text('"""Doc."""\n\n# why\n' + path.read_text() + "  # more\n")
    assert digest(made) == before


def test_a_hash_sign_inside_a_text_counts(made):
    path = made.root / "course_utils/room/deep.py"
    path.write_text("A = '# one'")
    before = digest(made)
    path.write_text("A = '# two'")
    assert digest(made) != before


def test_prose_and_code_are_told_apart(made):
    full, code = digest(made), digest(made, prose=False)
    path = made.lesson(KEY).source
    path.write_text(LESSON.replace("# # Title", "# # A better title"))
    assert digest(made) != full
    assert digest(made, prose=False) == code
    path.write_text(LESSON.replace("SEED = 0", "SEED = 1"))
    assert digest(made, prose=False) != code


def test_recorded_runs_count_only_for_a_lesson_that_shows_them(made):
    path = made.root / "data" / "runs" / f"{KEY}.json"
    path.parent.mkdir(parents=True)
    before = digest(made)
    path.write_text("{}")
    assert digest(made) == before
    made.lesson(KEY).source.write_text(LESSON + "\n# %%\nrecorded('01_a/02_b')\n")
    before = digest(made)
    path.write_text('{"a": 1}')
    assert digest(made) != before


def test_a_circle_of_imports_ends(made):
    (made.root / "course_utils/room/deep.py").write_text("import course_utils.room.used")
    assert digest(made)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('class A:\n    "Doc."\n    b = 1', "class A:\n    b = 1"),
        ('def f():\n    """Only a docstring."""', 'def f():\n    """Only a docstring."""'),
        ('x = f"{1}#"  # c', 'x = f"{1}#"'),
        ('def f():\n    """A\n    B"""\n\n    return "B"', 'def f():\n    return "B"'),
    ],
)
def test_comments_and_docstrings_are_removed(source, expected):
    assert freshness.without_comments(source) == expected


def test_a_module_that_is_only_a_docstring_counts_as_empty():
    assert freshness.without_comments('"""What is in this folder."""\n# and why\n') == ""
    assert freshness.without_comments('def f():\n    "Doc."\n') == 'def f():\n    "Doc."'
