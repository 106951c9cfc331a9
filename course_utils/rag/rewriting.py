"""Chapter 4 - Rewriting: let a language model change what is searched for.

Three ideas. *Rewriting* asks for a better question. *Multi-query* asks for several and fuses what
they find. *HyDE* asks for a passage that would answer the question, true or not, and searches for
its neighbours: a passage lies nearer to passages than a question does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from course_utils.rag.embedding import Embedder

REWRITE = "Ask the same question in other words."
# a small model answers the question instead unless it has seen what is wanted
EXAMPLES = (
    ("How tall is the Eiffel Tower?", "What is the height of the Eiffel Tower in metres?"),
    ("Who came up with the theory of relativity?", "Which physicist developed relativity?"),
)
HYDE = "Write two sentences from an encyclopedia that answer this question."
REWRITE_TOKENS, HYDE_TOKENS = 28, 44


def rewrite_queries(llm: Any, questions: Sequence[str], **sampling: Any) -> list[str]:
    """Each question in other words; the question itself where the model says nothing.

    Source: Ma et al. 2023, "Query Rewriting for Retrieval-Augmented Large Language Models".
    """
    options = {"max_new_tokens": REWRITE_TOKENS, "stop": ("\n",), **sampling}
    prompts = [rewriting_messages(question) for question in questions]
    return [
        _tidy(text) or question
        for text, question in zip(llm.chat_batch(prompts, **options), questions, strict=True)
    ]


def multi_queries(
    llm: Any, questions: Sequence[str], count: int = 2, *, temperature: float = 0.8, seed: int = 0
) -> list[list[str]]:
    """The question first, then up to ``count`` different rewritings, drawn at random.

    Search with all of them and fuse the rankings by reciprocal rank.
    """
    prompts = [rewriting_messages(question) for question in questions]
    drawn = llm.sample_batch(
        prompts,
        count,
        max_new_tokens=REWRITE_TOKENS,
        stop=("\n",),
        temperature=temperature,
        seed=seed,
    )
    return [
        list(dict.fromkeys([question, *filter(None, map(_tidy, texts))]))
        for question, texts in zip(questions, drawn, strict=True)
    ]


def hypothetical_passages(llm: Any, questions: Sequence[str], **sampling: Any) -> list[str]:
    """A passage that might answer each question. It may be wrong: only its vector is used.

    Source: Gao et al. 2022, "Precise Zero-Shot Dense Retrieval without Relevance Labels" (HyDE),
    section 3.2.
    """
    options = {"max_new_tokens": HYDE_TOKENS, **sampling}
    said = llm.chat_batch([[_user(HYDE, question)] for question in questions], **options)
    return [" ".join(text.split()) or q for text, q in zip(said, questions, strict=True)]


def hyde_vectors(
    embedder: Embedder, questions: Sequence[str], passages: Sequence[str]
) -> np.ndarray:
    """The mean of question and imagined passage, scaled to length one, (N, C).

    Source: Gao et al. 2022, equation 8 (the question takes part in the mean).
    """
    if len(questions) != len(passages):
        raise ValueError(f"got {len(questions)} questions and {len(passages)} passages")
    mean = embedder.encode(list(questions)) + embedder.encode(list(passages))
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def rewriting_messages(question: str) -> list[dict[str, str]]:
    """Two worked examples, then the question."""
    messages = []
    for before, after in EXAMPLES:
        messages += [_user(REWRITE, before), {"role": "assistant", "content": after}]
    return [*messages, _user(REWRITE, question)]


def _user(task: str, question: str) -> dict[str, str]:
    return {"role": "user", "content": f"{task}\n\nQuestion: {question.strip()}"}


def _tidy(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[0].removeprefix("Question:").strip(' "')
