"""Span decoding: cases by hand, exhaustive search as oracle, windows over a long context."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from course_utils import assets
from course_utils.nn.span_decoding import (
    Span,
    answer,
    best_spans,
    null_score,
    people_questions,
)


def exhaustive(start, end, allowed, max_tokens):
    pairs = [
        (start[i] + end[j], -i, -j)
        for i in range(len(start))
        for j in range(i, min(i + max_tokens, len(start)))
        if allowed[i] and allowed[j]
    ]
    return max(pairs)[0]


def test_the_best_end_may_not_stand_before_the_best_start():
    start, end = torch.tensor([0.0, 1, 9, 0]), torch.tensor([0.0, 8, 2, 3])
    (span,) = best_spans(start, end, torch.ones(4, dtype=torch.bool))
    assert span == Span(2, 3, 12.0)  # argmax alone would give start 2 and end 1


def test_the_question_cannot_be_the_answer():
    start, end = torch.tensor([9.0, 1, 2]), torch.tensor([9.0, 1, 2])
    (span,) = best_spans(start, end, torch.tensor([False, True, True]))
    assert (span.start, span.end) == (2, 2)


def test_the_longest_answer_is_limited():
    start, end = torch.tensor([5.0, 0, 0, 1]), torch.tensor([0.0, 1, 0, 5])
    every = torch.ones(4, dtype=torch.bool)
    assert best_spans(start, end, every, max_tokens=4)[0] == Span(0, 3, 10.0)
    assert best_spans(start, end, every, max_tokens=2)[0] in (Span(0, 1, 6.0), Span(3, 3, 6.0))
    assert best_spans(start, end, every, max_tokens=1)[0] == Span(3, 3, 6.0)


def test_random_scores_against_exhaustive_search():
    generator = torch.Generator().manual_seed(0)
    for size in (2, 3, 7, 13):
        for max_tokens in (1, 3, 5, 30):
            start, end = torch.randn(2, size, generator=generator).double()
            allowed = torch.rand(size, generator=generator) < 0.7
            allowed[size // 2] = True
            (span,) = best_spans(start, end, allowed, max_tokens=max_tokens)
            best = exhaustive(start.tolist(), end.tolist(), allowed.tolist(), max_tokens)
            assert span.score == pytest.approx(best, abs=1e-12)  # one sum in float64
            assert 0 <= span.end - span.start < max_tokens


def test_k_spans_come_best_first_and_no_more_than_there_are():
    start, end = torch.randn(2, 5, generator=torch.Generator().manual_seed(3))
    spans = best_spans(start, end, torch.ones(5, dtype=torch.bool), max_tokens=2, k=100)
    assert len(spans) == 5 + 4
    assert [s.score for s in spans] == sorted((s.score for s in spans), reverse=True)


def test_no_answer_is_scored_by_the_first_token():
    assert null_score(torch.tensor([2.0, 7]), torch.tensor([3.0, 8])) == 5.0


def test_wrong_input_is_refused():
    row = torch.zeros(3)
    with pytest.raises(ValueError, match="one length"):
        best_spans(row, torch.zeros(5), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="no token is allowed"):
        best_spans(row, row, torch.zeros(3, dtype=torch.bool))


class Points:
    """A reader that knows one token id and scores it, and only it, as start and end."""

    def __init__(self, token):
        self.token, self.device, self.training = token, torch.device("cpu"), True

    def eval(self):
        return self.train(False)

    def train(self, mode):
        self.training = mode

    def __call__(self, input_ids, **_):
        assert not self.training
        scores = torch.where(input_ids == self.token, 5.0, 0.0)
        return SimpleNamespace(start_logits=scores, end_logits=scores)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(assets.path("minilm-l6"))


def test_the_answer_is_cut_from_the_context_with_its_capitals(tokenizer):
    reader = Points(tokenizer.convert_tokens_to_ids("paris"))
    context = "The tower stands in  Paris, France."
    (got,) = answer(reader, tokenizer, "Is paris old?", context)
    assert (got.text, got.score) == ("Paris", 10.0)
    assert context[got.start : got.end] == "Paris"
    assert reader.training  # the mode is put back


def test_an_answer_far_down_a_long_context_is_found_once(tokenizer):
    reader = Points(tokenizer.convert_tokens_to_ids("paris"))
    context = "word " * 97 + "Paris " + "word " * 53
    found = answer(reader, tokenizer, "Where?", context, window=31, stride=7, k=3)
    assert found[0].text == "Paris"
    assert found[0].start == 5 * 97
    assert [one.text for one in found].count("Paris") == 1


def test_an_empty_context_is_refused(tokenizer):
    with pytest.raises(ValueError, match="must both hold text"):
        answer(Points(5), tokenizer, "Where?", "  ")


def test_questions_about_people_hold_their_answer_once():
    rows = people_questions(199, seed=1)
    assert rows == people_questions(199, seed=1)
    assert rows != people_questions(199, seed=2)
    for row in rows:
        assert row["context"][row["start"] : row["end"]] == row["answer"]
        assert row["context"].count(". ") == 2
    name = rows[0]["question"].rstrip("?").split()
    assert any(word in rows[0]["context"] for word in name if word[0].isupper())
    assert len({row["question"] for row in rows}) > 30
