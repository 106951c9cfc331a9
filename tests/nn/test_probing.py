"""Probes: scikit-learn as oracle, control labels, senses by hand, intervals."""

import numpy as np
import pytest
import torch

from course_utils.nn.elmo import LayerMix
from course_utils.nn.probing import (
    cluster_bootstrap,
    control_labels,
    fit_probe,
    most_common_label,
    sense_hits,
)


def cloud(n=211, width=7, classes=3, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    vectors = centres[labels] + noise * rng.normal(size=(n, width))
    return torch.tensor(vectors), torch.tensor(labels)


def test_probe_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    vectors, labels = cloud()
    new, _ = cloud(seed=1)
    ours = fit_probe(vectors, labels, 3, penalty=0.01, steps=200)
    standard = (vectors - vectors.mean(0)) / vectors.std(0)
    # scikit-learn sums the loss: C = 1 / (penalty * N)
    theirs = LogisticRegression(C=1 / (0.01 * len(labels)), tol=1e-8, max_iter=1000)
    theirs.fit(standard.numpy(), labels.numpy())
    expected = theirs.predict(((new - vectors.mean(0)) / vectors.std(0)).numpy())
    assert ours.predict(new).tolist() == expected.tolist()
    np.testing.assert_allclose(
        ours.linear.weight.detach().numpy(), theirs.coef_, atol=1e-3
    )  # both stop at a small gradient, not at zero


def test_probe_scores_and_refuses():
    vectors, labels = cloud(noise=0.01)
    assert fit_probe(vectors, labels, 3).accuracy(vectors, labels) == 1
    with pytest.raises(ValueError, match="211 vectors came with 5 labels"):
        fit_probe(vectors, labels[:5], 3)


def test_a_constant_coordinate_is_no_harm():
    vectors, labels = cloud()
    vectors[:, 0] = 5.0
    assert torch.isfinite(fit_probe(vectors, labels, 3).linear.weight).all()


def test_mixture_finds_the_layer_that_knows():
    good, labels = cloud(n=499, noise=0.8)
    noise = torch.randn(good.shape, generator=torch.Generator().manual_seed(0)).double()
    mix = LayerMix(3).double()
    probe = fit_probe(torch.stack([noise, good, noise.flip(0)]), labels, 3, mix=mix)
    assert mix.shares.argmax() == 1
    assert mix.shares[1] > 0.5
    new, new_labels = cloud(n=499, noise=0.8, seed=1)
    layers = torch.stack([noise.flip(1), new, noise])
    assert probe.accuracy(layers, new_labels) > 0.7


def test_control_labels_belong_to_words():
    words = ["a", "b", "a", "c"] * 101
    labels = [0, 1, 0, 2] * 101
    drawn = control_labels(words, labels, seed=3)
    assert len({drawn[i] for i, word in enumerate(words) if word == "a"}) == 1
    assert drawn == control_labels(words, labels, seed=3)
    many = control_labels([str(i) for i in range(997)], [0] * 900 + [1] * 97, seed=0)
    assert 50 < sum(many) < 150  # the labels' own distribution, 97 expected


def test_most_common_label():
    predict = most_common_label(["run", "run", "run", "dog"], [1, 1, 0, 2])
    assert predict(["run", "dog", "zebra"]) == [1, 2, 1]


WORDS = ["bank"] * 4 + ["bat"] * 4
SENSES = ["river", "river", "money", "money", "club", "club", "animal", "animal"]


def test_sense_hits_by_hand():
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]] * 2, dtype=float)
    assert sense_hits(vectors, WORDS, SENSES).tolist() == [1] * 8
    vectors[0] = [0, 1]  # a river example that looks like money
    hits = sense_hits(vectors, WORDS, SENSES)
    assert hits[0] == 0
    assert hits[4:].tolist() == [1] * 4


def test_equal_vectors_score_chance():
    assert sense_hits(np.ones((8, 3)), WORDS, SENSES) == pytest.approx(0.5)
    three = [*SENSES[:4], "blood", "blood", "snow", "snow"]
    hits = sense_hits(np.ones((8, 3)), ["bank"] * 8, three)
    assert hits == pytest.approx(0.25)


def test_an_example_does_not_help_itself():
    """Orthogonal vectors: the own centre would win only if it held the example."""
    assert sense_hits(np.eye(8), WORDS, SENSES) == pytest.approx(0.5)


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="two senses with two examples"):
        sense_hits(np.ones((3, 2)), ["bank"] * 3, ["river", "river", "money"])


def test_cluster_bootstrap():
    values, clusters = [1, 0, 1, 1, 0, 0, 0, 0], ["a", "a", "b", "b", "c", "c", "c", "c"]
    mean, low, high = cluster_bootstrap(values, clusters)
    assert mean == pytest.approx(0.5)  # of 0.5, 1 and 0, however many sentences each has
    assert low == 0
    assert high == 1
    same = cluster_bootstrap([0.5] * 8, clusters)
    assert same == (0.5, 0.5, 0.5)
