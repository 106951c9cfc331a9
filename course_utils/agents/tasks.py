"""Chapter 4 - The authored tasks: what success means, and at which step it was lost."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from course_utils.agents.trace import Trace
from course_utils.corpora import jsonl
from course_utils.evaluation.answers import normalize_answer

KINDS = ("calculator", "search", "python", "two_step", "no_tool")
MOST_WORDS = 10  # an answer that lists everything is no answer
OUTCOMES = ("solved", "no tool called", "wrong tool", "wrong argument", "wrong reading", "no end")


@dataclass(frozen=True)
class Task:
    """One authored task.

    Attributes:
        task: the text. tools: that a person would use, in order. kind: one of KINDS.
        answers: that count as right. evidence: words of the article that hold the answer.
    """

    id: int
    task: str
    tools: tuple[str, ...]
    kind: str
    answers: tuple[str, ...]
    source: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


def load_tasks() -> list[Task]:
    """All authored tasks, in the file's order."""
    rows = jsonl.read(jsonl.file_of("agent_tasks"))
    return [
        Task(
            row["id"],
            row["task"],
            tuple(row["tools"]),
            row["kind"],
            (row["answer"], *row["accept"]),
            tuple(row["source"]),
            tuple(row["evidence"]),
        )
        for row in rows
    ]


def stratified(tasks: Sequence[Task], each: int | None, seed: int = 0) -> list[Task]:
    """So many tasks of each kind, drawn without looking; all tasks if ``each`` is None."""
    if each is None:
        return list(tasks)
    rng, chosen = random.Random(seed), []
    for kind in KINDS:
        group = [task for task in tasks if task.kind == kind]
        chosen += rng.sample(group, min(each, len(group)))
    return chosen


def is_right(answer: str | None, task: Task) -> bool:
    """Does the answer say one of the right ones, and not much else?

    A number must be the only number; a name must occur as whole words within ten words.

    >>> is_right("The total is 2,197.", Task(1, "", (), "calculator", ("2197",)))
    True
    """
    if not answer:
        return False
    numbers = [
        n.replace(",", "") for n in re.findall(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", answer)
    ]
    words = normalize_answer(answer).split()
    for right in task.answers:
        plain = right.replace(",", "")
        if re.fullmatch(r"-?\d+(\.\d+)?", plain):
            if len(numbers) == 1 and float(numbers[0]) == float(plain):
                return True
        elif len(words) <= MOST_WORDS and _holds(words, normalize_answer(right).split()):
            return True
    return False


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    size = len(wanted)
    return bool(size) and any(list(words[i : i + size]) == list(wanted) for i in range(len(words)))


def outcome(trace: Trace, task: Task) -> str:
    """The first step at which the task was lost, one of OUTCOMES.

    A wrong tool is one that a person would not have used. If the tools were right and no
    observation holds the answer, an argument was wrong (or the search engine failed); if one
    does and the answer is still wrong, it was misread.
    """
    if is_right(trace.answer, task):
        return "solved"
    if trace.ended != "finished":
        return "no end"
    called = [_family(name) for name in trace.calls]
    if task.tools and not called:
        return "no tool called"
    if set(called) - set(task.tools):
        return "wrong tool"
    read = [step.observation for step in trace.steps]
    if any(_stands_in(text, task) for text in read):
        return "wrong reading"
    return "wrong argument" if task.tools else "wrong reading"


def _family(name: str) -> str:
    return "memory" if name in ("remember", "recall") else name


def _stands_in(text: str, task: Task) -> bool:
    words = normalize_answer(text).split()
    return any(_holds(words, normalize_answer(right).split()) for right in task.answers)
