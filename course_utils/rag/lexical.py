"""Chapter 4 - The other half of a hybrid search: BM25 over chunks that have names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from course_utils.rag.bm25 import BM25


class LexicalIndex:
    """BM25 that answers with names.

    Args:
        texts: of the chunks, by name.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.names = list(texts)
        self.index = BM25(list(texts.values()))

    def search(
        self,
        words: str | Sequence[str],
        depth: int,
        allowed: Collection[str] | None = None,
        border: float = 0.0,
    ) -> list[str]:
        """Names of the best chunks that hold one of the words, best first.

        Args:
            words: a text, or a list of words.
            depth: at most so many.
            allowed: names that may come; by default all.
            border: coverage of the words by the best chunk below which there is none.
        """
        if not self.names:
            return []
        asked = words if isinstance(words, str) else " ".join(words)
        found = [row for row, _ in self.index.search(asked, len(self.names))]
        rows = [row for row in found if allowed is None or self.names[row] in allowed]
        if not rows or self.index.coverage(asked, rows[0]) < border:
            return []
        return [self.names[row] for row in rows[:depth]]
