"""Chapter 4 - A graph of names: passages that mention the same rare name are neighbours.

A two-hop question describes one thing by another: the second passage shares no word with the
question, only a name with the first passage. The graph has a node for each passage and each name,
and an edge where a passage mentions a name. A walk that starts at the first hits and often goes
back there visits what they are tied to.

Letters: N passages, M names.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.rag.passages import Passage

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST = 30  # a name in more passages than that says too little
DAMPING = 0.85  # chance of a further step rather than a return to the start
SEEDS = 5  # first hits that the walk starts from
WEIGHT = 1.0  # of the walk beside the cosine; these were chosen on the development questions

_WORD = r"[^\W\d_a-z][\w-]*"  # begins with a letter that is not small
_INSIDE = r"(?:of the |of |de |da |von |van )"
_RUN = re.compile(rf"(?<!\w){_WORD}(?: {_INSIDE}?{_WORD})*")
_OPENS = re.compile(
    r"(?:^|[.!?:;]\s+|\n)[\"“(]*$"
)  # what stands before the first word of a sentence


def names_in(text: str) -> set[str]:
    """Names in a text, in small letters: runs of capitalised words, and each word of a run.

    "with John Middleton Murry" gives "john middleton murry", "john", "middleton" and "murry", so
    that a later "Murry" is a name in common; "john" will be too frequent to be kept. The first word
    of a sentence is no sign of a name. No model is needed; a recogniser such as spaCy's finds
    fewer and cleaner names.

    >>> sorted(names_in("The sculptor was Elisabet Ney."))
    ['elisabet', 'elisabet ney', 'ney']
    """
    found: set[str] = set()
    for match in _RUN.finditer(text):
        words = match.group().split(" ")
        if _OPENS.search(text[max(0, match.start() - 4) : match.start()]):
            words = words[1:]
        found |= {" ".join(words), *(word for word in words if not word[0].islower())}
    return {name.lower() for name in found if len(name) > 2}


def personalised_pagerank(
    edges: csr_matrix,
    restart: np.ndarray,
    damping: float = DAMPING,
    *,
    tolerance: float = 1e-10,
    most_steps: int = 200,
) -> np.ndarray:
    """Where a walker is found who goes back to the start with probability 1 - damping.

    p = (1 - d) s + d Wᵀ p,  W = edges divided by their row sums

    Args:
        edges: (M, M) weights, at least 0. restart: (M,) s up to its sum, at least 0.
        damping: d. tolerance: largest sum of changes at which the steps end.

    Returns:
        (M,) probabilities. From a node without an edge the walker goes back to the start.

    Raises:
        ValueError: no start, a negative weight, d outside [0, 1), or no convergence.

    Source: Haveliwala 2002, "Topic-Sensitive PageRank"; Gutiérrez et al. 2024, "HippoRAG",
    section 2.3 (there d = 0.5).
    """
    start = np.asarray(restart, float)
    if start.shape != (edges.shape[0],) or start.min(initial=0) < 0 or not start.sum() > 0:
        raise ValueError(f"restart needs {edges.shape[0]} numbers >= 0, one of them above 0")
    if not 0 <= damping < 1 or edges.data.min(initial=0) < 0:
        raise ValueError(f"need 0 <= damping < 1 and weights >= 0, got damping {damping}")
    start = start / start.sum()
    sums = np.asarray(edges.sum(axis=1)).ravel()
    share = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    back = edges.T.tocsr()
    p = start
    for _ in range(most_steps):
        moved = back @ (p * share)  # (M,)
        new = (1 - damping) * start + damping * (moved + p[sums == 0].sum() * start)
        if np.abs(new - p).sum() < tolerance:
            return new
        p = new
    raise ValueError(f"no convergence after {most_steps} steps with damping {damping}")


class EntityGraph:
    """Passages and the rare names in them.

    A name's edges have the weight ln(N / n), n being the number of passages that mention it; only
    names with 2 <= n <= most are nodes.

    Args:
        passages: N of them, with different ids.
        most: largest n.

    Attributes:
        ids: of the passages, in order. names: M names, in order of the alphabet.
        mentions: (N, M) sparse, the weight where a passage mentions a name.

    Source: Gutiérrez et al. 2024, "HippoRAG", section 2 (there a language model extracts the
    names; node specificity 1 / n plays the part of our weight).
    """

    def __init__(self, passages: Sequence[Passage], most: int = MOST) -> None:
        self.ids = [passage.id for passage in passages]
        self.row = {name: i for i, name in enumerate(self.ids)}
        if len(self.row) < len(self.ids) or most < 2:
            raise ValueError(f"need different ids and most >= 2, got most {most}")
        own = [names_in(passage.text) for passage in passages]
        counts = Counter(name for found in own for name in found)
        self.names = sorted(name for name, n in counts.items() if 2 <= n <= most)
        self.column = {name: j for j, name in enumerate(self.names)}
        self.mentions = self._matrix(own, counts)
        self.edges = self._both_ways()

    def __repr__(self) -> str:
        return f"<EntityGraph {len(self.ids)} passages, {len(self.names)} names>"

    def names_of(self, name: str) -> list[str]:
        """The names that tie a passage to others, rarest first."""
        row = self.mentions[self._row(name)]
        order = np.lexsort((row.indices, -row.data))
        return [self.names[row.indices[j]] for j in order]

    def walk(
        self, seeds: Mapping[str, float], question: str = "", damping: float = DAMPING
    ) -> np.ndarray:
        """How often each passage is reached over a name in a walk from the seeds, (N,).

        a = p - (1 - d) s,  p being the PageRank with restart s: what the walker finds by a step
        counts, where he was put down does not. The names have the rest of the probability.

        Args:
            seeds: weight, above 0, by passage id.
            question: the names in it are seeds as well, together as heavy as the passages.
            damping: d, see :func:`personalised_pagerank`.
        """
        restart = np.zeros(len(self.ids) + len(self.names))
        for name, weight in seeds.items():
            restart[self._row(name)] = weight
        known = [self.column[name] for name in names_in(question) if name in self.column]
        if known:
            restart[np.array(known) + len(self.ids)] = (restart.sum() or 1.0) / len(known)
        reached = personalised_pagerank(self.edges, restart, damping)
        reached -= (1 - damping) * restart / restart.sum()
        return reached[: len(self.ids)].clip(min=0)

    def expand(self, ids: Iterable[str], k: int) -> list[tuple[str, float]]:
        """At most k passages that a walk from these reaches, best first, without these.

        Returns:
            pairs of id and share of the walk; fewer than k if no more are tied to these.
        """
        start = list(ids)
        reached = self.walk(dict.fromkeys(start, 1.0))
        reached[[self._row(name) for name in start]] = 0
        order = np.argsort(-reached, kind="stable")[:k]
        return [(self.ids[i], float(reached[i])) for i in order if reached[i] > 0]

    def _row(self, name: str) -> int:
        if name not in self.row:
            raise ValueError(f"the graph holds no passage {name!r}")
        return self.row[name]

    def _matrix(self, own: Sequence[set[str]], counts: Mapping[str, int]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        cells = [
            (i, self.column[name], math.log(len(own) / counts[name]) or 1e-9)
            for i, found in enumerate(own)
            for name in sorted(found)
            if name in self.column
        ]
        rows, columns, weights = zip(*cells, strict=True) if cells else ((), (), ())
        shape = (len(own), len(self.names))
        return csr_matrix((np.array(weights, float), (rows, columns)), shape)

    def _both_ways(self) -> Any:
        """(N + M, N + M): passages first, names behind them."""
        from scipy.sparse import bmat, csr_matrix

        empty = (csr_matrix((n, n)) for n in self.mentions.shape)
        left, right = empty
        return bmat([[left, self.mentions], [self.mentions.T, right]], format="csr")


def rank_with_graph(
    graph: EntityGraph,
    cosines: np.ndarray,
    question: str = "",
    *,
    seeds: int = SEEDS,
    damping: float = DAMPING,
    weight: float = WEIGHT,
) -> list[str]:
    """Passages for a question: near to it, or tied by names to what is near to it.

    score_i = cosine_i + weight * a_i / max a,  a being the walk from the first hits, each as
    heavy as its cosine, and from the question's names

    Args:
        graph: of N passages. cosines: (N,) of the question with the passages, in that order.
        question: its text. seeds: number of first hits. damping: see :meth:`EntityGraph.walk`.
        weight: 0 gives the order of the cosines.

    Returns:
        all ids, best first.
    """
    cosines = np.asarray(cosines, float)
    if cosines.shape != (len(graph.ids),) or seeds < 1:
        raise ValueError(f"need {len(graph.ids)} cosines and seeds >= 1, got {cosines.shape}")
    first = np.argsort(-cosines, kind="stable")[:seeds]
    start = {graph.ids[i]: max(float(cosines[i]), 1e-6) for i in first}
    reached = graph.walk(start, question, damping)
    scores = cosines + weight * reached / (reached.max() or 1.0)
    return [graph.ids[i] for i in np.argsort(-scores, kind="stable")]
