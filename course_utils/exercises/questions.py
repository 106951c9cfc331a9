"""Quiz questions: read from YAML, checked, and laid out as text and as stored HTML."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.exercises.cards import Card, fold, inline, strong

FOLDER = Path(__file__).resolve().parent / "quizzes"
QUESTIONS = 5
OPTIONS = (3, 4)
LETTERS = "ABCD"
_FILE = re.compile(r"(\d\d)_(\d\d)\.yaml")


class QuizError(ValueError):
    """A quiz file is not as it should be."""


@dataclass(frozen=True)
class Option:
    """One answer, why it is right or wrong, and which of the two it is."""

    text: str
    why: str
    right: bool

    @property
    def verdict(self) -> str:
        """``"Right."`` or ``"Not right."``: said in words, since colours may not arrive."""
        return "Right." if self.right else "Not right."


@dataclass(frozen=True)
class Question:
    """One question with three or four options, exactly one of them right."""

    text: str
    options: tuple[Option, ...]

    @property
    def answer(self) -> int:
        """Position of the right option."""
        return next(i for i, option in enumerate(self.options) if option.right)


def quiz_ids() -> list[str]:
    """Every quiz, in course order."""
    matches = map(_FILE.fullmatch, sorted(file.name for file in FOLDER.iterdir()))
    return [f"{int(m[1])}.{int(m[2])}" for m in matches if m]


def quiz_file(quiz_id: str) -> Path:
    """``"1.2"`` -> ``quizzes/01_02.yaml``."""
    match = re.fullmatch(r"(\d+)\.(\d+)", str(quiz_id))
    if match is None:
        raise QuizError(f"a quiz id is chapter.lesson such as '1.2', got {quiz_id!r}")
    return FOLDER / f"{int(match[1]):02d}_{int(match[2]):02d}.yaml"


def load_quiz(quiz_id: str) -> list[Question]:
    """Read and check a quiz; its options are in the order in which they are shown.

    Raises:
        QuizError: with file, question and option, if something is missing or doubled.
        FileNotFoundError: if there is no such quiz.
    """
    import yaml

    file = quiz_file(quiz_id)
    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise QuizError(f"{file.name} is not valid YAML: {error}") from error
    return parse(rows, file.name)


def parse(rows: Any, source: str) -> list[Question]:
    """Questions from what YAML gave.

    Raises:
        QuizError: naming the first fault.
    """
    if not isinstance(rows, list) or len(rows) != QUESTIONS:
        count = len(rows) if isinstance(rows, list) else type(rows).__name__
        raise QuizError(f"{source}: expected a list of {QUESTIONS} questions, got {count}")
    return [_question(row, f"{source}, question {i}") for i, row in enumerate(rows, 1)]


def _question(row: Any, where: str) -> Question:
    _keys(row, {"question", "options"}, set(), where)
    rows = row["options"]
    if not isinstance(rows, list) or len(rows) not in OPTIONS:
        raise QuizError(f"{where}: expected {OPTIONS[0]} or {OPTIONS[1]} options")
    options = [_option(item, f"{where}, option {i}") for i, item in enumerate(rows, 1)]
    right = sum(option.right for option in options)
    if right != 1:
        raise QuizError(f"{where}: expected exactly one right option, got {right}")
    if len({option.text for option in options}) != len(options):
        raise QuizError(f"{where}: two options have the same text")
    text = _text(row, "question", where)
    # authors tend to write the right answer first; the order is fixed, so stored = live
    random.Random(text).shuffle(options)
    return Question(text, tuple(options))


def _option(row: Any, where: str) -> Option:
    _keys(row, {"text", "why"}, {"right"}, where)
    right = row.get("right", False)
    if not isinstance(right, bool):
        raise QuizError(f"{where}: right must be true or false, got {right!r}")
    return Option(_text(row, "text", where), _text(row, "why", where), right)


def _keys(row: Any, needed: set[str], allowed: set[str], where: str) -> None:
    if not isinstance(row, dict):
        raise QuizError(f"{where}: expected {', '.join(sorted(needed))}; got {row!r}")
    missing, extra = needed - row.keys(), row.keys() - needed - allowed
    if missing:
        raise QuizError(f"{where}: {', '.join(sorted(missing))} is missing")
    if extra:
        raise QuizError(f"{where}: unknown {', '.join(sorted(map(str, extra)))}")


def _text(row: dict, key: str, where: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise QuizError(f"{where}: {key} must be text; put {value!r} in quotes")
    if not value.strip():
        raise QuizError(f"{where}: {key} is empty")
    return value.strip()


def static_card(quiz_id: str, questions: list[Question]) -> Card:
    """The whole quiz without a kernel: choosing an option unfolds its explanation."""
    card = Card("quiz", "Quiz", f"{quiz_id} · {len(questions)} questions")
    card.text("Choose the answer you believe in; it unfolds and says whether it is right, and why.")
    for number, question in enumerate(questions, 1):
        card.raw(_question_html(number, question), _question_text(number, question))
    return card.raw("", "\n" + _answers_text(questions))


def _question_html(number: int, question: Question) -> str:
    options = "".join(
        fold(f"{LETTERS[i]}. {inline(option.text)}", why_html(option), "margin:2px 0 2px 12px")
        for i, option in enumerate(question.options)
    )
    head = f"<strong>{number}.</strong> {inline(question.text)}"
    return f'<div style="margin:10px 0 4px 0">{head}</div>{options}'


def why_html(option: Option) -> str:
    """The verdict on an option and its explanation."""
    verdict = strong(option.verdict, "passed" if option.right else "failed")
    return f'<div style="padding:2px 12px 4px 1.2em">{verdict} {inline(option.why)}</div>'


def _question_text(number: int, question: Question) -> str:
    options = [f"     {LETTERS[i]}. {option.text}" for i, option in enumerate(question.options)]
    return "\n".join([f"\n  {number}. {question.text}", *options])


def _answers_text(questions: list[Question]) -> str:
    lines = ["  Answers"]
    for number, question in enumerate(questions, 1):
        lines += [
            f"  {number}{LETTERS[i]}  {option.verdict} {option.why}"
            for i, option in enumerate(question.options)
        ]
    return "\n".join(lines)
