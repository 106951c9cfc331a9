"""Chapter 4 - The corpus of the RAG lessons: Wikipedia paragraphs and questions about them.

A question's gold is the passage that holds its quote. A run that cannot afford all passages takes
those of the questions and distractors from the same articles first, which are the hard ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNANSWERABLE = "unanswerable"


@dataclass(frozen=True)
class Passage:
    """One paragraph of an article.

    Attributes:
        id: ``title#number``, the number counting the article's paragraphs from 0.
        title, section, text: as in ``corpora.wikipedia()``.
    """

    id: str
    title: str
    section: str
    text: str


@dataclass(frozen=True)
class Question:
    """A question about the articles.

    Attributes:
        id: number in the set.
        text: the question.
        answers: right answers, the first one preferred; none if it cannot be answered.
        title, section, passage, quote: where the answer stands: article, section, beginning of
            the paragraph, and words around the answer.
        kind: what is asked for (date, person, …), or "unanswerable".
        style: ``direct`` (words of the paragraph) or ``paraphrase``.
        split: ``dev`` to choose thresholds and prompts, ``test`` to report.
    """

    id: int
    text: str
    answers: tuple[str, ...]
    title: str
    section: str
    passage: str
    quote: str
    kind: str
    style: str
    split: str

    @property
    def answerable(self) -> bool:
        """Whether the articles hold an answer."""
        return self.kind != UNANSWERABLE


def wikipedia_passages() -> list[Passage]:
    """All paragraphs of ``corpora.wikipedia()``, in order, each distinct text once."""
    from course_utils import corpora

    data = corpora.wikipedia()[:]
    numbers: dict[str, int] = {}
    seen, passages = set(), []
    for title, section, text in zip(data["title"], data["section"], data["text"], strict=True):
        number = numbers[title] = numbers.get(title, -1) + 1
        if text not in seen:
            seen.add(text)
            passages.append(Passage(f"{title}#{number}", title, section, text))
    return passages


def load_questions(split: str | None = None) -> list[Question]:
    """The authored questions, all or those of one split.

    Raises:
        ValueError: an unknown split.
    """
    from course_utils.corpora import jsonl

    if split not in (None, "dev", "test"):
        raise ValueError(f"split must be 'dev', 'test' or None, got {split!r}")
    rows = jsonl.read(jsonl.file_of("rag_questions"))
    questions = [_question(row) for row in rows]
    return [q for q in questions if split in (None, q.split)]


def _question(row: Mapping[str, Any]) -> Question:
    answers = tuple(dict.fromkeys([row["answer"], *row["accept"]])) if row["answer"] else ()
    place = {name: row[name] for name in ("title", "section", "passage", "quote")}
    kinds = {name: row[name] for name in ("kind", "style", "split")}
    return Question(row["id"], row["question"], answers, **place, **kinds)


def gold_passages(question: Question, passages: Sequence[Passage]) -> list[str]:
    """Ids of the passages of the question's article that hold its quote (none: unanswerable)."""
    if not question.answerable:
        return []
    return [p.id for p in passages if p.title == question.title and question.quote in p.text]


def gold_table(
    questions: Sequence[Question], passages: Sequence[Passage]
) -> dict[int, frozenset[str]]:
    """Gold ids by question id, for the answerable questions.

    Raises:
        ValueError: an answerable question whose quote stands in no passage.
    """
    by_title: dict[str, list[Passage]] = {}
    for passage in passages:
        by_title.setdefault(passage.title, []).append(passage)
    table = {}
    for question in questions:
        if question.answerable:
            gold = gold_passages(question, by_title.get(question.title, []))
            if not gold:
                raise ValueError(
                    f"question {question.id}: no passage holds {question.quote[:60]!r}"
                )
            table[question.id] = frozenset(gold)
    return table


def choose_passages(
    passages: Sequence[Passage], questions: Sequence[Question], count: int, seed: int = 0
) -> list[Passage]:
    """At most ``count`` passages: gold, then neighbours in the same articles, then any others.

    Distractors from the gold article are the hardest ones, so a smaller collection is not an
    easier one by as much as its size says. If there are more gold passages than ``count``, all of
    them are kept.

    Args:
        passages: all. questions: whose gold must be in. count: N. seed: of the distractors' draw.

    Returns:
        Passages in their original order.
    """
    gold = frozenset().union(*gold_table(questions, passages).values())
    titles = {question.title for question in questions if question.title}
    order = list(passages)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda p: (p.id not in gold, p.title not in titles))  # stable: shuffled within
    kept = {p.id for p in order[: max(count, len(gold))]}
    return [p for p in passages if p.id in kept]


def stratified(
    questions: Sequence[Question], answerable: int, unanswerable: int, seed: int = 0
) -> list[Question]:
    """A fixed sample: so many questions with and without an answer, kinds in proportion.

    Questions are drawn in turns from shuffled groups of one kind and style, so that every group
    appears before any appears often.

    Raises:
        ValueError: fewer questions than asked for.
    """
    chosen: list[Question] = []
    for wanted, can in ((answerable, True), (unanswerable, False)):
        pool = [q for q in questions if q.answerable == can]
        if len(pool) < wanted:
            raise ValueError(f"asked for {wanted} of {len(pool)} questions (answerable: {can})")
        random.Random(seed).shuffle(pool)
        turns: dict[tuple[str, str], int] = {}
        keyed = []
        for q in pool:
            turn = turns[q.kind, q.style] = turns.get((q.kind, q.style), -1) + 1
            keyed.append((turn, q))
        keyed.sort(key=lambda pair: pair[0])
        chosen += [q for _, q in keyed[:wanted]]
    return sorted(chosen, key=lambda q: q.id)


def around(passages: Sequence[Passage], ids: Iterable[str], reach: int = 1) -> dict[str, str]:
    """Small documents: each named passage with its neighbours in the article, blank lines between.

    Args:
        passages: of whole articles, in order. ids: of the passages in the middle. reach: how many
            neighbours on each side.

    Returns:
        texts by the id of the passage in the middle.
    """
    place = {passage.id: i for i, passage in enumerate(passages)}
    documents = {}
    for name in ids:
        i = place[name]
        near = passages[max(0, i - reach) : i + reach + 1]
        same = [p.text for p in near if p.title == passages[i].title]
        documents[name] = "\n\n".join(same)
    return documents
