"""ELMo: bytes by hand, who can see whom, padding, losses against a plain loop, learning."""

import pytest
import torch
from torch import nn

from course_utils.nn.elmo import (
    END,
    START,
    UNKNOWN,
    ByteEncoder,
    ElmoLM,
    LayerMix,
    OutputVocabulary,
    make_batch,
    perplexity,
    reverse,
    train_elmo,
    word_bytes,
    word_states,
)

SENTENCES = [
    ["the", "cat", "sat", "on", "the", "mat"],
    ["a", "dog", "ran"],
    ["unbelievably", "the", "naïve", "dog", "sat"],
]


@pytest.fixture
def vocabulary():
    return OutputVocabulary(SENTENCES, 11)


@pytest.fixture
def model(vocabulary):
    torch.manual_seed(0)
    return ElmoLM(len(vocabulary), width=7, layers=2, filters={1: 3, 2: 5}).double().eval()


def test_word_bytes_by_hand():
    assert word_bytes("ab") == [257, 98, 99, 258]
    assert word_bytes("é") == [257, 0xC3 + 1, 0xA9 + 1, 258]
    assert len(word_bytes("x" * 99)) == 16
    assert word_bytes("x" * 99)[-1] == 258
    assert word_bytes(START) != word_bytes(END)
    assert min(word_bytes("\x00")) > 0  # 0 is padding only


def test_output_vocabulary(vocabulary):
    assert vocabulary.words[:5] == (UNKNOWN, START, END, "the", "dog")
    assert len(vocabulary) == 11
    assert vocabulary["the"] == 3
    assert vocabulary["zebra"] == 0


def test_batch_marks_and_pads(vocabulary):
    batch = make_batch(SENTENCES, vocabulary)
    assert batch.words.shape == (3, 8)
    assert batch.lengths.tolist() == [8, 5, 7]
    assert batch.mask.sum(1).tolist() == [8, 5, 7]
    assert batch.words[0, 1] == batch.words[0, 5]  # "the" twice, stored once
    assert len(batch.spellings) == len({w for s in SENTENCES for w in s} | {START, END})
    assert batch.targets[1, :5].tolist() == [vocabulary[w] for w in [START, "a", "dog", "ran", END]]
    with pytest.raises(ValueError, match="at least one sentence"):
        make_batch([], vocabulary)


def test_reverse_by_hand_and_twice():
    values, lengths = torch.arange(15).reshape(3, 5), torch.tensor([5, 2, 1])
    assert reverse(values, lengths).tolist() == [
        [4, 3, 2, 1, 0],
        [6, 5, 7, 8, 9],
        [10, 11, 12, 13, 14],
    ]
    assert torch.equal(reverse(reverse(values, lengths), lengths), values)
    deep = values[..., None].expand(-1, -1, 3)
    assert torch.equal(reverse(deep, lengths)[..., 1], reverse(values, lengths))


def test_shapes_and_layer_zero_knows_the_word_only(model, vocabulary):
    states = model(make_batch(SENTENCES, vocabulary))
    assert states.shape == (3, 3, 8, 14)
    first, second = states[0, 0, 1], states[0, 2, 2]  # "the" in two sentences
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first[:7], first[7:])
    assert not torch.allclose(states[1, 0, 1], states[1, 2, 2])


def halves(model, vocabulary, sentence):
    states = model(make_batch([sentence], vocabulary))[1:, 0]  # both LSTM layers
    return states[..., :7], states[..., 7:]


def test_forward_sees_only_the_past_and_backward_only_the_future(model, vocabulary):
    right, left = halves(model, vocabulary, ["the", "cat", "sat", "on", "mat"])
    other_right, other_left = halves(model, vocabulary, ["the", "cat", "ran", "on", "mat"])
    changed = 3  # position with <s> at 0
    torch.testing.assert_close(right[:, :changed], other_right[:, :changed])
    torch.testing.assert_close(left[:, changed + 1 :], other_left[:, changed + 1 :])
    for position in range(changed, 7):
        assert not torch.allclose(right[:, position], other_right[:, position])
    for position in range(changed + 1):
        assert not torch.allclose(left[:, position], other_left[:, position])


