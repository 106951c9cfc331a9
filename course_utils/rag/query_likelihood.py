"""Chapter 4 - Query likelihood: would somebody who read this passage ask this question?

A language model scores log P(question | passage): it reads the passage and says how likely the
question's tokens are. Nothing is generated. It reads question and passage together, which vectors
made apart cannot, and it costs one pass of the model for each pair, so it re-ranks a short list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TASK = "Write a question that the passage answers."
CHARACTERS = 480  # of a passage that are read


def question_messages(passage: str, characters: int = CHARACTERS) -> list[dict[str, str]]:
    """The conversation whose answer is the question."""
    text = " ".join(passage.split())[:characters]
    return [{"role": "user", "content": f"{TASK}\n\nPassage: {text}"}]


def query_likelihoods(
    llm: Any,
    questions: Sequence[str],
    passages: Sequence[Sequence[str]],
    *,
    characters: int = CHARACTERS,
) -> list[np.ndarray]:
    """log P(question | passage) / tokens of the question, for each question's passages.

    Args:
        llm: a local model (:meth:`log_probabilities`). questions: N of them.
        passages: for each question K texts. characters: of a passage that are read.

    Returns:
        N arrays (K,), in nats a token; larger is better.

    Source: Ponte & Croft 1998, "A Language Modeling Approach to Information Retrieval"; Sachan et
    al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation" (UPR), equation 3.
    """
    if len(questions) != len(passages):
        raise ValueError(f"got {len(questions)} questions and {len(passages)} lists of passages")
    pairs = [(q, p) for q, texts in zip(questions, passages, strict=True) for p in texts]
    if not pairs:
        return [np.empty(0) for _ in questions]
    found = llm.log_probabilities(
        [question_messages(passage, characters) for _, passage in pairs],
        [[question.strip()] for question, _ in pairs],
        average=True,
    )
    values = iter(row[0] for row in found)
    return [np.array([next(values) for _ in texts]) for texts in passages]
