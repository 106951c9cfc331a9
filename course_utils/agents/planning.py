"""Chapter 4 - Plan first, then execute.

ReAct decides after each observation. A planner writes all calls down at once, with ``#1`` where the
first result will stand, and an executor fills them in. That needs one question to the model
instead of one a step, and it cannot react: if the first search finds the wrong article, the plan
goes on all the same.

Source: Wang et al. 2023, "Plan-and-Solve Prompting"; Xu et al. 2023, "ReWOO", section 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.agents.copying import numbers_in
from course_utils.agents.tools import Registry, ToolError
from course_utils.agents.trace import FINISH, Step, Trace

REFERENCE = re.compile(r"#(\d+)(n?)")


@dataclass(frozen=True)
class Planned:
    """One call of a plan; texts may hold ``#1``, the first result, or ``#1n``, its first number."""

    name: str
    arguments: Mapping[str, Any]


def plan_problems(plan: Sequence[Planned], tools: Registry) -> list[str]:
    """What is wrong with a plan before anything is run; empty if it may start."""
    found = [] if plan else ["the plan is empty"]
    for i, step in enumerate(plan, 1):
        if step.name not in tools:
            found.append(f"step {i}: there is no tool called {step.name!r}")
        for number, _ in REFERENCE.findall(" ".join(map(str, step.arguments.values()))):
            if not 1 <= int(number) < i:
                found.append(f"step {i}: #{number} is no earlier step")
    return found


def execute_plan(plan: Sequence[Planned], tools: Registry, task: str) -> Trace:
    """Run a plan; the answer is the last result.

    Returns:
        a trace like that of the loop; it ends with "gave up" at the first step that fails.

    Raises:
        ValueError: the plan names unknown tools or later steps.
    """
    faults = plan_problems(plan, tools)
    if faults:
        raise ValueError("; ".join(faults))
    trace, results = Trace(task), []
    for i, planned in enumerate(plan, 1):
        thought = f"Step {i} of {len(plan)}."
        arguments = dict(planned.arguments)
        try:
            arguments = {k: filled(v, results) for k, v in arguments.items()}
            results.append(tools.call(planned.name, arguments))
        except ToolError as error:
            trace.steps.append(Step(thought, planned.name, arguments, str(error), "failed"))
            trace.ended = "gave up"
            return trace
        trace.steps.append(Step(thought, planned.name, arguments, results[-1]))
    trace.answer, trace.ended = results[-1], "finished"
    trace.steps.append(Step("The plan is done.", FINISH, {"answer": results[-1]}, ""))
    return trace


def filled(value: Any, results: Sequence[str]) -> Any:
    """An argument with references replaced by results.

    >>> filled("#1n - 1900", ["born in 1932 in York"])
    '1932 - 1900'

    Raises:
        ToolError: a number is wanted of a result that holds none.
    """
    if not isinstance(value, str):
        return value

    def of(match: re.Match[str]) -> str:
        """The result that one mark stands for, or the number in it."""
        text = results[int(match.group(1)) - 1]
        if not match.group(2):
            return text
        numbers = numbers_in(text)
        if not numbers:
            raise ToolError(f"there is no number in {text!r}")
        return numbers[0]

    return REFERENCE.sub(of, value)
