"""Late interaction, query likelihood, rewriting, diversity, parents and headers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from course_utils.rag import loopback
from course_utils.rag.comparison import gains, rank_by, rerank, score_table, verdict
from course_utils.rag.diversity import maximal_marginal_relevance, redundancy
from course_utils.rag.embedding import MiniLMEmbedder
from course_utils.rag.headers import with_header, without_header
from course_utils.rag.late_interaction import LateInteraction, encode_both, maxsim
from course_utils.rag.parents import cut_children, parent_scores
from course_utils.rag.query_likelihood import query_likelihoods, question_messages
from course_utils.rag.remembering import RememberingEmbedder
from course_utils.rag.rewriting import (
    hyde_vectors,
    hypothetical_passages,
    multi_queries,
    rewrite_queries,
)

_spec = importlib.util.spec_from_file_location(
    "fake_embedder", Path(__file__).with_name("fake_embedder.py")
)
fake_embedder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_embedder)
WordEmbedder = fake_embedder.WordEmbedder


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_maxsim_by_hand():
    question = np.array([[1.0, 0.0], [0.0, 1.0]])
    text = np.array([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
    assert maxsim(question, text) == pytest.approx(1.0 + 0.8)


def test_maxsim_of_a_text_with_itself_is_its_length():
    vectors = unit(np.random.default_rng(0), 7, 13)
    assert maxsim(vectors, vectors) == pytest.approx(7, abs=1e-5)


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEmbedder()


TEXTS = ["A heron stands in the shallow water.", "Rust.", "The minister resigned after the vote."]


def test_one_pass_gives_both_kinds_of_vectors(minilm):
    vectors, tokens = encode_both(minilm, TEXTS)
    # the same numbers in another batch order: float32 rounding
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-6)
    for ours, theirs in zip(tokens, minilm.token_vectors(TEXTS), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)  # float16


def test_late_interaction_finds_the_bird(minilm):
    ranker = LateInteraction(minilm)
    scores = ranker.scores("Which bird wades?", TEXTS)
    assert scores.argmax() == 0
    assert set(ranker.known) == set(TEXTS)
    assert ranker.megabytes > 0


class Scripted:
    """Stands for a language model: answers by rule, remembers what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked, self.options = answer, [], {}

    def chat_batch(self, conversations, **options):
        self.asked, self.options = list(conversations), options
        return [self.answer(c[-1]["content"]) for c in conversations]

    def sample_batch(self, conversations, count, **options):
        self.options = options
        return [
            [self.answer(f"{c[-1]['content']} {i}") for i in range(count)] for c in conversations
        ]

    def log_probabilities(self, conversations, continuations, *, average):
        assert average
        self.asked = list(conversations)
        return [
            [-float(len(c[0]["content"]) + len(t[0]))]
            for c, t in zip(conversations, continuations, strict=True)
        ]


def test_query_likelihood_keeps_pairs_together():
    llm = Scripted(str)
    found = query_likelihoods(llm, ["aa", "bbbb"], [["x" * 3, "y" * 11], ["z" * 7]])
    base = len(question_messages("")[0]["content"])
    assert [list(map(round, row)) for row in found] == [
        [-(base + 3 + 2), -(base + 11 + 2)],
        [-(base + 7 + 4)],
    ]
    with pytest.raises(ValueError, match="2 questions and 1"):
        query_likelihoods(llm, ["a", "b"], [["x"]])
    assert query_likelihoods(llm, ["a"], [[]])[0].shape == (0,)


def test_query_likelihood_reads_only_the_beginning():
    assert len(question_messages("x" * 999, 31)[0]["content"]) == len(
        question_messages("x" * 31)[0]["content"]
    )


def test_rewriting_falls_back_on_the_question():
    llm = Scripted(lambda text: "" if "Rome" in text else ' "Which town?" ')
    assert rewrite_queries(llm, ["Where is Rome?", "Where?"]) == ["Where is Rome?", "Which town?"]
    assert llm.options["stop"] == ("\n",)


def test_multi_queries_begin_with_the_question_and_differ():
    llm = Scripted(lambda text: "same")
    assert multi_queries(llm, ["Where?"], 3, seed=5) == [["Where?", "same"]]
    assert llm.options["seed"] == 5


def test_hyde_by_hand():
    embedder = WordEmbedder()
    llm = Scripted(lambda text: "Rome  lies\non the Tiber.")
    passages = hypothetical_passages(llm, ["Where is Rome?"])
    assert passages == ["Rome lies on the Tiber."]
    (vector,) = hyde_vectors(embedder, ["Where is Rome?"], passages)
    both = embedder.encode(["Where is Rome?"])[0] + embedder.encode(passages)[0]
    np.testing.assert_allclose(vector, both / np.linalg.norm(both), atol=1e-6)


