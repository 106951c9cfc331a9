"""``progress``: what has been done, chapter by chapter, and what comes next."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from course_utils.exercises import catalogue, store
from course_utils.exercises.cards import Card, bar, escape, fold, inline, show
from course_utils.exercises.questions import quiz_ids

CHAPTERS = {
    "0": "Start",
    "1": "Foundations",
    "2": "Tasks",
    "3": "Deep learning",
    "4": "Language models",
    "5": "Multimodal",
    "6": "Production",
    "7": "Projects",
    "8": "Frontiers",
}
_BAR = 20


def progress(reset: str | None = None) -> None:
    """Draw a bar for each chapter.

    Args:
        reset: forget an exercise ("1.2.1"), a lesson ("1.2"), a chapter ("1") or "all".
    """
    notes = []
    if reset is not None:
        gone, note = store.forget(str(reset))
        notes += [f"Forgotten: {gone} {'entry' if gone == 1 else 'entries'} of {reset}.", note]
    content, note = store.read()
    here = catalogue.offered()
    titles = {id: t for id, t in catalogue.titles().items() if id.rpartition(".")[0] in here}
    card = overview_card(titles, [quiz for quiz in quiz_ids() if quiz in here], content)
    for text in [*notes, note]:
        card.small(text)
    show(card)


def overview_card(titles: dict[str, str], quizzes: list[str], content: dict[str, Any]) -> Card:
    """The card with one bar for each chapter that has exercises."""
    done = [id for id in titles if _status(content, id) == "passed"]
    card = Card("progress", "Progress", f"{len(done)} of {len(titles)} exercises passed")
    for chapter, ids in _by_chapter(titles).items():
        own = [quiz for quiz in quizzes if quiz.split(".")[0] == chapter]
        card.raw(*_chapter(chapter, ids, own, content))
    card.text(_next(titles, content))
    return card


def _by_chapter(titles: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for exercise_id in titles:
        groups[exercise_id.split(".")[0]].append(exercise_id)
    return groups


def _status(content: dict[str, Any], exercise_id: str) -> str | None:
    return content["exercises"].get(exercise_id, {}).get("status")


def _chapter(
    chapter: str, ids: list[str], quizzes: list[str], content: dict[str, Any]
) -> tuple[str, str]:
    """HTML and text of one chapter: a bar, the counts, the exercises begun."""
    passed = sum(_status(content, id) == "passed" for id in ids)
    name = f"{chapter} {CHAPTERS.get(chapter, '')}".strip()
    counts = f"{passed} of {len(ids)} exercises{_quiz_counts(quizzes, content)}"
    begun = [id for id in ids if id in content["exercises"]]
    states = [f"{id} {_state(content['exercises'][id])}" for id in begun]
    as_text = f"  {name:<20} [{_text_bar(passed, len(ids))}] {counts}"
    as_text += "".join(f"\n      {state}" for state in states)
    return _chapter_html(name, passed / len(ids), counts, states), as_text


def _chapter_html(name: str, share: float, counts: str, states: list[str]) -> str:
    lines = "".join(f'<div style="margin-left:1.2em">{inline(s)}</div>' for s in states)
    details = fold(f"{len(states)} begun", lines) if states else ""
    head = f"<strong>{escape(name)}</strong>: {escape(counts)}"
    return f'<div style="margin:8px 0">{head}{bar(share)}{details}</div>'


def _text_bar(done: int, of: int) -> str:
    full = round(_BAR * done / of)
    return "#" * full + "." * (_BAR - full)


def _quiz_counts(quizzes: list[str], content: dict[str, Any]) -> str:
    taken = [content["quizzes"][quiz] for quiz in quizzes if quiz in content["quizzes"]]
    if not quizzes:
        return ""
    right, asked = sum(row["best"] for row in taken), sum(row["of"] for row in taken)
    score = f" ({right} of {asked} answers right)" if taken else ""
    return f", {len(taken)} of {len(quizzes)} quizzes{score}"


def _state(entry: dict[str, Any]) -> str:
    """``"passed, 3 attempts, 1 hint"``."""
    parts = [{"passed": "passed", "failed": "not yet"}.get(entry.get("status"), "not attempted")]
    if entry.get("status") == "passed" and not entry.get("alone", True):
        parts[0] = "passed after seeing the solution"
    elif entry.get("solution_seen"):
        parts.append("solution seen")
    for key, noun in (("attempts", "attempt"), ("hints", "hint")):
        count = entry.get(key, 0)
        if count:
            parts.append(f"{count} {noun}{'' if count == 1 else 's'}")
    return ", ".join(parts)


def _next(titles: dict[str, str], content: dict[str, Any]) -> str:
    """The first exercise that is not passed, after the last one that is."""
    ids = list(titles)
    passed = [i for i, id in enumerate(ids) if _status(content, id) == "passed"]
    ahead = ids[passed[-1] + 1 :] if passed else ids
    open_ids = [id for id in ahead + ids if _status(content, id) != "passed"]
    if not open_ids:
        return "Every exercise is passed." if ids else "There are no exercises yet."
    return f"Next: exercise {open_ids[0]}, {titles[open_ids[0]]}."
