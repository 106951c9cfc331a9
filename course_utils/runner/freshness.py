"""Which files a notebook's outputs depend on, and one hash over them.

A notebook is stale when the hash in its metadata differs from the hash of what it would be
built from now: the lesson, the modules of the package that it imports (and those that they
import), its exercises, its quiz and the data sets that it names. Comments and docstrings of
modules do not count: they change no output. The cost card does not count either.
"""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
from functools import cache
from pathlib import Path

from course_utils.runner.cells import exercise_ids
from course_utils.runner.layout import Layout, Lesson

PACKAGE = "course_utils"


def digest(lesson: Lesson, layout: Layout, *, prose: bool = True) -> str:
    """Hash of a lesson and of everything its outputs depend on, 16 hex digits.

    Args:
        prose: False leaves the lesson's markdown cells out: two texts with the same digest
            then have the same outputs.
    """
    text = lesson.source.read_text(encoding="utf-8")
    total = hashlib.sha256((text if prose else _code_of(text)).encode())
    for path in inputs(lesson, layout):
        total.update(path.relative_to(layout.root).as_posix().encode())
        total.update(_content(path, path.stat().st_mtime_ns))
    return total.hexdigest()[:16]


def inputs(lesson: Lesson, layout: Layout) -> list[Path]:
    """Every file besides the lesson that its outputs depend on, sorted."""
    text = lesson.source.read_text(encoding="utf-8")
    exercises = _exercise_files(text, layout)
    start = imported(_code_of(text)) | {
        _dotted(path, layout) for path in exercises if path.suffix == ".py"
    }
    modules = _closure(start, layout)
    data = _data_files(text, modules, lesson, layout)
    return sorted(set(modules) | set(exercises) | set(data))


def imported(source: str) -> set[str]:
    """Dotted names in the package that a source text imports, at any depth of the code.

    >>> sorted(imported("from course_utils.nn import attention\\nimport os"))
    ['course_utils.nn', 'course_utils.nn.attention']
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == PACKAGE}


def without_comments(source: str) -> str:
    """Python source without comments, docstrings and empty lines.

    >>> without_comments('def f():\\n    "Doc."\\n    return 1  # why')
    'def f():\\n    return 1'
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            alone = len(node.body) == 1 and not isinstance(node, ast.Module)  # a body needs a line
            if _is_docstring(first) and not alone:
                rows = range(first.lineno - 1, first.end_lineno)
                lines = ["" if i in rows else line for i, line in enumerate(lines)]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _is_docstring(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _code_of(text: str) -> str:
    """The code cells of a percent-format text, with their tags."""
    parts = re.split(r"^(?=# %%)", text, flags=re.MULTILINE)
    return "".join(
        p for p in parts if p.startswith("# %%") and "[markdown]" not in p.split("\n")[0]
    )


@cache
def _content(path: Path, _changed: int) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    return without_comments(path.read_text(encoding="utf-8")).encode()


def _closure(names: set[str], layout: Layout) -> dict[Path, str]:
    """The modules that the names stand for and all that these import: path → source."""
    found: dict[Path, str] = {}
    waiting = set(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = _module(name, layout)
        if path is None or path in found:
            continue
        found[path] = path.read_text(encoding="utf-8")
        parent = name.rpartition(".")[0]
        waiting |= (imported(found[path]) | ({parent} if parent else set())) - seen
    return found


def _module(name: str, layout: Layout) -> Path | None:
    """The file of a module; None when the name is a function or class."""
    base = layout.root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.exists():
            return path
    return None


def _dotted(path: Path, layout: Layout) -> str:
    return ".".join(path.relative_to(layout.root).with_suffix("").parts)


def _exercise_files(text: str, layout: Layout) -> list[Path]:
    """Modules of the exercises and files of the quizzes that a lesson shows."""
    folder = layout.package / "exercises"
    ids = [tuple(int(n) for n in i.split(".")[:2]) for i in exercise_ids(text)]
    quizzes = re.findall(r"\bquiz\(\s*[\"'](\d+)\.(\d+)", text)
    files = [folder / f"ch{chapter:02d}_{lesson:02d}.py" for chapter, lesson in ids]
    files += [folder / "quizzes" / f"{int(c):02d}_{int(n):02d}.yaml" for c, n in quizzes]
    return [path for path in files if path.exists()]


def _data_files(text: str, modules: dict[Path, str], lesson: Lesson, layout: Layout) -> list[Path]:
    """Data sets and tables named in quotes by the lesson or its modules; its recorded runs."""
    texts = [text, *modules.values()]
    tables = [p for p in layout.package.rglob("*.yaml") if p.parent.name != "quizzes"]
    files = [*(layout.root / "data" / "authored").glob("*"), *tables]
    named = [path for path in files if any(_is_named(path.stem, text) for text in texts)]
    recorded = layout.root / "data" / "runs" / f"{lesson.key}.json"
    return [*named, recorded] if recorded.exists() and "recorded" in text else named


def _is_named(stem: str, text: str) -> bool:
    """Whether a text holds a file's name in quotes, with or without folder and suffix.

    >>> _is_named("qa", 'authored("qa")'), _is_named("qa", "the qa set")
    (True, False)
    """
    return bool(re.search(rf"[\"'/]{re.escape(stem)}(\.\w+)?[\"']", text))
