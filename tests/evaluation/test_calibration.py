"""Calibration: numbers by hand, scikit-learn's curve, what temperature can and cannot change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from course_utils.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    reliability,
)


def test_bins_by_hand():
    # two bins: (0, .5] holds .2 and .5, one of them right; (.5, 1] holds .6, .9 and 1, two right
    found = reliability([0.2, 0.5, 0.6, 0.9, 1.0], [1, 0, 1, 0, 1], bins=2)
    np.testing.assert_array_equal(found.count, [2, 3])
    np.testing.assert_allclose(found.confidence, [0.35, 2.5 / 3])
    np.testing.assert_allclose(found.accuracy, [0.5, 2 / 3])
    assert found.expected_error == pytest.approx((2 * 0.15 + 3 * (0.5 / 3)) / 5)
    assert found.largest_error == pytest.approx(0.5 / 3)


def test_a_sure_and_wrong_model_has_error_one_and_empty_bins_count_nothing():
    assert expected_calibration_error([1.0, 1.0], [0, 0]) == 1
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0
    found = reliability([0.9], [1], bins=3)
    np.testing.assert_array_equal(found.count, [0, 0, 1])
    assert np.isnan(found.accuracy[:2]).all()


def test_equal_counts():
    p = np.linspace(0.5, 0.6, 12)
    found = reliability(p, np.ones(12), bins=3, equal_counts=True)
    np.testing.assert_array_equal(found.count, [4, 4, 4])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=2, max_size=41),
    st.sampled_from([5, 7, 10]),
)
def test_bins_equal_scikit_learn(pairs, bins):
    p, right = np.array([x / 100 for x, _ in pairs]), np.array([y for _, y in pairs])
    if len(set(right)) < 2:
        return  # scikit-learn wants both classes
    accuracy, confidence = calibration_curve(right, p, n_bins=bins)
    ours = reliability(p, right, bins=bins)
    filled = ours.count > 0
    np.testing.assert_allclose(ours.accuracy[filled], accuracy)
    np.testing.assert_allclose(ours.confidence[filled], confidence)
    assert 0 <= ours.expected_error <= ours.largest_error + 1e-12 <= 1 + 1e-12
    # one bin holds the plain difference; more bins can only find more
    assert reliability(p, right, bins=1).expected_error <= ours.expected_error + 1e-12


@pytest.mark.parametrize("scale", [0.5, 2.0, 3.0])
def test_temperature_finds_the_scale_and_keeps_the_ranking(scale):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(6007, 5))
    labels = (np.log(rng.exponential(size=true.shape)) - true).argmin(axis=1)  # draws from softmax
    found = fit_temperature(scale * true, labels)
    # the estimate's own spread on 6,007 items is about 2 %
    assert found == pytest.approx(scale, rel=0.1)
    before, after = (np.exp(log_softmax(scale * true / t)) for t in (1, found))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    errors = [expected_calibration_error(q.max(1), q.argmax(1) == labels) for q in (before, after)]
    assert errors[1] < 0.03 < errors[0]


def test_brier_by_hand():
    assert brier_score([[0.7, 0.3], [0.0, 1.0]], [0, 0]) == pytest.approx((0.18 + 2) / 2)
    assert brier_score(np.eye(3), [0, 1, 2]) == 0


def test_log_softmax_is_safe():
    np.testing.assert_allclose(log_softmax([[1e4, 1e4]]), np.log([[0.5, 0.5]]))


def test_calibration_refuses():
    with pytest.raises(ValueError, match="from 0 to 1"):
        reliability([1.2], [1])
    with pytest.raises(ValueError, match="shape"):
        reliability([0.5, 0.5], [1])
    with pytest.raises(ValueError, match="bins must be"):
        reliability([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="for 2 labels"):
        brier_score([[1.0, 0.0]], [0, 1])
    with pytest.raises(ValueError, match="for 2 labels"):
        fit_temperature([[1.0, 0.0]], [0, 1])
