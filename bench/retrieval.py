"""Retrieval: our systems against the defaults of LangChain (FAISS) and Chroma, at equal recall.

Run with ``python -m bench.retrieval``. Indexing is measured with vectors made beforehand, so that
it is the store that is timed, and once with the embedder inside. Recall@3 is computed for each
side and stands in the row's name: a faster system that finds less is no faster system.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench._turns import Row, in_turns

PASSAGES, QUESTIONS, EMBEDDED, REPEATS = 1500, 150, 60, 3


def rows() -> list[Row]:
    """One dictionary a row: name, ours, other, ratio (above 1: ours is better), unit."""
    warnings.filterwarnings("ignore")
    texts, names, asked, golds, embedder = _material()
    return [
        *_stores(texts, names, asked, golds, embedder),
        _bm25(texts, asked),
        _embedding(texts[:EMBEDDED]),
    ]


def _material() -> tuple:
    from course_utils.rag import passages
    from course_utils.rag.embedding import MiniLMEmbedder, cached_embeddings
    from course_utils.rag.remembering import RememberingEmbedder

    questions = [q for q in passages.load_questions("test") if q.answerable][:QUESTIONS]
    chosen = passages.choose_passages(passages.wikipedia_passages(), questions, PASSAGES)
    texts = [p.text[:900] for p in chosen]  # one chunk each, on every side
    golds = passages.gold_table(questions, chosen)
    inner = MiniLMEmbedder()
    embedder, asked = RememberingEmbedder(inner), [q.text for q in questions]
    embedder.learn(texts, cached_embeddings(texts, inner))
    embedder.encode(asked)  # known from here on: the stores are timed, not the model
    return texts, [p.id for p in chosen], asked, [golds[q.id] for q in questions], embedder


def _stores(texts, names, asked, golds, embedder) -> list[Row]:
    from course_utils.rag import AdvancedRAGSystem, SimpleRAGSystem

    with tempfile.TemporaryDirectory() as box:
        number = iter(range(1000))

        def simple():
            rag = SimpleRAGSystem(embedder)
            rag.add_documents(texts, ids=names)
            return rag

        def advanced():
            folder = Path(box) / f"ours{next(number)}"
            rag = AdvancedRAGSystem("bench", folder, embedder=embedder)
            rag.add_documents(texts, ids=names)
            return rag

        pairs = (
            (
                "SimpleRAGSystem vs LangChain FAISS",
                simple,
                lambda: _langchain(texts, names, embedder),
            ),
            (
                "AdvancedRAGSystem vs plain Chroma",
                advanced,
                lambda: _chroma(texts, names, embedder, Path(box) / f"plain{next(number)}"),
            ),
        )
        return [row for pair in pairs for row in _compared(*pair, texts, asked, golds)]


def _compared(name, ours, other, texts, asked, golds) -> list[Row]:
    built: dict[Callable, object] = {}

    def build(make: Callable) -> None:
        built[make] = make()

    index = in_turns(lambda: build(ours), lambda: build(other), repeats=REPEATS)
    found: dict[Callable, list] = {}

    def search(make: Callable) -> None:
        system = built[make]
        if hasattr(system, "retrieve"):
            found[make] = [[r["id"] for r in system.retrieve(q, 3)] for q in asked]
        else:
            found[make] = [system(q) for q in asked]

    query = in_turns(lambda: search(ours), lambda: search(other), repeats=REPEATS)
    recall = [
        np.mean([bool(g & set(r)) for g, r in zip(golds, found[make], strict=True)])
        for make in (ours, other)
    ]
    if abs(recall[0] - recall[1]) > 0.01:
        raise AssertionError(f"{name}: recall@3 differs, {recall}: speeds cannot be compared")
    label = f"{name} (recall@3 {recall[0]:.3f} / {recall[1]:.3f})"
    return [
        _rate(f"indexing, {label}", len(texts), *index, "passages/s"),
        _rate(f"queries, {label}", len(asked), *query, "queries/s"),
    ]


def _langchain(texts, names, embedder) -> Callable[[str], list[str]]:
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import Embeddings

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return embedder.encode(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return embedder.encode([text])[0].tolist()

    store = FAISS.from_texts(texts, Ours(), metadatas=[{"id": name} for name in names])
    retriever = store.as_retriever(search_kwargs={"k": 3})
    return lambda query: [found.metadata["id"] for found in retriever.invoke(query)]


def _chroma(texts, names, embedder, folder: Path) -> Callable[[str], list[str]]:
    """Chroma as its documentation shows it: default graph, one query at a time."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.create_collection("bench", embedding_function=None)
    collection.add(ids=names, documents=texts, embeddings=embedder.encode(texts))
    return lambda query: collection.query(query_embeddings=embedder.encode([query]), n_results=3)[
        "ids"
    ][0]


def _bm25(texts, asked) -> Row:
    """Queries of our inverted index against rank_bm25, equal scores checked."""
    from rank_bm25 import BM25Okapi

    from course_utils.rag.bm25 import BM25, words

    ours, theirs = BM25(texts), BM25Okapi([words(text) for text in texts])
    if not np.allclose(ours.scores(asked[0]), theirs.get_scores(words(asked[0]))):
        raise AssertionError("the two give different scores")
    few = asked[:20]
    seconds = in_turns(
        lambda: [ours.scores(q) for q in few],
        lambda: [theirs.get_scores(words(q)) for q in few],
        repeats=REPEATS,
    )
    return _rate("BM25 queries vs rank_bm25 (equal scores)", len(few), *seconds, "queries/s")


def _embedding(texts) -> Row:
    """Passages a second through MiniLM: ours against sentence-transformers, equal vectors."""
    from sentence_transformers import SentenceTransformer

    from course_utils import assets
    from course_utils.rag.embedding import MiniLMEmbedder

    ours = MiniLMEmbedder()
    theirs = SentenceTransformer(str(assets.path("minilm-l6")), device="cpu")
    theirs.max_seq_length = ours.max_tokens
    options = {"normalize_embeddings": True, "show_progress_bar": False}
    if np.abs(ours.encode(texts[:5]) - theirs.encode(texts[:5], **options)).max() > 1e-4:
        raise AssertionError("the two give different vectors")
    seconds = in_turns(
        lambda: ours.encode(texts), lambda: theirs.encode(texts, **options), repeats=REPEATS
    )
    name = "MiniLM embedding vs sentence-transformers (equal vectors)"
    return _rate(name, len(texts), *seconds, "passages/s")


def _rate(name: str, work: int, ours: float, other: float, unit: str) -> Row:
    return {
        "name": name,
        "ours": work / ours,
        "other": work / other,
        "ratio": other / ours,
        "unit": unit,
    }


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['name']:<80} ours {row['ours']:>10.1f}  other {row['other']:>10.1f} "
            f"{row['unit']:<11} ratio {row['ratio']:.2f}"
        )
