"""Skip-gram and CBOW: gradients by hand and by autograd, pairs by loop, learning on toy text."""

import numpy as np
import pytest
import torch

from course_utils.text.cooccurrence import Corpus, Vocabulary, cooccurrence_counts
from course_utils.text.embeddings import (
    InputLayer,
    MeanInputLayer,
    Word2VecOptions,
    cbow_windows,
    grouped_skip_gram_pairs,
    keep_probability,
    skip_gram_pairs,
    subsample,
    train_cbow,
    train_sgns,
)
from course_utils.text.negative_sampling import (
    Noise,
    own_noise_step,
    sgns_gradients,
    sgns_loss,
    shared_noise_step,
)

B, V, K, C = 5, 11, 3, 7


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_loss_by_hand():
    centre, positive = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 5.0]])
    noise = torch.tensor([[[0.0, 3.0], [-1.0, 0.0]]])
    expected = np.log1p(np.exp(-2)) + np.log1p(np.exp(0)) + np.log1p(np.exp(-1))
    assert sgns_loss(centre, positive, noise).item() == pytest.approx(expected, rel=1e-6)


def test_loss_of_zero_vectors_is_one_bit_a_decision():
    loss = sgns_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 5, 3))
    assert loss.item() == pytest.approx(6 * np.log(2), rel=1e-6)


def test_loss_refuses_wrong_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 3\) and \(5, 3\)"):
        sgns_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(5, 3))


def test_gradients_agree_with_autograd():
    arguments = [vectors(B, C), vectors(B, C, seed=1), vectors(B, K, C, seed=2)]
    for argument in arguments:
        argument.requires_grad_()
    (sgns_loss(*arguments) * B).backward()
    for ours, argument in zip(sgns_gradients(*arguments), arguments, strict=True):
        torch.testing.assert_close(ours, argument.grad, atol=1e-10, rtol=0)


def autograd_step(hidden, output, positives, noise, rate, weight):
    """The same step by autograd; noise is (B, k), weight the value of each noise word."""
    hidden, output = hidden.clone().requires_grad_(), output.clone().requires_grad_()
    true = torch.nn.functional.logsigmoid((hidden * output[positives]).sum(1)).sum()
    false = torch.nn.functional.logsigmoid(-(output[noise] @ hidden[:, :, None])[:, :, 0])
    counted = (noise != positives[:, None]) * weight
    loss = -true - (false * counted).sum()
    loss.backward()
    return -rate * hidden.grad, output.detach() - rate * output.grad, loss.item()


POSITIVES = torch.tensor([3, 1, 3, 0, 10])
OWN = torch.tensor([[3, 2, 2], [0, 4, 1], [5, 6, 7], [9, 0, 8], [1, 2, 3]])  # with some hits


def test_own_noise_step_is_gradient_descent():
    hidden, output = vectors(B, C), vectors(V, C, seed=1)
    change, after, loss = autograd_step(hidden, output, POSITIVES, OWN, 0.3, 1.0)
    got, got_loss = own_noise_step(hidden, output, POSITIVES, OWN, 0.3)  # output in place
    torch.testing.assert_close(got, change, atol=1e-10, rtol=0)
    torch.testing.assert_close(output, after, atol=1e-10, rtol=0)
    assert got_loss == pytest.approx(loss)


def test_shared_noise_step_is_gradient_descent():
    hidden, output, noise = vectors(B, C), vectors(V, C, seed=1), torch.tensor([3, 4, 4, 0])
    expected = autograd_step(hidden, output, POSITIVES, noise.expand(B, -1), 0.3, 5 / 4)
    change, loss = shared_noise_step(hidden, output, POSITIVES, noise, 0.3, 5 / 4)
    torch.testing.assert_close(change, expected[0], atol=1e-10, rtol=0)
    torch.testing.assert_close(output, expected[1], atol=1e-10, rtol=0)
    assert loss == pytest.approx(expected[2])


