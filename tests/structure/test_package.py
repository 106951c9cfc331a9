"""The package: imports go one way, are light, modules and functions short, names documented."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.runner.freshness import imported

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "course_utils"
MODULES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    *("config", "claims", "plotting", "assets", "corpora", "text", "nn", "tuning", "prompting"),
    *("evaluation", "rag", "agents", "optimization", "multimodal", "serving", "security"),
    *("exercises", "runner", "__main__"),
)
# a light import keeps `python -m course_utils` quick and lets lessons pay only for what they use
LIGHT = ("config", "claims", "plotting", "assets", "corpora", "exercises", "runner", "runner.cli")
HEAVY = {"torch", "transformers", "datasets", "matplotlib", "peft", "sklearn", "gensim", "nbformat"}
MAX_MODULE, MAX_FUNCTION = 400, 60
MAX_EXERCISES = 700  # one module holds a lesson's exercises: statements, stubs, answers, checks

module = pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())


def holds_exercises(path):
    """Whether a module is one of ``exercises/ch04_01.py`` (or its second part, ``ch04_03b.py``)."""
    return path.parent.name == "exercises" and bool(re.fullmatch(r"ch\d\d_\d\db?\.py", path.name))


def room(name):
    """The room of a dotted name or path: what comes after ``course_utils``."""
    return name.split(".")[1] if "." in name else ""


def wrong_way(own_room, source):
    """Imports of a room further right, or of a room that has no place in the order."""
    rooms = {room(name) for name in imported(source)} - {"", "__version__"}
    allowed = ORDER[: ORDER.index(own_room) + 1] if own_room in ORDER else ORDER
    return sorted(rooms - set(allowed))


def long_functions(tree):
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    ]


def undocumented(tree):
    """Public module, classes, functions and methods without a docstring."""
    found = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        found += _undocumented(node, "")
    return found


def _undocumented(node, prefix):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if not isinstance(node, kinds) or node.name.startswith("_") or _overloaded(node):
        return []
    found = [] if ast.get_docstring(node) else [prefix + node.name]
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            found += _undocumented(child, f"{node.name}.")
    return found


def _overloaded(node):
    names = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
    return bool(names & {"overload", "setter", "override"})


@module
def test_imports_go_one_way(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert wrong_way(own, path.read_text()) == []


@module
def test_modules_and_functions_are_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= (MAX_EXERCISES if holds_exercises(path) else MAX_MODULE)
    assert long_functions(ast.parse(source)) == []


@module
def test_public_names_have_docstrings(path):
    tree = ast.parse(path.read_text())
    if holds_exercises(path):  # answers stand here as a learner would write them
        assert ast.get_docstring(tree)
        return
    assert undocumented(tree) == []


@pytest.mark.parametrize("name", LIGHT)
def test_an_import_is_light(name):
    code = f"import sys, course_utils.{name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_listing_lessons_is_light():
    command = [sys.executable, "-X", "importtime", "-m", "course_utils", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert HEAVY & loaded == set()


def test_every_room_has_its_place_in_the_order():
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in MODULES}
    assert rooms - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize(
    ("own", "source", "expected"),
    [
        ("nn", "from course_utils.rag import SimpleRAGSystem", ["rag"]),
        ("nn", "def f():\n    import course_utils.tuning.lora", ["tuning"]),
        ("rag", "from course_utils.nn import attention", []),
        ("rag", "from course_utils import config, agents", ["agents"]),
        ("claims", "import course_utils.elsewhere", ["elsewhere"]),
    ],
)
def test_the_direction_is_seen(own, source, expected):
    assert wrong_way(own, source) == expected


def test_long_and_undocumented_functions_are_seen():
    long = "def f():\n" + "    x = 1\n" * MAX_FUNCTION
    assert long_functions(ast.parse(long)) == ["f: 61 lines"]
    source = (
        '"""M."""\nclass A:\n    "Doc."\n    def b(self): ...\n    def _c(self): ...\ndef d(): ...'
    )
    assert undocumented(ast.parse(source)) == ["A.b", "d"]
    assert undocumented(ast.parse("x = 1")) == ["the module"]
