"""Chapter 4 - The grounded prompt: passages, a question, and what to do if they do not answer it.

A context window is finite and every token costs time, so a prompt has a budget. Passages enter
in the order of their rank; the question and the instructions always stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

BUDGET = 400  # tokens of the whole prompt
REFUSAL = "I don't know."  # what the model is asked to say when the passages are silent
TASK = (
    f'Answer with a short phrase from the passages. If they do not hold the answer, say "{REFUSAL}"'
)
LEAD = "Short answer:"  # a small model that is left to begin by itself begins with a sentence
CUT = " ..."

Messages = list[dict[str, str]]


def grounded_messages(question: str, passages: Sequence[str]) -> Messages:
    """A conversation that asks for an answer from numbered passages and nothing else.

    The passages stand between marks that say that they are data: a passage which contains
    instructions is still only a passage (chapter 6 tests how far that carries).

    Args:
        question: as the user typed it.
        passages: texts in the order in which they are to be read.
    """
    listed = "\n".join(f"[{i}] {' '.join(text.split())}" for i, text in enumerate(passages, 1))
    content = f"Passages:\n{listed}\n\nQuestion: {question.strip()}\n{TASK}"
    return [{"role": "user", "content": content}]


def closed_book_messages(question: str) -> Messages:
    """The same question without passages: what the model remembers from training."""
    content = f"Question: {question.strip()}\nAnswer with a short phrase."
    return [{"role": "user", "content": content}]


def with_lead(messages: Messages, llm: Any) -> Messages:
    """The beginning of the answer put into the model's mouth, where a model continues texts.

    Hosted models answer a new message instead of continuing their last one: they get none.
    """
    continues = hasattr(llm, "encode")
    return [*messages, {"role": "assistant", "content": LEAD}] if continues else messages


def fit_passages(
    question: str,
    passages: Sequence[str],
    budget: int,
    count: Callable[[Messages], int],
) -> tuple[Messages, list[int]]:
    """The grounded prompt with as many passages as the budget allows.

    Whole passages in the given order; one that does not fit is left out and the next is tried.
    If not even the first fits, its beginning is used, so that there is always something to read.

    Args:
        question: of the user.
        passages: in the order of their rank.
        budget: tokens that the prompt may have.
        count: tokens of a conversation.

    Returns:
        The messages, and which passages are in them (numbers from 0).

    Raises:
        ValueError: question and instructions alone exceed the budget.
    """
    if count(grounded_messages(question, [CUT])) > budget:
        raise ValueError(f"a budget of {budget} tokens has no room for a passage")
    kept: list[int] = []
    for i in range(len(passages)):
        if count(grounded_messages(question, [passages[j] for j in [*kept, i]])) <= budget:
            kept.append(i)
    if kept or not passages:
        return grounded_messages(question, [passages[i] for i in kept]), kept
    return grounded_messages(question, [_beginning(question, passages[0], budget, count)]), [0]


def token_counter(llm: Any) -> Callable[[Messages], int]:
    """Counts the tokens of a conversation: exactly for a local model, else a safe estimate.

    Without the model's tokenizer three characters are taken for a token, fewer than English has.
    """
    if hasattr(llm, "encode"):
        return lambda messages: len(llm.encode(with_lead(messages, llm)))
    return lambda messages: sum(len(m["content"]) // 3 + 8 for m in messages)


def _beginning(question: str, passage: str, budget: int, count: Callable[[Messages], int]) -> str:
    """The longest beginning, in whole words, with which the prompt fits: found by halving."""
    words = passage.split()
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        shorter = " ".join(words[:middle]) + CUT
        fits = count(grounded_messages(question, [shorter])) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return " ".join(words[:low]) + CUT
