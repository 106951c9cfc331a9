"""Chapter 4 - A code agent's baseline: search over small edits until the tests pass.

Before a language model is praised for repairing a program, see what a search without any
understanding does: change one operator or one constant, run the visible tests in the sandbox, keep
what passes. Hidden tests then tell a repair from a program that merely fits the visible ones.

Source: Le Goues et al. 2012, "GenProg: A Generic Method for Automatic Software Repair", section 2.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.agents.sandbox import run_python

Case = tuple[list[Any], Any]  # arguments, expected


@dataclass(frozen=True)
class Broken:
    """A function with one fault, tests to repair it by, and tests that nobody sees before."""

    name: str
    source: str
    visible: tuple[Case, ...]
    hidden: tuple[Case, ...]


BROKEN = (
    Broken(
        "count_up",
        "def count_up(n):\n    s, i = 0, 1\n    while i < n:\n        s += i\n        i += 1\n"
        "    return s",
        (([3], 6), ([1], 1)),
        (([10], 55), ([0], 0), ([100], 5050)),
    ),
    Broken(
        "biggest",
        "def biggest(numbers):\n    best = numbers[0]\n    for n in numbers:\n"
        "        if n < best:\n            best = n\n    return best",
        (([[1, 5, 3]], 5), ([[4]], 4)),
        (([[-3, -7]], -3), ([[2, 2, 9, 1]], 9)),
    ),
    Broken(
        "evens",
        "def evens(numbers):\n    return [n for n in numbers if n % 2 == 1]",
        (([[1, 2, 4]], [2, 4]), ([[3]], [])),
        (([[0, 5, 6]], [0, 6]), ([[]], [])),
    ),
    Broken(
        "power",
        "def power(base, times):\n    value = 1\n    for _ in range(times):\n"
        "        value = value + base\n    return value",
        (([2, 3], 8), ([5, 1], 5)),
        (([7, 0], 1), ([3, 4], 81)),
    ),
)
SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.Pow),
    ast.Div: (ast.FloorDiv, ast.Mult),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def edits(source: str) -> Iterator[str]:
    """All programs that differ from this one in one operator or in one number by one."""
    tree = ast.parse(source)
    for place, node in enumerate(ast.walk(tree)):
        for changed in _changes(node):
            other = copy.deepcopy(tree)
            changed(list(ast.walk(other))[place])
            yield ast.unparse(other)


def _changes(node: ast.AST) -> Iterator[Any]:
    def setter(name: str, value: Any, index: int | None = None) -> Any:
        """A change of one field, or of one entry of a field that is a list."""

        def change(target: ast.AST) -> None:
            """Make it, in place."""
            if index is None:
                setattr(target, name, value)
            else:
                getattr(target, name)[index] = value

        return change

    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for kind in SWAPS.get(type(node.op), ()):
            yield setter("op", kind())
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for kind in SWAPS.get(type(op), ()):
                yield setter("ops", kind(), i)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        for value in (node.value - 1, node.value + 1):
            yield setter("value", value)


def passes(source: str, name: str, cases: Sequence[Case]) -> list[bool]:
    """Which cases a function fulfils, run in the sandbox; all False if the program fails."""
    lines = [f"cases = {list(cases)!r}", source, "found = []", "for given, wanted in cases:"]
    lines += ["    try:", f"        found.append({name}(*given) == wanted)"]
    lines += ["    except Exception:", "        found.append(False)", "str(found).lower()"]
    result = run_python("\n".join(lines))
    return json.loads(result.output) if result.error is None else [False] * len(cases)


def repair(
    source: str, name: str, cases: Sequence[Case], budget: int = 60
) -> tuple[str | None, int]:
    """The first edit that passes all visible cases, and how many programs were run."""
    for i, candidate in enumerate(edits(source), 1):
        if i > budget:
            return None, budget
        if all(passes(candidate, name, cases)):
            return candidate, i
    return None, min(budget, sum(1 for _ in edits(source)))


def model_attempts(llm: Any, broken: Broken, count: int, seed: int = 0) -> list[str]:
    """Programs that a chat model writes when it sees the function and its visible tests.

    Args:
        llm: of ``prompting.llm``; its answer is begun for it, so that it writes code and no essay.
        broken: what to repair.
        count: answers, drawn at temperature 0.7. seed: of the draws.
    """
    tests = "\n".join(
        f"assert {broken.name}({', '.join(map(repr, given))}) == {wanted!r}"
        for given, wanted in broken.visible
    )
    start = broken.source.split("\n")[0]  # without the line's end, which is part of a token
    messages = [
        {
            "role": "user",
            "content": f"This Python function has one bug:\n```python\n{broken.source}\n```\n"
            f"These tests must pass:\n```python\n{tests}\n```\nWrite the repaired function.",
        },
        {"role": "assistant", "content": f"```python\n{start}"},
    ]
    written = llm.sample(
        messages, count, max_new_tokens=80, temperature=0.7, seed=seed, stop=("```",)
    )
    return [start + text for text in written]


def is_repaired(source: str, broken: Broken) -> bool:
    """Does a program pass the visible tests and the hidden ones?"""
    return all(passes(source, broken.name, [*broken.visible, *broken.hidden]))
