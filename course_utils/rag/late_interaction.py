"""Chapter 4 - Late interaction: every word of the question looks for its best word in the text.

One vector for a whole paragraph must average over everything that it says. Late interaction keeps
the vector of each token: a question's token takes the cosine with the text's most similar token,
and these maxima are added. Nothing of the text is recomputed for a question, so the vectors can
be made beforehand; they take T times the room.

Letters: N texts, T tokens of the question, S tokens of a text, C width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from course_utils.rag.embedding import MiniLMEmbedder


def maxsim(question: np.ndarray, text: np.ndarray) -> float:
    """score = sum over the question's tokens i of max over the text's tokens j of q_i · d_j.

    Args:
        question: (T, C) vectors of length one. text: (S, C) likewise.

    Returns:
        between -T and T.

    Source: Khattab & Zaharia 2020, "ColBERT", section 3.3, equation 3.
    """
    return float((np.float32(question) @ np.float32(text).T).max(axis=1).sum())


def encode_both(
    embedder: MiniLMEmbedder, texts: Sequence[str]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sentence vectors and token vectors from one pass of the model.

    Args:
        embedder: whose model and tokenizer are used. texts: N of them.

    Returns:
        (N, C) float32, equal to ``embedder.encode(texts)``; and N arrays (S, C) in float16, half
        the room at a loss of three decimals, marks included.
    """
    vectors = np.empty((len(texts), embedder.width), np.float32)
    tokens: list[np.ndarray] = [np.empty(0)] * len(texts)
    for rows, states, real in embedder.batches(texts):
        for row, own, mask in zip(rows, states, real, strict=True):
            kept = own[mask]  # (S, C)
            mean = kept.mean(0)
            vectors[row] = (mean / mean.norm()).cpu().numpy()
            tokens[row] = (kept / kept.norm(dim=-1, keepdim=True)).half().cpu().numpy()
    return vectors, tokens


class LateInteraction:
    """A re-ranker that scores texts by :func:`maxsim`, with token vectors kept in memory.

    Args:
        embedder: for the questions.
        token_vectors: by text, as :func:`encode_both` makes them; more are made when needed.
    """

    def __init__(
        self, embedder: MiniLMEmbedder, token_vectors: dict[str, np.ndarray] | None = None
    ) -> None:
        self.embedder = embedder
        self.known = dict(token_vectors or {})

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """MaxSim of each text, (N,)."""
        return self.scores_batch([question], [texts])[0]

    def scores_batch(
        self, questions: Sequence[str], texts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """MaxSim of each question with its own texts; the questions are read in batches."""
        wanted = dict.fromkeys(itertools.chain.from_iterable(texts))
        missing = [text for text in wanted if text not in self.known]
        if missing:
            self.known |= dict(zip(missing, encode_both(self.embedder, missing)[1], strict=True))
        asked = self.embedder.token_vectors(list(questions))
        return [
            np.array([maxsim(question, self.known[text]) for text in own])
            for question, own in zip(asked, texts, strict=True)
        ]

    @property
    def megabytes(self) -> float:
        """Room that the token vectors take."""
        return sum(vectors.nbytes for vectors in self.known.values()) / 1e6
