"""Counting, PPMI and SVD: numbers by hand, invariants, numpy and scikit-learn as oracles."""

import numpy as np
import pytest
from scipy import sparse

from course_utils.text.cooccurrence import (
    Corpus,
    Vocabulary,
    cooccurrence_counts,
    distance_weight,
    ppmi,
    svd_embeddings,
)

TOY = [["the", "cat", "sat"], ["the", "dog", "sat"], ["the", "cat", "ran"]]


@pytest.fixture
def vocabulary():
    return Vocabulary.build(TOY, min_count=1)


def random_corpus(vocabulary_size=7, sentences=23, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 13, sentences)
    return Corpus(
        rng.integers(0, vocabulary_size, lengths.sum()), np.repeat(np.arange(sentences), lengths)
    )


def test_vocabulary_is_ordered_by_count_then_spelling(vocabulary):
    assert vocabulary.words == ("the", "cat", "sat", "dog", "ran")
    assert vocabulary.counts.tolist() == [3, 2, 2, 1, 1]
    assert vocabulary.index["dog"] == 3


def test_min_count_and_max_size_cut():
    assert Vocabulary.build(TOY, min_count=2).words == ("the", "cat", "sat")
    assert Vocabulary.build(TOY, min_count=1, max_size=2).words == ("the", "cat")
    with pytest.raises(ValueError, match="min_count=4"):
        Vocabulary.build(TOY, min_count=4)


def test_encode_closes_gaps_and_keeps_sentences_apart():
    corpus = Vocabulary.build(TOY, min_count=2).encode([["the", "ran", "cat"], ["ran"], ["sat"]])
    assert corpus.tokens.tolist() == [0, 1, 2]
    assert corpus.sentence_ids.tolist() == [0, 0, 2]
    assert corpus.same_sentence(1).tolist() == [True, False]


def test_corpus_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        Corpus(np.zeros(2, int), np.zeros(3, int))


def test_counts_by_hand(vocabulary):
    counts = cooccurrence_counts(vocabulary.encode(TOY), 5, window=2, weighting="flat").toarray()
    the, cat, sat, dog, ran = range(5)
    assert counts[the, cat] == counts[cat, the] == 2
    assert counts[the, sat] == 2
    assert counts[cat, dog] == 0
    assert counts[cat, ran] == 1
    assert counts.sum() == 2 * 9  # three pairs a sentence, each counted from both sides


@pytest.mark.parametrize(
    ("weighting", "expected"), [("flat", 1), ("linear", 0.5), ("harmonic", 1 / 2)]
)
def test_far_neighbours_count_less(vocabulary, weighting, expected):
    counts = cooccurrence_counts(
        vocabulary.encode(TOY[:1]), 5, window=2, weighting=weighting
    ).toarray()
    assert counts[0, 1] == 1
    assert counts[0, 2] == expected


@pytest.mark.parametrize("weighting", ["flat", "linear", "harmonic"])
@pytest.mark.parametrize("window", [1, 3, 17])
def test_counts_agree_with_a_loop(weighting, window):
    corpus, size = random_corpus(), 7
    slow = np.zeros((size, size))
    for p in range(len(corpus)):
        for q in range(max(0, p - window), min(len(corpus), p + window + 1)):
            if p != q and corpus.sentence_ids[p] == corpus.sentence_ids[q]:
                weight = distance_weight(abs(p - q), window, weighting)
                slow[corpus.tokens[p], corpus.tokens[q]] += weight
    fast = cooccurrence_counts(corpus, size, window=window, weighting=weighting)
    np.testing.assert_allclose(fast.toarray(), slow, atol=1e-12)  # sums of a few fractions
    assert (abs(fast - fast.T)).max() == 0


def test_linear_weight_is_the_chance_of_the_random_window():
    rng = np.random.default_rng(0)
    radius = rng.integers(1, 6, 200_000)
    for offset in range(1, 6):
        # standard error of a share over 200,000 draws is at most 0.0012
        assert (radius >= offset).mean() == pytest.approx(
            distance_weight(offset, 5, "linear"), abs=0.006
        )


