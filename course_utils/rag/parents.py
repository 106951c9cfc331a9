"""Chapter 4 - Parent and child: search in small pieces, read the large ones.

A short piece has a sharp vector, for it says one thing; a model needs the paragraph around it. So
children are searched, and their parents are handed on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_utils.rag.chunking import sentence_chunks

CHILD = 220  # characters, some two sentences


def cut_children(parents: Sequence[str], size: int = CHILD) -> tuple[list[str], np.ndarray]:
    """Whole sentences up to ``size`` characters, and which parent each comes from, (children,).

    A parent that gives no chunk (blank) gives itself, so every parent has a child.
    """
    texts: list[str] = []
    owners: list[int] = []
    for row, parent in enumerate(parents):
        pieces = [chunk.text for chunk in sentence_chunks(parent, size)] or [parent]
        texts += pieces
        owners += [row] * len(pieces)
    return texts, np.array(owners, dtype=int)


def parent_scores(child_scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The score of a parent is that of its best child.

    Args:
        child_scores: (…, children), a row for each question.
        owners: (children,) numbers of the parents, ascending from 0 without gaps.

    Returns:
        (…, parents).

    Source: the "small to big" retrieval of LlamaIndex and LangChain's ParentDocumentRetriever; the
    maximum over passages is MaxP of Dai & Callan 2019, section 3.
    """
    if child_scores.shape[-1] != len(owners):
        raise ValueError(f"got scores of shape {child_scores.shape} for {len(owners)} children")
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    if len(owners) and not np.array_equal(owners[starts], np.arange(len(starts))):
        raise ValueError("owners must be numbers of parents, ascending from 0 without gaps")
    return np.maximum.reduceat(child_scores, starts, axis=-1)
