"""Chapter 4 - Late chunking: encode first, cut afterwards.

"He lost the final" cut out of its article does not say who. If the model reads the whole section
before anything is cut, each token's state knows the rest of the section; a piece's vector is then
the mean of its own tokens' states. The pieces are the same as before, only their vectors differ.

Letters: N texts, P pieces, T tokens, C width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_utils.rag.embedding import MiniLMEmbedder

Span = tuple[int, int]  # first character and the one after the last


def late_vectors(
    embedder: MiniLMEmbedder, texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> list[np.ndarray]:
    """Vectors of pieces, pooled from the states of the whole text.

    v = mean of the last states over the tokens that begin inside the piece;  v / |v|

    The mark in front belongs to the piece that holds the first token, the mark behind to the one
    that holds the last token, so a piece that is the whole text has the vector of
    ``embedder.encode``. The model reads ``embedder.max_tokens`` tokens (MiniLM: 256) and nothing
    after: a piece of which no token was read gets its vector from the piece alone, as if it had
    been cut first; a piece that was read in part is pooled over that part.

    Args:
        embedder: whose model and tokenizer are used.
        texts: N of them, each as long as the context should reach.
        spans: for each text the characters of its pieces; they may overlap or leave gaps.

    Returns:
        N arrays (P, C) of length one, float32.

    Raises:
        ValueError: a span outside its text or without any letter.

    Source: Günther et al. 2024, "Late Chunking", section 3, algorithm 1.
    """
    for text, own in zip(texts, spans, strict=True):
        _check(text, own)
    vectors = [np.zeros((len(own), embedder.width), np.float32) for own in spans]
    for rows, states, real in embedder.batches(texts):
        for row, own, mask in zip(rows, states, real, strict=True):
            members = piece_tokens(embedder, texts[row], spans[row])
            kept = own[mask].cpu().numpy()  # (T, C)
            vectors[row] = _pooled(kept, members)
    return _unread_alone(embedder, texts, spans, vectors)


def piece_tokens(embedder: MiniLMEmbedder, text: str, spans: Sequence[Span]) -> list[np.ndarray]:
    """Positions of each piece's tokens among those that the model reads, marks included.

    A token belongs to the piece in which it begins. An empty array: the piece was not read.
    """
    options = {"truncation": True, "max_length": embedder.max_tokens}
    offsets = embedder.tokenizer(text, return_offsets_mapping=True, **options)["offset_mapping"]
    begins = np.array([begin for begin, _ in offsets[1:-1]])  # without the two marks
    last = len(offsets) - 1
    members = []
    for first, end in spans:
        inside = np.flatnonzero((begins >= first) & (begins < end)) + 1
        front = [0] if len(inside) and inside[0] == 1 else []
        behind = [last] if len(inside) and inside[-1] == last - 1 else []
        members.append(np.array([*front, *inside, *behind], int))
    return members


def _pooled(states: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """Means of length one, (P, C); zeros where a piece has no token."""
    vectors = np.zeros((len(members), states.shape[1]), np.float32)
    for vector, places in zip(vectors, members, strict=True):
        if len(places):
            mean = states[places].mean(0)
            vector[:] = mean / np.linalg.norm(mean)
    return vectors


def _unread_alone(
    embedder: MiniLMEmbedder,
    texts: Sequence[str],
    spans: Sequence[Sequence[Span]],
    vectors: list[np.ndarray],
) -> list[np.ndarray]:
    """Fill in the pieces behind the last token that was read."""
    unread = [(i, j) for i, own in enumerate(vectors) for j in np.flatnonzero(~own.any(axis=1))]
    if unread:
        pieces = [texts[i][slice(*spans[i][j])] for i, j in unread]
        for (i, j), vector in zip(unread, embedder.encode(pieces), strict=True):
            vectors[i][j] = vector
    return vectors


def _check(text: str, spans: Sequence[Span]) -> None:
    for first, end in spans:
        if not 0 <= first < end <= len(text) or not text[first:end].strip():
            raise ValueError(
                f"a piece must be characters of its text (0 to {len(text)}) and not blank, got "
                f"{first} to {end}"
            )