def test_bad_arguments_say_so():
    with pytest.raises(ValueError, match="flat, linear, harmonic; got 'cubic'"):
        distance_weight(1, 2, "cubic")
    with pytest.raises(ValueError, match=r"1\.\.window=2, got 3"):
        distance_weight(3, 2, "flat")
    with pytest.raises(ValueError, match="window must be at least 1"):
        cooccurrence_counts(random_corpus(), 7, window=0)


def test_ppmi_by_hand():
    # p(a, x) = 1/2, p(a) = 1/2, p(x) = 3/4: ln(4/3); the other cells are at or below chance
    counts = sparse.csr_matrix(np.array([[2.0, 0.0], [1.0, 1.0]]))
    expected = [[np.log(4 / 3), 0], [0, np.log(2)]]
    np.testing.assert_allclose(ppmi(counts).toarray(), expected, atol=1e-12)


def test_ppmi_agrees_with_the_dense_formula():
    counts = np.random.default_rng(1).poisson(1.5, (5, 11)).astype(float)
    for smoothing, shift in ((1.0, 0.0), (0.75, 0.0), (0.75, np.log(5))):
        columns = counts.sum(0) ** smoothing
        with np.errstate(divide="ignore"):
            pmi = np.log(counts / counts.sum()) - np.log(
                np.outer(counts.sum(1) / counts.sum(), columns / columns.sum())
            )
        ours = ppmi(sparse.csr_matrix(counts), context_smoothing=smoothing, shift=shift)
        np.testing.assert_allclose(ours.toarray(), np.maximum(pmi - shift, 0), atol=1e-10)


def test_ppmi_of_independent_words_is_zero():
    counts = sparse.csr_matrix(np.outer([1.0, 2.0, 4.0], [3.0, 5.0]))
    assert ppmi(counts).toarray() == pytest.approx(0, abs=1e-12)


def test_ppmi_does_not_depend_on_the_size_of_the_corpus():
    counts = sparse.csr_matrix(np.random.default_rng(2).poisson(2.0, (7, 5)).astype(float))
    np.testing.assert_allclose(ppmi(counts).toarray(), ppmi(counts * 13).toarray(), atol=1e-12)


def test_stored_zeros_and_bad_counts():
    stored = sparse.csr_matrix((np.array([0.0, 2.0]), ([0, 1], [0, 1])), shape=(2, 2))
    assert np.isfinite(ppmi(stored).toarray()).all()
    for bad in (np.zeros((2, 3)), np.array([[3.0, -1.0]])):
        with pytest.raises(ValueError, match="non-negative and not all zero"):
            ppmi(sparse.csr_matrix(bad))


def test_svd_agrees_with_numpy():
    matrix = np.random.default_rng(3).normal(size=(23, 19)) @ np.diag(0.7 ** np.arange(19))
    left, values, _ = np.linalg.svd(matrix)
    for power in (0.0, 0.5, 1.0):
        ours = svd_embeddings(sparse.csr_matrix(matrix), 5, singular_power=power)
        theirs = left[:, :5] * values[:5] ** power
        theirs *= np.sign(theirs[np.abs(theirs).argmax(0), range(5)])
        # randomised, but with a falling spectrum and four power iterations practically exact
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_full_power_keeps_the_products_of_a_low_rank_matrix():
    thin = np.random.default_rng(4).normal(size=(17, 3))
    gram = thin @ thin.T
    vectors = svd_embeddings(sparse.csr_matrix(gram), 3, singular_power=0.5)
    np.testing.assert_allclose(vectors @ vectors.T, gram, atol=1e-8)


def test_svd_signs_are_fixed_and_seeds_do_not_matter():
    matrix = sparse.csr_matrix(np.random.default_rng(5).poisson(0.7, (29, 29)).astype(float))
    first, second = (svd_embeddings(matrix, 3, seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(first, second, atol=0.05)
    assert (first[np.abs(first).argmax(0), range(3)] > 0).all()


@pytest.mark.parametrize("dim", [0, 5, 7])
def test_svd_refuses_too_many_dimensions(dim):
    with pytest.raises(ValueError, match=rf"1..4, got {dim}"):
        svd_embeddings(sparse.csr_matrix(np.eye(5)), dim)
