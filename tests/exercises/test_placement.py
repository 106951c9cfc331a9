"""The pre-test names the first area with a mistake, and says what is wrong with its input."""

import pytest

from course_utils.exercises import placement as pre

RIGHT = "".join(question.right for area in pre.areas() for question in area.questions)


def test_every_question_can_be_answered():
    for area in pre.areas():
        for question in area.questions:
            assert len(question.options) == len(pre.LETTERS) == len(set(question.options))
            assert question.right in pre.LETTERS
            assert question.why.endswith(".")


@pytest.mark.parametrize("missed", range(len(RIGHT)))
def test_the_first_area_with_a_mistake_is_the_start(missed):
    answers = RIGHT[:missed] + "?" + RIGHT[missed + 1 :]
    assert pre.starting_point(answers) == pre.areas()[missed // 2].start
    later = RIGHT[:missed] + "?" * (len(RIGHT) - missed)
    assert pre.starting_point(later) == pre.areas()[missed // 2].start


def test_all_right_is_free_to_choose():
    assert "where you like" in pre.starting_point(RIGHT)


def test_the_result_explains_each_miss(capsys):
    pre.placement("? " + ", ".join(RIGHT[1:]).upper())
    shown = capsys.readouterr().out
    assert "Python, NumPy and probability: 1 of 2" in shown
    assert "Broadcasting lines shapes up" in shown
    assert "Bayes" not in shown
    assert shown.count("Right is") == 1


def test_without_answers_the_questions_are_shown(capsys):
    pre.placement()
    shown = capsys.readouterr().out
    assert f"{len(RIGHT)}. " in shown
    assert "Right is" not in shown


@pytest.mark.parametrize(
    ("answers", "words"), [("a b", "10 questions, 2 answers"), ("a b x", "a, b, c, d or .; got x")]
)
def test_wrong_input_is_named(answers, words):
    with pytest.raises(ValueError, match=words):
        pre.placement(answers)


def test_page_shows_code_as_code_and_escapes_the_rest():
    assert pre._code("`x` < y") == "<code>x</code> &lt; y"
