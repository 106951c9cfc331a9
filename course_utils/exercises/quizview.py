"""The live quiz: one question at a time, an explanation for every choice, a score at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from course_utils import config
from course_utils.exercises import store
from course_utils.exercises.cards import PAPER, Card, inline, show, show_bundle
from course_utils.exercises.questions import (
    LETTERS,
    Question,
    QuizError,
    load_quiz,
    quiz_ids,
    static_card,
    why_html,
)

if TYPE_CHECKING:
    import ipywidgets

VIEW = "application/vnd.jupyter.widget-view+json"


def quiz(quiz_id: str) -> None:
    """Show the quiz of a lesson: live with buttons, or as text that unfolds where stored.

    Args:
        quiz_id: chapter.lesson, such as ``"1.2"``.
    """
    try:
        questions = load_quiz(quiz_id)
    except (QuizError, OSError) as error:
        return show(Card("error", "Error", f"quiz {quiz_id}").text(_sorry(quiz_id, error)))
    card = static_card(quiz_id, questions)
    bundle = {"text/html": card.html(), "text/plain": card.plain()}
    if _live():
        bundle |= _widget_bundle(quiz_id, questions)
    return show_bundle(bundle)


def _sorry(quiz_id: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no quiz {quiz_id!r}. There are: {', '.join(quiz_ids())}."
    return f"{error}. This is a fault of the course, not yours."


def _live() -> bool:
    """True with a notebook kernel and a reader; a build stores no widget state."""
    if config.strict() or os.environ.get("COURSE_NO_PROGRESS", "") == "1":
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def _widget_bundle(quiz_id: str, questions: list[Question]) -> dict:
    """The widget's part of the bundle; empty where ipywidgets is missing or broken."""
    try:
        view = QuizView(quiz_id, questions)
    except Exception:  # no comm, an old ipywidgets: the static quiz serves
        return {}
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": view.box.model_id}}


@dataclass
class QuizState:
    """Where a reader stands; the first choice of each question counts."""

    questions: list[Question]
    position: int = 0
    first: list[int] = field(default_factory=list)
    chosen: set[int] = field(default_factory=set)

    @property
    def question(self) -> Question:
        """The question shown now."""
        return self.questions[self.position]

    @property
    def finished(self) -> bool:
        """True after the last question."""
        return self.position >= len(self.questions)

    @property
    def score(self) -> int:
        """Questions answered rightly at the first choice."""
        pairs = zip(self.questions, self.first, strict=False)
        return sum(question.answer == choice for question, choice in pairs)

    @property
    def found(self) -> bool:
        """True once the right option of this question was chosen."""
        return self.question.answer in self.chosen

    def choose(self, option: int) -> None:
        """Choose an option of the question shown; nothing counts once the right one is found."""
        if self.found:
            return
        if not self.chosen:
            self.first.append(option)
        self.chosen.add(option)

    def next(self) -> None:
        """Go to the next question; only after a choice."""
        if self.chosen:
            self.position, self.chosen = self.position + 1, set()


class QuizView:
    """Buttons around a :class:`QuizState`; ``box`` is what is displayed."""

    def __init__(self, quiz_id: str, questions: list[Question]) -> None:
        import ipywidgets as widgets

        self.widgets = widgets
        self.quiz_id = quiz_id
        self.state = QuizState(questions)
        self.box = widgets.VBox(layout=widgets.Layout(max_width="52em", padding="4px 8px"))
        self._draw()

    def choose(self, option: int) -> None:
        """Choose an option, as its button does."""
        self.state.choose(option)
        self._mark()

    def next(self) -> None:
        """Go on, as the button does; after the last question the score is remembered."""
        self.state.next()
        if self.state.finished:
            self._finish()
        else:
            self._draw()

    def restart(self) -> None:
        """Begin again with the first question."""
        self.state = QuizState(self.state.questions)
        self._draw()

    def _draw(self) -> None:
        state, number = self.state, self.state.position + 1
        head = f"<strong>Question {number} of {len(state.questions)}</strong>"
        text = self._html(f"{head}<br>{inline(state.question.text)}")
        self.rows = [self._row(i) for i in range(len(state.question.options))]
        self.next_button = self._button(
            "Next question" if number < len(state.questions) else "Show the score", self.next
        )
        self.next_button.disabled = True
        self.box.children = [text, *(row for row in self.rows), self.next_button]

    def _row(self, i: int) -> ipywidgets.VBox:
        """One option: its letter as a button, its text, and room for the explanation."""
        option = self.state.question.options[i]
        button = self._button(LETTERS[i], lambda: self.choose(i))
        button.tooltip = f"Choose answer {LETTERS[i]}"
        button.layout.width = "3em"
        button.layout.flex = "0 0 auto"
        centred = self.widgets.Layout(align_items="center", margin="2px 0")
        line = self.widgets.HBox([button, self._html(inline(option.text))], layout=centred)
        why = self._html("")
        why.layout.display = "none"
        return self.widgets.VBox([line, why])

    def _mark(self) -> None:
        """Show what is known now: the explanation of every option chosen so far."""
        state = self.state
        for i, row in enumerate(self.rows):
            button, why = row.children[0].children[0], row.children[1]
            if i in state.chosen:
                option = state.question.options[i]
                button.button_style = "success" if option.right else "warning"
                paper = f'<div style="{PAPER};border-radius:4px">{why_html(option)}</div>'
                why.value, why.layout.display = paper, None
        self.next_button.disabled = False

    def _finish(self) -> None:
        state = self.state
        note = store.remember_quiz(self.quiz_id, state.score, len(state.questions))
        card = Card("quiz", "Quiz finished", self.quiz_id)
        card.text(f"{state.score} of {len(state.questions)} right at the first choice.")
        for number, (question, choice) in enumerate(zip(state.questions, state.first, strict=True)):
            if choice != question.answer:
                right = question.options[question.answer]
                card.text(f"{number + 1}. {question.text} *{right.text}*")
                card.raw(why_html(right), right.why)
        card.small(note)
        again = self._button("Try again", self.restart)
        self.box.children = [self._html(card.html()), again]

    def _html(self, text: str) -> ipywidgets.HTMLMath:
        layout = self.widgets.Layout(flex="1 1 auto", width="auto")
        return self.widgets.HTMLMath(f'<div style="line-height:1.45">{text}</div>', layout=layout)

    def _button(self, text: str, action: Callable[[], None]) -> ipywidgets.Button:
        layout = self.widgets.Layout(width="auto", align_self="flex-start", margin="6px 2px")
        button = self.widgets.Button(description=text, layout=layout)
        button.on_click(lambda _: action())
        return button
