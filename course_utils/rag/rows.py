"""Chapter 4 - Rows: what a search on ChromaDB gives back, and the answers made from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.rag.answering import ABSTENTION, cite, clean_answer, is_refusal
from course_utils.rag.chunking import Chunk
from course_utils.rag.documents import RESERVED, Document, Metadata
from course_utils.rag.embedding import Embedder
from course_utils.rag.prompts import BUDGET, fit_passages, token_counter

Row = dict[str, Any]
NEW_TOKENS = 24
SOURCE, START, END, SECTION = "_source", "_start", "_end", "_section"  # kept with each chunk


def grounded_answers(
    llm: Any, questions: Sequence[str], found: Sequence[Sequence[Row]], budget: int = BUDGET
) -> list[str]:
    """A model's short answers from the rows found for each question."""
    count = token_counter(llm)
    prompts = [
        fit_passages(question, [row["document"] for row in rows], budget, count)[0]
        for question, rows in zip(questions, found, strict=True)
    ]
    said = llm.chat_batch(prompts, max_new_tokens=NEW_TOKENS, stop=("\n",))
    return [clean_answer(text) for text in said]


def checked_vectors(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """The embedder's vectors, (N, C), or an error if they cannot be searched.

    Raises:
        ValueError: another shape, numbers that are not finite, or a vector of zeros.
    """
    vectors = np.asarray(embedder.encode(list(texts)), np.float32)
    expected = (len(texts), embedder.width)
    if vectors.shape != expected or not np.isfinite(vectors).all() or not vectors.any(1).all():
        raise ValueError(
            f"the embedder gave vectors of shape {vectors.shape}; expected finite ones other than "
            f"zero, of shape {expected}"
        )
    return vectors


def check_queries(queries: Sequence[str], top_k: int) -> None:
    """Texts that are not blank and top_k >= 1, or an error that says what came."""
    if isinstance(queries, str):
        raise TypeError("expected a list of queries, got one text: put it into a list")
    for query in queries:
        if not isinstance(query, str):
            raise TypeError(f"a query must be a text, got {type(query).__name__}")
        if not query.strip():
            raise ValueError("the query is blank")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")


def journal_of(folder: Path, name: str) -> Path:
    """The file that all documents of a collection stand in."""
    return folder / f"{name}.journal.jsonl"


def rebuilding(file: Path) -> Path:
    """Where a journal waits while its index is made anew."""
    return file.with_suffix(".rebuilding")


def entry(document: Document) -> dict[str, Any]:
    """What the journal keeps of a document."""
    return {"text": document.text, "metadata": document.metadata}


def chunk_id(name: str, chunk: Chunk) -> str:
    """The same chunk of the same source has the same id, so writing it again replaces it."""
    return f"{name}@{chunk.start}-{chunk.end}"


def stored_metadata(document: Document, chunk: Chunk) -> dict[str, Any]:
    """The user's metadata and ours; never empty, which Chroma would refuse."""
    place = {SOURCE: document.id, START: chunk.start, END: chunk.end, SECTION: chunk.section}
    return {**document.metadata, **place}


def make_row(text: str, known: Metadata, score: float | None) -> Row:
    """A row as ``SimpleRAGSystem`` gives it, with the user's metadata."""
    own = {key: value for key, value in known.items() if not key.startswith(RESERVED)}
    place = {"start": known[START], "end": known[END], "section": known[SECTION]}
    return {"document": text, "score": score, "id": known[SOURCE], **place, "metadata": own}


def make_result(question: str, rows: list[Row], answer: str) -> Row:
    """What ``query`` returns: an answer with citations, or silence."""
    silent = is_refusal(answer)
    return {
        "question": question,
        "answer": ABSTENTION if silent else answer,
        "retrieved_documents": rows,
        "citations": [] if silent else cite(answer, rows),
        "abstained": silent,
    }
