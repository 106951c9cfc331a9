"""Words, spans and sentences from an encoder: offsets by hand, transformers as the oracle."""

import pytest
import torch

from course_utils import assets
from course_utils.nn.contextual import ContextualEncoder, Encoded, _shares, poolings, word_spans

TEXTS = ["She sat on the bank.", "Unhelpfully, the untidy bank closed at noon today.", "Bank"]


@pytest.fixture(scope="module")
def encoder():
    return ContextualEncoder.from_pretrained(assets.path("minilm-l6"))


def test_word_spans_by_hand():
    assert word_spans(["a", "naïve", "cat"]) == [(0, 1), (2, 7), (8, 11)]
    assert word_spans([]) == []


def test_shares_by_hand():
    # [CLS], "un", "tidy", " bank", [SEP], padding
    offsets = torch.tensor([(0, 0), (0, 2), (2, 6), (7, 11), (0, 0), (0, 0)])
    shares = _shares(offsets, [(0, 6), (7, 11), (5, 8)])
    expected = [[0, 0.5, 0.5, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0.5, 0.5, 0, 0]]
    torch.testing.assert_close(shares, torch.tensor(expected))
    with pytest.raises(ValueError, match=r"characters \(6, 7\)"):
        _shares(offsets, [(6, 7)])


def test_states_are_those_of_transformers(encoder):
    encoded = encoder.encode(TEXTS)
    assert encoded.states.shape[:2] == (7, 3)
    for i, text in enumerate(TEXTS):
        batch = encoder.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            theirs = encoder.model(**batch, output_hidden_states=True)
        T = batch["input_ids"].shape[1]
        assert encoded.real[i].sum() == T
        # float32, and padding changes the order of sums
        torch.testing.assert_close(
            encoded.states[-1, i, :T], theirs.last_hidden_state[0], atol=1e-4, rtol=0
        )
        torch.testing.assert_close(encoded.pooler[i], theirs.pooler_output[0], atol=1e-4, rtol=0)


def test_spans_do_not_depend_on_the_batch(encoder):
    spans = [[(t.lower().index("bank"), t.lower().index("bank") + 4)] for t in TEXTS]
    together = encoder.spans(TEXTS, spans)
    for text, span, vectors in zip(TEXTS, spans, together, strict=True):
        assert vectors.shape == (7, 1, 384)
        torch.testing.assert_close(vectors, encoder.spans([text], [span])[0], atol=1e-4, rtol=0)


def test_a_word_of_several_pieces_is_their_mean(encoder):
    vectors = encoder.spans(["Unhelpfully said"], [[(0, 11)]])[0]
    pieces = encoder.tokenizer.tokenize("Unhelpfully")
    assert len(pieces) > 1
    encoded = encoder.encode(["Unhelpfully said"])
    torch.testing.assert_close(vectors[:, 0], encoded.states[:, 0, 1 : 1 + len(pieces)].mean(1))


def test_split_words_are_spans_of_the_joined_text(encoder):
    words = ["She", "was", "n't", "there", "."]
    vectors = encoder.words([words])[0]
    assert vectors.shape == (7, 5, 384)
    direct = encoder.spans(["She was n't there ."], [[(8, 11)]])[0]
    torch.testing.assert_close(vectors[:, 2], direct[:, 0], atol=1e-5, rtol=0)


def test_mismatched_arguments(encoder):
    with pytest.raises(ValueError, match="2 texts came with 1 lists"):
        encoder.spans(["a", "b"], [[(0, 1)]])


def test_poolings_by_hand():
    states = torch.tensor([[[[1.0, 5.0], [3.0, -1.0], [99.0, 99.0]]]])  # one layer, one text
    real = torch.tensor([[True, True, False]])
    made = poolings(Encoded(states, real, torch.zeros(1, 3, 2), torch.tensor([[7.0, 7.0]])))
    expected = {"mean": [2.0, 2.0], "max": [3.0, 5.0], "cls": [1.0, 5.0], "pooler": [7.0, 7.0]}
    assert {name: value[0].tolist() for name, value in made.items()} == expected


def test_sentences_agree_with_plain_means(encoder):
    made = encoder.sentences(TEXTS)
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            states = encoder.model(**encoder.tokenizer(text, return_tensors="pt"))
        states = states.last_hidden_state[0]
        torch.testing.assert_close(made["mean"][i], states.mean(0), atol=1e-4, rtol=0)
        torch.testing.assert_close(made["max"][i], states.amax(0), atol=1e-4, rtol=0)
        torch.testing.assert_close(made["cls"][i], states[0], atol=1e-4, rtol=0)
