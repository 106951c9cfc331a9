"""Stored vectors: a byte a coordinate, found by the hash of the text, checked before use."""

import hashlib
import warnings

import numpy as np
import pytest

from course_utils.rag import stored
from course_utils.rag.embedding import MiniLMEmbedder
from course_utils.rag.remembering import RememberingEmbedder

TEXTS = ["A tower.", "Bees dance.", "Où est la tour ? 塔", "x", "y" * 700]


class Counting:
    """Random vectors of width 7 that depend on the text only; counts what it was asked for."""

    name, width = "counting", 7

    def __init__(self, shift=0.0):
        self.asked, self.shift = [], shift

    def encode(self, texts):
        self.asked += texts
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:4], "big") for t in texts]
        raw = np.array([np.random.default_rng(s).normal(size=7) + self.shift for s in seeds])
        return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def store():
    return stored.store("counting", TEXTS, Counting().encode(TEXTS))


def test_a_row_by_hand():
    # the largest coordinate gets code 127, so the step is 0.8 / 127
    found = stored.store("hand", ["t"], np.array([[0.6, -0.8, 0.0]], np.float32))
    assert found.codes.tolist() == [[95, -127, 0]]
    assert found.scales[0] == pytest.approx(0.8 / 127)
    assert found.keys[0] == int.from_bytes(hashlib.sha256(b"t").digest()[:8], "big")
    np.testing.assert_allclose(found.vectors(np.array([0])), [[0.6, -0.8, 0.0]], atol=0.4 / 127)


def test_every_text_is_found_and_no_other(store):
    expected = Counting().encode(TEXTS)
    rows = store.find(TEXTS)
    assert sorted(rows) == list(range(5))
    back = store.vectors(rows)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    assert np.abs(back - expected).max() < 1 / 127  # half a step, and the scaling to length one
    assert (store.find(["a tower.", "", "z"]) == -1).all()
    assert store.find([]).shape == (0,)


def test_embed_all_shows_how_far_it_is(store, monkeypatch):
    monkeypatch.setattr(stored, "TOGETHER", 2)
    seen = []

    def watch(places):
        for place in places:
            seen.append(place)
            yield place

    again = stored.embed_all(Counting(), TEXTS[::-1], watch)
    assert seen == [0, 2, 4]
    for part in stored.PARTS:
        np.testing.assert_array_equal(getattr(again, part), getattr(store, part))


def test_an_empty_store_finds_nothing():
    empty = stored.store("none", [], np.empty((0, 3), np.float32).reshape(0, 3) + 1)
    assert len(empty) == 0
    assert empty.find(["x"]).tolist() == [-1]


def test_known_texts_are_not_computed_again(store, monkeypatch):
    monkeypatch.setattr(stored, "RECHECKED", 2)
    inner = Counting()
    ready = stored.ReadyEmbedder(inner, store)
    vectors = ready.encode([*TEXTS, "new", TEXTS[0]])
    assert inner.asked == [TEXTS[0], TEXTS[4], "new"]  # two of the check, one unknown
    assert ready.computed == 1
    assert np.abs(vectors - Counting().encode([*TEXTS, "new", TEXTS[0]])).max() < 1 / 127
    ready.encode(["new", "x"])
    assert len(inner.asked) == 3


def test_vectors_of_another_machine_are_put_aside(store):
    inner = Counting(shift=0.2)
    ready = stored.ReadyEmbedder(inner, store)
    with pytest.warns(UserWarning, match="embedded anew"):
        vectors = ready.encode(TEXTS)
    np.testing.assert_array_equal(vectors, Counting(shift=0.2).encode(TEXTS))
    assert ready.stored is None


def test_another_embedder_is_refused(store):
    other = Counting()
    other.name = "other"
    with pytest.raises(ValueError, match="'counting' cannot serve 'other'"):
        stored.ReadyEmbedder(other, store)


def test_written_and_read(store, tmp_path):
    file = tmp_path / "new" / "vectors.npz"
    stored.write_stored(store, file)
    again = stored.read_stored(file)
    assert again.name == "counting"
    for part in stored.PARTS:
        np.testing.assert_array_equal(getattr(again, part), getattr(store, part))
    assert [path.name for path in file.parent.iterdir()] == ["vectors.npz"]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-40], lambda raw: b"", lambda raw: b"no zip"])
def test_what_is_damaged_or_missing_is_not_used(store, tmp_path, damage):
    file = tmp_path / "vectors.npz"
    assert stored.read_stored(file) is None
    stored.write_stored(store, file)
    file.write_bytes(damage(file.read_bytes()))
    assert stored.read_stored(file) is None


def test_a_failed_write_leaves_the_old_file(store, tmp_path, monkeypatch):
    file = tmp_path / "vectors.npz"
    stored.write_stored(store, file)
    before = file.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stored.write_stored(store, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npz"]


@pytest.mark.parametrize(
    ("texts", "count"), [(["a", "a"], 2), (["a", "b"], 1)], ids=["twice", "too few vectors"]
)
def test_bad_input_is_refused(texts, count):
    with pytest.raises(ValueError, match="one vector for each of 2 different texts"):
        stored.store("n", texts, np.ones((count, 3), np.float32))


def test_the_course_file_holds_all_texts_and_the_models_vectors():
    minilm = MiniLMEmbedder()
    kept, texts = stored.read_stored(stored.bundled_file()), stored.course_texts()
    assert kept.name == minilm.name
    rows = kept.find(texts)
    assert len(kept) == len(texts), "texts or chunkers have changed: run `make vectors`"
    assert sorted(rows) == list(range(len(texts)))
    few = texts[:: len(texts) // 11]
    assert np.abs(minilm.encode(few) - kept.vectors(kept.find(few))).max() < stored.TOLERANCE


def test_ready_embedder_of_the_course():
    ready = stored.ready_embedder()
    assert isinstance(ready, stored.ReadyEmbedder)
    text = stored.wikipedia_passages()[101].text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ready.encode([text])
    assert ready.computed == 0


def test_another_model_gets_no_stored_vectors():
    plain = stored.ready_embedder(MiniLMEmbedder(max_tokens=32))
    assert type(plain) is RememberingEmbedder
