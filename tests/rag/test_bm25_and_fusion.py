"""BM25 by hand and against rank_bm25; fusion by hand and against LangChain's formula."""

import math
import random

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from course_utils.rag.bm25 import BM25, inverse_document_frequency, words
from course_utils.rag.fusion import convex_fusion, reciprocal_rank_fusion

TEXTS = ["the cat sat", "the cat and the dog and the bird", "fish swim"]


def test_words_are_whole():
    assert words("Start the ART-class, 2nd time!") == [
        "start",
        "the",
        "art",
        "class",
        "2nd",
        "time",
    ]


def test_by_hand():
    # N = 3, average length 13 / 3; "sat": n = 1, idf = ln 2.5 - ln 1.5; f = 1, |d| = 3
    idf = math.log(2.5 / 1.5)
    share = 1 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / (13 / 3)))
    assert BM25(TEXTS).scores("sat")[0] == pytest.approx(idf * share)
    assert list(BM25(TEXTS).scores("sat")[1:]) == [0, 0]


@pytest.mark.parametrize("options", [{}, {"k1": 0.9, "b": 0.4}, {"k1": 0.01}, {"b": 0.0}])
def test_equals_rank_bm25(options):
    rng = random.Random(3)
    vocabulary = [f"w{i}" for i in range(31)]
    texts = [
        " ".join(rng.choices(vocabulary, weights=range(1, 32), k=rng.randint(1, 29)))
        for _ in range(53)
    ]
    theirs = BM25Okapi([words(text) for text in texts], **options)
    ours = BM25(texts, **options)
    for _ in range(17):
        query = rng.choices([*vocabulary, "unseen"], k=rng.randint(1, 7))
        # sums of up to seven doubles in another order
        np.testing.assert_allclose(
            ours.scores(" ".join(query)), theirs.get_scores(query), rtol=1e-12, atol=1e-12
        )


def test_words_of_most_texts_get_the_floor():
    idf = inverse_document_frequency({"the": 5, "cat": 1, "dog": 2}, 7)
    raw = [math.log(2.5 / 5.5), math.log(6.5 / 1.5), math.log(5.5 / 2.5)]
    assert idf["the"] == pytest.approx(0.25 * sum(raw) / 3)


def test_search_gives_only_texts_that_share_a_word():
    assert BM25(TEXTS).search("fish dog", 10) == [
        (2, pytest.approx(BM25(TEXTS).scores("fish")[2])),
        (1, pytest.approx(BM25(TEXTS).scores("dog")[1])),
    ]
    assert BM25(TEXTS).search("zebra") == []


def test_empty_collections_and_texts():
    assert len(BM25([]).scores("a")) == 0
    assert BM25([]).search("a") == []
    assert BM25(["", "a b"]).scores("").tolist() == [0, 0]


def test_wrong_arguments():
    with pytest.raises(TypeError, match="list of texts"):
        BM25("one text")
    with pytest.raises(ValueError, match="0 <= b <= 1"):
        BM25(TEXTS, b=1.5)
    with pytest.raises(ValueError, match="top_k"):
        BM25(TEXTS).search("cat", 0)


def test_fusion_by_hand():
    fused = dict(reciprocal_rank_fusion([["a", "b", "c"], ["c", "a"]]))
    assert fused["a"] == pytest.approx(1 / 61 + 1 / 62)
    assert fused["c"] == pytest.approx(1 / 63 + 1 / 61)
    assert fused["b"] == pytest.approx(1 / 62)


def test_fusion_of_one_ranking_keeps_it():
    ranking = random.Random(1).sample(range(97), 41)
    assert [name for name, _ in reciprocal_rank_fusion([ranking])] == ranking


def test_fusion_does_not_care_for_the_order_of_the_rankings():
    rng = random.Random(5)
    lists = [rng.sample(range(29), 11), rng.sample(range(29), 13), rng.sample(range(29), 7)]
    first = dict(reciprocal_rank_fusion(lists))
    second = dict(reciprocal_rank_fusion(lists[::-1]))
    assert first == pytest.approx(second)


@pytest.mark.filterwarnings("ignore")
def test_fusion_equals_langchain():
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    class Fixed(BaseRetriever):
        names: list[str]

        def _get_relevant_documents(self, query, *, run_manager=None):
            return [Document(page_content=name) for name in self.names]

    rng = random.Random(7)
    pool = [f"d{i}" for i in range(23)]
    lists = [rng.sample(pool, 13), rng.sample(pool, 17)]
    weights = [0.3, 0.7]
    theirs = EnsembleRetriever(retrievers=[Fixed(names=n) for n in lists], weights=weights)
    ours = reciprocal_rank_fusion(lists, weights=weights)
    assert [name for name, _ in ours] == [d.page_content for d in theirs.invoke("q")]


def test_fusion_refuses_what_it_cannot_fuse():
    with pytest.raises(ValueError, match="3 weights for 2"):
        reciprocal_rank_fusion([["a"], ["b"]], weights=[1, 1, 1])
    with pytest.raises(TypeError, match="list of ids"):
        reciprocal_rank_fusion(["abc"])


def test_convex_fusion_by_hand():
    fused = dict(convex_fusion({"a": 10.0, "b": 5.0, "c": 0.0}, {"b": 0.9, "d": 0.1}, 0.4))
    assert fused == pytest.approx({"a": 0.4, "b": 0.4 * 0.5 + 0.6, "c": 0.0, "d": 0.0})


def test_coverage_by_hand():
    # "cat" stands in 1 of 3 texts: idf ln(2.5/1.5) = 0.511; "swims" likewise; "zebra" in none: as
    # the rarest, 0.511 too
    bm25 = BM25(["the cat sat", "the dog sat", "the fish swims"])
    assert bm25.coverage("cat", 0) == 1
    assert bm25.coverage("cat cat", 0) == 1  # a word counts once
    assert bm25.coverage("cat swims", 0) == pytest.approx(0.5)
    assert bm25.coverage("cat swims zebra", 2) == pytest.approx(1 / 3)
    assert bm25.coverage("zebra", 1) == 0
    assert bm25.coverage("", 1) == 0


def test_coverage_grows_with_the_text():
    rng = random.Random(3)
    pool = [f"w{i}" for i in range(41)]
    texts = [" ".join(rng.choices(pool, k=11)) for _ in range(23)]
    longer = [f"{text} {' '.join(rng.choices(pool, k=7))}" for text in texts]
    both = BM25([*texts, *longer])
    for row in range(23):
        query = " ".join(rng.choices([*pool, "unknown"], k=5))
        # sums of the same numbers in the same order
        assert 0 <= both.coverage(query, row) <= both.coverage(query, row + 23) <= 1


@pytest.mark.parametrize("row", [-1, 2])
def test_coverage_of_no_text_is_refused(row):
    with pytest.raises(ValueError, match="0 to 1, got"):
        BM25(["a", "b"]).coverage("a", row)
