"""Chapter 4 - A model as judge: pairwise verdicts, and the biases that they carry.

A judge is any callable that sees a question and two answers and says which is better. Showing each
pair in both orders makes its position bias visible and, averaged, harmless; length and self
preference show only against other judgements of the same answers.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.evaluation.classification import cohen_kappa
from course_utils.evaluation.intervals import Interval, bootstrap_interval

FIRST, SECOND, TIE, INVALID = "first", "second", "tie", "invalid"
VERDICTS = (FIRST, SECOND, TIE, INVALID)
MARKS = {"A": FIRST, "B": SECOND, "C": TIE}
Judge = Callable[[str, str, str], str]

TEMPLATE = """Two assistants answered a question. Decide which answer helps the user more. Judge by
correctness first, then by clarity. The order of the answers and their length must not matter.
End with [[A]] if the first answer is better, [[B]] if the second is, [[C]] if they are equal.

Question: {question}

Answer A: {first}

Answer B: {second}

Verdict:"""


@dataclass(frozen=True)
class Match:
    """Two systems' answers to one question."""

    item: str
    question: str
    systems: tuple[str, str]
    answers: tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """One judgement, one row of a verdict table.

    Attributes:
        judge, item: names.
        systems: in the order in which their answers were shown.
        lengths: words of these answers.
        verdict: one of :data:`VERDICTS`.
    """

    judge: str
    item: str
    systems: tuple[str, str]
    lengths: tuple[int, int]
    verdict: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"a verdict must be one of {', '.join(VERDICTS)}; got {self.verdict!r}"
            )

    @property
    def winner(self) -> str | None:
        """The system that was preferred; None for a tie or an invalid verdict."""
        return {FIRST: self.systems[0], SECOND: self.systems[1]}.get(self.verdict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Item and systems in alphabetical order: the same for both orders shown."""
        return (self.item, *sorted(self.systems))


def judge_prompt(question: str, first: str, second: str) -> str:
    """The question put to a judging model; texts with braces pass unharmed."""
    values = {"question": question, "first": first, "second": second}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], TEMPLATE)


def parse_verdict(text: str) -> str:
    """The last [[A]], [[B]] or [[C]] of a model's answer; "invalid" if there is none.

    >>> parse_verdict("B is vague, so [[A]]"), parse_verdict("I like both.")
    ('first', 'invalid')
    """
    marks = re.findall(r"\[\[([ABC])\]\]", text)
    return MARKS[marks[-1]] if marks else INVALID


def judge_by_text(generate: Callable[[str], str]) -> Judge:
    """A judge from a function that answers a prompt with text."""
    return lambda question, first, second: parse_verdict(
        generate(judge_prompt(question, first, second))
    )


def judge_by_preference(preference: Callable[[str], float]) -> Judge:
    """A judge from log P(" A") - log P(" B") after the prompt: no sampling, never invalid.

    Args:
        preference: of a prompt, greater than 0 if the model leans to A.
    """

    def judge(question: str, first: str, second: str) -> str:
        lean = preference(judge_prompt(question, first, second))
        return TIE if lean == 0 else FIRST if lean > 0 else SECOND

    return judge


def judge_matches(
    judge: Judge,
    matches: Iterable[Match],
    *,
    name: str = "judge",
    both_orders: bool = True,
    length: Callable[[str], int] = lambda text: len(text.split()),
) -> list[Verdict]:
    """The verdict table of one judge.

    Args:
        judge: from question, first and second answer to one of :data:`VERDICTS`.
        matches: pairs of answers.
        name: of the judge; the name of a system, if it is that system's model.
        both_orders: show each pair twice, the second time turned round.
        length: of an answer, for the study of length bias.

    Source: Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena",
    section 3.4 (swapping positions).
    """
    table = []
    for match in matches:
        for step in (1, -1)[: 1 + both_orders]:
            systems, answers = match.systems[::step], match.answers[::step]
            lengths = (length(answers[0]), length(answers[1]))
            verdict = judge(match.question, *answers)
            table.append(Verdict(name, match.item, systems, lengths, verdict))
    return table


@dataclass(frozen=True)
class PositionBias:
    """What turning the order round does; the four shares sum to one.

    Attributes:
        consistent: the same winner (or a tie) both times.
        to_first, to_second: the answer in this place won both times.
        other: a tie or an invalid verdict in one order only.
        first_share: how often the first place won among all decided verdicts; 0.5 is fair.
        pairs: how many pairs were shown in both orders.
    """

    consistent: float
    to_first: float
    to_second: float
    other: float
    first_share: Interval
    pairs: int


def position_bias(verdicts: Iterable[Verdict], *, seed: int = 0) -> PositionBias:
    """Compare both orders of each pair; pairs shown in one order are left out.

    Raises:
        ValueError: if no pair was shown in both orders, or nothing was decided.

    Source: Zheng et al. 2023, section 3.3 and table 2.
    """
    pairs = _both_orders(verdicts)
    if not pairs:
        raise ValueError("no pair was shown in both orders")
    kinds = [_kind(there.verdict, back.verdict) for there, back in pairs]
    shares = {name: kinds.count(name) / len(pairs) for name in (TIE, FIRST, SECOND, INVALID)}
    decided = [(v.verdict == FIRST, v.key) for pair in pairs for v in pair if v.winner]
    if not decided:
        raise ValueError("no verdict prefers an answer")
    wins, keys = zip(*decided, strict=True)
    first = bootstrap_interval(np.array(wins, dtype=float), clusters=keys, seed=seed)
    return PositionBias(
        shares[TIE], shares[FIRST], shares[SECOND], shares[INVALID], first, len(pairs)
    )


def settled(verdicts: Iterable[Verdict]) -> dict[tuple[str, str, str], str | None]:
    """One result for each pair: a win needs both orders, everything else is a tie (None).

    Keys are (item, system, system), the systems in alphabetical order.

    Raises:
        ValueError: if the verdicts are of several judges, whose results would hide each other.
    """
    pairs = _both_orders(verdicts)
    judges = {there.judge for there, _ in pairs}
    if len(judges) > 1:
        raise ValueError(f"give the verdicts of one judge, not of {', '.join(sorted(judges))}")
    return {
        there.key: there.winner if there.winner == back.winner else None for there, back in pairs
    }


def win_rate(verdicts: Iterable[Verdict], system: str, *, seed: int = 0) -> Interval:
    """Share of its pairs that a system wins, ties counted half, with an interval over items.

    Raises:
        ValueError: if the system has no pair that was shown in both orders.
    """
    results = [(key[0], winner) for key, winner in settled(verdicts).items() if system in key[1:]]
    if not results:
        raise ValueError(f"{system!r} is in no pair that was shown in both orders")
    items, winners = zip(*results, strict=True)
    scores = np.array([0.5 if w is None else float(w == system) for w in winners])
    return bootstrap_interval(scores, clusters=items, seed=seed)


def length_bias(
    verdicts: Iterable[Verdict], truth: Mapping[tuple[str, str, str], str], *, seed: int = 0
) -> Interval:
    """How much oftener the longer answer wins with this judge than it deserves to.

    bias = P(judge prefers the longer) - P(truth prefers the longer), on the decided verdicts about
    answers of different length. The first share alone proves nothing: better answers often are
    longer.

    Args:
        verdicts: of one judge.
        truth: the deserved winner of each key, such as (item, system, system): people's verdicts,
            known quality, or another judge's :func:`settled` results. Keys without a winner are
            left out.

    Raises:
        ValueError: if no verdict can be used.

    Source: Zheng et al. 2023, section 3.3 (verbosity bias); Dubois et al. 2024, "Length-Controlled
    AlpacaEval".
    """
    gaps, items = [], []
    for verdict in verdicts:
        deserved = truth.get(verdict.key)
        if verdict.winner is None or deserved is None or len(set(verdict.lengths)) < 2:
            continue
        longer = verdict.systems[int(verdict.lengths[1] > verdict.lengths[0])]
        gaps.append(float(verdict.winner == longer) - float(deserved == longer))
        items.append(verdict.item)
    if not gaps:
        raise ValueError("no decided verdict about answers of different length has a known truth")
    return bootstrap_interval(np.array(gaps), clusters=items, seed=seed)


def self_preference(
    verdicts: Sequence[Verdict], judge: str, *, own: str | None = None, seed: int = 0
) -> Interval:
    """How much oftener a judge lets its own answers win than other judges do, on the same pairs.

    bias = mean over pairs of (own score under this judge - mean own score under the others); a
    score is 1 for a win in both orders, 1/2 for a tie, 0 for a loss. Without the comparison a good
    model that knows its worth looks vain.

    Args:
        verdicts: of several judges, both orders.
        judge: the name of the judge under study.
        own: the system that it is; by default the one with the judge's name.

    Raises:
        ValueError: if no pair was judged by it and by another judge.

    Source: Panickssery, Bowman & Feng 2024, "LLM Evaluators Recognize and Favor Their Own
    Generations"; Zheng et al. 2023, section 3.3 (self-enhancement bias).
    """
    own = judge if own is None else own
    tables: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if own in verdict.systems:
            tables.setdefault(verdict.judge, []).append(verdict)
    scores = {name: _scores_of(own, settled(table)) for name, table in tables.items()}
    mine, gaps, items = scores.pop(judge, {}), [], []
    for key, score in mine.items():
        others = [table[key] for table in scores.values() if key in table]
        if others:
            gaps.append(score - sum(others) / len(others))
            items.append(key[0])
    if not gaps:
        raise ValueError(f"no pair with {own!r} was judged by {judge!r} and by another judge")
    return bootstrap_interval(np.array(gaps), clusters=items, seed=seed)


def agreement(first: Iterable[Verdict], second: Iterable[Verdict]) -> tuple[float, float]:
    """Share of the common pairs on which two judges' settled results agree, and Cohen's kappa.

    Raises:
        ValueError: if they have no pair in common.
    """
    ours, theirs = settled(first), settled(second)
    keys = [key for key in ours if key in theirs]
    if not keys:
        raise ValueError("the judges have no pair in common")
    # by place in the key: two systems' names differ from pair to pair
    rows = [[key.index(t[key], 1) if t[key] else 0 for key in keys] for t in (ours, theirs)]
    return sum(a == b for a, b in zip(*rows, strict=True)) / len(keys), cohen_kappa(*rows)


def simulated_judge(
    quality: Callable[[str], float],
    rng: random.Random,
    *,
    position: float = 0.0,
    length: float = 0.0,
) -> Judge:
    """A judge whose biases are known, to see whether the measures find them.

    log odds of the first = quality(first) - quality(second) + position
    + length · (words of the first - words of the second)

    Args:
        quality: of an answer.
        rng: source of its whims.
        position: preference for the first place in log odds.
        length: log odds a word.
    """

    def judge(question: str, first: str, second: str) -> str:
        """FIRST or SECOND, drawn with the probability above."""
        words = len(first.split()) - len(second.split())
        lean = quality(first) - quality(second) + position + length * words
        return FIRST if rng.random() < 1 / (1 + math.exp(-lean)) else SECOND

    return judge


def _both_orders(verdicts: Iterable[Verdict]) -> list[tuple[Verdict, Verdict]]:
    """Pairs of verdicts of one judge about one match, in the two orders."""
    waiting: dict[tuple, Verdict] = {}
    pairs = []
    for verdict in verdicts:
        place = (verdict.judge, verdict.item, verdict.systems)
        other = waiting.pop((*place[:2], verdict.systems[::-1]), None)
        if other is not None:
            pairs.append((other, verdict))
        else:
            waiting[place] = verdict
    return pairs


def _kind(there: str, back: str) -> str:
    """ "tie" = consistent, "first" or "second" = this place won twice, "invalid" = other."""
    if {there, back} == {FIRST, SECOND} or there == back == TIE:
        return TIE
    return there if there == back and there in (FIRST, SECOND) else INVALID


def _scores_of(system: str, results: Mapping[tuple, str | None]) -> dict[tuple, float]:
    return {key: 0.5 if w is None else float(w == system) for key, w in results.items()}
