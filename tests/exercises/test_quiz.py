"""Quizzes: refused when malformed, driven by their buttons, readable without a kernel."""

from __future__ import annotations

import copy
import re

import pytest

from course_utils.exercises import questions, quiz, quizview, store
from course_utils.exercises.questions import QuizError, load_quiz, parse, static_card


def rows() -> list[dict]:
    def options(number):
        texts = ["<b>first</b>", "second `x<y`", "third"]
        return [
            {"text": f"{text} {number}", "why": f"because {i}", "right": i == number % 3}
            for i, text in enumerate(texts)
        ]

    return [{"question": f"Question number {n}?", "options": options(n)} for n in range(5)]


def broken(change) -> list[dict]:
    content = copy.deepcopy(rows())
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop(), "expected a list of 5 questions, got 4"),
        (lambda r: r[1].pop("question"), "question 2: question is missing"),
        (lambda r: r[1].update(hint="x"), "question 2: unknown hint"),
        (lambda r: r[2]["options"].pop(), "question 3: expected 3 or 4 options"),
        (lambda r: r[2]["options"][1].pop("why"), "question 3, option 2: why is missing"),
        (lambda r: r[2]["options"][1].update(why=" "), "option 2: why is empty"),
        (lambda r: r[0]["options"][1].update(text=0.5), "text must be text; put 0.5 in quotes"),
        (lambda r: r[0]["options"][1].update(right=True), "exactly one right option, got 2"),
        (lambda r: r[0]["options"][0].update(right=False), "exactly one right option, got 0"),
        (lambda r: r[0]["options"][0].update(right="yes"), "right must be true or false"),
        (lambda r: r[0]["options"][0].update(text="third 0"), "two options have the same text"),
        (lambda r: r.__setitem__(3, "text"), "question 4: expected options, question; got 'text'"),
    ],
)
def test_a_malformed_quiz_is_refused_with_its_place(change, message):
    with pytest.raises(QuizError, match=re.escape(message)):
        parse(broken(change), "01_02.yaml")


def test_something_else_than_a_list_is_refused():
    for content in (None, {}, "text"):
        with pytest.raises(QuizError, match="expected a list of 5"):
            parse(content, "file")


def test_the_order_of_options_is_fixed_but_not_the_authors():
    first, second = parse(rows(), "f"), parse(rows(), "f")
    assert first == second
    authored = [row["options"][0]["text"] for row in rows()]
    assert [q.options[0].text for q in first] != authored
    assert {q.answer for q in first} != {0}


def test_files_are_named_after_the_lesson():
    assert questions.quiz_file("1.12").name == "01_12.yaml"
    assert "0.0" in questions.quiz_ids()
    with pytest.raises(QuizError):
        questions.quiz_file("../secret")


def test_the_static_quiz_explains_every_option():
    card = static_card("9.9", parse(rows(), "f"))
    html, plain = card.html(), card.plain()
    assert html.count("<details") == 15
    assert "<b>" not in html
    assert html.count("Not right.") == 10
    assert plain.count("because") == 15
    assert plain.index("Question number 4?") < plain.index("Answers") < plain.index("because 0")


def view():
    pytest.importorskip("ipywidgets")
    return quizview.QuizView("9.9", parse(rows(), "f"))


def buttons(box) -> list:
    own = [box] if type(box).__name__ == "Button" else []
    return own + [b for child in getattr(box, "children", ()) for b in buttons(child)]


def text_of(box) -> str:
    return getattr(box, "value", "") + "".join(map(text_of, getattr(box, "children", ())))


def press(quiz_view, description: str) -> None:
    next(b for b in buttons(quiz_view.box) if b.description == description).click()


def letter(quiz_view, *, right: bool) -> str:
    answer = quiz_view.state.question.answer
    return questions.LETTERS[answer if right else (answer + 1) % 3]


def test_one_question_at_a_time_with_the_explanation_of_the_choice():
    shown = view()
    assert "Question 1 of 5" in text_of(shown.box)
    assert "because" not in text_of(shown.box)
    assert buttons(shown.box)[-1].disabled
    press(shown, letter(shown, right=False))
    assert text_of(shown.box).count("because") == 1
    assert "Not right." in text_of(shown.box)
    press(shown, letter(shown, right=True))
    assert text_of(shown.box).count("because") == 2
    press(shown, "Next question")
    assert "Question 2 of 5" in text_of(shown.box)
    assert "because" not in text_of(shown.box)


def test_the_first_choice_counts_and_the_score_is_remembered(remembers):
    shown = view()
    for number in range(5):
        press(shown, letter(shown, right=number != 2))
        press(shown, letter(shown, right=True))
        press(shown, letter(shown, right=False))  # nothing counts after the right one
        press(shown, "Next question" if number < 4 else "Show the score")
    assert "4 of 5 right at the first choice" in text_of(shown.box)
    assert "Question number 2?" in text_of(shown.box)
    assert "Question number 1?" not in text_of(shown.box)
    assert store.read()[0]["quizzes"]["9.9"]["best"] == 4
    press(shown, "Try again")
    assert "Question 1 of 5" in text_of(shown.box)
    assert shown.state.score == 0


def test_going_on_needs_a_choice():
    shown = view()
    shown.next()
    assert shown.state.position == 0


def test_widget_text_is_escaped():
    shown = view()
    for _ in range(3):
        assert "<b>" not in text_of(shown.box)
        press(shown, letter(shown, right=True))
        assert "<b>" not in text_of(shown.box)
        press(shown, "Next question")


def test_outside_a_notebook_the_text_is_printed(capsys):
    assert quiz("0.0") is None
    out = capsys.readouterr().out
    assert out.startswith("[Quiz] 0.0")
    assert out.count("Right. ") == 5


@pytest.mark.parametrize("bad", ["0.7", "x", None, "../../etc"])
def test_an_unknown_quiz_is_a_sentence(bad, capsys):
    assert quiz(bad) is None
    assert "[Error]" in capsys.readouterr().out


def test_a_missing_widget_library_leaves_the_static_quiz(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert quizview._widget_bundle("0.0", load_quiz("0.0")) == {}
