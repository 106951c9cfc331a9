"""What the restricted process computes, and what it refuses."""

from __future__ import annotations

import pytest

from course_utils.agents import repair
from course_utils.agents.sandbox import Limits, run_python


def test_values_prints_and_errors():
    result = run_python("x = 3\nprint('a', x)\nx * 2")
    assert (result.output, result.error) == ("a 3\n6", None)
    assert run_python("'drow'[::-1]").output == "word"
    assert run_python("1 / 0").error.startswith("ZeroDivisionError")
    assert run_python("def").error.startswith("SyntaxError")
    assert run_python("datetime.date(2024, 2, 29).isoformat()").output == "2024-02-29"


@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'w')",
        "import os",
        "import socket",
        "__import__('os').getcwd()",
        "math.__loader__.__class__.load_module('posix').getcwd()",
        "random._os.system('ls')",
        "statistics.sys.modules['os'].remove('x')",
        "__import__('ctypes')",
        "exec('import subprocess')",
    ],
)
def test_the_outside_is_refused(code, tmp_path):
    assert run_python(code).error


def test_limits_end_what_does_not_end():
    assert run_python("while True: pass", Limits(seconds=1, cpu=1)).ended != "normally"
    assert run_python("'x' * 10 ** 11").error
    assert len(run_python("print('x' * 10_000)").output) <= 2_000


def test_secrets_of_the_parent_are_not_there(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    result = run_python("statistics.sys.modules.get('os').environ.get('MY_KEY')")
    assert "secret" not in result.output


def test_repair_finds_the_edit_and_counts():
    bug = (
        "def most(xs):\n    best = xs[0]\n    for x in xs:\n"
        "        if x < best:\n            best = x\n    return best"
    )
    fixed, tried = repair.repair(bug, "most", [([[1, 5, 3]], 5)])
    assert "x > best" in fixed and 1 <= tried <= 10
    assert repair.passes(bug, "most", [([[2]], 2), ([[1, 2]], 2)]) == [True, False]
    assert repair.repair(bug, "most", [([[1]], 7)], budget=3) == (None, 3)


@pytest.mark.parametrize("broken", repair.BROKEN, ids=lambda b: b.name)
def test_every_broken_function_can_be_repaired_by_one_edit(broken):
    assert not repair.is_repaired(broken.source, broken)
    fixed, _ = repair.repair(broken.source, broken.name, broken.visible)
    assert fixed is not None and repair.is_repaired(fixed, broken)


def test_model_attempts_are_programs_that_begin_as_asked():
    class Parrot:
        """Answers with a fixed line and keeps what it was asked."""

        def sample(self, messages, count, **options):
            """What the loop of a real model would give."""
            self.messages, self.options = messages, options
            return ["\n    return 7"] * count

    llm, broken = Parrot(), repair.BROKEN[0]
    written = repair.model_attempts(llm, broken, 3, seed=5)
    assert written == ["def count_up(n):\n    return 7"] * 3
    assert "assert count_up(3) == 6" in llm.messages[0]["content"]
    assert "5050" not in llm.messages[0]["content"]  # hidden tests stay hidden
    assert llm.options["seed"] == 5
