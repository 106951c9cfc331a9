"""Chapter 4 - AdvancedRAGSystem: a collection that stays, filters, and a hybrid search.

    rag = AdvancedRAGSystem("notes", "chroma_db")
    rag.add_documents(["The tower is 330 m high."], [{"topic": "Paris"}])
    rag.retrieve_with_metadata("How high is it?", top_k=3, where={"topic": "Paris"})
    rag.hybrid_search("tower height")           # BM25 and vectors, fused by rank

Adding a text twice changes nothing; adding another text under the same id replaces it; deleting
it removes it. The next answer knows: no training takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_utils.rag import chroma, journal
from course_utils.rag.chunking import SIZE, Chunk, recursive_chunks, whole_or
from course_utils.rag.documents import (
    MAX_CHARACTERS,
    Document,
    Metadata,
    make_documents,
    read_text,
)
from course_utils.rag.embedding import Embedder, MiniLMEmbedder
from course_utils.rag.fusion import reciprocal_rank_fusion
from course_utils.rag.headers import with_header
from course_utils.rag.lexical import LexicalIndex
from course_utils.rag.rows import (
    SOURCE,
    Row,
    check_queries,
    checked_vectors,
    chunk_id,
    entry,
    grounded_answers,
    journal_of,
    make_result,
    make_row,
    rebuilding,
    stored_metadata,
)
from course_utils.rag.simple import MIN_SCORE, content_id
from course_utils.rag.store import CollectionError

PROBES = 4  # stored texts that are searched when a collection is opened
DEPTH = 50  # places of each ranking that are fused


class AdvancedRAGSystem:
    """Retrieval-augmented generation on ChromaDB.

    Args:
        collection_name: 3 to 512 letters, digits, points, dashes.
        persist_directory: of the files; made if it is missing.
        embedder: texts to vectors; by default MiniLM.
        generator: a model of ``prompting.llm``; by default the local one, at first use.
        chunker: by default texts up to 900 characters stay whole, longer ones are cut.
        headers: put "title > section" of the metadata in front of a chunk where it is indexed.
        min_score: ``query`` is silent if the best cosine is lower.
        border: a hybrid search fuses only where BM25's best chunk covers at least this share of
            the query (``BM25.coverage``): 0 always, above 1 never.
        max_characters: a longer document is refused.

    Raises:
        CollectionError: the stored collection is damaged, incomplete, or made with another
            embedder; the message says what to do.
    """

    def __init__(
        self,
        collection_name: str = "documents",
        persist_directory: str | Path = "chroma_db",
        *,
        embedder: Embedder | None = None,
        generator: Any = None,
        chunker: Callable[[str], list[Chunk]] | None = None,
        headers: bool = False,
        min_score: float = MIN_SCORE,
        border: float = 0.0,
        max_characters: int = MAX_CHARACTERS,
        _rebuilding: bool = False,
    ) -> None:
        self.name, self.folder = collection_name, Path(persist_directory)
        self.embedder = embedder or MiniLMEmbedder()
        self.chunker = chunker or whole_or(recursive_chunks, SIZE, 0)
        self.headers, self.min_score, self._generator = headers, min_score, generator
        self.max_characters, self.border = max_characters, border
        self._lexical: LexicalIndex | None = None
        if rebuilding(self._journal).exists() and not _rebuilding:
            raise CollectionError(
                f"a rebuild of {collection_name!r} was interrupted. Nothing is lost: call "
                "AdvancedRAGSystem.rebuild(collection_name, persist_directory) again"
            )
        self._documents = journal.read(self._journal)
        self._client = chroma.open_client(self.folder)
        try:
            self.collection = chroma.open_collection(
                self._client, self.name, self.embedder, self.folder, headers
            )
            self._check_index()
        except BaseException:
            self.close()
            raise

    @classmethod
    def rebuild(
        cls, collection_name: str, persist_directory: str | Path, **options: Any
    ) -> AdvancedRAGSystem:
        """Make the index anew from the journal; also the way to another embedder.

        Damaged files are moved into a folder ``damaged-N``, never deleted. Other collections in
        the same folder need a call of their own then.

        Raises:
            FileNotFoundError: there is no journal of this name.
        """
        folder = Path(persist_directory)
        file = journal_of(folder, collection_name)
        waiting = rebuilding(file)
        if not waiting.exists():
            if not file.exists():
                raise FileNotFoundError(
                    f"there is no journal of {collection_name!r} in {folder.name}"
                )
            journal.read(file)  # a damaged journal stops here, before anything is touched
            file.replace(waiting)
        # from here to the end the old journal waits beside its place: a crash loses nothing
        documents = journal.read(waiting)
        file.unlink(missing_ok=True)
        chroma.drop_collection(folder, collection_name)
        rag = cls(collection_name, folder, _rebuilding=True, **options)
        rag._write([Document(name, **known) for name, known in documents.items()])
        waiting.unlink()
        return rag

    def close(self) -> None:
        """Let go of the files; the system cannot be used afterwards."""
        self._client.close()

    def __enter__(self) -> AdvancedRAGSystem:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of chunks."""
        return self.collection.count()

    @property
    def documents(self) -> dict[str, str]:
        """The texts by id."""
        return {name: entry["text"] for name, entry in self._documents.items()}

    @property
    def generator(self) -> Any:
        """The language model, connected at the first use."""
        if self._generator is None:
            from course_utils.prompting.llm import connect

            self._generator = connect("local")
        return self._generator

    def add_documents(
        self,
        documents: Sequence[str],
        metadata: Metadata | Sequence[Metadata | None] | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Add texts, or replace those whose ids are known; after an error nothing has changed.

        Args:
            documents: texts.
            metadata: a dictionary for all, or one for each: texts, numbers, truth values.
            ids: of the sources; by default a hash of each text, so that the same text added
                twice stays one document.

        Returns:
            the ids, in the order of the documents.
        """
        wanted = make_documents(documents, metadata, ids, self.max_characters)
        self._write([d for d in wanted if self._documents.get(d.id) != entry(d)])
        return list(ids) if ids is not None else [content_id(text) for text in documents]

    def add_file(
        self, path: str | Path, metadata: Metadata | None = None, *, encoding: str = "utf-8"
    ) -> str:
        """Add a text file under its name; the same name again replaces it.

        Raises:
            ValueError: the file is not in this encoding; nothing was added.
        """
        known = {"file": Path(path).name, **(metadata or {})}
        return self.add_documents([read_text(path, encoding)], [known], ids=[Path(path).name])[0]

    def delete_documents(self, ids: Sequence[str]) -> None:
        """Take documents out.

        Raises:
            KeyError: an id that is not there; nothing was deleted.
        """
        if isinstance(ids, str):
            raise TypeError("expected a list of ids, got one text: put it into a list")
        unknown = [name for name in ids if name not in self._documents]
        if unknown:
            raise KeyError(f"no document has the id {unknown[0]!r}; nothing was deleted")
        journal.append(self._journal, [{"delete": name} for name in dict.fromkeys(ids)])
        with chroma.damage(self.folder):
            for name in dict.fromkeys(ids):
                self.collection.delete(where={SOURCE: name})
                del self._documents[name]
        self._lexical = None

    def _write(self, documents: Sequence[Document]) -> None:
        """Embed first, then the journal, then the index: what fails early has changed nothing."""
        pairs = [(d, chunk) for d in documents for chunk in self.chunker(d.text)]
        if not pairs:
            return
        texts = [self._indexed(chunk.text, d.metadata) for d, chunk in pairs]
        vectors = checked_vectors(self.embedder, texts)
        rows = [(chunk_id(d.id, c), c.text, stored_metadata(d, c)) for d, c in pairs]
        puts = [{"put": d.id, **entry(d)} for d in documents]
        journal.append(self._journal, puts)
        with chroma.damage(self.folder):
            chroma.upsert(self._client, self.collection, rows, vectors)
            kept = {name for name, _, _ in rows}
            for d in documents:
                if d.id in self._documents:
                    old = self.collection.get(where={SOURCE: d.id}, include=[])["ids"]
                    gone = [name for name in old if name not in kept]
                    if gone:
                        self.collection.delete(ids=gone)
        self._documents.update({d.id: entry(d) for d in documents})
        self._lexical = None

    def retrieve_with_metadata(
        self, query: str, top_k: int = 3, where: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """The chunks nearest to a query among those whose metadata fit.

        Args:
            query: a question or some words.
            top_k: K; a smaller collection gives all it has, an empty one nothing.
            where: a filter as Chroma takes it: ``{"year": 1934}``, ``{"year": {"$gte": 1930}}``,
                ``{"$and": [{…}, {…}]}``.

        Returns:
            Dictionaries: ``document``, ``score`` (cosine), ``distance`` (1 - cosine), ``id`` (of
            the source), ``start``, ``end``, ``section``, ``metadata``.

        Raises:
            TypeError, ValueError: no text, a blank one, top_k < 1, or a filter that makes no sense.
        """
        return self.retrieve_batch([query], top_k, where)[0]

    def retrieve(self, query: str, top_k: int = 3) -> list[Row]:
        """:meth:`retrieve_with_metadata` without a filter: what ``SimpleRAGSystem`` has too."""
        return self.retrieve_batch([query], top_k)[0]

    def retrieve_batch(
        self, queries: Sequence[str], top_k: int = 3, where: Mapping[str, Any] | None = None
    ) -> list[list[Row]]:
        """:meth:`retrieve_with_metadata` for many queries, embedded together."""
        return [[row for _, row in found] for found in self._nearest(queries, top_k, where)]

    def hybrid_search(
        self,
        query: str,
        keywords: str | Sequence[str] | None = None,
        top_k: int = 3,
        *,
        where: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """BM25 and vectors, fused by reciprocal rank: either may find what the other misses.

        Args:
            query: for the vectors, and for BM25 if there are no keywords.
            keywords: words for BM25 instead. They are searched in the whole collection; they are
                no filter over what the vectors found.
            top_k, where: see :meth:`retrieve_with_metadata`.

        Returns:
            rows as there; ``score`` is the fused one, ``cosine`` that of the vectors if the chunk
            was among their first, else None.
        """
        return self.hybrid_batch([query], [keywords], top_k, where=where)[0]

    def hybrid_batch(
        self,
        queries: Sequence[str],
        keywords: Sequence[str | Sequence[str] | None] | None = None,
        top_k: int = 3,
        *,
        where: Mapping[str, Any] | None = None,
    ) -> list[list[Row]]:
        """:meth:`hybrid_search` for many queries."""
        found = self._nearest(queries, max(DEPTH, top_k), where)
        if not len(self):
            return found
        allowed = None
        if where:
            allowed = set(self.collection.get(where=dict(where), include=[])["ids"])
        results = []
        for query, near, own in zip(queries, found, keywords or [None] * len(queries), strict=True):
            words = query if own is None else own
            lexical = self._lexical_index().search(words, max(DEPTH, top_k), allowed, self.border)
            fused = reciprocal_rank_fusion([[name for name, _ in near], lexical])[:top_k]
            results.append(self._fused_rows(dict(near), fused))
        return results

    def _nearest(
        self, queries: Sequence[str], top_k: int, where: Mapping[str, Any] | None
    ) -> list[list[tuple[str, Row]]]:
        """Chunk ids and rows of each query's neighbours."""
        check_queries(queries, top_k)
        if not len(self):
            return [[] for _ in queries]
        vectors = checked_vectors(self.embedder, list(queries))
        with chroma.damage(self.folder):
            answer = self.collection.query(
                query_embeddings=vectors,
                n_results=min(top_k, len(self)),
                where=dict(where) if where else None,
                include=["documents", "metadatas", "distances"],
            )
        fields = (answer[key] for key in ("ids", "documents", "metadatas", "distances"))
        return [
            [
                (name, {**make_row(text, known, 1 - distance), "distance": distance})
                for name, text, known, distance in zip(*columns, strict=True)
            ]
            for columns in zip(*fields, strict=True)
        ]

    def _lexical_index(self) -> LexicalIndex:
        """BM25 over all chunks; made at the first use after a change."""
        if self._lexical is None:
            stored = self.collection.get(include=["documents", "metadatas"])
            rows = sorted(zip(stored["ids"], stored["documents"], stored["metadatas"], strict=True))
            texts = {name: self._indexed(text, known) for name, text, known in rows}
            self._lexical = LexicalIndex(texts)
        return self._lexical

    def _fused_rows(self, near: dict[str, Row], fused: Sequence[tuple[str, float]]) -> list[Row]:
        missing = [name for name, _ in fused if name not in near]
        more: dict[str, Row] = {}
        if missing:
            got = self.collection.get(ids=missing, include=["documents", "metadatas"])
            columns = (got["ids"], got["documents"], got["metadatas"])
            more = {n: make_row(text, known, None) for n, text, known in zip(*columns, strict=True)}
        rows = []
        for name, score in fused:
            found = near.get(name) or more[name]
            rows.append({**found, "cosine": found["score"], "score": score})
        return rows

    def query(self, question: str, top_k: int = 3, where: Mapping[str, Any] | None = None) -> Row:
        """Search by :meth:`hybrid_search`, answer from what was found; see ``SimpleRAGSystem``."""
        return self.query_batch([question], top_k, where)[0]

    def query_batch(
        self, questions: Sequence[str], top_k: int = 3, where: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """:meth:`query` for many questions; the answers are generated in batches."""
        found = self.hybrid_batch(questions, None, top_k, where=where)
        near = self._nearest(questions, 1, where)
        asked = [i for i, rows in enumerate(near) if rows and rows[0][1]["score"] >= self.min_score]
        shown = [[questions[i] for i in asked], [found[i] for i in asked]]
        answers = grounded_answers(self.generator, *shown) if asked else []
        said = dict(zip(asked, answers, strict=True))
        return [
            make_result(question, rows, said.get(i, ""))
            for i, (question, rows) in enumerate(zip(questions, found, strict=True))
        ]

    @property
    def _journal(self) -> Path:
        return journal_of(self.folder, self.name)

    def _indexed(self, text: str, metadata: Metadata) -> str:
        """What is embedded and searched for a chunk."""
        facts = (str(metadata.get(key, "")) for key in ("title", "section"))
        return with_header(text, *facts) if self.headers else text

    def _check_index(self) -> None:
        """The index has the journal's documents, and finds its own texts."""
        with chroma.damage(self.folder):
            stored = self.collection.get(include=["documents", "metadatas"])
        known = stored["metadatas"] or []
        held = {facts[SOURCE] for facts in known}
        chroma.compare(held, set(self._documents), self.name)
        rows = range(0, len(known), max(1, len(known) // PROBES))[:PROBES]
        probes = [self._indexed(stored["documents"][row], known[row]) for row in rows]
        if probes:
            vectors = checked_vectors(self.embedder, probes)
            chroma.check_graph(self.collection, vectors, self.folder)
