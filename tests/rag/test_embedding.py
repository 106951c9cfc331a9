"""Embeddings: sentence-transformers as the witness, order, padding, the cache and its faults."""

import threading

import numpy as np
import pytest

from course_utils import assets
from course_utils.rag import embedding
from course_utils.rag.embedding import MiniLMEmbedder, cached_embeddings, corpus_key

TEXTS = [
    "A tower.",
    "Bees dance to show the way to food, " * 3,
    "x",
    "Où est la tour ? 塔",
    "A tower.",
]


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEmbedder(batch_size=2)


class Counting:
    """An embedder that counts its rows; the vector of a text depends on its length only."""

    name, width = "counting", 3

    def __init__(self):
        self.rows = 0

    def encode(self, texts):
        self.rows += len(texts)
        raw = np.array([[len(t), 1.0, 2.0] for t in texts], np.float32).reshape(-1, 3)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_equal_to_sentence_transformers(minilm):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    folder = str(assets.path("minilm-l6"))
    body = Transformer(folder, max_seq_length=256)
    pooling = Pooling(body.get_embedding_dimension(), "mean")
    theirs = library.SentenceTransformer(modules=[body, pooling, Normalize()], device="cpu")
    long = "One more sentence about towers and bees. " * 60  # cut at 256 tokens by both
    # float32 through six layers
    np.testing.assert_allclose(
        minilm.encode([*TEXTS, long]), theirs.encode([*TEXTS, long]), atol=2e-5
    )


def test_order_lengths_and_batches_do_not_matter(minilm):
    whole = minilm.encode(TEXTS)
    assert whole.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(whole[0], whole[4], atol=1e-6)
    for i, text in enumerate(TEXTS):
        # padding and batch change the order of float32 sums
        np.testing.assert_allclose(minilm.encode([text])[0], whole[i], atol=1e-5)


def test_mean_of_token_vectors(minilm):
    (tokens,) = minilm.token_vectors(["A tower."])
    assert tokens.shape == (5, 384)  # [CLS] a tower . [SEP]
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)


def test_nothing_and_a_single_text(minilm):
    assert minilm.encode([]).shape == (0, 384)
    with pytest.raises(TypeError, match="put it into a list"):
        minilm.encode("text")
    with pytest.raises(ValueError, match="max_tokens"):
        MiniLMEmbedder(max_tokens=2)


def test_the_cache_computes_once_and_checks_rows(tmp_path):
    texts, embedder = [f"text {'x' * i}" for i in range(31)], Counting()
    first = cached_embeddings(texts, embedder, tmp_path)
    assert embedder.rows == 31
    again = cached_embeddings(texts, embedder, tmp_path)
    assert embedder.rows == 31 + embedding.RECHECKED
    np.testing.assert_array_equal(first, again)


def test_other_texts_or_another_embedder_ask_anew():
    one, two = Counting(), Counting()
    two.name = "other"
    keys = {
        corpus_key(["ab", "c"], one),
        corpus_key(["a", "bc"], one),
        corpus_key(["c", "ab"], one),
        corpus_key(["ab", "c"], two),
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    "fault", ["cut", "noise", "empty", "wrong rows", "false numbers", "pickle"]
)
def test_a_bad_file_is_replaced(tmp_path, fault):
    texts, embedder = [f"text {'x' * i}" for i in range(31)], Counting()
    right = cached_embeddings(texts, embedder, tmp_path)
    (file,) = tmp_path.glob("*.npy")
    raw = file.read_bytes()
    if fault == "cut":
        file.write_bytes(raw[:-5])
    elif fault == "noise":
        file.write_bytes(b"\x00" * 200)
    elif fault == "empty":
        file.write_bytes(b"")
    elif fault == "wrong rows":
        np.save(file, right[:7])
    elif fault == "false numbers":
        np.save(file, right[::-1].copy())
    else:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(cached_embeddings(texts, embedder, tmp_path), right)
    np.testing.assert_array_equal(np.load(file), right)
    assert not list(tmp_path.glob(".draft-*"))


def test_a_failure_leaves_nothing_half_done(tmp_path):
    class Failing(Counting):
        def encode(self, texts):
            raise MemoryError

    with pytest.raises(MemoryError):
        cached_embeddings(["a"], Failing(), tmp_path)
    assert not list(tmp_path.glob("*.npy"))


def test_two_at_once_compute_once(tmp_path):
    embedder, found = Counting(), []
    texts = [f"text {'x' * i}" for i in range(101)]
    runs = [
        threading.Thread(target=lambda: found.append(cached_embeddings(texts, embedder, tmp_path)))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(found) == 3
    assert embedder.rows == 101 + 2 * embedding.RECHECKED
