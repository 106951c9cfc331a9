"""Counts, weights and hashes: by hand, by invariants, and against scikit-learn."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
)
from sklearn.metrics import pairwise
from sklearn.utils import murmurhash3_32

from course_utils.text.features import (
    BagOfWords,
    TfIdf,
    char_ngrams,
    char_ngrams_in_words,
    cosine_similarity,
    inverse_document_frequency,
    normalise_rows,
    top_terms,
    word_ngrams,
)
from course_utils.text.hashing import HashedBagOfWords, murmurhash3

TINY = ["the cat sat", "the cat ate the fish", "a dog ate"]


def make_documents(number, seed=3):
    rng = random.Random(seed)
    pool = ["the", "of", "and", "Cat", "cat's", "naïve", "CAFÉ", "x", "I", "2024", "e-mail"]
    pool += ["über_1", "猫猫", "don't", "ate", "sat", "dog"]
    joints = [" ", "  ", ", ", "\n", "\t", ". "]
    documents = [
        "".join(rng.choice(pool) + rng.choice(joints) for _ in range(rng.randrange(0, 29)))
        for _ in range(number)
    ]
    return [*documents, "", "  ", "I a"]


DOCUMENTS = make_documents(53)


def same(ours, theirs, tolerance=0.0):
    assert ours.shape == theirs.shape
    difference = abs(sparse.csr_matrix(ours) - sparse.csr_matrix(theirs))
    return difference.nnz == 0 or difference.max() <= tolerance


# -- by hand ----------------------------------------------------------------------------------


def test_counts_by_hand():
    bag = BagOfWords()
    counts = bag.fit_transform(TINY)
    assert list(bag.get_feature_names_out()) == ["ate", "cat", "dog", "fish", "sat", "the"]
    assert counts.toarray().tolist() == [
        [0, 1, 0, 0, 1, 1],
        [1, 1, 0, 1, 0, 2],
        [1, 0, 1, 0, 0, 0],
    ]


def test_one_letter_words_vanish_unless_the_pattern_keeps_them():
    assert "i" not in BagOfWords().fit(["I saw a cat"]).vocabulary
    kept = BagOfWords(token_pattern=r"\b\w+\b").fit(["I saw a cat"])
    assert list(kept.get_feature_names_out()) == ["a", "cat", "i", "saw"]


def test_idf_by_hand():
    # N = 3; df: ate 2, cat 2, dog 1, fish 1, sat 1, the 2
    counts = BagOfWords().fit_transform(TINY)
    smooth = inverse_document_frequency(counts)
    assert smooth[0] == pytest.approx(np.log(4 / 3) + 1)
    assert smooth[2] == pytest.approx(np.log(4 / 2) + 1)
    plain = inverse_document_frequency(counts, smooth=False)
    assert plain[5] == pytest.approx(np.log(3 / 2) + 1)


def test_tfidf_of_one_document_by_hand():
    counts = sparse.csr_matrix(np.array([[3, 4], [1, 0]]))
    weights = TfIdf(smooth_idf=False, norm=None).fit_transform(counts).toarray()
    # df: 2 and 1 of 2 documents; idf 1 and ln 2 + 1
    assert weights == pytest.approx(np.array([[3, 4 * (np.log(2) + 1)], [1, 0]]))


def test_word_ngrams_after_stop_words_are_gone():
    bag = BagOfWords(ngram_range=(2, 2), stop_words={"of"})
    assert list(bag.fit(["state of the art"]).vocabulary) == ["state the", "the art"]
    assert word_ngrams(["a"], 2, 3) == []


def test_character_ngrams_by_hand():
    assert char_ngrams("a  b", 1, 2) == ["a", " ", "b", "a ", " b"]
    assert char_ngrams_in_words("ab c", 3, 4) == [" ab", "ab ", " ab ", " c "]


def test_columns_and_sums_of_hashes_by_hand():
    hashed = HashedBagOfWords(7, norm=None)
    column, sign = hashed.place("cat")
    value = murmurhash3_32("cat", seed=0)
    assert (column, sign) == (abs(value) % 7, 1 if value >= 0 else -1)
    assert hashed.transform(["cat cat"]).toarray()[0, column] == 2 * sign


def test_top_terms_are_in_order_and_ties_by_column():
    assert top_terms(np.array([1.0, 5.0, 5.0, 2.0]), ["a", "b", "c", "d"], 3) == ["b", "c", "d"]


# -- errors -----------------------------------------------------------------------------------


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="one string"):
        BagOfWords().fit("the cat")
    with pytest.raises(TypeError, match="english"):
        BagOfWords(stop_words="english")
    with pytest.raises(ValueError, match="low <= high"):
        BagOfWords(ngram_range=(3, 2))
    with pytest.raises(ValueError, match="analyzer"):
        BagOfWords("words")
    with pytest.raises(ValueError, match="no term is left"):
        BagOfWords(min_df=5).fit(TINY)
    with pytest.raises(ValueError, match="fit"):
        BagOfWords().transform(TINY)
    with pytest.raises(ValueError, match="fit"):
        TfIdf().transform(sparse.csr_matrix((2, 3)))
    with pytest.raises(ValueError, match="expected 6"):
        TfIdf().fit(BagOfWords().fit_transform(TINY)).transform(sparse.csr_matrix((2, 3)))
    with pytest.raises(ValueError, match="norm"):
        TfIdf(norm="max")
    with pytest.raises(ValueError, match="columns"):
        HashedBagOfWords(0)
    with pytest.raises(ValueError, match="2 weights for 3 names"):
        top_terms(np.ones(2), ["a", "b", "c"])


# -- invariants -------------------------------------------------------------------------------


def test_arguments_are_left_alone():
    counts = BagOfWords().fit_transform(DOCUMENTS)
    before = counts.copy()
    TfIdf(sublinear_tf=True).fit_transform(counts)
    normalise_rows(counts)
    assert same(counts, before)


def test_rows_have_length_one_or_are_empty():
    weights = TfIdf().fit_transform(BagOfWords().fit_transform(DOCUMENTS))
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    assert set(np.round(lengths, 12)) == {0.0, 1.0}


def test_order_of_words_is_lost_and_order_of_documents_is_kept():
    bag = BagOfWords().fit(["dog bites man"])
    assert same(bag.transform(["dog bites man"]), bag.transform(["man bites dog"]))
    both = bag.transform(["dog", "man"]).toarray()
    assert same(bag.transform(["man", "dog"]), both[::-1])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=41), st.integers(0, 2**32 - 1))
def test_murmurhash_equals_scikit_learns(data, seed):
    assert murmurhash3(data, seed) == murmurhash3_32(data, seed=seed)


def test_signed_hashing_keeps_inner_products_on_average():
    signs = []
    for salt in range(211):  # a prefix makes other terms of the same words
        salted = [" ".join(f"q{salt}{w}" for w in text.split()) for text in DOCUMENTS[:2]]
        plain = BagOfWords().fit_transform(salted)
        hashed = HashedBagOfWords(13, norm=None).transform(salted)
        exact = (plain @ plain.T).toarray()[0, 1]
        signs.append((hashed @ hashed.T).toarray()[0, 1] - exact)
    # the mean error of 211 draws: within three standard errors of zero
    assert abs(np.mean(signs)) < 3 * np.std(signs) / np.sqrt(len(signs))
    unsigned = HashedBagOfWords(13, norm=None, signed=False).transform(salted)
    assert (unsigned @ unsigned.T).toarray()[0, 1] > exact


# -- oracle: scikit-learn ---------------------------------------------------------------------

LIMITS = [
    {},
    {"min_df": 3},
    {"max_df": 0.8},
    {"min_df": 0.05, "max_df": 31},
    {"max_features": 17},
    {"binary": True},
    {"binary": True, "max_features": 13},
]


@pytest.mark.parametrize("analyzer", ["word", "char", "char_wb"])
@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 3), (2, 5)])
@pytest.mark.parametrize("limits", LIMITS)
def test_counts_equal_scikit_learns(analyzer, ngram_range, limits):
    train, other = DOCUMENTS[:31], DOCUMENTS[31:]
    stops = [None, ["the", "of"]] if analyzer == "word" else [None]
    for lowercase, stop_words in itertools.product([True, False], stops):
        options = {"analyzer": analyzer, "ngram_range": ngram_range, "lowercase": lowercase}
        ours = BagOfWords(**options, stop_words=stop_words or (), **limits)
        theirs = CountVectorizer(**options, stop_words=stop_words, **limits)
        assert same(ours.fit_transform(train), theirs.fit_transform(train))
        assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
        assert same(ours.transform(other), theirs.transform(other))


@pytest.mark.parametrize("smooth_idf", [True, False])
@pytest.mark.parametrize("sublinear_tf", [True, False])
@pytest.mark.parametrize("use_idf", [True, False])
@pytest.mark.parametrize("norm", ["l1", "l2", None])
def test_weights_equal_scikit_learns(smooth_idf, sublinear_tf, use_idf, norm):
    options = {
        "smooth_idf": smooth_idf,
        "sublinear_tf": sublinear_tf,
        "use_idf": use_idf,
        "norm": norm,
    }
    bag = BagOfWords()
    train, other = bag.fit_transform(DOCUMENTS[:31]), bag.transform(DOCUMENTS[31:])
    ours, theirs = TfIdf(**options).fit(train), TfidfTransformer(**options).fit(train)
    for counts in (train, other):
        # 1e-12: same formula in float64, summed in another order
        assert same(ours.transform(counts), theirs.transform(counts), 1e-12)


@pytest.mark.parametrize("columns", [1, 13, 1021, 2**20])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("norm", ["l1", "l2", None])
def test_hashes_equal_scikit_learns(columns, signed, norm):
    for analyzer, ngram_range in (("word", (1, 2)), ("char_wb", (2, 3))):
        ours = HashedBagOfWords(
            columns, signed=signed, norm=norm, analyzer=analyzer, ngram_range=ngram_range
        )
        theirs = HashingVectorizer(
            n_features=columns,
            alternate_sign=signed,
            norm=norm,
            analyzer=analyzer,
            ngram_range=ngram_range,
        )
        assert same(ours.transform(DOCUMENTS), theirs.transform(DOCUMENTS), 1e-12)


def test_cosines_equal_scikit_learns():
    counts = BagOfWords().fit_transform(DOCUMENTS)
    ours = cosine_similarity(counts[:11], counts)
    assert ours == pytest.approx(pairwise.cosine_similarity(counts[:11], counts), abs=1e-12)
