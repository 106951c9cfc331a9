"""Chapter 4 - Traces: what an agent did, as data first and as a picture second.

A trace that can be stored, compared and counted is the only honest account of an agent. The card
shows the same data to a reader: each step with its thought, its call and what came back.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FINISH = "finish"
ENDINGS = ("finished", "step limit", "time limit", "repeated call", "gave up")


@dataclass(frozen=True)
class Action:
    """What a mind wants to do next.

    Attributes:
        thought: why, in words. name: a tool, or ``finish``. arguments: of the call.
        tokens: written to say so. asked: those of them for which the model had a choice.
    """

    thought: str
    name: str
    arguments: Mapping[str, Any]
    tokens: int = 0
    asked: int = 0


@dataclass(frozen=True)
class Step:
    """One turn of the loop: an action and what it brought.

    Attributes:
        problem: None, "refused" (not a valid call), "failed" (the tool said no) or "repeated".
    """

    thought: str
    name: str
    arguments: Mapping[str, Any]
    observation: str
    problem: str | None = None
    tokens: int = 0


@dataclass
class Trace:
    """One task from its first step to its end.

    Attributes:
        answer: None if the agent never finished.
        ended: one of ENDINGS; empty while it runs.
    """

    task: str
    steps: list[Step] = field(default_factory=list)
    answer: str | None = None
    ended: str = ""

    @property
    def tokens(self) -> int:
        """Tokens written in all steps."""
        return sum(step.tokens for step in self.steps)

    @property
    def calls(self) -> list[str]:
        """Names of the tools that were really run, in order."""
        ran = (step for step in self.steps if step.problem in (None, "failed"))
        return [step.name for step in ran if step.name != FINISH]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """The trace that :meth:`to_dict` wrote."""
        rest = {key: value for key, value in data.items() if key != "steps"}
        return cls(**rest, steps=[Step(**step) for step in data["steps"]])


def save_traces(traces: Iterable[Trace], path: Path) -> None:
    """One JSON object a line; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".part")
    lines = (json.dumps(trace.to_dict(), ensure_ascii=False) for trace in traces)
    partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def load_traces(path: Path) -> list[Trace]:
    """What :func:`save_traces` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Trace.from_dict(json.loads(line)) for line in lines if line]


def as_text(trace: Trace) -> str:
    """The trace in ReAct's own notation."""
    lines = [f"Task: {trace.task}"]
    for i, step in enumerate(trace.steps, 1):
        inside = ", ".join(f"{k}={v!r}" for k, v in step.arguments.items())
        lines += [f"Thought {i}: {step.thought}", f"Action {i}: {step.name}({inside})"]
        if step.name != FINISH or step.problem:
            mark = f" [{step.problem}]" if step.problem else ""
            lines.append(f"Observation {i}:{mark} {step.observation}")
    return "\n".join([*lines, f"Ended: {trace.ended}; answer: {trace.answer}"])


# background and border by kind of line; text colour always set with its background
_LOOK = {
    "thought": ("Thought", "#F4F1E8", "#8A7B4F"),
    "action": ("Action", "#E3EEF7", "#0072B2"),
    "observation": ("Observation", "#E6F3EE", "#009E73"),
    "problem": ("Problem", "#F9E8DD", "#D55E00"),
    "answer": ("Answer", "#F3E6EE", "#CC79A7"),
}


def as_html(trace: Trace, title: str = "") -> str:
    """The trace as a card: inline styles only, since stored notebooks lose style sheets."""
    rows = []
    for i, step in enumerate(trace.steps, 1):
        inside = ", ".join(
            f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in step.arguments.items()
        )
        rows.append(_row("thought", i, step.thought))
        if step.name == FINISH and not step.problem:
            continue
        rows.append(_row("action", i, f"{step.name}({inside})", code=True))
        rows.append(_row("problem" if step.problem else "observation", i, step.observation))
    rows.append(
        _row(
            "answer", "", f"{trace.answer if trace.answer is not None else 'none'} ({trace.ended})"
        )
    )
    bar = "padding:6px 10px;background:#333;color:#fff"
    head = f"<div style='{bar}'><b>{html.escape(title or 'Task')}</b>: "
    return (
        "<div style='border:1px solid #999;max-width:820px;font-family:sans-serif;font-size:13px'>"
        f"{head}{html.escape(trace.task)}</div>{''.join(rows)}</div>"
    )


def _row(kind: str, number: int | str, text: str, *, code: bool = False) -> str:
    label, back, edge = _LOOK[kind]
    shown = (
        f"<code style='background:{back};color:#111'>{html.escape(text)}</code>"
        if code
        else html.escape(text)
    )
    return (
        f"<div style='background:{back};color:#111;border-left:5px solid {edge};padding:4px 10px'>"
        f"<b>{label} {number}</b> {shown}</div>"
    )


def show(trace: Trace, title: str = "") -> None:
    """Display the card, with ReAct's text for readers without HTML."""
    try:
        from IPython.display import display
    except ImportError:
        print(as_text(trace))
        return
    display({"text/html": as_html(trace, title), "text/plain": as_text(trace)}, raw=True)
