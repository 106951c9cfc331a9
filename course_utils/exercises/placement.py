"""The pre-test of the first notebook: ten questions that name the chapter to start with."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import yaml

LETTERS = "abcd"
DONT_KNOW = "?"


@dataclass(frozen=True)
class Question:
    """One multiple-choice question; ``right`` is the letter of the right option."""

    question: str
    options: tuple[str, ...]
    right: str
    why: str


@dataclass(frozen=True)
class Area:
    """A part of the course: its questions, and where to start when one of them is missed."""

    name: str
    start: str
    questions: tuple[Question, ...]


def areas() -> list[Area]:
    """The areas of the pre-test in the order of the course."""
    rows = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return [Area(r["area"], r["start"], tuple(map(_question, r["questions"]))) for r in rows]


def _question(row: dict) -> Question:
    return Question(row["question"], tuple(row["options"]), row["right"], row["why"])


def placement(answers: str = "") -> None:
    """Show the questions, or with answers the result and the chapter to start with.

    Args:
        answers: ten letters in the order of the questions, such as ``"a c b ? a b c b b c"``;
            ``?`` stands for "I do not know". Empty: the questions are shown.

    Raises:
        ValueError: a letter that is no option, or not as many letters as questions.
    """
    parts = areas()
    given = answers.lower().replace(",", " ").replace(" ", "")
    if not given:
        _display(_questions_text(parts), _questions_html(parts))
        return
    _check_answers(given, sum(len(area.questions) for area in parts))
    text = _result(parts, given)
    _display(text, "".join(f"<p>{_code(line)}</p>" for line in text.split("\n")))


def starting_point(given: str) -> str:
    """Where a reader with these answers (letters without blanks) should start."""
    letters = iter(given)
    for area in areas():
        if any([next(letters) != question.right for question in area.questions]):  # noqa: C419
            return area.start
    return "where you like; the exercises of any lesson will tell whether you were right"


def _check_answers(given: str, expected: int) -> None:
    wrong = sorted(set(given) - set(LETTERS + DONT_KNOW))
    if wrong:
        raise ValueError(f"answers are the letters a, b, c, d or ?; got {' '.join(wrong)}")
    if len(given) != expected:
        raise ValueError(f"the pre-test has {expected} questions, {len(given)} answers came")


def _result(parts: list[Area], given: str) -> str:
    """Right answers by area, an explanation for each miss, and where to start."""
    lines, letters = [], iter(given)
    for area in parts:
        missed = [q for q in area.questions if next(letters) != q.right]
        lines.append(f"{area.name}: {len(area.questions) - len(missed)} of {len(area.questions)}")
        lines += [f"— {q.question} Right is {q.right}. {q.why}" for q in missed]
    lines.append(f"Start with {starting_point(given)}.")
    return "\n".join(lines)


def _questions_text(parts: list[Area]) -> str:
    questions = [question for area in parts for question in area.questions]
    blocks = []
    for number, question in enumerate(questions, start=1):
        options = [
            f"   {x}) {option}" for x, option in zip(LETTERS, question.options, strict=False)
        ]
        blocks.append("\n".join([f"{number}. {question.question}", *options]))
    return "\n".join(blocks)


def _questions_html(parts: list[Area]) -> str:
    items = []
    for area in parts:
        for question in area.questions:
            options = "".join(f"<li>{_code(option)}</li>" for option in question.options)
            letters = f'<ol type="a">{options}</ol>'
            items.append(f'<li style="margin-bottom: 8px">{_code(question.question)}{letters}</li>')
    return f"<ol>{''.join(items)}</ol>"


def _code(text: str) -> str:
    """HTML of a line in which `backticks` mark code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _display(text: str, page: str) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
    else:
        display({"text/plain": text, "text/html": page}, raw=True)
