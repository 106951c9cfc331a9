"""BERTScore: matching by hand and by loops, and what MiniLM's vectors see that words do not."""

import math

import numpy as np
import pytest

from course_utils import assets
from course_utils.evaluation.bertscore import (
    bert_score,
    greedy_match,
    idf_table,
    rescale,
    token_vectors,
)
from course_utils.evaluation.rouge import Score, rouge
from course_utils.nn.contextual import ContextualEncoder

ROUNDING = {"abs": 1e-5}  # float32 vectors, sums over 384 products


@pytest.fixture(scope="module")
def encoder():
    return ContextualEncoder.from_pretrained(assets.path("minilm-l6"))


def test_greedy_match_by_hand():
    ours = np.array([[1.0, 0.0], [0.0, 3.0]])
    theirs = np.array([[2.0, 0.0], [3.0, 4.0], [1.0, 0.0]])  # cosines 1, .6, 1 and 0, .8, 0
    precision, recall = (1 + 0.8) / 2, (1 + 0.8 + 1) / 3
    expected = (precision, recall, 2 * precision * recall / (precision + recall))
    assert greedy_match(ours, theirs) == pytest.approx(expected)
    weighted = greedy_match(ours, theirs, [3, 1], [1, 2, 0])
    assert weighted[:2] == pytest.approx(((3 + 0.8) / 4, (1 + 1.6) / 3))
    assert greedy_match(np.empty((0, 2)), theirs) == (0, 0, 0)
    assert greedy_match(ours, theirs, [0, 0]) == pytest.approx(expected)  # no weight: plain mean


def test_greedy_match_equals_loops_and_is_symmetric():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(5, 11)), rng.normal(size=(7, 11))

    def cosine(x, y):
        return x @ y / math.sqrt(x @ x) / math.sqrt(y @ y)

    precision = sum(max(cosine(x, y) for y in theirs) for x in ours) / 5
    recall = sum(max(cosine(x, y) for x in ours) for y in theirs) / 7
    score, back = greedy_match(ours, theirs), greedy_match(theirs, ours)
    assert score[:2] == pytest.approx((precision, recall))
    assert (score.precision, score.recall) == pytest.approx((back.recall, back.precision))
    assert greedy_match(ours, ours[::-1]) == pytest.approx((1, 1, 1))  # a set: order is nothing


def test_a_text_equals_itself_and_batching_changes_nothing(encoder):
    texts = ["A cat sat.", "The committee rejected the proposal after a long debate."]
    for score in bert_score(encoder, texts, texts):
        assert score == pytest.approx((1, 1, 1), **ROUNDING)
    alone = bert_score(encoder, texts[:1], texts[1:])[0]
    together = bert_score(encoder, texts, texts[::-1])
    assert alone == pytest.approx(together[0], **ROUNDING)
    assert (together[0].precision, together[0].recall) == pytest.approx(
        (together[1].recall, together[1].precision), **ROUNDING
    )


def test_vectors_are_those_of_the_words_without_marks(encoder):
    (ids, vectors), (none, empty) = token_vectors(encoder, ["A cat", ""])
    assert encoder.tokenizer.convert_ids_to_tokens(ids) == ["a", "cat"]
    encoded = encoder.encode(["A cat"])
    np.testing.assert_allclose(vectors, encoded.states[-1, 0, 1:3].numpy(), atol=1e-5)
    assert none == []
    assert empty.shape == (0, 384)
    assert bert_score(encoder, [""], ["A cat"]) == [Score(0, 0, 0)]


def test_it_sees_a_paraphrase_where_words_do_not(encoder):
    reference, same, other = (
        "physicians treated children",
        "doctors healed kids",
        "ships crossed oceans",
    )
    assert rouge(same, reference)["rouge1"].f1 == rouge(other, reference)["rouge1"].f1 == 0
    close, far = bert_score(encoder, [same, other], [reference] * 2)
    assert close.f1 > far.f1 + 0.1


def test_idf_weights_by_hand(encoder):
    table = idf_table(encoder, ["a cat", "a dog", "a a"])
    a, cat = encoder.tokenizer("a cat", add_special_tokens=False)["input_ids"]
    assert table[a] == pytest.approx(0)
    assert table[cat] == pytest.approx(math.log(2))
    assert table[-1] == pytest.approx(math.log(4))
    plain, weighted = (
        bert_score(encoder, ["a cat"], ["a dog"], idf=idf)[0] for idf in (None, table)
    )
    assert weighted.f1 < plain.f1  # the shared "a" counts nothing now


def test_rescale_and_refusal(encoder):
    assert rescale(Score(0.8, 0.9, 1.0), Score(0.6, 0.9, 0.5)) == pytest.approx((0.5, 0.0, 1.0))
    with pytest.raises(ValueError, match="1 hypotheses and 2"):
        bert_score(encoder, ["a"], ["a", "b"])
