"""Chapter 4 - Self-consistency: draw several derivations, read each answer, take a vote.

One greedy derivation follows the likeliest next word, which need not lead to the likeliest answer.
Many derivations can end in the same answer; counting ends adds up their probabilities.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting.llm import LLM, Messages

NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?")
MARKED = re.compile(r"(?:answer(?: is)?|####)\s*[:=]?\s*\$?\s*(" + NUMBER.pattern + ")", re.I)


EQUATION = re.compile(r"(\d+) ?([-+x*/×÷]) ?(\d+) ?= ?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Vote:
    """What the drawn answers say together.

    Attributes:
        answer: the most frequent one, the first drawn of equals; None if none could be read.
        share: its part of all draws, unreadable ones included: a rough confidence.
        counts: how often each answer came.
        answers: in the order drawn; None where none could be read.
        texts: the derivations.
    """

    answer: str | None
    share: float
    counts: Counter
    answers: tuple[str | None, ...]
    texts: tuple[str, ...] = ()


def extract_number(text: str) -> str | None:
    """The final number of a derivation, as plain digits: marked ("answer is 7"), else the last.

    >>> extract_number("3 x 5 = 15, so the answer is 1,015.0 apples. Check 2.")
    '1015'
    """
    marked = MARKED.findall(text)
    found = marked[-1:] or NUMBER.findall(text)[-1:]
    if not found:
        return None
    value = float(found[0].replace(",", ""))
    return str(int(value)) if value == int(value) else str(value)


def equations(text: str) -> list[tuple[str, bool]]:
    """Equations of two whole numbers in a derivation, each with whether it is true.

    >>> equations("First 3 x 5 = 15, then 15 - 4 = 10.")
    [('3 x 5 = 15', True), ('15 - 4 = 10', False)]
    """
    found = []
    for match in EQUATION.finditer(text):
        a, sign, b, result = match.groups()
        left, right = int(a), int(b)
        value = {"+": left + right, "-": left - right}.get(sign, left * right)
        if sign in "/÷":
            value = left / right if right else None
        found.append((match[0], value == float(result)))
    return found


def vote_accuracy(
    chance: float, draws: int, *, favourite: float = 0.0, errors: int = 10, times: int = 400
) -> float:
    """How often a vote is right for a model whose answers are known, by simulation.

    Args:
        chance: that one draw is right.
        draws: votes in each election.
        favourite: share of all wrong draws that fall on one and the same wrong answer; the rest
            is spread evenly over ``errors`` others.
        times: elections, always the same random ones.
    """
    import numpy as np

    wrong = 1 - chance
    parts = [chance, wrong * favourite, *[wrong * (1 - favourite) / errors] * errors]
    drawn = np.random.default_rng(0).choice(len(parts), p=parts, size=(times, draws))
    winners = [Counter(row.tolist()).most_common(1)[0][0] for row in drawn]
    return winners.count(0) / times


def majority(answers: Sequence[str | None], texts: Sequence[str] = ()) -> Vote:
    """The vote over answers; what could not be read does not vote, but lowers the share.

    >>> majority(["7", "12", None, "12"]).answer
    '12'
    """
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return Vote(None, 0.0, counts, tuple(answers), tuple(texts))
    # most_common keeps the order of first occurrence among equals
    answer, count = counts.most_common(1)[0]
    return Vote(answer, count / len(answers), counts, tuple(answers), tuple(texts))


def self_consistency(
    llm: LLM,
    conversations: Sequence[Messages],
    count: int = 8,
    *,
    extract: Callable[[str], str | None] = extract_number,
    temperature: float | None = 0.7,
    **sampling: Any,
) -> list[Vote]:
    """Sample ``count`` derivations of each problem and vote on their answers.

    Args:
        llm: from ``connect()``.
        conversations: N prompts, each asking for a derivation.
        count: derivations of each.
        extract: reads the answer out of a derivation; None if there is none.
        temperature: above 0: at 0 all derivations are the same and there is nothing to vote on.
        sampling: see ``chat``.

    Raises:
        ValueError: temperature 0.

    Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language
    Models", section 2 (unweighted majority).
    """
    if temperature == 0:
        raise ValueError("self-consistency needs a temperature above 0: greedy samples are equal")
    drawn = llm.sample_batch(conversations, count, temperature=temperature, **sampling)
    return [majority([extract(text) for text in texts], texts) for texts in drawn]
