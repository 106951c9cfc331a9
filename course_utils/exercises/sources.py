"""Source text for learners: the reference as a cell that runs by itself, and the stub's cell."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from types import FunctionType, ModuleType
from typing import Any

from course_utils.exercises.engine import Exercise


def solution_source(exercise: Exercise) -> str:
    """The reference under the exercise's own name, with the imports and helpers it uses."""
    if exercise.solution is not None:
        return exercise.solution.strip()
    if exercise.about_a_value:
        return f"{exercise.name} = {exercise.reference!r}"
    needs: dict[str, str] = {}
    source = _with_needs(exercise.reference, needs)
    source = re.sub(rf"\b{re.escape(exercise.reference.__name__)}\b", exercise.name, source)
    imports = sorted({text for text in needs.values() if _is_import(text)})
    helpers = [text for text in needs.values() if not _is_import(text)]
    return "\n\n\n".join(part for part in ("\n".join(imports), *helpers, source) if part)


def _is_import(text: str) -> bool:
    return text.startswith(("import ", "from "))


def _with_needs(thing: Any, needs: dict[str, str]) -> str:
    """The source of a function or class; what it takes from its module goes into ``needs``."""
    source = textwrap.dedent(inspect.getsource(thing)).strip()
    scope = vars(inspect.getmodule(thing))
    for node in ast.walk(ast.parse(source)):
        name = node.id if isinstance(node, ast.Name) else None
        if name is None or name not in scope or name in needs or scope[name] is thing:
            continue
        needs[name] = ""  # against endless recursion between helpers
        text = _definition(name, scope[name], thing.__module__, needs)
        del needs[name]  # put in again behind its own needs, so that definitions come first
        needs[name] = text
    return source


def _definition(name: str, value: Any, module: str, needs: dict[str, str]) -> str:
    if isinstance(value, ModuleType):
        return f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    home = getattr(value, "__module__", None)
    own = getattr(value, "__name__", name)
    if isinstance(value, (FunctionType, type)) and home == module:
        return _with_needs(value, needs)
    if isinstance(home, str) and home != module and hasattr(value, "__name__"):
        public = "typing" if home == "typing" else home
        return f"from {public} import {own}" + (f" as {name}" if own != name else "")
    return f"{name} = {value!r}"


def notebook_cells(exercise: Exercise) -> list[tuple[str, str]]:
    """The two cells of an exercise: ("markdown", statement) and ("code", stub and check)."""
    statement = textwrap.dedent(exercise.statement).strip()
    minutes = "1 minute" if exercise.minutes == 1 else f"{exercise.minutes} minutes"
    markdown = (
        f"### Exercise {exercise.id} · {exercise.title}\n\n"
        f"*{exercise.difficulty}, about {minutes}*\n\n{statement}\n\n"
        f'Stuck? Run `hint("{exercise.id}")` in a new cell: a nudge, then a test case, then an '
        f'outline. `solution("{exercise.id}")` shows a reference.'
    )
    stub = textwrap.dedent(exercise.stub).strip()
    return [("markdown", markdown), ("code", f"{stub}\n\n\n{_check_line(exercise)}")]


def _check_line(exercise: Exercise) -> str:
    return f'check("{exercise.id}", {exercise.name})'
