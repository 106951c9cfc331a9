"""Chunkers: by hand, invariants on random texts, and LangChain's splitter as the witness."""

import itertools
import random
import string

import pytest
from langchain_text_splitters import CharacterTextSplitter, RecursiveCharacterTextSplitter

from course_utils.rag.chunking import (
    CHUNKERS,
    fixed_chunks,
    recursive_chunks,
    section_chunks,
    sentence_chunks,
    whole_or,
)

PROSE = (
    "Mr. Hale opened the shop at 7.30. Nobody came! Was it the rain? He waited.\n\n"
    "At noon a woman asked for thread. She paid in old coins. He did not mind.\nThey talked.\n\n"
    "== Later ==\nThe rain stopped. " + "A very long sentence goes on and on, " * 9 + "and ends."
)


def random_text(seed: int) -> str:
    rng = random.Random(seed)
    words = [
        "".join(rng.choices(string.ascii_letters + "éß字", k=rng.randint(1, 17)))
        for _ in range(131)
    ]
    return "".join(word + rng.choice([" ", " ", ". ", "\n", "\n\n", "  "]) for word in words)


def texts_of(chunks):
    return [chunk.text for chunk in chunks]


def test_fixed_by_hand():
    assert texts_of(fixed_chunks("abcdefghij", 5, 2)) == ["abcde", "defgh", "ghij"]
    assert [(c.start, c.end) for c in fixed_chunks("abcdefghij", 5, 2)] == [(0, 5), (3, 8), (6, 10)]
    assert texts_of(fixed_chunks("abcd", 7)) == ["abcd"]
    assert fixed_chunks("", 7) == []
    assert fixed_chunks(" \n ", 7) == []


def test_sentences_by_hand():
    text = "Dr. Ito left. Why? Nobody knows."
    assert texts_of(sentence_chunks(text, 19)) == ["Dr. Ito left. Why?", "Nobody knows."]
    assert texts_of(sentence_chunks(text, 31, overlap=4)) == [
        "Dr. Ito left. Why?",
        "Why? Nobody knows.",
    ]


def test_recursive_by_hand():
    text = "aa bb\n\ncc dd ee"  # the second piece is 10 characters with its blank line
    assert texts_of(recursive_chunks(text, 7)) == ["aa bb", "cc dd", "ee"]
    assert texts_of(recursive_chunks(text, 11)) == ["aa bb", "cc dd ee"]


def test_sections_keep_apart_and_know_their_heading():
    text = "Lead.\n# One\nalpha beta\n## Two ##\ngamma\n=== Three ===\ndelta"
    found = section_chunks(text, 29)
    assert [c.section for c in found] == ["", "One", "Two", "Three"]
    assert found[1].text == "# One\nalpha beta"
    assert found[3].text == "=== Three ===\ndelta"


@pytest.mark.parametrize("name", CHUNKERS)
@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (7, 3), (53, 0), (53, 17), (211, 97)])
def test_offsets_sizes_and_cover(name, size, overlap):
    for text in (PROSE, random_text(3), random_text(5), "x" * 211, "", "\n\n \n"):
        chunks = CHUNKERS[name](text, size, overlap)
        covered = set()
        for chunk in chunks:
            assert text[chunk.start : chunk.end] == chunk.text
            assert 0 < len(chunk.text) <= size
            assert chunk.text == chunk.text.strip()
            covered |= set(range(chunk.start, chunk.end))
        assert all(text[i].isspace() for i in set(range(len(text))) - covered)
        assert [c.start for c in chunks] == sorted(c.start for c in chunks)


@pytest.mark.parametrize("name", ["fixed", "sentence", "recursive"])
def test_overlap_is_bounded(name):
    chunks = CHUNKERS[name](PROSE, 101, 31)
    for before, after in itertools.pairwise(chunks):
        assert before.end - after.start <= 31
        assert after.end > before.end
    assert any(b.end > a.start for b, a in itertools.pairwise(chunks))


@pytest.mark.parametrize(
    ("size", "overlap"), [(2, 1), (13, 5), (53, 0), (53, 17), (211, 97), (5003, 7)]
)
def test_recursive_equals_langchain(size, overlap):
    theirs = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=overlap, add_start_index=True
    )
    for text in (PROSE, "\n\n" + PROSE + "\n\n", *map(random_text, range(7))):
        assert texts_of(recursive_chunks(text, size, overlap)) == theirs.split_text(text)
    # where every word is another one, their search for the start finds the true place
    unique = " ".join(f"w{i}" for i in range(307))
    starts = [d.metadata["start_index"] for d in theirs.create_documents([unique])]
    assert [c.start for c in recursive_chunks(unique, size, overlap)] == starts


def test_blank_line_splitter_leaves_a_giant_chunk_and_ours_does_not():
    text = "word " * 1000
    assert len(CharacterTextSplitter(chunk_size=1000, chunk_overlap=0).split_text(text)) == 1
    assert max(len(c.text) for c in recursive_chunks(text, 1000)) <= 1000


def test_short_texts_stay_as_they_are():
    cut = whole_or(recursive_chunks, 23, 0)
    assert texts_of(cut("  spaces stay here  ")) == ["  spaces stay here  "]
    assert len(cut("x" * 24)) == 2


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, 7), (5, -1)])
@pytest.mark.parametrize("name", CHUNKERS)
def test_impossible_sizes_are_refused(name, size, overlap):
    with pytest.raises(ValueError, match="overlap < size"):
        CHUNKERS[name]("some text", size, overlap)
