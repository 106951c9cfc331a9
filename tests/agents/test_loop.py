"""The loop's promises with scripted minds: exact traces, limits, nothing outside the box."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.agents import planning, tasks, team
from course_utils.agents.loop import FINISH, Action, Limits, Scripted, react, react_batch
from course_utils.agents.tools import Registry, tool
from course_utils.agents.trace import Step, Trace, as_html, as_text, load_traces, save_traces

SCRIPT = [
    ("Look.", "search", {"query": "Ann Lee born"}),
    ("Compute.", "calculator", {"expression": "1932 - 1900"}),
    ("Done.", FINISH, {"answer": "32"}),
]


def test_exact_trace(box):
    found = react(Scripted(SCRIPT), box, "How old?")
    assert [s.observation for s in found.steps] == ["Ann Lee: Ann Lee was born in 1932.", "32", ""]
    assert (found.answer, found.ended, found.calls) == ("32", "finished", ["search", "calculator"])


def test_traces_are_data(box, tmp_path):
    found = react(Scripted(SCRIPT), box, "How <old>?")
    assert Trace.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    save_traces([found, found], tmp_path / "t.jsonl")
    assert load_traces(tmp_path / "t.jsonl") == [found, found]
    assert "How &lt;old&gt;?" in as_html(found) and "<old>" not in as_html(found)
    assert "Action 2: calculator(expression='1932 - 1900')" in as_text(found)


def test_refused_failed_repeated(box):
    script = [
        ("", "mail", {}),
        ("", "calculator", {"expression": 5}),
        ("", "calculator", {"expression": "1 / 0"}),
        ("", "calculator", {"expression": "1 + 1"}),
        ("", "calculator", {"expression": "1 + 1"}),
    ]
    found = react(Scripted(script), box, "?")
    problems = [s.problem for s in found.steps]
    assert problems == ["refused", "refused", "failed", None, "repeated", "refused"]
    assert "it gave: 2" in found.steps[4].observation
    assert found.ended == "gave up" and found.answer is None
    twice = react(Scripted([("", "calculator", {"expression": "1 + 1"})] * 9), box, "?")
    assert (len(twice.steps), twice.ended) == (3, "repeated call")


class Wild:
    """Asks for anything, endlessly."""

    def __init__(self, names):
        self.names, self.asked = names, 0

    def decide(self, traces):
        self.asked += len(traces)
        return [
            Action("", self.names[(self.asked + i) % len(self.names)], {"n": self.asked})
            for i, _ in enumerate(traces)
        ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["go", "mail", "rm", FINISH, ""]), min_size=1, max_size=5),
    st.integers(1, 7),
)
def test_limits_hold_and_nothing_outside_the_box_is_run(names, steps):
    ran = []

    def go(n: int) -> str:
        """Go."""
        ran.append(n)
        return str(n)

    found = react_batch(Wild(names), Registry([tool(go)]), ["a", "b", "c"], Limits(steps=steps))
    assert all(t.ended and len(t.steps) <= steps for t in found)
    assert {name for t in found for name in t.calls} <= {"go"}
    assert len(ran) == sum(s.name == "go" and s.problem is None for t in found for s in t.steps)


def test_time_limit_and_own_boxes():
    ticks = iter(range(100))

    def make():
        def go(n: int) -> str:
            """Go."""
            return str(n)

        return Registry([tool(go)])

    found = react_batch(
        Wild(["go"]), make, ["a"], Limits(steps=50, seconds=3), clock=lambda: next(ticks)
    )
    assert found[0].ended == "time limit" and 1 <= len(found[0].steps) <= 3
    with pytest.raises(ValueError, match="room"):
        Limits(steps=0)


def test_plans(box):
    plan = [
        planning.Planned("search", {"query": "Etna"}),
        planning.Planned("calculator", {"expression": "#1n - 2000"}),
    ]
    done = planning.execute_plan(plan, box, "?")
    assert (done.answer, done.ended) == ("1357", "finished")
    with pytest.raises(ValueError, match="no earlier step"):
        planning.execute_plan(plan[::-1], box, "?")
    with pytest.raises(ValueError, match="no tool called"):
        planning.execute_plan([planning.Planned("mail", {})], box, "?")
    assert planning.plan_problems([], box) == ["the plan is empty"]
    lost = planning.execute_plan([planning.Planned("search", {"query": "zebra"})], box, "?")
    assert (lost.answer, lost.ended, lost.steps[0].problem) == (None, "gave up", "failed")


def _said(answer, seen="7"):
    return Trace("t", [Step("", "calculator", {}, seen)], answer, "finished")


def test_teams_keep_the_budget():
    answers = ["1", "7", "1", "1"]
    run = team.solve_and_check(lambda t, i: _said(answers[i]), team.evidence_checker, "t", 4)
    assert (run.answer, run.budget, run.verdicts) == ("7", 4, [False, True])
    none = team.solve_and_check(lambda t, i: _said("1"), team.evidence_checker, "t", 5)
    assert none.budget == 4 and none.answer == "1"
    assert team.vote_alone(lambda t, i: _said(answers[i]), "t", 4).answer == "1"
    assert team.voted([]) is None
    with pytest.raises(ValueError, match="at least 2"):
        team.solve_and_check(lambda t, i: _said("1"), team.evidence_checker, "t", 1)


def _task(kind, tools, *answers):
    return tasks.Task(1, "?", tools, kind, answers)


@pytest.mark.parametrize(
    ("answer", "answers", "right"),
    [
        ("2,197", ("2197",), True),
        ("The total is 2197.0", ("2197",), True),
        ("2197 or 2198", ("2197",), False),
        ("12197", ("2197",), False),
        ("the Las Vegas area", ("Las Vegas",), True),
        ("Las", ("Las Vegas",), False),
        ("one two three four five six seven eight nine ten eleven Vegas", ("Vegas",), False),
        ("", ("x",), False),
        (None, ("x",), False),
        ("45.5", ("45.5", "45.50"), True),
    ],
)
def test_right_answers(answer, answers, right):
    assert tasks.is_right(answer, _task("search", ("search",), *answers)) is right


def test_outcomes():
    def ran(name, seen, answer, ended="finished"):
        return Trace("?", [Step("", name, {}, seen)], answer, ended)

    task = _task("calculator", ("calculator",), "12")
    assert tasks.outcome(ran("calculator", "12", "12"), task) == "solved"
    assert tasks.outcome(ran("calculator", "12", "1"), task) == "wrong reading"
    assert tasks.outcome(ran("calculator", "13", "13"), task) == "wrong argument"
    assert tasks.outcome(ran("search", "13", "13"), task) == "wrong tool"
    assert tasks.outcome(Trace("?", [], "13", "finished"), task) == "no tool called"
    assert tasks.outcome(ran("calculator", "13", None, "step limit"), task) == "no end"


def test_authored_tasks_and_strata():
    every = tasks.load_tasks()
    assert len(every) >= 60 and {t.kind for t in every} == set(tasks.KINDS)
    some = tasks.stratified(every, 3, seed=7)
    assert len(some) == 15 and some == tasks.stratified(every, 3, seed=7)
    assert tasks.stratified(every, None) == every


def test_a_model_of_random_weights_still_plans_what_can_be_run(llm, box):
    asked = ["How many metres is Mount Etna higher than 2,000 metres?", "How old is Ann Lee?"]
    for task, plan in zip(asked, planning.ModelPlanner(llm).plans(asked), strict=True):
        assert [step.name for step in plan] == ["search", "calculator"]
        assert planning.plan_problems(plan, box) == []
        assert task.rstrip("?").endswith(plan[0].arguments["query"])
        assert "#1n" in plan[1].arguments["expression"]
        assert planning.execute_plan(plan, box, task).ended in ("finished", "gave up")


def test_plans_of_the_examples_are_in_the_language():
    for question, search, then in planning.EXAMPLES:
        text = f" {search}\nCalculation: {then}\n"
        assert re.fullmatch(planning.plan_pattern(question), text), question
        assert planning.plan_of(text)[1].arguments == {"expression": then}
