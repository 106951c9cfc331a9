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

from course_utils.agents.copying import endings, literal, numbers_in, unsaid_numbers
from course_utils.agents.decoding import Decoder
from course_utils.agents.tools import Registry, ToolError
from course_utils.agents.trace import FINISH, Step, Trace
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.token_mask import TokenMask, trie_of

REFERENCE = re.compile(r"#(\d+)(n?)")
SPARE = 24  # tokens beyond the shortest plan
# invented: question, what to search for, what to compute with the first number found
EXAMPLES = (
    ("How many years after 1900 was the poet Ann Lee born?", "was the poet Ann Lee born",
     "#1n - 1900"),
    ("By how many metres is Mount Etna higher than 2,000 metres?",
     "is Mount Etna higher than 2,000 metres", "#1n - 2000"),
    ("Find the age of the singer Bo Hall and double it.", "age of the singer Bo Hall and double it",
     "#1n * 2"),
    ("How many of the 640 seats of the Globe are left when 75 are taken off?",
     "seats of the Globe are left when 75 are taken off", "#1n - 75"),
)  # fmt: skip


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


class ModelPlanner:
    """A small model that writes a plan of two calls: search, then compute with what is found.

    The mask leaves it the words of the search, the operator and the number; ``#1n`` is there.

    Args:
        llm: of ``prompting.llm.connect("local")``.
    """

    def __init__(self, llm: Any) -> None:
        self.llm = llm
        shown = "".join(
            f"Question: {q}\nSearch: {search}\nCalculation: {then}\n\n"
            for q, search, then in EXAMPLES
        )
        self.decoder = Decoder(llm.model, llm.tokenizer.encode(shown))

    def plans(self, tasks: Sequence[str]) -> list[list[Planned]]:
        """A plan for each task, greedy, in one batch."""
        trie = trie_of(self.llm.tokenizer)
        masks = [TokenMask(compile_regex(plan_pattern(task)), trie) for task in tasks]
        room = max(int(mask.distance[START]) for mask in masks) + SPARE
        prompts = [self.llm.tokenizer.encode(f"Question: {task}\nSearch:") for task in tasks]
        written = self.decoder.write(prompts, masks, max_new_tokens=room)
        return [plan_of(row.text) for row in written]


def plan_pattern(task: str) -> str:
    """A search for the end of the question, then a sum of what is found and one number of it.

    >>> plan = " to Ann's age\\nCalculation: #1n + 5\\n"
    >>> bool(re.fullmatch(plan_pattern("Add 5 to Ann's age."), plan))
    True
    """
    numbers = [*numbers_in(task), *unsaid_numbers(task)]
    number = f"(?:{'|'.join(map(literal, dict.fromkeys(numbers)))})"
    operator = r"(?:\+|-|\*|/)"
    sums = f"#1n {operator} {number}|{number} {operator} #1n" if numbers else "#1n"
    return f" {endings(task)}\nCalculation: (?:{sums})\n"


def plan_of(text: str) -> list[Planned]:
    """The two lines of a written plan as calls."""
    search, then = text.strip().split("\nCalculation: ")
    return [Planned("search", {"query": search}), Planned("calculator", {"expression": then})]
