"""Judges, ratings, semantic entropy: verdict tables by hand, known biases found again, oracles."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from course_utils.evaluation.judging import (
    Match,
    Verdict,
    agreement,
    judge_by_preference,
    judge_by_text,
    judge_matches,
    judge_prompt,
    length_bias,
    parse_verdict,
    position_bias,
    self_preference,
    settled,
    simulated_judge,
    win_rate,
)
from course_utils.evaluation.ratings import bradley_terry, online_elo, rating_intervals
from course_utils.evaluation.uncertainty import (
    auroc,
    meaning_clusters,
    same_by_cosine,
    semantic_entropy,
)


def pair(item: str, there: str, back: str, judge: str = "j", lengths=(3, 5)) -> list[Verdict]:
    """Both orders of system x against y."""
    return [
        Verdict(judge, item, ("x", "y"), lengths, there),
        Verdict(judge, item, ("y", "x"), lengths[::-1], back),
    ]


TABLE = [
    *pair("1", "first", "second"),  # x both times
    *pair("2", "first", "first"),  # place, not answer
    *pair("3", "tie", "tie"),
    *pair("4", "second", "invalid"),
    *pair("5", "second", "first"),  # y both times
]


def matches(size: int, seed: int, systems=("x", "y")) -> list[Match]:
    """Answers "q<quality> word word …" of random quality and length."""
    rng = random.Random(seed)
    made = []
    for i in range(size):
        answers = tuple(f"q{rng.gauss(0, 1):.3f}" + " word" * rng.randint(1, 9) for _ in range(2))
        made.append(Match(str(i), "?", systems, answers))
    return made


def quality(answer: str) -> float:
    return float(answer.split()[0][1:])


def truth_of(made: list[Match]) -> dict:
    best = {}
    for match in made:
        good = [quality(answer) for answer in match.answers]
        best[(match.item, *sorted(match.systems))] = match.systems[good[1] > good[0]]
    return best


# -- verdict tables by hand ----------------------------------------------------------------------


def test_position_bias_by_hand():
    found = position_bias(TABLE)
    shares = (found.consistent, found.to_first, found.to_second, found.other)
    assert shares == (3 / 5, 1 / 5, 0, 1 / 5)
    assert found.pairs == 5
    # decided: 7 verdicts, first place in items 1, 2, 2, 5
    assert found.first_share.estimate == 4 / 7
    flipped = position_bias([*pair("1", "second", "second"), *pair("2", "second", "second")])
    assert (flipped.to_second, flipped.first_share.estimate) == (1, 0)


def test_settled_and_win_rate_by_hand():
    results = settled(TABLE)
    assert results == {
        ("1", "x", "y"): "x",
        ("2", "x", "y"): None,
        ("3", "x", "y"): None,
        ("4", "x", "y"): None,
        ("5", "x", "y"): "y",
    }
    assert win_rate(TABLE, "x").estimate == 0.5
    assert win_rate(TABLE[:4], "x").estimate == 0.75
    assert win_rate(TABLE[:4], "x").estimate + win_rate(TABLE[:4], "y").estimate == 1
    assert settled(TABLE[:1]) == {}  # one order only


def test_length_bias_by_hand():
    # lengths x 3, y 5; decided verdicts: x x, x y, y, y y; the longer wins 4 of 7
    truth = {(item, "x", "y"): "x" for item in "1234"} | {("5", "x", "y"): "y"}
    found = length_bias(TABLE, truth)
    assert found.estimate == pytest.approx(4 / 7 - 2 / 7)
    same = [*pair("1", "first", "second", lengths=(4, 4))]
    with pytest.raises(ValueError, match="different length"):
        length_bias(same, truth)


def test_self_preference_by_hand():
    mine = [*pair("1", "first", "second", "x"), *pair("2", "first", "second", "x")]
    strict = [*pair("1", "first", "second", "j"), *pair("2", "second", "first", "j")]
    mild = [*pair("2", "tie", "tie", "k"), *pair("9", "tie", "tie", "k")]
    found = self_preference([*mine, *strict, *mild], "x")
    assert found.estimate == ((1 - 1) + (1 - 0.25)) / 2
    assert self_preference([*mine, *strict], "j", own="y").estimate == 0.5
    with pytest.raises(ValueError, match="another judge"):
        self_preference(mine, "x")


def test_agreement_by_hand():
    ours, theirs = TABLE, [*pair("1", "first", "second"), *pair("2", "second", "first")]
    share, kappa = agreement(ours, theirs)
    assert share == 1 / 2
    # ours x and tie, theirs x and y: chance 1/4, kappa (1/2 - 1/4) / (3/4)
    assert kappa == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no pair in common"):
        agreement(TABLE, [])


# -- judging -------------------------------------------------------------------------------------


def test_both_orders_are_shown():
    seen = []

    def judge(question, first, second):
        seen.append((question, first, second))
        return "first"

    table = judge_matches(judge, [Match("7", "why", ("b", "a"), ("one", "two words"))], name="m")
    assert seen == [("why", "one", "two words"), ("why", "two words", "one")]
    assert [v.systems for v in table] == [("b", "a"), ("a", "b")]
    assert [v.lengths for v in table] == [(1, 2), (2, 1)]
    assert [v.winner for v in table] == ["b", "a"]
    assert {v.key for v in table} == {("7", "a", "b")}
    once = judge_matches(judge, [Match("7", "w", ("b", "a"), ("1", "2"))], both_orders=False)
    assert len(once) == 1


def test_prompt_and_parser():
    prompt = judge_prompt("a {first} b", "{second}", "x")
    assert "Question: a {first} b\n" in prompt
    assert "Answer A: {second}\n" in prompt
    assert parse_verdict("[[A]] or rather [[B]]") == "second"
    assert parse_verdict("[[C]]") == "tie"
    assert parse_verdict("A") == parse_verdict("") == "invalid"
    judge = judge_by_text(lambda prompt: "[[A]]" if "Answer A: good" in prompt else "hm")
    assert (judge("?", "good", "bad"), judge("?", "bad", "good")) == ("first", "invalid")
    lean = judge_by_preference(lambda prompt: len(prompt.split("Answer B:")[0]) - 500)
    assert lean("?", "x" * 999, "") == "first"
    assert judge_by_preference(lambda prompt: 0.0)("?", "a", "b") == "tie"
    assert judge_by_preference(lambda prompt: -1.0)("?", "a", "b") == "second"
    with pytest.raises(ValueError, match="verdict must be one of"):
        Verdict("j", "1", ("x", "y"), (1, 1), "A")


def test_known_biases_are_found_and_absent_ones_are_not():
    made = matches(401, 0)
    truth = truth_of(made)

    def bias_of(**biases):
        judge = simulated_judge(lambda a: 3 * quality(a), random.Random(1), **biases)
        table = judge_matches(judge, made)
        return position_bias(table).first_share, length_bias(table, truth)

    place, length = bias_of()
    assert place.low < 0.5 < place.high
    assert length.low < 0 < length.high
    place, length = bias_of(position=1.5)
    assert place.low > 0.55
    assert length.low < 0 < length.high
    place, length = bias_of(length=0.5)
    assert place.low < 0.5 < place.high
    assert length.low > 0.05


def test_judging_refuses():
    with pytest.raises(ValueError, match="both orders"):
        position_bias(TABLE[::2])
    with pytest.raises(ValueError, match="prefers an answer"):
        position_bias(pair("1", "tie", "tie"))
    with pytest.raises(ValueError, match="'z' is in no pair"):
        win_rate(TABLE, "z")
    with pytest.raises(ValueError, match="one judge, not of j, k"):
        settled([*TABLE, *pair("1", "tie", "tie", "k")])


# -- ratings -------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")


def arena(size: int, seed: int, strengths=(0.0, 0.5, 1.5), bonus: float = 0.4) -> list[Verdict]:
    rng = random.Random(seed)
    table = []
    for i in range(size):
        first, second = rng.sample(range(3), 2)
        lean = strengths[first] - strengths[second] + bonus
        won = "first" if rng.random() < 1 / (1 + math.exp(-lean)) else "second"
        won = "tie" if rng.random() < 0.1 else won
        table.append(Verdict("j", str(i), (NAMES[first], NAMES[second]), (1, 1), won))
    return table


def test_two_systems_by_hand():
    table = [Verdict("j", str(i), ("a", "b"), (1, 1), "first") for i in range(3)]
    table += [Verdict("j", "4", ("a", "b"), (1, 1), "second")]
    found = bradley_terry(table, position=False, ridge=0)  # odds 3 to 1
    assert found.strengths[0] - found.strengths[1] == pytest.approx(math.log(3))
    assert found.win_probability("a", "b") == pytest.approx(0.75)
    assert found.elo["a"] - found.elo["b"] == pytest.approx(400 * math.log10(3))
    always = bradley_terry(table[:3], position=False)
    assert 2 < always.strengths[0] < 10  # the ridge keeps it finite


@pytest.mark.parametrize("position", [True, False])
def test_ratings_equal_scikit_learn(position):
    table = arena(211, 0)
    ours = bradley_terry(table, position=position, ridge=0.2)
    rows, labels, weights = [], [], []
    for verdict in table:
        row = [(name == verdict.systems[0]) - (name == verdict.systems[1]) for name in NAMES]
        for label in (1, 0):
            share = {"first": 1.0, "second": 0.0, "tie": 0.5}[verdict.verdict]
            rows.append(row)
            labels.append(label)
            weights.append(share if label else 1 - share)
    theirs = LogisticRegression(C=5, fit_intercept=position, tol=1e-10, max_iter=1000)
    theirs.fit(rows, labels, weights)
    np.testing.assert_allclose(
        ours.strengths, theirs.coef_[0] - theirs.coef_[0].mean(), atol=1e-4
    )  # their optimiser stops at about 1e-5
    assert ours.position == pytest.approx(float(theirs.intercept_[0]) * position, abs=1e-4)


def test_ratings_find_the_strengths_and_invalid_verdicts_change_nothing():
    table = arena(6007, 1, bonus=0.7)
    found = bradley_terry(table)
    # ties in 10 % of the verdicts pull towards 0; the estimates' own spread is about 0.04
    np.testing.assert_allclose(found.strengths, np.array([-2, -0.5, 2.5]) / 3 * 0.9, atol=0.15)
    assert found.position == pytest.approx(0.63, abs=0.12)
    broken = [*table, Verdict("j", "x", ("a", "c"), (1, 1), "invalid")]
    np.testing.assert_array_equal(bradley_terry(broken).strengths, found.strengths)
    with pytest.raises(ValueError, match="no valid verdict"):
        bradley_terry([])


def test_rating_intervals_hold_the_estimate_and_shrink():
    few, many = (rating_intervals(arena(size, 2), resamples=40) for size in (101, 1009))
    for name in NAMES:
        assert few[name].low < few[name].estimate < few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low
    assert many["a"].high < many["c"].low


def test_online_elo_by_hand_depends_on_the_order():
    table = [
        Verdict("j", "1", ("a", "b"), (1, 1), "first"),
        Verdict("j", "2", ("a", "b"), (1, 1), "second"),
    ]
    points = online_elo(table)
    expected = 1 / (1 + 10 ** (-32 / 400))
    assert points["a"] == pytest.approx(1016 - 32 * expected)
    assert points["a"] + points["b"] == pytest.approx(2000)
    assert online_elo(table[::-1])["a"] > 1000 > points["a"]  # the last game counts most
    both = (bradley_terry(part, position=False).strengths for part in (table, table[::-1]))
    np.testing.assert_allclose(*both, atol=1e-12)


# -- uncertainty ---------------------------------------------------------------------------------


def test_semantic_entropy_by_hand():
    answers = ["Paris", "paris", "Rome", "PARIS"]

    def same(a, b):
        return a.lower() == b.lower()

    assert meaning_clusters(answers, same) == [[0, 1, 3], [2]]
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert semantic_entropy(answers, same) == pytest.approx(expected)
    assert semantic_entropy(["x"] * 5, same) == 0
    assert semantic_entropy(list("abcde"), same) == pytest.approx(math.log(5))
    masses = np.log([0.1, 0.1, 0.6, 0.2])
    expected = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6))
    assert semantic_entropy(answers, same, masses) == pytest.approx(expected)
    assert semantic_entropy(answers, same, masses - 500) == pytest.approx(expected)
    with pytest.raises(ValueError, match="0 answers"):
        semantic_entropy([], same)
    with pytest.raises(ValueError, match="4 answers and 1"):
        semantic_entropy(answers, same, [0.0])


def test_same_by_cosine_asks_once_for_each_text():
    calls = []

    def vectors(texts):
        calls.extend(texts)
        return [[len(text), 1.0] for text in texts]

    same = same_by_cosine(vectors, threshold=0.9)
    assert same("aaaa", "aaa")
    assert not same("aaaa", "")
    assert sorted(calls) == ["", "aaa", "aaaa"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=31))
def test_auroc_equals_scikit_learn_and_scipy(rows):
    scores, labels = zip(*rows, strict=True)
    if len(set(labels)) < 2:
        with pytest.raises(ValueError, match="both kinds"):
            auroc(scores, labels)
        return
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    ones, zeros = (np.array(scores)[np.array(labels) == kind] for kind in (True, False))
    u = stats.mannwhitneyu(ones, zeros).statistic
    assert auroc(scores, labels) == pytest.approx(u / len(ones) / len(zeros))
