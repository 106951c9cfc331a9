"""Chapter 4 - Multiple choice by log-likelihood: which answer does the model find most likely?

Nothing is generated. Each choice is put after the prompt, and the log-probabilities of its tokens
are added up. Long answers have more factors below one, and some answers are likely after any
prompt, hence the normalisations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from course_utils.evaluation.perplexity import LogitsOf

Encode = Callable[[str], Sequence[int]]
RULES = ("sum", "token", "character", "byte", "unconditional")


@dataclass(frozen=True)
class Question:
    """One item of a multiple-choice test.

    Attributes:
        prompt: what the model reads first; no space at its end.
        choices: the continuations, as they follow the prompt (with their leading space).
        answer: index of the right one.
        group: subject or source, for averages and clusters.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int
    group: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(f"answer {self.answer} is no index of {len(self.choices)} choices")
        if not all(self.choices):
            raise ValueError(f"every choice must hold text, got {self.choices}")


@dataclass(frozen=True)
class ChoiceScores:
    """Log-likelihoods of one question's K choices, in nats.

    Attributes:
        choices: the texts.
        conditional: log P(choice | prompt), (K,).
        tokens: how many tokens each choice has, (K,).
        unconditional: log P(choice | neutral prompt), (K,).
    """

    choices: tuple[str, ...]
    conditional: np.ndarray
    tokens: np.ndarray
    unconditional: np.ndarray

    def under(self, rule: str) -> np.ndarray:
        """The scores that a rule compares, (K,).

        sum: log P; token, character, byte: log P divided by that length; unconditional:
        log P(choice | prompt) - log P(choice | neutral), the pointwise mutual information.

        Raises:
            ValueError: if the rule is not one of these.

        Source: Brown et al. 2020, "Language Models are Few-Shot Learners", section 2.4; Holtzman
        et al. 2021, "Surface Form Competition", section 3; EleutherAI's evaluation harness, whose
        acc, acc_norm and acc_bytes are "sum", "character" and "byte".
        """
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}")
        if rule == "unconditional":
            return self.conditional - self.unconditional
        lengths = {
            "sum": 1,
            "token": self.tokens,
            "character": np.array([len(text.lstrip()) for text in self.choices]),
            "byte": np.array([len(text.lstrip().encode()) for text in self.choices]),
        }
        return self.conditional / lengths[rule]

    def pick(self, rule: str = "sum") -> int:
        """Index of the best choice; the first of equals."""
        return int(self.under(rule).argmax())

    def probabilities(self, rule: str = "sum") -> np.ndarray:
        """softmax of the scores over the choices, (K,): a confidence that can be calibrated."""
        shifted = np.exp(self.under(rule) - self.under(rule).max())
        return shifted / shifted.sum()


def encode_pair(encode: Encode, prompt: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of the prompt and of what follows it, cut out of the ids of both together.

    Encoding both apart may give tokens that the model never saw side by side ("3" + "14"). A space
    at the end of the prompt moves to the continuation, where a token begins with it. If a token
    spans the border, it counts to the continuation.

    Raises:
        ValueError: if the continuation adds no token.
    """
    body = prompt.rstrip()
    continuation = prompt[len(body) :] + continuation
    alone, whole = list(encode(body)), list(encode(body + continuation))
    pairs = enumerate(zip(alone, whole, strict=False))
    shared = next((i for i, (a, b) in pairs if a != b), min(len(alone), len(whole)))
    if shared == len(whole):
        raise ValueError(f"{continuation!r} adds no token to {body[-40:]!r}")
    return whole[:shared], whole[shared:]


def log_likelihoods(
    model: LogitsOf,
    encode: Encode,
    prompt: str,
    continuations: Sequence[str],
    *,
    start: int | None = None,
    device: str = "cpu",
) -> list[np.ndarray]:
    """log P of every token of each continuation after the prompt, in nats.

    All continuations are read in one batch, padded on the right: a causal model's guesses never
    look there, so no mask is needed.

    Args:
        model: from ids (B, T) to logits (B, T, V).
        encode: from text to ids, without special marks.
        prompt, continuations: texts.
        start: id before the prompt; needed if the prompt may be empty.
        device: where the ids go.

    Raises:
        ValueError: if there is neither a prompt nor a start id.
    """
    import torch

    pairs = [encode_pair(encode, prompt, text) for text in continuations]
    lead = [] if start is None else [start]
    rows = [lead + before + after for before, after in pairs]
    if any(len(row) == len(after) for row, (_, after) in zip(rows, pairs, strict=True)):
        raise ValueError("an empty prompt needs a start id: the first token has no context")
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    with torch.inference_mode():
        logits = model(ids[:, :-1])  # (B, T - 1, V)
        found = []
        for row, (_, after), guesses in zip(rows, pairs, logits, strict=True):
            places = slice(len(row) - len(after) - 1, len(row) - 1)
            logs = guesses[places].float().log_softmax(-1)
            chosen = logs.gather(1, torch.tensor(after, device=device)[:, None])[:, 0]
            found.append(chosen.cpu().double().numpy())
    return found


def score_question(
    model: LogitsOf,
    encode: Encode,
    question: Question,
    *,
    neutral: str = "Answer:",
    start: int | None = None,
    device: str = "cpu",
) -> ChoiceScores:
    """Everything that the rules of :class:`ChoiceScores` need for one question.

    Args:
        model, encode, start, device: see :func:`log_likelihoods`.
        question: the item.
        neutral: the prompt of the unconditional scores: the end of the real prompt, without the
            question.
    """
    options = {"start": start, "device": device}
    given = log_likelihoods(model, encode, question.prompt, question.choices, **options)
    alone = log_likelihoods(model, encode, neutral, question.choices, **options)
    return ChoiceScores(
        question.choices,
        np.array([values.sum() for values in given]),
        np.array([len(values) for values in given]),
        np.array([values.sum() for values in alone]),
    )


def correct_by_rule(
    questions: Sequence[Question], scores: Sequence[ChoiceScores]
) -> dict[str, np.ndarray]:
    """For every rule which questions were answered right, (N,) of 0 and 1.

    One model gives one set of log-likelihoods and five accuracies: choose the rule beforehand.
    """
    pairs = list(zip(questions, scores, strict=True))
    return {
        rule: np.array([float(score.pick(rule) == question.answer) for question, score in pairs])
        for rule in RULES
    }