def test_shared_noise_has_the_expected_gradient_of_own_noise():
    """Exact expectation over all noise words, weighted by their probabilities."""
    hidden, output, noise = vectors(B, C), vectors(V, C, seed=1), Noise(np.arange(1, V + 1))
    own, shared = torch.zeros(B, C).double(), torch.zeros(B, C).double()
    for word, p in enumerate(noise.probabilities):
        one = torch.full((B, 1), word)
        own += p * own_noise_step(hidden, output.clone(), POSITIVES, one, 0.1)[0]
        shared += p * shared_noise_step(hidden, output.clone(), POSITIVES, one[0], 0.1, 1.0)[0]
    torch.testing.assert_close(own, shared, atol=1e-12, rtol=0)


def test_noise_follows_counts_to_the_power():
    noise = Noise(np.array([81, 16, 1]))
    shares = torch.tensor([27, 8, 1]) / 36  # 81 ** .75 = 27, 16 ** .75 = 8
    torch.testing.assert_close(noise.probabilities.float(), shares)
    drawn = noise.draw(1000, 101, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 101)
    frequencies = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
    torch.testing.assert_close(frequencies, shares, atol=0.008, rtol=0)  # five standard errors


def test_keep_probability_agrees_with_gensim():
    from gensim.models import Word2Vec

    counts = {"a": 9000, "b": 500, "c": 37, "d": 5}
    model = Word2Vec(vector_size=3, min_count=1, sample=1e-2)
    model.build_vocab_from_freq(counts)
    theirs = [
        model.wv.get_vecattr(word, "sample_int") / (2**32 - 1) for word in model.wv.index_to_key
    ]
    np.testing.assert_allclose(
        keep_probability(np.array([9000, 500, 37, 5]), 1e-2), theirs, atol=1e-6
    )
    assert (keep_probability(np.array([9000, 5]), 0) == 1).all()


