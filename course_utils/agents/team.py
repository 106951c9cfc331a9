"""Chapter 4 - Two agents: one solves, one checks, compared with one agent at the same budget.

A second agent costs as much as a second try of the first, so that is what it must beat. Three ways
to spend the same number of attempts: a solver whose answers a checker accepts or sends back; a
solver alone whose answers are voted on; the solver's first answer.

Source: Du et al. 2023, "Improving Factuality and Reasoning through Multiagent Debate"; Wang et al.
2024, "Rethinking the Bounds of LLM Reasoning: Are Multi-Agent Discussions the Key?"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from course_utils.agents.trace import Trace

Solver = Callable[[str, int], Trace]  # task, attempt -> trace
Checker = Callable[[Trace], bool]  # is this to be trusted?


@dataclass
class TeamRun:
    """What a team did.

    Attributes:
        answer: accepted or, if none was, voted; None if no attempt finished.
        attempts: traces of the solver. verdicts: of the checker, one an attempt it looked at.
        budget: attempts and checks that were spent.
    """

    answer: str | None
    attempts: list[Trace] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)

    @property
    def budget(self) -> int:
        """Attempts and checks together."""
        return len(self.attempts) + len(self.verdicts)


def solve_and_check(solver: Solver, checker: Checker, task: str, budget: int) -> TeamRun:
    """Try and check until an answer is accepted or the budget is spent.

    Args:
        solver: called with the task and the number of the attempt.
        checker: reads a trace.
        budget: attempts and checks together, at least 2.
    """
    if budget < 2:
        raise ValueError(f"a team needs a budget of at least 2, got {budget}")
    run = TeamRun(None)
    while run.budget + 2 <= budget:
        run.attempts.append(solver(task, len(run.attempts)))
        run.verdicts.append(checker(run.attempts[-1]))
        if run.verdicts[-1]:
            run.answer = run.attempts[-1].answer
            return run
    run.answer = voted(run.attempts)
    return run


def vote_alone(solver: Solver, task: str, budget: int) -> TeamRun:
    """One agent with the whole budget: so many attempts, and the commonest answer."""
    attempts = [solver(task, i) for i in range(budget)]
    return TeamRun(voted(attempts), attempts)


def voted(traces: Sequence[Trace]) -> str | None:
    """The commonest answer; of equally common ones the earliest."""
    answers = [trace.answer for trace in traces if trace.answer is not None]
    return Counter(answers).most_common(1)[0][0] if answers else None


def evidence_checker(trace: Trace) -> bool:
    """A checker without a model: accept only an answer that some tool's result holds.

    It catches answers from nowhere and agents that gave up. It cannot catch a wrong reading of
    a right article, which needs somebody who can read.
    """
    if trace.answer is None:
        return False
    results = [s.observation.lower() for s in trace.steps if s.problem is None and s.observation]
    return any(trace.answer.lower() in text for text in results)
