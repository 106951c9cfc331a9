"""The graph of names: a walk by hand, networkx as the witness, and what a ranking must keep."""

import math

import networkx
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from course_utils.rag.graph import (
    EntityGraph,
    names_in,
    personalised_pagerank,
    rank_with_graph,
)
from course_utils.rag.passages import Passage

FOUR = (
    "The master taught French to Blair.",
    "Later the writer Blair kept goats at Wallington.",
    "The fair of Wallington has a prize for goats.",
    "A goat needs water every day.",
)


def passages(texts):
    return [Passage(f"p{i}", "Tiny", "", text) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def graph():
    return EntityGraph(passages(FOUR))


# --- by hand ---


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The sculptor was Elisabet Ney.", {"elisabet ney", "elisabet", "ney"}),
        ("He saw Chaplin's film, City Lights.", {"chaplin", "city lights", "city", "lights"}),
        ("He met Leonardo da Vinci.", {"leonardo da vinci", "leonardo", "vinci"}),
        ("Then Isle of the Dead sank.", {"isle of the dead", "isle", "dead"}),
        ("It ended. Then Rome fell.", {"rome"}),
        ("no name here", set()),
        ("It was Édouard in Ürgüp.", {"édouard", "ürgüp"}),
    ],
)
def test_names_by_hand(text, names):
    assert names_in(text) == names


def test_the_walk_by_hand(graph):
    """a = 97, Blair 52, b = 14, Wallington 4, c = 1, of 168 (five equations, d = 1/2)."""
    assert graph.names == ["blair", "wallington"]
    restart = np.array([1.0, 0, 0, 0, 0, 0])
    p = personalised_pagerank(graph.edges, restart, 0.5)
    assert p * 168 == pytest.approx([97, 14, 1, 0, 52, 4], abs=1e-6)
    reached = graph.walk({"p0": 1.0}, damping=0.5)
    assert reached * 168 == pytest.approx([97 - 84, 14, 1, 0], abs=1e-6)


def test_expand_by_hand(graph):
    found = graph.expand(["p0"], k=7)
    assert [name for name, _ in found] == ["p1", "p2"]  # p3 shares no name
    assert graph.expand(["p0"], k=1) == found[:1]
    assert graph.expand(["p3"], k=2) == []


def test_weights_are_the_logarithm_of_rarity():
    graph = EntityGraph(passages([*FOUR, "They met Blair.", "Rain fell.", "Snow fell."]))
    weights = dict(zip(graph.names, graph.mentions.max(axis=0).toarray()[0], strict=True))
    assert weights == pytest.approx({"blair": math.log(7 / 3), "wallington": math.log(7 / 2)})
    assert graph.names_of("p1") == ["wallington", "blair"]


def test_frequent_names_are_no_nodes():
    texts = [f"They met Blair in Town{i}." for i in range(5)]
    assert EntityGraph(passages(texts), most=5).names == ["blair"]
    assert EntityGraph(passages(texts), most=4).names == []


# --- invariants ---


def test_probabilities_sum_to_one_and_fall_with_distance(graph):
    for damping in (0.0, 0.3, 0.85):
        p = personalised_pagerank(graph.edges, np.array([2.0, 0, 0, 0, 0, 0]), damping)
        assert p.sum() == pytest.approx(1, abs=1e-9)
        assert p[0] > p[1] >= p[2] >= p[3] == 0
    assert personalised_pagerank(graph.edges, np.eye(6)[2], 0.0) == pytest.approx(np.eye(6)[2])


def test_the_order_of_the_passages_does_not_matter(graph):
    turned = EntityGraph(passages(FOUR)[::-1])
    straight = dict(zip(graph.ids, graph.walk({"p0": 1.0}), strict=True))
    other = dict(zip(turned.ids, turned.walk({"p0": 1.0}), strict=True))
    assert other == pytest.approx(straight, abs=1e-9)


def test_the_graph_pulls_up_the_tied_passage_and_weight_0_leaves_the_order(graph):
    cosines = np.array([0.6, 0.1, 0.05, 0.3])
    assert rank_with_graph(graph, cosines, weight=0) == ["p0", "p3", "p1", "p2"]
    # walk 13, 14, 1, 0 of 14 beside the cosines: 1.53, 1.1, 0.12, 0.3
    assert rank_with_graph(graph, cosines, seeds=1, damping=0.5) == ["p0", "p1", "p3", "p2"]


def test_names_in_the_question_are_seeds(graph):
    cosines = np.array([0.1, 0.1, 0.1, 0.2])
    assert rank_with_graph(graph, cosines, seeds=1)[0] == "p3"
    asked = rank_with_graph(graph, cosines, "What is there at Wallington?", seeds=1)
    assert set(asked[:2]) == {"p1", "p2"}


def test_a_collection_without_common_names_keeps_the_order_of_the_cosines():
    lonely = EntityGraph(passages(["nothing here", "and nothing there", "nor here"]))
    assert lonely.names == []
    assert rank_with_graph(lonely, np.array([0.2, 0.5, 0.3]), "Who?") == ["p1", "p2", "p0"]


# --- oracle ---


@pytest.mark.parametrize("damping", [0.5, 0.85])
def test_pagerank_is_that_of_networkx(damping):
    rng = np.random.default_rng(11)
    dense = rng.random((23, 23)) * (rng.random((23, 23)) < 0.15)
    dense[5] = dense[17] = 0  # nodes without a way out
    restart = rng.random(23) * (rng.random(23) < 0.3)
    theirs = networkx.pagerank(
        networkx.from_numpy_array(dense, create_using=networkx.DiGraph),
        damping,
        personalization=dict(enumerate(restart)),
        tol=1e-12,
        max_iter=1000,
    )
    ours = personalised_pagerank(csr_matrix(dense), restart, damping)
    # both stop at a sum of changes of 1e-10 or less, so what is left is below 1e-9
    assert ours == pytest.approx([theirs[i] for i in range(23)], abs=1e-9)


# --- errors ---


def test_errors_say_what_came(graph):
    with pytest.raises(ValueError, match="restart needs 6 numbers"):
        personalised_pagerank(graph.edges, np.zeros(6))
    with pytest.raises(ValueError, match="damping 1"):
        personalised_pagerank(graph.edges, np.ones(6), 1)
    with pytest.raises(ValueError, match="no convergence"):
        personalised_pagerank(graph.edges, np.ones(6), 0.9, most_steps=2)
    with pytest.raises(ValueError, match="no passage 'x'"):
        graph.expand(["x"], 1)
    with pytest.raises(ValueError, match="different ids"):
        EntityGraph(passages(FOUR) * 2)
    with pytest.raises(ValueError, match="need 4 cosines"):
        rank_with_graph(graph, np.zeros(3))