def toy_corpus(seed=0, sentences=400):
    """Words of one topic stand together: 0-5 or 6-11."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 2, sentences)
    tokens = [rng.integers(0, 6, 7) + 6 * topic for topic in topics]
    text = [[f"w{token:02d}" for token in sentence] for sentence in tokens]
    vocabulary = Vocabulary.build(text, min_count=1)
    return vocabulary, vocabulary.encode(text)


def test_subsampling_keeps_the_expected_share():
    vocabulary, corpus = toy_corpus()
    kept = subsample(corpus, vocabulary, 0.02, np.random.default_rng(0))
    expected = keep_probability(vocabulary.counts, 0.02) @ vocabulary.counts
    assert len(kept) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert kept.sentence_ids.max() <= corpus.sentence_ids.max()


def test_pairs_of_a_fixed_window_are_the_cooccurrences():
    _, corpus = toy_corpus(sentences=13)

    class Full:  # every window at its largest
        def integers(self, low, high, size):
            return np.full(size, high - 1)

        def permutation(self, n):
            return np.random.default_rng(0).permutation(n)

    expected = cooccurrence_counts(corpus, 12, window=3, weighting="flat").toarray()
    for make in (skip_gram_pairs, grouped_skip_gram_pairs):
        table = np.zeros((12, 12))
        np.add.at(table, make(corpus, 3, Full()), 1)
        np.testing.assert_array_equal(table, expected)


def test_random_windows_give_the_linear_weights_on_average():
    corpus = Corpus(np.arange(11), np.zeros(11, int))
    table, rounds, rng = np.zeros((11, 11)), 4000, np.random.default_rng(0)
    for _ in range(rounds):
        np.add.at(table, skip_gram_pairs(corpus, 3, rng), 1)
    expected = cooccurrence_counts(corpus, 11, window=3, weighting="linear").toarray()
    # each cell is a share of 4,000 throws: standard error below 0.008
    np.testing.assert_allclose(table / rounds, expected, atol=0.04)


def test_pairs_never_cross_sentences():
    corpus = Corpus(np.arange(6), np.array([0, 0, 0, 1, 1, 2]))
    for make in (skip_gram_pairs, grouped_skip_gram_pairs):
        centres, neighbours = make(corpus, 5, np.random.default_rng(1))
        assert (corpus.sentence_ids[centres] == corpus.sentence_ids[neighbours]).all()
        assert 5 not in centres  # alone in its sentence
    contexts, targets = cbow_windows(corpus, 5, np.random.default_rng(1))
    assert 5 not in targets
    for context, target in zip(contexts, targets, strict=True):
        real = context[context >= 0]
        assert len(real)
        assert (corpus.sentence_ids[real] == corpus.sentence_ids[target]).all()


def test_windows_keep_left_and_right():
    corpus = Corpus(np.array([4, 5, 6]), np.zeros(3, int))
    contexts, targets = cbow_windows(corpus, 1, np.random.default_rng(0))
    assert {t: c.tolist() for t, c in zip(targets, contexts, strict=True)} == {
        4: [-1, 5],
        5: [4, 6],
        6: [5, -1],
    }


def test_empty_and_one_word_texts_give_no_pairs():
    for size in (0, 1):
        corpus = Corpus(np.zeros(size, np.int64), np.zeros(size, np.int64))
        assert len(skip_gram_pairs(corpus, 3, np.random.default_rng(0))[0]) == 0
        assert len(cbow_windows(corpus, 3, np.random.default_rng(0))[1]) == 0


def test_mean_layer_takes_the_mean_and_moves_it_by_the_change():
    layer = MeanInputLayer(V, C, torch.Generator().manual_seed(0))
    batch = torch.tensor([[1, -1, 4, 7], [2, 3, -1, -1]])
    before = layer.forward(batch)
    torch.testing.assert_close(before[0], layer.table[[1, 4, 7]].mean(0))
    change, untouched = torch.randn(2, C), layer.table[[0, 5, 6]].clone()
    layer.update(batch, change)
    torch.testing.assert_close(layer.forward(batch), before + change)
    torch.testing.assert_close(layer.table[[0, 5, 6]], untouched)


def test_input_layer_adds_up_repeated_words():
    layer = InputLayer(V, C, torch.Generator().manual_seed(0))
    before, change = layer.table.clone(), torch.randn(3, C)
    layer.update(torch.tensor([2, 2, 5]), change)
    torch.testing.assert_close(layer.table[2], before[2] + change[0] + change[1])
    torch.testing.assert_close(layer.table[5], before[5] + change[2])


OPTIONS = {"dim": 7, "epochs": 5, "learning_rate": 0.05, "sample": 0.0, "batch_size": 31}


@pytest.mark.parametrize("shared_noise", [0, 13])
@pytest.mark.parametrize("fit", [train_sgns, train_cbow])
def test_topics_come_apart(fit, shared_noise):
    vocabulary, corpus = toy_corpus()
    model = fit(corpus, vocabulary, Word2VecOptions(shared_noise=shared_noise, **OPTIONS))
    assert model.losses[-1] < model.losses[0]
    unit = model.vectors.subset([f"w{i:02d}" for i in range(12)]).unit
    cosines = unit @ unit.T
    topic = np.arange(12) // 6
    same = (topic[:, None] == topic) & ~np.eye(12, dtype=bool)
    assert cosines[same].mean() > cosines[topic[:, None] != topic].mean() + 0.5


def test_same_seed_same_vectors_other_seed_others():
    vocabulary, corpus = toy_corpus(sentences=53)
    first, again, other = (
        train_sgns(corpus, vocabulary, Word2VecOptions(**OPTIONS, seed=seed)).input
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert not torch.allclose(first, other)


def test_divergence_is_an_error_that_names_the_cure():
    vocabulary, corpus = toy_corpus(sentences=53)
    options = Word2VecOptions(dim=7, epochs=5, learning_rate=50.0, batch_size=997, sample=0.0)
    with pytest.raises(FloatingPointError, match=r"learning_rate \(now 50.0\) or batch_size"):
        train_sgns(corpus, vocabulary, options)


@pytest.mark.parametrize("field", ["dim", "window", "negative", "epochs", "batch_size"])
def test_options_are_checked(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        Word2VecOptions(**{field: 0})
    with pytest.raises(ValueError, match="must not be negative"):
        Word2VecOptions(sample=-1.0)
