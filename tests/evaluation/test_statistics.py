"""Intervals and tests: by hand, by listing, scipy.stats as oracle, and whether they keep 95 %."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course_utils.evaluation.bleu import BleuStats, bleu_score, bleu_stats, corpus_bleu
from course_utils.evaluation.intervals import (
    bootstrap_interval,
    coverage,
    items_needed,
    normal_interval,
    resampled,
    standard_error,
    wilson_interval,
)
from course_utils.evaluation.significance import (
    holm,
    mcnemar,
    paired_bootstrap,
    permutation_test,
)


def scores(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 0.2, size)


# -- intervals -----------------------------------------------------------------------------------


def test_standard_error_by_hand_and_scipy():
    # mean 2, squared distances 4 + 0 + 4 = 8, over 3 · 2
    assert standard_error([0, 2, 4]) == pytest.approx(math.sqrt(8 / 6))
    values = scores(0, 31)
    assert standard_error(values) == pytest.approx(stats.sem(values))
    theirs = stats.norm.interval(0.9, values.mean(), stats.sem(values))
    assert normal_interval(values, level=0.9)[1:] == pytest.approx(theirs)


def test_clustered_error_by_hand():
    # distances -1, -1, 1, 1 from the mean 1; cross terms 2 + 2 in the two clusters
    values = [0, 0, 2, 2]
    plain = 4 / 12
    assert standard_error(values, "aabb") == pytest.approx(math.sqrt(plain + 4 / 16))
    assert standard_error(values, "abab") == pytest.approx(math.sqrt(plain - 4 / 16))
    assert standard_error(values, "abcd") == standard_error(values)
    # copies of every item tell nothing new: the error stays near that of the originals
    once = scores(1, 53)
    copied, names = np.repeat(once, 7), np.repeat(np.arange(53), 7)
    assert standard_error(copied, names) == pytest.approx(standard_error(once), rel=0.02)
    assert standard_error(copied) < 0.4 * standard_error(once)


@given(st.integers(0, 41), st.sampled_from([0.8, 0.95]))
def test_wilson_equals_scipy(successes, level):
    theirs = stats.binomtest(successes, 41).proportion_ci(level, method="wilson")
    ours = wilson_interval(successes, 41, level=level)
    assert ours == pytest.approx((successes / 41, theirs.low, theirs.high), abs=1e-12)


def test_bootstrap_equals_scipy_up_to_chance():
    values = scores(2, 37)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4999, method="percentile", rng=np.random.default_rng(5)
    )
    ours = bootstrap_interval(values, resamples=4999)
    # an end's own spread over seeds is about 0.001 at 4,999 resamples
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.006)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.006)
    assert ours.estimate == values.mean()


def test_bootstrap_of_two_values_by_listing():
    # samples of {0, 1}: means 0, .5, .5, 1 with equal chance
    values, counts = np.unique(resampled(np.array([0.0, 1.0]), resamples=8000), return_counts=True)
    np.testing.assert_array_equal(values, [0, 0.5, 1])
    np.testing.assert_allclose(counts / 8000, [0.25, 0.5, 0.25], atol=0.025)  # 5 sd
    values = resampled(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), clusters="aabbb", resamples=500)
    assert set(np.round(values, 3)) == {0, 0.6, 1}  # whole clusters only


def test_any_statistic():
    values = scores(3, 29)
    mean = bootstrap_interval(values, resamples=300)
    assert bootstrap_interval(values, np.mean, resamples=300) == pytest.approx(mean)
    names = np.arange(29) // 4  # clusters of 4 and one of 1
    mean = bootstrap_interval(values, clusters=names, resamples=100)
    expected = bootstrap_interval(values, np.mean, clusters=names, resamples=100)
    assert mean == pytest.approx(expected)
    hypotheses = ["a b c d e", "a x", "b c d e f g", "c d e f"]
    references = [["a b c d f"], ["a b"], ["b c d e g g"], ["c d e f"]]
    rows = np.array([bleu_stats(*pair).row() for pair in zip(hypotheses, references, strict=True)])
    found = bootstrap_interval(rows, bleu_of, resamples=200)
    assert found.estimate == corpus_bleu(hypotheses, references).score
    assert found.low < found.estimate < found.high


def bleu_of(rows: np.ndarray) -> float:
    return bleu_score(BleuStats.from_row(rows.sum(axis=0))).score


def test_coverage():
    def draw(rng):
        return rng.binomial(1, 0.9, 17).astype(float)

    normal = coverage(normal_interval, draw, 0.9, trials=400)
    wilson = coverage(lambda x: wilson_interval(int(x.sum()), len(x)), draw, 0.9, trials=400)
    # exact values by summing the binomial: normal 0.829, Wilson 0.978 (sd of 400 trials: .02)
    exact = {}
    for name, make in (
        ("normal", lambda k: normal_interval([1.0] * k + [0.0] * (17 - k))),
        ("wilson", lambda k: wilson_interval(k, 17)),
    ):
        held = [make(k).low <= 0.9 <= make(k).high for k in range(18)]
        exact[name] = sum(stats.binom.pmf(k, 17, 0.9) for k in range(18) if held[k])
    assert normal == pytest.approx(exact["normal"], abs=0.08)
    assert wilson == pytest.approx(exact["wilson"], abs=0.04)
    assert normal < 0.9 < wilson


def test_items_needed_have_the_power_they_promise():
    size = items_needed(0.1, 0.5)
    assert size == math.ceil((1.959964 + 0.841621) ** 2 * 25)
    rng = np.random.default_rng(0)
    gaps = rng.normal(0.1, 0.5, (2000, size))
    z = gaps.mean(axis=1) / (gaps.std(axis=1, ddof=1) / math.sqrt(size))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.04)  # 4 sd


def test_intervals_refuse():
    with pytest.raises(ValueError, match="at least two"):
        standard_error([1.0])
    with pytest.raises(ValueError, match="level must be"):
        normal_interval([1, 2], level=95)
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="no item"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="2 cluster names for 3"):
        bootstrap_interval([1, 2, 3], clusters="ab")
    with pytest.raises(ValueError, match="list of numbers"):
        normal_interval([[1, 2]])
    with pytest.raises(ValueError, match="difference other than 0"):
        items_needed(0, 1)


# -- tests ---------------------------------------------------------------------------------------


def test_paired_bootstrap_sees_what_two_intervals_hide():
    hard = scores(4, 61)  # how hard each item is
    first, second = hard + 0.02, hard + scores(5, 61) / 50
    result = paired_bootstrap(first, second)
    assert result.low > 0
    assert result.wins == 1
    ours, theirs = bootstrap_interval(first), bootstrap_interval(second)
    assert ours.low < theirs.high  # alone, they overlap
    assert result.difference == pytest.approx(first.mean() - second.mean())
    mirrored = paired_bootstrap(second, first)
    assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))
    same = paired_bootstrap(first, first)
    assert (same.low, same.high, same.wins) == (0, 0, 0.5)


def test_paired_bootstrap_of_the_mean_is_the_bootstrap_of_the_differences():
    first, second = scores(6, 23), scores(7, 23)
    expected = bootstrap_interval(first - second, seed=11)
    found = paired_bootstrap(first, second, seed=11)
    assert (found.low, found.high) == pytest.approx(expected[1:])
    clusters = np.arange(23) // 3
    expected = bootstrap_interval(first - second, clusters=clusters, resamples=200)
    found = paired_bootstrap(first, second, clusters=clusters, resamples=200)
    assert (found.low, found.high) == pytest.approx(expected[1:])


def test_permutation_test_by_hand():
    # three items, all won by 1: of 8 sign patterns two reach |mean| 1
    assert permutation_test([2, 3, 4], [1, 2, 3]).p_value == 2 / 8
    # {1, 2} against {3}: splits give -1.5, 0, 1.5
    assert permutation_test([1, 2], [3], paired=False).p_value == 2 / 3
    assert permutation_test([1, 5, 2], [1, 5, 2]).p_value == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.booleans())
def test_exact_permutation_equals_scipy(seed, size, paired):
    first, second = np.random.default_rng(seed).integers(0, 5, (2, size)).astype(float)
    ours = permutation_test(first, second, paired=paired)
    theirs = stats.permutation_test(
        (first, second),
        lambda x, y: x.mean() - y.mean(),
        permutation_type="samples" if paired else "independent",
        n_resamples=np.inf,
    )
    assert ours.exact
    # scipy doubles the smaller tail; for symmetric arrangements both give the same
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.p_value == permutation_test(second, first, paired=paired).p_value


def test_monte_carlo_agrees_with_scipy_and_is_never_zero():
    first, second = scores(8, 43), scores(9, 43) - 0.05
    ours = permutation_test(first, second)
    theirs = stats.permutation_test(
        (first, second), lambda x, y: x.mean() - y.mean(), permutation_type="samples", rng=1
    )
    assert not ours.exact
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)  # 3 sd of 9,999 samples
    sure = permutation_test(first + 9, second)
    assert sure.p_value == 1 / 10_000
    unpaired = permutation_test(first + 9, second, paired=False, samples=499)
    assert unpaired.p_value == 1 / 500


def test_permutation_of_a_corpus_statistic_equals_listing():
    texts = [("a b c d", "a b x d"), ("b c", "b c d"), ("x", "a"), ("c d e", "d c e")]
    reference = ["a b c d", "b c d", "a", "c d e"]
    first, second = (
        np.array([bleu_stats(t[i], [r]).row() for t, r in zip(texts, reference, strict=True)])
        for i in (0, 1)
    )
    gaps = []
    for swap in itertools.product([0, 1], repeat=4):
        ours = [text[s] for text, s in zip(texts, swap, strict=True)]
        theirs = [text[1 - s] for text, s in zip(texts, swap, strict=True)]
        several = [[r] for r in reference]
        gaps.append(corpus_bleu(ours, several).score - corpus_bleu(theirs, several).score)
    result = permutation_test(first, second, bleu_of)
    assert result.difference == pytest.approx(gaps[0])
    assert result.p_value == sum(abs(g) >= abs(gaps[0]) - 1e-9 for g in gaps) / 16


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(0)
    small = 0
    for _ in range(300):
        first, second = rng.normal(size=(2, 11))
        small += permutation_test(first, second).p_value <= 0.1
    assert small / 300 == pytest.approx(0.1, abs=0.06)  # 3.5 sd


def test_mcnemar_by_hand_and_scipy():
    first = [1] * 8 + [0] * 2 + [1] * 5 + [0] * 4
    second = [0] * 8 + [1] * 2 + [1] * 5 + [0] * 4
    b, c, p = mcnemar(first, second)
    assert (b, c) == (8, 2)
    assert p == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert p == pytest.approx(stats.binomtest(8, 10).pvalue)
    assert mcnemar(first, second, exact=False)[2] == pytest.approx(stats.chi2.sf(25 / 10, 1))
    assert mcnemar(first, first) == (0, 0, 1.0)
    assert mcnemar([1, 0], [0, 1])[2] == 1
    assert mcnemar(second, first) == (2, 8, p)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1, 1])
    p = np.random.default_rng(0).random(11)
    assert (holm(p) <= np.minimum(1, 11 * p) + 1e-12).all()  # Bonferroni is never smaller
    assert (holm(p) >= p).all()


def test_tests_refuse():
    for function in (paired_bootstrap, permutation_test, mcnemar):
        with pytest.raises(ValueError, match="same items"):
            function([1, 0, 1], [1, 0])
        with pytest.raises(ValueError, match="same items"):
            function([], [])
