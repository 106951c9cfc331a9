"""A tiny course, made for the tests of builder and runner."""

import pytest

from course_utils.runner.layout import Layout

TEXT = """\
# %% [markdown]
# # A tiny lesson
#
# **You will be able to**
#
# - add two numbers,
# - say what `SEED` does.
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
from course_utils.claims import claim

claim("the sum of two and three", 2 + 3, equals=5)
claim("the seed", SEED, at_most=1)

# %% tags=["exercise"]
exercise("1.1.1")
"""


@pytest.fixture
def text():
    """The text of the tiny lesson."""
    return TEXT


@pytest.fixture
def exercise_cells():
    """Cells as course_utils.exercises gives them."""
    return lambda i: [("markdown", f"### Exercise {i}"), ("code", "def double(x: int): ...")]


@pytest.fixture
def course(tmp_path):
    """Makes a course in a folder, ``course({"01_a/01_b": text})``: made lessons, real package."""
    here = Layout.here()

    def make(lessons=None):
        root = tmp_path / "course"
        (root / "tests").mkdir(parents=True)
        (root / "course_utils").symlink_to(here.package)
        (root / "tests" / "offline").symlink_to(here.root / "tests" / "offline")
        for key, lesson in (lessons or {"01_foundations/01_tiny": TEXT}).items():
            path = root / "lessons" / f"{key}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lesson)
        return Layout(root)

    return make