@pytest.mark.parametrize("balance", [0.2, 0.5, 0.9])
def test_diversity_equals_langchain(balance):
    from langchain_core.vectorstores.utils import maximal_marginal_relevance as theirs

    rng = np.random.default_rng(11)
    query, vectors = unit(rng, 5), unit(rng, 19, 5)
    ours = maximal_marginal_relevance(query, vectors, 7, balance)
    assert ours == [int(i) for i in theirs(query, list(vectors), lambda_mult=balance, k=7)]


def test_diversity_by_hand():
    query = np.array([0.8, 0.6])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # the second is a copy of the first
    assert maximal_marginal_relevance(query, vectors, 2) == [0, 2]
    assert maximal_marginal_relevance(query, vectors, 5, 1.0) == [0, 1, 2]
    assert redundancy(vectors[:2]) == 1
    assert redundancy(vectors[:1]) == 0


def test_children_belong_to_their_parents():
    parents = ["One sentence here. Another follows it. A third one ends.", "Short.", "  "]
    texts, owners = cut_children(parents, 25)
    assert sorted(set(owners)) == [0, 1, 2]
    assert all(text.strip() in parents[owner] for text, owner in zip(texts, owners, strict=True))
    assert max(map(len, texts)) <= 25


def test_parent_scores_are_those_of_the_best_child():
    owners = np.array([0, 0, 1, 2, 2])
    scores = np.array([[0.1, 0.7, 0.3, 0.2, 0.1], [0.5, 0.1, 0.0, -0.4, -0.2]])
    assert parent_scores(scores, owners).tolist() == [[0.7, 0.3, 0.2], [0.5, 0.0, -0.2]]
    with pytest.raises(ValueError, match="without gaps"):
        parent_scores(scores, np.array([0, 0, 2, 2, 3]))
    with pytest.raises(ValueError, match="5 children"):
        parent_scores(scores[:, :3], owners)


def test_headers():
    text = with_header("He won.\nTwice.", "Agassi", "Career / 1992")
    assert text == "Agassi > Career > 1992\nHe won.\nTwice."
    assert without_header(text) == "He won.\nTwice."
    assert with_header("He won.", "") == "He won."


def test_remembering_asks_once():
    inner = WordEmbedder()
    embedder = RememberingEmbedder(inner)
    first = embedder.encode(["a b", "c", "a b"])
    np.testing.assert_array_equal(first, inner.encode(["a b", "c", "a b"]))
    np.testing.assert_array_equal(embedder.encode(["c"]), first[1:2])
    assert embedder.computed == 2
    assert embedder.encode([]).shape == (0, inner.width)


def test_ranking_and_reranking_by_hand():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.3, 0.8]])
    assert rank_by(scores, ["a", "b", "c"], 2) == [["b", "c"], ["c", "a"]]
    assert rerank([["a", "b", "c", "d"]], [[0.1, 0.7, 0.3]]) == [["b", "c", "a", "d"]]
    with pytest.raises(ValueError, match="2 names"):
        rank_by(scores, ["a", "b"])


def test_gains_are_paired_differences():
    golds = [{"a"}, {"b"}, {"c"}, {"a"}, {"b"}]
    perfect = score_table([list("abc"), list("bac"), list("cab"), list("abc"), list("bca")], golds)
    late = score_table([list("bca"), list("acb"), list("abc"), list("cba"), list("acb")], golds)
    found = gains({"base": late, "new": perfect, "same": late}, "base", ["x", "x", "y", "y", "z"])
    assert found["new", "reciprocal rank"].difference == pytest.approx(1 - 1 / 3)
    assert verdict(found["new", "reciprocal rank"]) == "helps"
    assert verdict(found["same", "nDCG@10"]) == "not shown"
    assert found["new", "recall@3"].difference == 0


@pytest.mark.filterwarnings("ignore")
def test_openai_client_reaches_the_loopback_server():
    from openai import OpenAI

    class Echo:
        def chat(self, messages, **options):
            return f"{messages if isinstance(messages, str) else messages[-1]['content']}!"

    with loopback.running(Echo()) as address:
        client = OpenAI(base_url=address, api_key="none", max_retries=0)
        chat = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}]
        )
        plain = client.completions.create(model="m", prompt="Hi")
    assert chat.choices[0].message.content == "Hello!"
    assert plain.choices[0].text == "Hi!"
