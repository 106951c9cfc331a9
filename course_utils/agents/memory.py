"""Chapter 4 - Memory: what outlives one step of an agent.

Two ways to find a note again. By its key, exactly; or by likeness, when nobody remembers the key:
cosine of TF-IDF vectors over the words of key and text, computed here because a memory is small.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from course_utils.agents.tools import ToolError

WORD = re.compile(r"\w+")


class Memory:
    """Notes under keys.

    Args:
        capacity: notes at most; storing one more drops the oldest, which is said in the reply.
        length: characters of a note at most.
    """

    def __init__(self, capacity: int = 100, length: int = 500) -> None:
        if capacity < 1 or length < 1:
            raise ValueError(f"capacity and length must be at least 1, got {capacity}, {length}")
        self.capacity, self.length = capacity, length
        self._notes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._notes)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._notes.items())

    def store(self, key: str, text: str) -> str:
        """Keep a text under a key; an older text under the same key is replaced.

        Raises:
            ToolError: an empty key, or a text that is too long.
        """
        if not key.strip():
            raise ToolError("a note needs a key")
        if len(text) > self.length:
            raise ToolError(f"a note may have {self.length} characters, got {len(text)}")
        self._notes.pop(key, None)
        self._notes[key] = text
        if len(self._notes) > self.capacity:
            oldest = next(iter(self._notes))
            del self._notes[oldest]
            return f"stored {key}; dropped {oldest}, the memory was full"
        return f"stored {key}"

    def recall(self, query: str) -> str:
        """The note under this key, or the one most like the query.

        Raises:
            ToolError: nothing fits.
        """
        if query in self._notes:
            return self._notes[query]
        found = self.similar(query)
        if not found:
            raise ToolError(f"nothing is stored that fits {query!r}")
        return self._notes[found[0][0]]

    def similar(self, query: str, top_k: int = 3) -> list[tuple[str, float]]:
        """Keys of the most similar notes and their cosine, best first; never a cosine of 0."""
        texts = {key: _words(f"{key} {text}") for key, text in self._notes.items()}
        seen = Counter(word for words in texts.values() for word in set(words))
        weight = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in seen.items()}
        asked = _vector(_words(query), weight)
        scored = [(key, _cosine(asked, _vector(words, weight))) for key, words in texts.items()]
        best = sorted(scored, key=lambda pair: -pair[1])[:top_k]
        return [(key, score) for key, score in best if score > 0]


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _vector(words: list[str], weight: dict[str, float]) -> dict[str, float]:
    return {word: n * weight[word] for word, n in Counter(words).items() if word in weight}


def _cosine(a: dict[str, float], b: dict[str, float]) -> float:
    sizes = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(value * b.get(word, 0.0) for word, value in a.items()) / sizes if sizes else 0.0
