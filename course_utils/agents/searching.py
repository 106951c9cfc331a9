"""Chapter 4 - Search as a tool: BM25 over the course's Wikipedia, no model needed.

An agent's search engine may be simple, because the agent can ask again. BM25 counts query words in
each paragraph; rare words count more, repeated ones less and less, long paragraphs lose a little.

score(q, d) = sum over words w of q: idf(w) · f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))

with f the count of w in d and idf(w) = log(1 + (N - n + 0.5) / (n + 0.5)).
Source: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", section 3.4.

Letters: N paragraphs, K top-k.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WORD = re.compile(r"\w+")
# question words say what kind of answer is wanted, not where it stands
STOP = frozenset(
    """a an and are as at be been but by did do does for from had has have how in into is it its
    many much of on or that the their them then there these this those to was were what when
    where which who whom whose why will with you your article according""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Hit:
    """One found paragraph."""

    title: str
    text: str
    score: float
    row: int


def words_of(text: str) -> list[str]:
    """Lower-case words that say something, with a plural's s cut off.

    >>> words_of("Which frogs are the smallest?")
    ['frog', 'smallest']
    """
    found = (w for w in WORD.findall(text.lower()) if w not in STOP)
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found]


class SearchIndex:
    """An inverted index with BM25 weights, computed once.

    Args:
        rows: dictionaries with ``title`` and ``text``.
        title_weight: how often a paragraph's title counts as if it stood in the text.
        k1, b: saturation of repeated words, and penalty of length.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, str]],
        *,
        title_weight: int = 2,
        k1: float = 1.2,
        b: float = 0.75,
    ) -> None:
        self.rows = [(row["title"], row["text"]) for row in rows]
        if not self.rows:
            raise ValueError("there is no paragraph to search in")
        counts = [Counter(words_of(text)) for _, text in self.rows]
        for count, (title, _) in zip(counts, self.rows, strict=True):
            for word in words_of(title):
                count[word] += title_weight
        self._postings = _postings(counts, k1, b)

    def __len__(self) -> int:
        return len(self.rows)

    def search(self, query: str, top_k: int = 3) -> list[Hit]:
        """The best paragraphs that hold at least one word of the query, best first."""
        scores = np.zeros(len(self.rows))
        for word in set(words_of(query)):
            if word in self._postings:
                where, weight = self._postings[word]
                scores[where] += weight
        # a stable order: equal scores keep the corpus's order
        best = np.argsort(-scores, kind="stable")[: max(top_k, 0)]
        return [Hit(*self.rows[i], float(scores[i]), int(i)) for i in best if scores[i] > 0]


def _postings(
    counts: Sequence[Counter], k1: float, b: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each word the paragraphs that hold it, and its weight in each."""
    lengths = np.array([sum(count.values()) for count in counts], dtype=float)
    held: dict[str, list[tuple[int, int]]] = {}
    for i, count in enumerate(counts):
        for word, f in count.items():
            held.setdefault(word, []).append((i, f))
    penalty = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
    found = {}
    for word, pairs in held.items():
        where, f = np.array(pairs).T
        idf = np.log(1 + (len(counts) - len(where) + 0.5) / (len(where) + 0.5))
        found[word] = where, idf * f * (k1 + 1) / (f + penalty[where])
    return found


def best_sentences(text: str, query: str, room: int = 300) -> str:
    """The run of sentences of a paragraph that has most query words, within some characters.

    A small model loses itself in a long observation, and tokens cost time: trimming what a tool
    returns is the simplest form of context engineering.
    """
    sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"(])", text) if s.strip()]
    wanted = set(words_of(query))
    best, most = "", -1.0
    for start in range(len(sentences)):
        for stop in range(start + 1, len(sentences) + 1):
            run = " ".join(sentences[start:stop])
            if len(run) > room and stop > start + 1:
                break
            # later words add nothing new: prefer the shorter run at equal coverage
            value = len(wanted & set(words_of(run))) - len(run) / 1e4
            if value > most:
                best, most = run, value
    return best if len(best) <= room else best[:room].rsplit(" ", 1)[0] + " ..."
