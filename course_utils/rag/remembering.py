"""Chapter 4 - An embedder that remembers: the same text is never embedded twice in a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_utils.rag.embedding import Embedder


class RememberingEmbedder:
    """An embedder in front of another one, with a dictionary from text to vector.

    Many variants of a system search the same passages; only the first one pays for them.

    Args:
        embedder: whose vectors these are; the name stays the same.

    Attributes:
        computed: texts that the inner embedder was asked for.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.inner, self.name, self.width = embedder, embedder.name, embedder.width
        self.computed = 0
        self._known: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (N, C), those of the inner embedder."""
        missing = self.missing(texts)
        if missing:
            self.learn(missing, self.inner.encode(missing))
            self.computed += len(missing)
        if not len(texts):
            return np.empty((0, self.width), np.float32)
        return np.stack([self._known[text] for text in texts])

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts without a vector so far, each once."""
        return [text for text in dict.fromkeys(texts) if text not in self._known]

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Take over vectors that were made elsewhere."""
        self._known.update(zip(texts, vectors, strict=True))
