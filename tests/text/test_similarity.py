"""Word tables: hand numbers, invariants, gensim and scipy as oracles."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from course_utils.text.similarity import (
    WordVectors,
    analogy,
    compare_similarity,
    covered_pairs,
    evaluate_analogies,
    evaluate_similarity,
    mean_cosine,
    nearest,
    normalise,
    remove_top_components,
    spearman,
)

WORDS = tuple(f"w{i:02d}" for i in range(23))


@pytest.fixture
def table():
    return WordVectors(WORDS, np.random.default_rng(0).normal(size=(23, 7)))


@pytest.fixture
def gensim_table(table):
    from gensim.models import KeyedVectors

    theirs = KeyedVectors(7)
    theirs.add_vectors(list(table.words), table.matrix)
    return theirs


@pytest.fixture
def royal():
    """Two clean directions: sex and royalty, plus one word of its own."""
    rows = [[1, 0, 0.1], [-1, 0, 0.1], [1, 1, 0], [-1, 1, 0], [0, 0, 1]]
    return WordVectors(("man", "woman", "king", "queen", "apple"), np.array(rows, dtype=float))


def test_table_refuses_wrong_shapes_and_doubles():
    with pytest.raises(ValueError, match=r"2 words need a matrix \(2, C\), got shape \(3, 5\)"):
        WordVectors(("a", "b"), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="distinct"):
        WordVectors(("a", "a"), np.zeros((2, 5)))
    with pytest.raises(KeyError, match="'zebra' is not among the 2 words"):
        WordVectors(("a", "b"), np.zeros((2, 5)))["zebra"]


def test_cosine_by_hand():
    table = WordVectors(("a", "b", "c", "o"), np.array([[1, 0], [3, 3], [-2, 0], [0, 0]], float))
    assert table.similarity("a", "b") == pytest.approx(np.sqrt(0.5))
    assert table.similarity("a", "c") == -1
    assert table.similarity("a", "o") == 0


def test_normalise_keeps_directions_and_zeros():
    rows = normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])


def test_subset_keeps_known_words_in_order(table):
    smaller = table.subset(["w05", "unknown", "w02", "w05"])
    assert smaller.words == ("w05", "w02")
    np.testing.assert_array_equal(smaller["w02"], table["w02"])


def test_nearest_agrees_with_gensim(table, gensim_table):
    for word in WORDS[:5]:
        ours, theirs = nearest(table, word, 11), gensim_table.most_similar(word, topn=11)
        assert [w for w, _ in ours] == [w for w, _ in theirs]
        np.testing.assert_allclose([s for _, s in ours], [s for _, s in theirs], atol=1e-6)


def test_nearest_leaves_out_the_word_and_the_excluded(table):
    found = nearest(table, "w03", 99, exclude=["w01"])
    assert len(found) == 21
    assert not {"w01", "w03"} & {word for word, _ in found}
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)


def test_nearest_takes_a_vector_and_refuses_a_wrong_one(table):
    assert nearest(table, table["w04"] * 5, 1)[0][0] == "w04"
    with pytest.raises(ValueError, match=r"expected a vector \(7,\), got \(3,\)"):
        nearest(table, np.zeros(3))


def test_analogy_by_hand(royal):
    assert analogy(royal, "man", "king", "woman")[0][0] == "queen"
    assert {w for w, _ in analogy(royal, "man", "king", "woman", k=5)} == {"queen", "apple"}


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_analogies_agree_with_gensim(table, gensim_table, method):
    theirs_fn = (
        gensim_table.most_similar if method == "3cosadd" else gensim_table.most_similar_cosmul
    )
    for a, a_star, b in (WORDS[:3], WORDS[5:8], WORDS[11:14]):
        ours = analogy(table, a, a_star, b, k=5, method=method)
        theirs = theirs_fn(positive=[a_star, b], negative=[a], topn=5)
        assert [w for w, _ in ours] == [w for w, _ in theirs]


def test_3cosmul_by_hand(royal):
    cos = {w: (1 + royal.similarity("apple", w)) / 2 for w in ("man", "king", "woman")}
    expected = cos["king"] * cos["woman"] / (cos["man"] + 1e-3)
    scores = dict(analogy(royal, "man", "king", "woman", k=2, method="3cosmul"))
    assert scores["apple"] == pytest.approx(expected)


def test_unknown_method_is_refused(royal):
    with pytest.raises(ValueError, match="3cosadd, 3cosmul; got 'sum'"):
        analogy(royal, "man", "king", "woman", method="sum")


def test_evaluate_analogies_counts_by_section(royal):
    questions = [
        ("royal", "man", "king", "woman", "queen"),
        ("royal", "Woman", "Queen", "Man", "King"),
        ("royal", "man", "king", "boy", "prince"),
        ("fruit", "man", "king", "woman", "apple"),
    ]
    score = evaluate_analogies(royal, questions)
    assert score.sections == {"royal": (2, 2, 3), "fruit": (0, 1, 1)}
    assert (score.correct, score.covered, score.total) == (2, 3, 4)
    assert score.accuracy == pytest.approx(2 / 3)
    assert evaluate_analogies(royal, []).accuracy == 0


def test_evaluate_analogies_agrees_with_gensim(table, gensim_table, tmp_path):
    rng = np.random.default_rng(1)
    asked = [[WORDS[i] for i in rng.choice(23, 4, replace=False)] for _ in range(300)]
    # answers that are right by construction, so that there is something to count
    asked[::3] = [[a, s, b, analogy(table, a, s, b)[0][0]] for a, s, b, _ in asked[::3]]
    file = tmp_path / "questions.txt"
    file.write_text(": all\n" + "\n".join(" ".join(q) for q in asked))
    theirs, _ = gensim_table.evaluate_word_analogies(str(file), case_insensitive=False)
    ours = evaluate_analogies(table, [("all", *q) for q in asked])
    assert ours.covered == 300
    assert ours.accuracy == pytest.approx(theirs, abs=1e-12)


def test_given_words_may_be_answers_when_asked(royal):
    stay = [("x", "man", "man", "queen", "queen")]  # without exclusion the answer is b itself
    assert evaluate_analogies(royal, stay).correct == 0
    assert evaluate_analogies(royal, stay, allow_given_words=True).correct == 1


def test_spearman_agrees_with_scipy_also_with_ties():
    rng = np.random.default_rng(2)
    for _ in range(5):
        x, y = rng.integers(0, 7, 31), rng.normal(size=31)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0
    with pytest.raises(ValueError, match="3 and 2"):
        spearman([1, 2, 3], [1, 2])


def test_spearman_sees_only_the_order():
    x = np.random.default_rng(3).normal(size=19)
    assert spearman(x, np.exp(5 * x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)


def rated(table, rng, pairs=61, noise=0.4):
    chosen = [rng.choice(table.words, 2, replace=False) for _ in range(pairs)]
    return [(a, b, table.similarity(a, b) + noise * rng.normal()) for a, b in chosen]


def test_evaluation_agrees_with_gensim(table, gensim_table, tmp_path):
    pairs = [*rated(table, np.random.default_rng(4)), ("w01", "missing", 5.0)]
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(f"{a}\t{b}\t{c!r}" for a, b, c in map(tuple, pairs)))
    _, theirs, unknown = gensim_table.evaluate_word_pairs(str(file), case_insensitive=False)
    ours = evaluate_similarity(table, pairs, resamples=50)
    assert ours.rho == pytest.approx(theirs.statistic, abs=1e-9)
    assert (ours.covered, ours.total) == (61, 62)
    assert unknown == pytest.approx(100 / 62)


def test_interval_holds_the_value_and_narrows_with_more_pairs(table):
    rng = np.random.default_rng(5)
    few, many = (evaluate_similarity(table, rated(table, rng, n)) for n in (31, 997))
    assert few.low < few.rho < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_words_are_also_found_in_lower_case(table):
    _, _, total = covered_pairs(table, [("W01", "w02", 1.0)])
    assert total == 1
    assert len(covered_pairs(table, [("W01", "w02", 1.0)])[0]) == 1


def test_too_few_pairs_are_refused(table):
    with pytest.raises(ValueError, match="only 1 of 2 pairs"):
        evaluate_similarity(table, [("w01", "w02", 1.0), ("x", "y", 2.0)])


def test_paired_difference_is_surer_than_the_two_intervals(table):
    rng = np.random.default_rng(6)
    pairs = rated(table, rng, 211)
    blurred = WordVectors(WORDS, table.matrix + 0.35 * rng.normal(size=table.matrix.shape))
    result = compare_similarity(table, blurred, pairs)
    alone = [evaluate_similarity(t, pairs) for t in (table, blurred)]
    assert result.first == alone[0].rho
    assert result.second == alone[1].rho
    assert result.low < result.gain < result.high
    assert result.high - result.low < max(a.high - a.low for a in alone)
    same = compare_similarity(table, table, pairs, resamples=20)
    assert same.low == same.high == 0


def test_comparison_uses_only_shared_pairs(table):
    pairs = rated(table, np.random.default_rng(7), 101)
    smaller = table.subset(WORDS[:13])
    inside = [p for p in pairs if p[0] in smaller and p[1] in smaller]
    assert compare_similarity(table, smaller, pairs, resamples=20).covered == len(inside) < 101
    with pytest.raises(ValueError, match="only 0 pairs"):
        compare_similarity(table, table.subset(["w01"]), pairs)


def test_mean_cosine_agrees_with_all_pairs(table):
    cosines = table.unit @ table.unit.T
    expected = cosines[~np.eye(23, dtype=bool)].mean()
    assert mean_cosine(table.matrix) == pytest.approx(expected, abs=1e-12)
    assert mean_cosine(np.ones((5, 3))) == pytest.approx(1)
    assert mean_cosine(np.array([[1.0, 0], [-2, 0]])) == pytest.approx(-1)
    with pytest.raises(ValueError, match="at least two rows"):
        mean_cosine(np.ones((1, 3)))


def test_centring_takes_a_shared_direction_off(table):
    shifted = WordVectors(WORDS, table.matrix + 11.0)
    assert mean_cosine(shifted.matrix) > 0.9
    assert abs(mean_cosine(shifted.centred().matrix)) < 0.1
    np.testing.assert_allclose(shifted.centred().matrix.mean(0), 0, atol=1e-12)


def test_removed_components_are_those_of_pca(table):
    from sklearn.decomposition import PCA

    directions = PCA(n_components=2).fit(table.matrix).components_
    ours = remove_top_components(table.matrix, 2)
    np.testing.assert_allclose(ours @ directions.T, 0, atol=1e-10)
    # what is left has lost nothing else
    left = table.matrix - table.matrix.mean(0)
    np.testing.assert_allclose(ours, left - left @ directions.T @ directions, atol=1e-10)
    np.testing.assert_array_equal(
        table.without_top_components(0).matrix, remove_top_components(table.matrix, 0)
    )
    with pytest.raises(ValueError, match=r"0..7, got 9"):
        remove_top_components(table.matrix, 9)
