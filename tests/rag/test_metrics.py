"""Retrieval metrics: by hand, scikit-learn's nDCG and average precision, limits."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from course_utils.rag.metrics import (
    average_precision,
    faithfulness,
    grounded,
    hit_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
    score_rankings,
)

RANKING = ["d", "b", "a", "e", "c"]


def test_by_hand():
    gold = {"b", "c", "z"}
    assert precision_at_k(RANKING, gold, 5) == 2 / 5
    assert recall_at_k(RANKING, gold, 3) == 1 / 3
    assert hit_at_k(RANKING, gold, 1) == 0
    assert hit_at_k(RANKING, gold, 2) == 1
    assert reciprocal_rank(RANKING, gold) == 1 / 2
    assert reciprocal_rank(RANKING, {"c"}, k=4) == 0
    assert average_precision(RANKING, gold) == pytest.approx((1 / 2 + 2 / 5) / 3)
    # places 2 and 5 of the best possible 1, 2, 3
    dcg, best = 1 / math.log2(3) + 1 / math.log2(6), 1 + 1 / math.log2(3) + 1 / 2
    assert ndcg_at_k(RANKING, gold, 5) == pytest.approx(dcg / best)


def test_a_document_found_by_two_chunks_counts_once():
    ranking = ["a", "a", "b"]
    assert reciprocal_rank(ranking, {"b"}) == 1 / 2
    assert precision_at_k(ranking, {"a"}, 2) == 1 / 2
    assert ndcg_at_k(ranking, {"a"}, 3) == 1


@pytest.mark.parametrize("k", [1, 3, 11, 13])
def test_ndcg_and_average_precision_agree_with_scikit_learn(k):
    rng = np.random.default_rng(k)
    for _ in range(17):
        grades, scores = rng.integers(0, 4, 11), rng.permutation(11)
        grades[rng.integers(11)] = 2  # at least one relevant
        ranking = [int(i) for i in np.argsort(-scores)]
        gold = {i: float(g) for i, g in enumerate(grades)}
        # rounding of a sum of eleven terms
        assert ndcg_at_k(ranking, gold, k) == pytest.approx(ndcg_score([grades], [scores], k=k))
        relevant = {i for i in gold if gold[i] > 0}
        expected = average_precision_score(grades > 0, scores)
        assert average_precision(ranking, relevant) == pytest.approx(expected)


def test_a_whole_set():
    scores = score_rankings([["a", "b"], ["c", "d"], []], [{"b"}, {"c"}, {"x"}], k=2)
    assert scores["rr"].tolist() == [0.5, 1, 0]
    assert scores["hit"].tolist() == [1, 1, 0]
    assert set(scores) == {"hit", "recall", "precision", "rr", "ndcg"}


def test_what_is_refused():
    with pytest.raises(ValueError, match="without gold"):
        recall_at_k(RANKING, set(), 3)
    with pytest.raises(ValueError, match="without gold"):
        ndcg_at_k(RANKING, {"a": 0.0}, 3)
    with pytest.raises(ValueError, match="at least 1"):
        hit_at_k(RANKING, {"a"}, 0)
    with pytest.raises(TypeError, match="one text"):
        reciprocal_rank(RANKING, "abc")
    with pytest.raises(ValueError, match="2 rankings for 1"):
        score_rankings([["a"], ["b"]], [{"a"}], 1)


def test_faithfulness():
    passages = ["The tower is 330 metres tall.", "Bees dance."]
    assert faithfulness("The tower dances", passages) == 1 / 2
    assert faithfulness("330 metres", passages) == 1
    assert faithfulness("", passages) == 1
    assert grounded("330 Metres", passages)
    assert not grounded("33", passages)
    assert not grounded("tall. Bees", passages)  # two passages, not one