def test_company_in_the_batch_changes_nothing(model, vocabulary):
    together = word_states(model, SENTENCES, vocabulary)
    for sentence, states in zip(SENTENCES, together, strict=True):
        alone = word_states(model, [sentence], vocabulary)[0]
        assert states.shape == (3, len(sentence), 14)
        torch.testing.assert_close(states, alone, atol=1e-10, rtol=0)


def test_forward_states_agree_with_torch_lstm(model, vocabulary):
    batch = make_batch(SENTENCES[:1], vocabulary)
    words = model.encoder(batch.spellings)[batch.words]
    theirs = nn.LSTM(7, 7, bidirectional=True, batch_first=True).double()
    for name, value in model.right[0].named_parameters():
        getattr(theirs, name).data.copy_(value)
    for name, value in model.left[0].named_parameters():
        getattr(theirs, f"{name}_reverse").data.copy_(value)
    torch.testing.assert_close(model(batch)[1], theirs(words)[0], atol=1e-10, rtol=0)


def test_loss_agrees_with_a_loop_over_words(model, vocabulary):
    batch = make_batch(SENTENCES, vocabulary)
    top = model(batch)[-1]
    forward, backward = [], []
    for i, length in enumerate(batch.lengths.tolist()):
        for t in range(length):
            scores = model.softmax.log_prob(top[i, t].reshape(2, 7))
            if t + 1 < length:
                forward.append(-scores[0, batch.targets[i, t + 1]])
            if t > 0:
                backward.append(-scores[1, batch.targets[i, t - 1]])
    ours = model.loss(batch)
    torch.testing.assert_close(ours[0], torch.stack(forward).mean())
    torch.testing.assert_close(ours[1], torch.stack(backward).mean())


def test_byte_encoder_tells_spellings_apart_and_ignores_padding():
    torch.manual_seed(0)
    encoder = ByteEncoder(5, {1: 3, 4: 7}).double()
    rows = nn.utils.rnn.pad_sequence(
        [torch.tensor(word_bytes(w)) for w in ("cat", "act", "caterpillar")], batch_first=True
    )
    together = encoder(rows)
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(together[0], encoder(torch.tensor([word_bytes("cat")]))[0])


def test_layer_mix_by_hand():
    mix = LayerMix(3)
    states = torch.arange(30.0).reshape(3, 2, 5)
    torch.testing.assert_close(mix(states), states.mean(0))
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, torch.inf, 0.0]).nan_to_num(posinf=50.0))
        mix.gamma.fill_(3)
    torch.testing.assert_close(mix(states), 3 * states[1])
    assert mix.shares.sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="expected 3 layers, got 2"):
        mix(states[:2])


@pytest.fixture(scope="module")
def trained():
    """A language without chance: colours come before animals of one kind."""
    pairs = {"red": "fox", "grey": "wolf", "brown": "bear", "white": "hare"}
    text = [["see", "the", colour, animal, "run"] for colour, animal in pairs.items()] * 13
    vocabulary = OutputVocabulary(text, 99)
    torch.manual_seed(0)
    model = ElmoLM(len(vocabulary), width=23, layers=1, filters={2: 11}, dropout=0.0)
    losses = train_elmo(
        model, text, vocabulary, epochs=13, batch_words=29, learning_rate=1e-2, seed=3
    )
    return model, vocabulary, text, losses


def test_training_reaches_what_can_be_known(trained):
    model, vocabulary, text, losses = trained
    assert losses[-1] < losses[0] / 3
    forward, backward = perplexity(model, text, vocabulary)
    # six predictions a sentence, one of which is a choice of four: 4 ** (1/6) = 1.26
    assert 1.25 < forward < 1.4
    assert 1.25 < backward < 1.4


def test_perplexity_is_that_of_the_loss(trained):
    model, vocabulary, text, _ = trained
    with torch.no_grad():
        forward, _ = model.loss(make_batch(text, vocabulary))
    assert perplexity(model, text, vocabulary)[0] == pytest.approx(forward.exp().item(), rel=1e-4)


def test_training_repeats_with_its_seed(vocabulary):
    def run():
        torch.manual_seed(0)
        model = ElmoLM(len(vocabulary), width=7, filters={2: 5})
        return train_elmo(model, SENTENCES, vocabulary, batch_words=9, seed=1)

    assert run() == run()
