"""Chapter 4 - Labels from a model: read them out of its answer, or let it choose by likelihood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from course_utils.prompting.llm import LLM, Messages

WAYS = ("generate", "likelihood", "calibrated")


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that an answer names first, as a whole word and in any case; None without one.

    >>> read_label("It is Positive, not negative.", ["negative", "positive"])
    'positive'
    """
    found = [(m.start(), label) for label in labels if (m := _word(label).search(text))]
    return min(found)[1] if found else None


def classify(
    llm: LLM,
    conversations: Sequence[Messages],
    labels: Sequence[str],
    *,
    by: str = "generate",
    **sampling: Any,
) -> list[str | None]:
    """A label for each prompt.

    Args:
        llm: from ``connect()``.
        conversations: N prompts that ask for a label.
        labels: the words to choose from, two or more.
        by: "generate" reads the label out of an answer, and gives None when there is none;
            "likelihood" takes the most likely of the labels, and needs the local model;
            "calibrated" does so after :func:`calibrated`.
        sampling: see ``chat``; used by "generate" only.

    Raises:
        ValueError: another way, fewer than two labels.
        TypeError: "likelihood" with a model that does not give its probabilities.
    """
    if by not in WAYS:
        raise ValueError(f"by must be one of {', '.join(WAYS)}; got {by!r}")
    if len(set(labels)) < 2:
        raise ValueError(f"there must be at least two labels to choose from, got {list(labels)}")
    if by == "generate":
        answers = llm.chat_batch(conversations, **{"max_new_tokens": 8, **sampling})
        return [read_label(text, labels) for text in answers]
    if not hasattr(llm, "log_probabilities"):
        raise TypeError(f'{llm.name} does not give probabilities: use by="generate"')
    scores = llm.log_probabilities(conversations, spaced(conversations, labels))
    scores = calibrated(scores) if by == "calibrated" else scores
    return [labels[max(range(len(row)), key=row.__getitem__)] for row in scores]


def calibrated(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    """Log-probabilities less each label's mean over the inputs: the leaning taken away.

    Right if the labels are about equally frequent among the inputs; no gold label is used.

    Args:
        scores: (N, K) log P(label | input).

    >>> calibrated([[-1.0, -4.0], [-1.0, -2.0]])
    [[0.0, -1.0], [0.0, 1.0]]

    Source: Zhou et al. 2023, "Batch Calibration", section 3.3; after Zhao et al. 2021, "Calibrate
    Before Use", section 5, who estimate the leaning from an empty input.
    """
    means = [sum(column) / len(column) for column in zip(*scores, strict=True)]
    return [[value - mean for value, mean in zip(row, means, strict=True)] for row in scores]


def spaced(conversations: Sequence[Messages], labels: Sequence[str]) -> list[list[str]]:
    """The labels as they follow each prompt: with a space behind an open assistant's message."""
    return [
        [" " + label for label in labels] if _open(messages) else list(labels)
        for messages in conversations
    ]


def _open(messages: Messages) -> bool:
    return not isinstance(messages, str) and messages[-1]["role"] == "assistant"


def _word(label: str) -> re.Pattern:
    return re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.IGNORECASE)
