"""Chapter 4 - ReAct: think, act, observe, until finished or stopped.

The mind proposes, the loop disposes. Whatever the mind wants, the loop runs only calls that the box
of tools accepts, never the same call twice, never more steps than allowed, and it always ends with
a reason. A mind may be a language model or a script; several tasks are run side by side, so that
a model can answer them in one batch.

Source: Yao et al. 2022, "ReAct: Synergizing Reasoning and Acting in Language Models", section 2.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from course_utils.agents.tools import Registry, ToolError
from course_utils.agents.trace import FINISH, Action, Step, Trace

__all__ = [
    "FINISH",
    "Action",
    "Limits",
    "Mind",
    "Scripted",
    "Step",
    "Trace",
    "react",
    "react_batch",
]


class Mind(Protocol):
    """What decides: one action for each of the unfinished traces."""

    def decide(self, traces: Sequence[Trace]) -> list[Action]:
        """The next action of each trace, in their order."""


@dataclass(frozen=True)
class Limits:
    """When the loop ends an agent that does not end itself.

    Attributes:
        steps: actions at most, the finishing one included.
        seconds: on the clock, looked at before each step.
        repeats: calls that were made before; the one after so many ends the run.
        observation: characters of a tool's result that the mind gets to read.
    """

    steps: int = 6
    seconds: float = 60.0
    repeats: int = 1
    observation: int = 400

    def __post_init__(self) -> None:
        if self.steps < 1 or self.seconds <= 0 or self.repeats < 0 or self.observation < 1:
            raise ValueError(f"limits must leave room for one step, got {self}")


class Scripted:
    """A mind that reads its actions from a list: exact traces without a model.

    Args:
        actions: in order, as Action or as (thought, name, arguments). When they run out it
            finishes without an answer.
    """

    def __init__(self, actions: Iterable[Action | tuple[str, str, Mapping]]) -> None:
        self.actions = [a if isinstance(a, Action) else Action(*a) for a in actions]

    def decide(self, traces: Sequence[Trace]) -> list[Action]:
        """The action whose number is the number of steps so far."""
        end = Action("My script is at its end.", FINISH, {"answer": ""})
        return [
            self.actions[len(t.steps)] if len(t.steps) < len(self.actions) else end for t in traces
        ]


def react(
    mind: Mind, tools: Registry, task: str, limits: Limits | None = None, **options: object
) -> Trace:
    """Run one task; see :func:`react_batch`."""
    return react_batch(mind, tools, [task], limits, **options)[0]


def react_batch(
    mind: Mind,
    tools: Registry | Callable[[], Registry],
    tasks: Sequence[str],
    limits: Limits | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Trace]:
    """Run tasks side by side, each to its end.

    Args:
        mind: proposes actions.
        tools: the only functions that can be reached; a function that makes a box gives each
            task its own, so that one task's notes are not another's.
        tasks: texts.
        limits: on steps, seconds (for all tasks together), repetitions, lengths.
        clock: seconds; tests give their own.

    Returns:
        one finished trace a task, in order.
    """
    limits, start = limits or Limits(), clock()
    traces = [Trace(task) for task in tasks]
    boxes = [tools if isinstance(tools, Registry) else tools() for _ in tasks]
    while True:
        for trace in traces:
            if not trace.ended and len(trace.steps) >= limits.steps:
                trace.ended = "step limit"
            elif not trace.ended and clock() - start >= limits.seconds:
                trace.ended = "time limit"
        open_ = [i for i, trace in enumerate(traces) if not trace.ended]
        if not open_:
            return traces
        actions = mind.decide([traces[i] for i in open_])
        for i, action in zip(open_, actions, strict=True):
            _turn(traces[i], action, boxes[i], limits)


def _turn(trace: Trace, action: Action, tools: Registry, limits: Limits) -> None:
    """Carry one action out and write it down."""
    observation, problem = "", None
    if action.name == FINISH:
        answer = action.arguments.get("answer")
        if isinstance(answer, str) and answer.strip():
            trace.answer, trace.ended = answer.strip(), "finished"
        else:
            observation, problem, trace.ended = "no answer was given", "refused", "gave up"
    else:
        observation, problem = _observe(trace, action, tools)
        if problem == "repeated":
            before = sum(step.problem == "repeated" for step in trace.steps)
            trace.ended = "repeated call" if before >= limits.repeats else ""
    trace.steps.append(
        Step(
            action.thought,
            action.name,
            dict(action.arguments),
            observation[: limits.observation],
            problem,
            action.tokens,
        )
    )


def _observe(trace: Trace, action: Action, tools: Registry) -> tuple[str, str | None]:
    """What the mind gets to read, and what was wrong."""
    faults = tools.problems(action.name, action.arguments)
    if faults:
        return "; ".join(faults), "refused"
    key = _key(action)
    same = next((s for s in trace.steps if s.problem is None and _key(s) == key), None)
    if same:
        return f"you did this before, and it gave: {same.observation}", "repeated"
    try:
        return tools.call(action.name, action.arguments), None
    except ToolError as error:
        return str(error), "failed"


def _key(call: Action | Step) -> str:
    return json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
