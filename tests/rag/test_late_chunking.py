"""Late chunking: whole texts as the witness, tokens counted by hand, and what is not read."""

import numpy as np
import pytest

from course_utils.rag.embedding import MiniLMEmbedder
from course_utils.rag.late_chunking import late_vectors, piece_tokens

TEXT = "Agassi met Sampras in New York. He lost the final in three sets."
BORDER = TEXT.index("He lost")
CLOSE = 2e-6  # float32 sums over a few dozen numbers, in batches of other lengths


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEmbedder(device="cpu")


# --- by hand ---


def test_tokens_of_pieces_by_hand(minilm):
    text = "Red cats. Blue dogs run."  # [CLS] red cats . blue dogs run . [SEP]
    spans = [(0, 10), (10, 24), (4, 8), (9, 10)]
    assert [list(own) for own in piece_tokens(minilm, text, spans)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7, 8],
        [2],
        [],
    ]


def test_a_piece_is_the_mean_of_its_own_tokens(minilm):
    ((_, states, _),) = minilm.batches([TEXT])
    mine = piece_tokens(minilm, TEXT, [(BORDER, len(TEXT))])[0]
    mean = states[0].numpy()[mine].mean(0)
    ((vector,),) = late_vectors(minilm, [TEXT], [[(BORDER, len(TEXT))]])
    assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=CLOSE)


# --- invariants ---


def test_a_partition_shares_out_every_token(minilm):
    spans = [(0, 7), (7, BORDER), (BORDER, len(TEXT))]
    members = np.concatenate(piece_tokens(minilm, TEXT, spans))
    count = len(minilm.tokenizer(TEXT)["input_ids"])
    assert sorted(members) == list(range(count))


def test_only_late_vectors_know_the_rest_of_the_text(minilm):
    piece = TEXT[BORDER:]
    texts = [TEXT, f"The choir sang in Milan. {piece}"]
    spans = [[(len(text) - len(piece), len(text))] for text in texts]
    first, second = (own[0] for own in late_vectors(minilm, texts, spans))
    assert np.linalg.norm([first, second], axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert first @ second < 0.98  # cut first, the two would be one vector


def test_pieces_behind_the_last_token_are_encoded_alone(minilm):
    short = MiniLMEmbedder(device="cpu", max_tokens=16)
    spans = [(0, BORDER), (BORDER, len(TEXT)), (len(TEXT) - 11, len(TEXT))]
    read, partly, unread = late_vectors(short, [TEXT], [spans])[0]
    assert [len(own) for own in piece_tokens(short, TEXT, spans)] == [12, 4, 0]
    assert unread == pytest.approx(short.encode([TEXT[-11:]])[0], abs=CLOSE)
    assert not np.allclose(partly, short.encode([TEXT[BORDER:]])[0], atol=1e-2)
    assert read @ minilm.encode([TEXT[:BORDER]])[0] > 0.7  # and "He lost the" behind it


# --- oracle ---


def test_a_piece_that_is_the_whole_text_is_encode(minilm):
    texts = [TEXT, "One.", "A longer text, with commas, and more than one clause in it."]
    vectors = late_vectors(minilm, texts, [[(0, len(text))] for text in texts])
    assert np.concatenate(vectors) == pytest.approx(minilm.encode(texts), abs=CLOSE)


def test_a_text_longer_than_the_model_reads_is_still_encode(minilm):
    short = MiniLMEmbedder(device="cpu", max_tokens=7)
    ((vector,),) = late_vectors(short, [TEXT], [[(0, len(TEXT))]])
    assert vector == pytest.approx(short.encode([TEXT])[0], abs=CLOSE)


# --- errors ---


def test_spans_must_be_characters_of_the_text(minilm):
    for span in ((0, 99), (3, 3), (-1, 4)):
        with pytest.raises(ValueError, match="a piece must be characters"):
            late_vectors(minilm, [TEXT], [[span]])
    with pytest.raises(ValueError, match="not blank"):
        late_vectors(minilm, ["one  two"], [[(3, 5)]])
    assert late_vectors(minilm, [TEXT], [[]])[0].shape == (0, minilm.width)
