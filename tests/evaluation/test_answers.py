"""Exact match, F1, pass@k, labels: numbers by hand, brute force, scikit-learn, SQuAD's rules."""

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from course_utils.evaluation.answers import (
    exact_match,
    normalize_answer,
    pass_all_k,
    pass_at_k,
    scores_of,
    token_f1,
)
from course_utils.evaluation.classification import (
    cohen_kappa,
    label_scores,
    matthews,
)

WORDS = ["the", "a", "an", "The", "cat", "CAT's", "cat.", "sat,", "3-4", "theatre"]
TEXT = st.lists(st.sampled_from(WORDS)).map(" ".join)


@pytest.fixture(scope="module")
def official():
    """The functions of SQuAD's official script, as the evaluation harness keeps them."""
    found = importlib.util.find_spec("lm_eval")
    path = Path(found.submodule_search_locations[0]) / "tasks" / "qasper" / "metrics.py"
    spec = importlib.util.spec_from_file_location("qasper_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@settings(max_examples=60)
@given(TEXT, TEXT)
def test_answers_equal_the_official_script(official, first, second):
    ours, theirs = official.normalize_answer(first), official.normalize_answer(second)
    assert (normalize_answer(first), normalize_answer(second)) == (ours, theirs)
    assert exact_match(first, second) == (ours == theirs)
    if ours or theirs:  # where both are empty version 1.1 says 0 and version 2.0 says 1
        expected = official.f1_abstractive([first], [second])
        assert token_f1(first, second) == pytest.approx(expected)


def test_answers_by_hand():
    assert normalize_answer("The  Theatre, an (old) one!") == "theatre old one"
    assert normalize_answer("a-b") == "ab"  # punctuation goes before articles do
    assert exact_match("the Eiffel tower", ["Eiffel Tower!", "tower"]) == 1
    assert token_f1("in Paris France", "Paris") == pytest.approx(2 * (1 / 3) / (4 / 3))
    assert token_f1("paris paris", "paris") == pytest.approx(2 / 3)  # each word counts once
    assert token_f1("", []) == exact_match("", []) == 1  # no answer is right: say nothing
    assert token_f1("Paris", []) == exact_match("Paris", []) == 0
    scores = scores_of(token_f1, ["red car", "x"], ["car", ["y", "x"]])
    np.testing.assert_allclose(scores, [2 / 3, 1])
    with pytest.raises(ValueError, match="1 predictions and 2"):
        scores_of(token_f1, ["a"], ["a", "b"])


@settings(max_examples=60)
@given(TEXT, TEXT)
def test_answer_properties(first, second):
    assert token_f1(first, second) == pytest.approx(token_f1(second, first))
    assert 0 <= exact_match(first, second) <= token_f1(first, second) <= 1
    assert token_f1(first, [second, first]) == 1


# -- pass@k --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "c"), [(7, 0), (7, 1), (7, 3), (7, 7), (5, 2)])
def test_pass_at_k_equals_counting_all_draws(n, c):
    results = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        draws = list(itertools.combinations(results, k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
        assert pass_all_k(n, c, k) == pytest.approx(sum(map(all, draws)) / len(draws))


def test_pass_at_k_is_unbiased_and_the_tempting_form_is_not():
    n, k, p = 11, 5, 0.3
    chance = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    truth = 1 - (1 - p) ** k
    ours = sum(w * pass_at_k(n, c, k) for c, w in enumerate(chance))
    tempting = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chance))
    assert ours == pytest.approx(truth, abs=1e-12)
    assert tempting < truth - 0.01


def test_pass_at_k_stays_exact_for_many_samples():
    exact = 1 - math.comb(1990, 100) / math.comb(2000, 100)
    assert pass_at_k(2000, 10, 100) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("arguments", [(5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6)])
def test_pass_at_k_refuses(arguments):
    for function in (pass_at_k, pass_all_k):
        with pytest.raises(ValueError, match="need 0 <= correct"):
            function(*arguments)


# -- labels --------------------------------------------------------------------------------------

LABELS = st.sampled_from(["x", "y", "z", "rare"])
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=23)


def test_label_scores_by_hand():
    scores = label_scores("aaab", "aabb")
    assert scores.labels == ("a", "b")
    np.testing.assert_array_equal(scores.matrix, [[2, 1], [0, 1]])
    np.testing.assert_allclose(scores.precision, [1, 1 / 2])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1])
    np.testing.assert_allclose(scores.f1, [4 / 5, 2 / 3])
    assert scores.accuracy == 3 / 4
    assert scores.average("macro") == pytest.approx((3 / 4, 5 / 6, 11 / 15))
    assert scores.average("micro") == (3 / 4,) * 3
    with pytest.raises(ValueError, match="macro, micro, weighted"):
        scores.average("mean")
    with pytest.raises(ValueError, match="0 right labels"):
        label_scores([], [])


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=20, deadline=None)
@given(PAIRS)
def test_labels_equal_scikit_learn(pairs):
    truth, predicted = zip(*pairs, strict=True)
    ours = label_scores(truth, predicted)
    options = {"zero_division": 0, "labels": list(ours.labels)}
    each = metrics.precision_recall_fscore_support(truth, predicted, **options)
    for mine, theirs in zip((ours.precision, ours.recall, ours.f1), each[:3], strict=True):
        np.testing.assert_allclose(mine, theirs)
    np.testing.assert_array_equal(
        ours.matrix, metrics.confusion_matrix(truth, predicted, labels=list(ours.labels))
    )
    for kind in ("macro", "micro", "weighted"):
        theirs = metrics.precision_recall_fscore_support(truth, predicted, average=kind, **options)
        assert ours.average(kind) == pytest.approx(theirs[:3])
    # 1e-7: near 0 a square root makes 1e-15 of rounding visible
    assert matthews(truth, predicted) == pytest.approx(
        metrics.matthews_corrcoef(truth, predicted), abs=1e-7
    )


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_kappa_equals_scikit_learn(pairs):
    first, second = zip(*pairs, strict=True)
    if len({*first, *second}) == 1:
        assert math.isnan(cohen_kappa(first, second))
    else:
        expected = metrics.cohen_kappa_score(first, second)
        assert cohen_kappa(first, second) == pytest.approx(expected, abs=1e-12)


def test_kappa_and_matthews_by_hand():
    # agreement 6 of 10, shares of "a" 0.5 and 0.7: chance 0.35 + 0.15 = 0.5, kappa = 0.1 / 0.5
    first, second = "aaaaabbbbb", "aaaababaab"
    assert sum(x == y for x, y in zip(first, second, strict=True)) == 6
    assert cohen_kappa(first, second) == pytest.approx(0.2)
    assert matthews("aaab", "aaaa") == 0  # 75 % accuracy without knowing anything
    assert matthews("aabb", "bbaa") == -1
    assert matthews([True, None], [True, None]) == 1
