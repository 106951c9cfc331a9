"""GLUE, SQuAD, MMLU, HELM and contamination: by hand, against scikit-learn, scipy and listing."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from course_utils.evaluation.benchmarks import (
    GLUE_TASKS,
    best_threshold,
    glue_metrics,
    glue_score,
    macro_by_group,
    mean_win_rate,
    mmlu_prompt,
    squad_scores,
)
from course_utils.evaluation.contamination import (
    choose_n,
    find_overlaps,
    plain_words,
    scores_by_overlap,
)

# -- GLUE ----------------------------------------------------------------------------------------


def test_glue_metrics_equal_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 2, (2, 31)).tolist()
    f1 = 100 * metrics.f1_score(truth, found)
    accuracy = 100 * metrics.accuracy_score(truth, found)
    assert glue_metrics("mrpc", truth, found) == pytest.approx({"accuracy": accuracy, "f1": f1})
    assert glue_metrics("mnli", truth, found) == pytest.approx({"accuracy": accuracy})
    expected = 100 * metrics.matthews_corrcoef(truth, found)
    assert glue_metrics("cola", truth, found) == pytest.approx({"matthews": expected})
    grades, guesses = rng.normal(size=(2, 17)).round(1)
    assert glue_metrics("stsb", grades, guesses) == pytest.approx(
        {
            "pearson": 100 * stats.pearsonr(grades, guesses).statistic,
            "spearman": 100 * stats.spearmanr(grades, guesses).statistic,
        }
    )
    assert glue_metrics("qqp", [0, 0], [0, 0])["f1"] == 0  # no positive item at all


def test_glue_score_by_hand():
    results = {"cola": {"matthews": 40.0}, "mrpc": {"accuracy": 80.0, "f1": 90.0}}
    assert glue_score(results) == (40 + 85) / 2
    assert len(GLUE_TASKS) == 9
    with pytest.raises(ValueError, match="mrpc is scored by accuracy, f1; got f1"):
        glue_score({"mrpc": {"f1": 90.0}})
    with pytest.raises(ValueError, match="task must be one of"):
        glue_score({"imdb": {"accuracy": 90.0}})
    with pytest.raises(ValueError, match="no task"):
        glue_score({})


# -- SQuAD ---------------------------------------------------------------------------------------

ANSWERS = {1: ["Paris", "the city of Paris"], 2: ["red car"], 3: [], 4: ["", "The"]}


def test_squad_by_hand():
    scores = squad_scores({1: "paris!", 2: "a car", 3: "Rome", 4: "", 5: "unused"}, ANSWERS)
    np.testing.assert_array_equal(scores.exact, [1, 0, 0, 1])
    np.testing.assert_allclose(scores.f1, [1, 2 / 3, 0, 1])
    np.testing.assert_array_equal(scores.answerable, [True, True, False, False])
    assert scores.summary() == pytest.approx(
        {
            "exact": 50,
            "f1": 100 * (8 / 3) / 4,
            "has_answer_exact": 50,
            "has_answer_f1": 100 * 5 / 6,
            "no_answer_exact": 50,
            "no_answer_f1": 50,
        }
    )
    silent = {1: 0.2, 2: 0.6, 3: 0.9, 4: 0.1}
    scores = squad_scores(
        {1: "Paris", 2: "red car", 3: "Rome", 4: ""}, ANSWERS, no_answer=silent, threshold=0.6
    )
    np.testing.assert_array_equal(scores.f1, [1, 1, 1, 1])
    summary = squad_scores({1: "Paris"}, {1: ["Paris"]}).summary()
    assert math.isnan(summary["no_answer_f1"])
    with pytest.raises(ValueError, match="no prediction for 1 of 2"):
        squad_scores({1: "x"}, {1: ["x"], 2: ["y"]})


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.5, 1]), st.booleans(), st.sampled_from([0.1, 0.4, 0.7])),
        min_size=1,
        max_size=13,
    )
)
def test_best_threshold_equals_trying_all(rows):
    scores, answerable, p = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.where(answerable, scores, 0)

    def mean(threshold):
        return np.where(p > threshold, ~answerable, scores).mean()

    best, threshold = best_threshold(scores, answerable, p)
    assert best == pytest.approx(max(mean(t) for t in (-np.inf, *p)))
    assert mean(threshold) == pytest.approx(best)


# -- MMLU, HELM ----------------------------------------------------------------------------------


def test_mmlu_prompt_by_hand():
    prompt = mmlu_prompt("2 + 2?", ["3", "4"], subject="sums", examples=[("1 + 1?", ["2", "5"], 0)])
    assert prompt == (
        "The following are multiple choice questions (with answers) about sums.\n\n"
        "1 + 1?\nA. 2\nB. 5\nAnswer: A\n\n"
        "2 + 2?\nA. 3\nB. 4\nAnswer:"
    )


def test_macro_average_is_not_the_mean_of_the_items():
    means = macro_by_group([1, 1, 1, 0], ["law", "law", "law", "art"])
    assert means == {"law": 1, "art": 0}
    assert np.mean(list(means.values())) == 0.5
    with pytest.raises(ValueError, match="1 scores for 2"):
        macro_by_group([1], "ab")


def test_win_rate_by_hand_and_its_weakness():
    table = {"x": {"qa": 3, "sum": 1}, "y": {"qa": 2, "sum": 2}, "z": {"qa": 1, "sum": 2}}
    assert mean_win_rate(table) == pytest.approx({"x": 0.5, "y": (0.5 + 0.75) / 2, "z": 0.375})
    # x beats y on two scenarios of three; two models between them on the third turn the order
    pair = {"x": {"a": 2, "b": 2, "c": 0}, "y": {"a": 1, "b": 1, "c": 9}}
    between = {f"m{i}": {"a": 0, "b": 0, "c": 5} for i in range(2)}
    alone, crowd = mean_win_rate(pair), mean_win_rate(pair | between)
    assert alone["x"] > alone["y"]
    assert crowd["x"] < crowd["y"]
    assert np.mean(list(crowd.values())) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="same scenarios"):
        mean_win_rate({"x": {"qa": 1}, "y": {"sum": 1}})
    with pytest.raises(ValueError, match="two models"):
        mean_win_rate({"x": {"qa": 1}})


# -- contamination -------------------------------------------------------------------------------


def test_overlap_by_hand():
    example = "One two, THREE four five six seven."
    corpus = ["zero one two three four", "nothing here", "x five-six seven one two three"]
    (found,) = find_overlaps([example], corpus, n=3)
    # found: one two three, two three four, five six seven of five 3-grams
    assert (found.words, found.ngrams, found.found) == (7, 5, 3)
    assert found.spans == ((0, 7),)  # (0, 4) and (4, 7) touch
    assert found.documents == (0, 2)
    assert found.share == 3 / 5
    assert found.covered == 1
    (longer,) = find_overlaps([example], corpus, n=4)
    assert longer.spans == ((0, 4),)
    assert longer.covered == 4 / 7
    assert not find_overlaps([example], corpus, n=5)[0].dirty


def test_common_phrases_and_short_items():
    phrase, corpus = "once upon a time there was", ["Once upon a time …"] * 3
    assert find_overlaps([phrase], corpus, n=4, max_documents=3)[0].dirty
    assert not find_overlaps([phrase], corpus, n=4, max_documents=2)[0].dirty
    short = find_overlaps(["a b"], ["a b"], n=3)[0]
    assert (short.ngrams, short.share, short.dirty) == (0, 0, False)
    assert find_overlaps([""], ["a"], n=1)[0].covered == 0


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from("abc"), max_size=9),
    st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=3),
    st.integers(1, 4),
)
def test_overlap_equals_looking_at_every_place(words, documents, n):
    (found,) = find_overlaps([" ".join(words)], map(" ".join, documents), n=n)
    grams = [words[i : i + n] for i in range(len(words) - n + 1)]
    places = {tuple(d[i : i + n]) for d in documents for i in range(len(d) - n + 1)}
    assert found.found == sum(tuple(gram) in places for gram in grams)
    covered = {j for i, g in enumerate(grams) if tuple(g) in places for j in range(i, i + n)}
    assert sorted(covered) == [j for start, end in found.spans for j in range(start, end)]


def test_a_planted_copy_is_found_and_nothing_else():
    rng = random.Random(0)
    vocabulary = [f"w{i}" for i in range(997)]
    items = [" ".join(rng.choices(vocabulary, k=41)) for _ in range(7)]
    corpus = [" ".join(rng.choices(vocabulary, k=503)) for _ in range(31)]
    corpus[11] += " " + ", ".join(items[3].upper().split()[5:29])
    found = find_overlaps(items, corpus)
    assert [o.dirty for o in found] == [i == 3 for i in range(7)]
    assert found[3].spans == ((5, 29),)
    assert found[3].documents == (11,)
    split = scores_by_overlap([0, 1, 0, 1, 0, 1, 0], found)
    assert split == {"all": (3 / 7, 7), "clean": (2 / 6, 6), "dirty": (1.0, 1)}
    strict = scores_by_overlap([0, 1, 0, 1, 0, 1, 0], found, from_share=0.7)
    assert strict["dirty"][1] == 0
    assert math.isnan(strict["dirty"][0])


def test_choose_n_and_words():
    texts = ["a b c d e f g h i j"] * 19 + ["x"]
    assert choose_n(texts, low=1) == int(np.percentile([10] * 19 + [1], 5))
    assert choose_n(["a b"]) == 8
    assert choose_n([" ".join("abcdefghijklmnopqrst")]) == 13
    assert plain_words("Don't: snake_case É2") == ["don", "t", "snake", "case", "é2"]
    with pytest.raises(ValueError, match="no example"):
        choose_n([])
    with pytest.raises(ValueError, match="n must be"):
        find_overlaps(["a"], ["a"], n=0)
    with pytest.raises(ValueError, match="1 scores for 0"):
        scores_by_overlap([1], [])
