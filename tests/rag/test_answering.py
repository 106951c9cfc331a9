"""Prompts, citations, refusals and the threshold."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from course_utils.rag.answering import (
    abstention_report,
    calibrate_threshold,
    cite,
    clean_answer,
    is_refusal,
)
from course_utils.rag.prompts import (
    LEAD,
    closed_book_messages,
    fit_passages,
    grounded_messages,
    token_counter,
    with_lead,
)

SOURCE = "It opened in 1889. The tower is 330 metres tall. It is in Paris."


def row(text, start=0, name="s"):
    return {"id": name, "document": text, "start": start, "score": 0.9}


def words(messages):
    return sum(len(m["content"].split()) for m in messages)


def test_a_citation_is_a_place_in_the_source():
    chunk = SOURCE[19:]
    (found,) = cite("330 metres", [row("Bees dance.", name="b"), row(chunk, 19)])
    assert found["id"] == "s"
    assert found["quote"] == "The tower is 330 metres tall."
    assert SOURCE[found["start"] : found["end"]] == found["quote"]


def test_word_for_word_beats_half_matches():
    rows = [row("A tower of 330 bricks."), row("It is 330 metres tall.", name="t")]
    assert [c["id"] for c in cite("330 metres", rows)] == ["t"]
    assert [c["id"] for c in cite("330 houses", rows)] == ["s", "t"]  # one word of two
    assert cite("seven green houses", rows) == []
    assert cite("I don't know.", rows) == []


@pytest.mark.parametrize(
    "text", ["I don't know.", "I do not know", "", "Unknown.", "The passages do not say.", "..."]
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["1889", "Not far from Paris", "No Country for Old Men"])
def test_answers_are_no_refusals(text):
    assert not is_refusal(text)


def test_answers_are_cleaned():
    assert clean_answer("\n Answer: Paris [1]\nBecause it says so.") == "Paris"
    assert clean_answer(': "Paris"') == "Paris"
    assert clean_answer("  \n") == ""


def test_a_prompt_holds_its_budget():
    passages = [f"p{i} " + "word " * 20 for i in range(5)]
    empty = words(grounded_messages("Why now?", ["x"]))
    for budget in range(empty + 4, empty + 130, 7):
        messages, kept = fit_passages("Why now?", passages, budget, words)
        assert words(messages) <= budget
        assert kept == list(range(len(kept)))
        assert kept
        assert "Why now?" in messages[-1]["content"]
    assert len(fit_passages("Why now?", passages, 10_000, words)[1]) == 5


def test_a_long_passage_does_not_shut_out_a_short_one():
    _, kept = fit_passages("Q?", ["long " * 90, "short"], 80, words)
    assert kept == [1]


def test_too_small_a_budget_is_refused():
    with pytest.raises(ValueError, match="no room"):
        fit_passages("Why?", ["text"], 5, words)


def test_prompts_have_no_indentation_and_name_the_refusal():
    for messages in (grounded_messages("Q?", ["a\n  b"]), closed_book_messages("Q?")):
        assert all(not line.startswith(" ") for m in messages for line in m["content"].splitlines())
    assert "[1] a b" in grounded_messages("Q?", ["a\n  b"])[-1]["content"]
    assert "I don't know." in grounded_messages("Q?", ["a"])[-1]["content"]


def test_counting_without_a_tokenizer_errs_on_the_safe_side():
    class Exact:
        def encode(self, messages):
            return [0] * 11

    assert token_counter(Exact())([]) == 11
    assert with_lead([], Exact()) == [{"role": "assistant", "content": LEAD}]
    assert with_lead([], object()) == []
    assert token_counter(object())(closed_book_messages("How tall is it?")) > 15


def test_abstention_by_hand_and_by_scikit_learn():
    scores, can = [0.9, 0.8, 0.4, 0.3, 0.2], [True, False, True, False, False]
    report = abstention_report(scores, can, 0.5)
    assert (report.precision, report.recall, report.coverage) == (2 / 3, 2 / 3, 1 / 2)
    silent, cannot = np.array(scores) < 0.5, ~np.array(can)
    assert report.precision == precision_score(cannot, silent)
    assert report.recall == recall_score(cannot, silent)
    assert report.balanced == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert report.f1 == pytest.approx(2 / 3)


def test_the_threshold_is_the_best_of_all():
    rng = np.random.default_rng(7)
    scores, can = rng.random(53), rng.random(53) < 0.7
    scores[can] += 0.3
    best = calibrate_threshold(scores, can)
    grid = [abstention_report(scores, can, t).balanced for t in np.linspace(-0.1, 1.5, 1601)]
    assert best.balanced >= max(grid)
    careful = calibrate_threshold(scores, can, coverage=0.9)
    assert careful.coverage >= 0.9
    assert abstention_report(scores, can, careful.threshold + 0.2).coverage < 0.9


def test_two_kinds_are_needed():
    with pytest.raises(ValueError, match="with and questions without"):
        calibrate_threshold([0.1, 0.2], [True, True])
    with pytest.raises(ValueError, match="shape"):
        abstention_report([0.1], [True, False], 0.5)
