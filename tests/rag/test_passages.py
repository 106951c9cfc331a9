"""The corpus of the RAG lessons and its questions."""

import pytest

from course_utils.rag.passages import (
    Passage,
    around,
    choose_passages,
    gold_table,
    load_questions,
    stratified,
    wikipedia_passages,
)


@pytest.fixture(scope="module")
def passages():
    return wikipedia_passages()


@pytest.fixture(scope="module")
def questions():
    return load_questions()


def test_enough_questions_with_and_without_an_answer(questions):
    assert sum(q.answerable for q in questions) >= 200
    assert sum(not q.answerable for q in questions) >= 50
    assert len({q.id for q in questions}) == len({q.text for q in questions}) == len(questions)
    for split in ("dev", "test"):
        kinds = {q.answerable for q in load_questions(split)}
        assert kinds == {True, False}
    with pytest.raises(ValueError, match="split"):
        load_questions("train")


def test_every_answer_stands_in_its_passage(passages, questions):
    gold, texts = gold_table(questions, passages), {p.id: p.text for p in passages}
    for question in questions:
        if question.answerable:
            assert question.answers
            found = [texts[name] for name in gold[question.id]]
            assert any(text.startswith(question.passage.strip()) for text in found), question.id
        else:
            assert question.answers == ()
            assert question.id not in gold


def test_passages_are_distinct(passages):
    assert len({p.id for p in passages}) == len({p.text for p in passages}) == len(passages)
    assert len(passages) > 4000


def test_a_smaller_collection_keeps_the_gold(passages, questions):
    chosen = choose_passages(passages, questions, 700)
    assert len(chosen) == 700
    assert gold_table(questions, chosen) == gold_table(questions, passages)
    assert chosen == choose_passages(passages, questions, 700)
    assert [p.id for p in chosen] == [p.id for p in passages if p in set(chosen)]
    few = choose_passages(passages, questions[:3], 1)
    assert {g for gold in gold_table(questions[:3], few).values() for g in gold} == {
        p.id for p in few
    }


def test_a_stratified_sample_is_fixed_and_mixed(questions):
    sample = stratified(questions, 45, 15)
    assert sample == stratified(questions, 45, 15)
    assert sum(q.answerable for q in sample) == 45
    assert len(sample) == len(set(sample)) == 60
    assert {(q.kind, q.style) for q in sample} == {(q.kind, q.style) for q in questions}
    with pytest.raises(ValueError, match="asked for"):
        stratified(questions, 10_000, 1)


def test_a_quote_that_stands_nowhere_is_named(passages, questions):
    with pytest.raises(ValueError, match=f"question {questions[0].id}: no passage"):
        gold_table(questions[:1], passages[-3:])


def test_neighbours_stay_in_their_article():
    rows = [Passage(f"{t}#{i}", t, "s", f"{t}{i}") for t, i in [("a", 0), ("a", 1), ("b", 0)]]
    assert around(rows, ["a#1", "b#0"]) == {"a#1": "a0\n\na1", "b#0": "b0"}
    assert around(rows, ["a#0"], reach=0) == {"a#0": "a0"}
