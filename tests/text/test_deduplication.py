"""Deduplication, splitting by document, compression: by hand, exact Jaccard, zlib and lzma."""

import gzip
import itertools
import lzma
import random

import numpy as np
import pytest

from course_utils.text.compression import METHODS, compressed_bits, utf8_sizes
from course_utils.text.deduplication import (
    MinHash,
    candidate_pairs,
    deduplicate,
    jaccard,
    near_duplicates,
    normal_form,
    shingles,
    split_by_document,
)


def text(seed, words=60):
    rng = random.Random(seed)
    return " ".join(rng.choice("abcdefghij") + rng.choice("klmnopqrst") for _ in range(words))


def changed(original, places, seed=0):
    words = original.split()
    for place in random.Random(seed).sample(range(len(words)), places):
        words[place] = "xx"
    return " ".join(words)


def test_shingles_and_jaccard_by_hand():
    a, b = shingles("The cat sat on the mat", 2), shingles("the CAT sat, on a mat!", 2)
    assert a == {"the cat", "cat sat", "sat on", "on the", "the mat"}
    assert jaccard(a, b) == 3 / 7
    assert shingles("two words", 5) == {"two words"}
    assert jaccard(set(), set()) == 1
    assert normal_form("Héllo,  World!") == "héllo world"
    with pytest.raises(ValueError, match="size"):
        shingles("a b", 0)


def test_minhash_estimates_jaccard():
    minhash = MinHash(count=1024, size=3)
    original = text(1, 211)
    for places in (0, 5, 23, 61):
        other = changed(original, places)
        true = jaccard(shingles(original, 3), shingles(other, 3))
        found = np.mean(minhash.signature(original) == minhash.signature(other))
        assert found == pytest.approx(true, abs=4 * (true * (1 - true) / 1024) ** 0.5 + 1e-9)


def test_bands_find_similar_pairs_and_few_others():
    rows = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [8, 8, 3, 4], [7, 6, 5, 0]])
    assert candidate_pairs(rows, 2) == {(0, 1), (0, 2)}
    assert candidate_pairs(rows, 1) == set()
    with pytest.raises(ValueError, match="3 bands do not divide 4"):
        candidate_pairs(rows, 3)


def test_near_duplicates_equal_all_pairs_compared():
    texts = [text(i) for i in range(17)] + [changed(text(i), 2) for i in (3, 5, 11)]
    sets = [shingles(t) for t in texts]
    true = [
        (i, j) for i, j in itertools.combinations(range(20), 2) if jaccard(sets[i], sets[j]) >= 0.6
    ]
    assert [(i, j) for i, j, _ in near_duplicates(texts, 0.6)] == true
    assert len(true) == 3


def test_deduplicate_keeps_the_first_of_each_chain():
    a = text(1)
    b, c = changed(a, 2, seed=1), changed(changed(a, 2, seed=1), 2, seed=2)
    texts = [text(5), a, a.upper() + "!", b, text(7), c]
    assert deduplicate(texts, 0.6) == [0, 1, 4]
    assert deduplicate([], 0.6) == []
    assert deduplicate(["x"], 0.6) == [0]


def test_split_shares_no_document_and_loses_no_row():
    rng = random.Random(3)
    documents = [rng.choice("abcdefg") for _ in range(101)]
    train, held = split_by_document(documents, 3, seed=1)
    assert not {documents[i] for i in train} & {documents[i] for i in held}
    assert len({documents[i] for i in held}) == 3
    assert sorted(train + held) == list(range(101))
    assert split_by_document(documents, 3, seed=2) != (train, held)
    for wrong in (0, 7):
        with pytest.raises(ValueError, match="hold out 1 to 6"):
            split_by_document(documents, wrong)


def test_gzip_and_xz_are_those_of_the_libraries_without_headers():
    data = text(1, 500).encode()
    assert compressed_bits(data, "gzip") / 8 == len(gzip.compress(data, 9)) - 18  # its frame
    ready = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    assert 0 < len(ready) - compressed_bits(data, "xz") / 8 < 80  # header, index, footer


@pytest.mark.parametrize("method", METHODS)
def test_what_was_just_read_costs_less(method):
    known, new = text(1, 400), text(2, 400)
    assert compressed_bits(known, method, given=known) < 0.9 * compressed_bits(known, method)
    assert compressed_bits(new, method) > 0
    assert utf8_sizes(["é", ""]) == [2, 0]


def test_an_unknown_compressor_is_refused():
    with pytest.raises(ValueError, match="gzip, bzip2, xz"):
        compressed_bits("a", "zip")
