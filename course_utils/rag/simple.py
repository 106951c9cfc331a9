"""Chapter 4 - SimpleRAGSystem: add documents, retrieve, answer with citations, or be silent.

    rag = SimpleRAGSystem()
    rag.add_documents(["The Eiffel Tower is 330 metres tall.", "Bees dance to show the way."])
    rag.retrieve("How tall is the tower?", top_k=1)   # [{"document": …, "score": …, "id": …}]
    rag.query("How tall is the tower?")               # answer, citations, abstained

The store is exact: FAISS compares the question with every chunk. All vectors are scaled to
length one here, whatever the embedder gives, so that inner product means cosine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.rag.answering import ABSTENTION, cite, clean_answer, is_refusal
from course_utils.rag.chunking import SIZE, Chunk, recursive_chunks, whole_or
from course_utils.rag.embedding import Embedder, MiniLMEmbedder, cached_embeddings
from course_utils.rag.prompts import BUDGET, fit_passages, token_counter, with_lead
from course_utils.rag.store import CollectionError, read_collection, write_collection
from course_utils.text.similarity import normalise

MIN_SCORE = 0.4  # silent below; lesson 04_llms/10: gives up few of what can be answered
NEW_TOKENS = 24
RECHECKED = 3  # chunks of a loaded collection that are embedded again

Row = dict[str, Any]


class SimpleRAGSystem:
    """Retrieval-augmented generation over a list of texts.

    Args:
        embedder: texts to vectors; by default MiniLM.
        generator: a model of ``prompting.llm``; by default the local one, loaded when first
            needed, so that a system which only retrieves stays small.
        chunker: from a text to its chunks; by default texts up to 900 characters stay whole and
            longer ones are cut by the recursive chunker.
        min_score: it is silent if the best cosine is lower; -1 never is.
        budget: tokens of the whole prompt.
        max_new_tokens: of an answer.
        cached: keep the vectors of added documents in the course's cache folder.

    Attributes:
        chunks: (source id, chunk) of each row of the index, in order of arrival.
        seconds: time spent so far, by stage.
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        generator: Any = None,
        chunker: Callable[[str], list[Chunk]] | None = None,
        min_score: float = MIN_SCORE,
        budget: int = BUDGET,
        max_new_tokens: int = NEW_TOKENS,
        cached: bool = False,
    ) -> None:
        import faiss

        self.embedder = embedder or MiniLMEmbedder()
        self.chunker = chunker or whole_or(recursive_chunks, SIZE, 0)
        self.min_score, self.budget, self.max_new_tokens = min_score, budget, max_new_tokens
        self.cached = cached
        self._generator = generator
        self.sources: dict[str, str] = {}
        self.chunks: list[tuple[str, Chunk]] = []
        self.index = faiss.IndexFlatIP(self.embedder.width)
        self.seconds = dict.fromkeys(("embed", "search", "prompt", "generate", "cite"), 0.0)

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self.chunks)

    @property
    def generator(self) -> Any:
        """The language model, connected at the first use."""
        if self._generator is None:
            from course_utils.prompting.llm import connect

            self._generator = connect("local")
        return self._generator

    def add_documents(
        self, documents: Sequence[str], ids: Sequence[str] | None = None
    ) -> list[str]:
        """Chunk, embed and store texts; all of them or, after an error, none.

        Only the new rows are embedded and added to the index. A text that is there already,
        under the same id, is skipped, so a cell may run twice.

        Args:
            documents: texts.
            ids: of the sources; by default a hash of each text.

        Returns:
            the ids, in the order of the documents.

        Raises:
            TypeError: a single text, or something in the list that is no text.
            ValueError: a blank text, or an id that holds another text.
        """
        names = _source_ids(documents, ids)
        fresh: dict[str, str] = {}
        for name, text in zip(names, documents, strict=True):
            known = self.sources.get(name, fresh.get(name, text))
            if known != text:
                raise ValueError(f"the id {name!r} holds another text: {known[:60]!r}")
            if name not in self.sources:
                fresh[name] = text
        pairs = [(name, chunk) for name, text in fresh.items() for chunk in self.chunker(text)]
        if pairs:
            self.index.add(self._embed([chunk.text for _, chunk in pairs], self.cached))
        self.sources.update(fresh)
        self.chunks += pairs
        return names

    def retrieve(self, query: str, top_k: int = 3) -> list[Row]:
        """The chunks nearest to a query, best first.

        Args:
            query: a question or some words.
            top_k: K; a smaller collection gives all it has, an empty one nothing.

        Returns:
            Dictionaries: ``document`` (the chunk's text), ``score`` (cosine), ``id`` (of the
            source), ``start`` and ``end`` (offsets in the source), ``section``.

        Raises:
            TypeError, ValueError: no text, a blank one, or top_k < 1.
        """
        return self.retrieve_batch([query], top_k)[0]

    def retrieve_batch(self, queries: Sequence[str], top_k: int = 3) -> list[list[Row]]:
        """:meth:`retrieve` for many queries, embedded together."""
        _check_texts(queries, "query")
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        if not self.chunks:
            return [[] for _ in queries]
        vectors = self._embed(queries)
        with self._stage("search"):
            # beyond the collection FAISS fills up with index -1, which Python reads as "the last"
            scores, places = self.index.search(vectors, min(top_k, len(self.chunks)))
        return [
            [self._row(place, score) for place, score in zip(*pair, strict=True) if place >= 0]
            for pair in zip(places, scores, strict=True)
        ]

    def generate_answer(self, question: str, rows: Sequence[Row]) -> str:
        """The generator's answer from the given passages; see :meth:`query` for the whole way."""
        return self._answers([question], [rows])[0][0]

    def query(self, question: str, top_k: int = 3) -> Row:
        """Retrieve, answer from what was found, and say where it stands; or be silent.

        Returns:
            ``question``, ``answer``, ``retrieved_documents`` (rows of :meth:`retrieve`),
            ``citations`` (list of ``{id, start, end, quote}``) and ``abstained``; an abstaining
            system's answer is always ``answering.ABSTENTION``.
        """
        return self.query_batch([question], top_k)[0]

    def query_batch(self, questions: Sequence[str], top_k: int = 3) -> list[Row]:
        """:meth:`query` for many questions; the answers are generated in batches."""
        found = self.retrieve_batch(questions, top_k)
        asked = [i for i, rows in enumerate(found) if rows and rows[0]["score"] >= self.min_score]
        answers = self._answers([questions[i] for i in asked], [found[i] for i in asked])
        said = dict(zip(asked, answers, strict=True))
        with self._stage("cite"):
            return [
                _result(question, rows, *said.get(i, ("", [])))
                for i, (question, rows) in enumerate(zip(questions, found, strict=True))
            ]

    def _answers(
        self, questions: Sequence[str], found: Sequence[Sequence[Row]]
    ) -> list[tuple[str, list[Row]]]:
        """The model's answers and the passages that it was shown."""
        if not questions:
            return []
        with self._stage("prompt"):
            count, prompts, shown = token_counter(self.generator), [], []
            for question, rows in zip(questions, found, strict=True):
                texts = [row["document"] for row in rows]
                messages, kept = fit_passages(question, texts, self.budget, count)
                prompts.append(with_lead(messages, self.generator))
                shown.append([rows[i] for i in kept])
        with self._stage("generate"):
            said = self.generator.chat_batch(
                prompts, max_new_tokens=self.max_new_tokens, stop=("\n",)
            )
        return [(clean_answer(text), rows) for text, rows in zip(said, shown, strict=True)]

    def save(self, path: str | Path) -> None:
        """Write everything into one file; an older file there is replaced as a whole."""
        rows = [[name, c.text, c.start, c.end, c.section] for name, c in self.chunks]
        vectors = self.index.reconstruct_n(0, len(rows)) if rows else self._none()
        content = {"sources": self.sources, "chunks": rows}
        write_collection(path, self.embedder.name, content, vectors)

    @classmethod
    def load(
        cls, path: str | Path, embedder: Embedder | None = None, **options: Any
    ) -> SimpleRAGSystem:
        """A system as it was saved.

        Args:
            path: the file. embedder, options: as for the class.

        Raises:
            FileNotFoundError: there is no such file.
            CollectionError: damaged, of a later version, or made with another embedder.
        """
        rag = cls(embedder, **options)
        content, vectors = read_collection(path, rag.embedder.name)
        chunks = [(name, Chunk(*rest)) for name, *rest in content["chunks"]]
        rag._check_loaded(Path(path).name, chunks, vectors)
        rag.sources, rag.chunks = dict(content["sources"]), chunks
        if len(vectors):
            rag.index.add(vectors)
        return rag

    def _check_loaded(self, name: str, chunks: list, vectors: np.ndarray) -> None:
        """Same number of rows, and some vectors come out again: names may lie."""
        if vectors.shape != (len(chunks), self.embedder.width):
            raise CollectionError(
                f"{name} has vectors of shape {vectors.shape} for {len(chunks)} chunks of width "
                f"{self.embedder.width}: add the documents anew"
            )
        rows = range(0, len(chunks), max(1, len(chunks) // RECHECKED))[:RECHECKED]
        if rows:
            again = self._embed([chunks[i][1].text for i in rows])
            if (again * vectors[rows]).sum(axis=1).min() < 0.999:
                raise CollectionError(
                    f"{name} holds other vectors than the embedder {self.embedder.name!r} makes "
                    "now, although the names agree: add the documents anew"
                )

    def _embed(self, texts: Sequence[str], cached: bool = False) -> np.ndarray:
        with self._stage("embed"):
            raw = cached_embeddings(texts, self.embedder) if cached else self.embedder.encode(texts)
        vectors = normalise(np.asarray(raw, np.float32)).astype(np.float32)
        if vectors.shape != (len(texts), self.embedder.width) or not np.isfinite(vectors).all():
            raise ValueError(
                f"the embedder gave vectors of shape {vectors.shape} for {len(texts)} texts; "
                f"expected finite numbers of shape {(len(texts), self.embedder.width)}"
            )
        return vectors

    def _none(self) -> np.ndarray:
        return np.empty((0, self.embedder.width), np.float32)

    def _row(self, place: int, score: float) -> Row:
        name, chunk = self.chunks[place]
        offsets = {"start": chunk.start, "end": chunk.end, "section": chunk.section}
        return {"document": chunk.text, "score": float(score), "id": name, **offsets}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start


def content_id(text: str) -> str:
    """The id of a source that was given none: the first 12 digits of the SHA-256 of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _result(question: str, rows: list[Row], answer: str, shown: list[Row]) -> Row:
    silent = is_refusal(answer)
    return {
        "question": question,
        "answer": ABSTENTION if silent else answer,
        "retrieved_documents": rows,
        "citations": [] if silent else cite(answer, shown),
        "abstained": silent,
    }


def _source_ids(documents: Sequence[str], ids: Sequence[str] | None) -> list[str]:
    _check_texts(documents, "document")
    if ids is None:
        return [content_id(text) for text in documents]
    _check_texts(ids, "id")
    if len(ids) != len(documents):
        raise ValueError(f"got {len(ids)} ids for {len(documents)} documents")
    return list(ids)


def _check_texts(texts: Sequence[str], what: str) -> None:
    """A list of texts that are not blank, or an error that names the first other thing."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"expected a list, got a single text: put the {what} into a list")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{what} {i} must be a text, got {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"{what} {i} is blank")
