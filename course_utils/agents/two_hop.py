"""Chapter 4 - Search, read, search again: questions whose answer needs two articles.

"In which year did the author of Emma die?" The article on Emma names the author, the author's own
article has the year, and no paragraph has both. One search with the words of the question finds
the first; the words that find the second stand only in what was found. So the loop spends its
budget in two halves and reads in between.

Source: Yang et al. 2018, "HotpotQA", section 2; Trivedi et al. 2023, "Interleaving Retrieval with
Chain-of-Thought Reasoning", section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.agents.copying import literal, words_of
from course_utils.agents.decoding import Decoder
from course_utils.agents.searching import STOP, Hit, SearchIndex
from course_utils.agents.searching import words_of as key_words
from course_utils.corpora import jsonl
from course_utils.evaluation.answers import normalize_answer
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.token_mask import TokenMask, trie_of

# questions and what their first search found -> words to add to each second query
Reader = Callable[[Sequence[str], Sequence[Sequence[Hit]]], list[str]]

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(])")
NAME = re.compile(r"[A-Z][\w'’-]*(?:\s+(?:(?:of|the|de|van|von)\s+)?[A-Z][\w'’-]*)*")
FUNCTION_WORDS = STOP | frozenset(
    ("he", "she", "they", "we", "however", "some", "although", "after", "while", "during", "one")
)
SPARE = 8  # tokens beyond the shortest name
# invented for the prompt: question, what was found, the name to look up next
EXAMPLES = (
    ("In which year did the author of the novel Emma die?",
     "Emma is a novel by Jane Austen, first published in London in 1815.", "Jane Austen"),
    ("Which river flows through the town in which the singer Bo Hall was born?",
     "Bo Hall was born in Leeds and moved to Paris in 1950.", "Leeds"),
    ("How high is the mountain on which the Greek gods lived?",
     "Zeus and the other gods lived on Mount Olympus, says Homer.", "Mount Olympus"),
)  # fmt: skip


@dataclass(frozen=True)
class TwoHop:
    """A question, the name that joins its two articles, and a sentence of each as evidence."""

    question: str
    bridge: str
    answers: tuple[str, ...]
    quotes: tuple[str, str]


def load_two_hop(split: str) -> list[TwoHop]:
    """The authored questions of a split ("dev" or "test"), in the file's order.

    Raises:
        ValueError: there is no such split.
    """
    rows = [row for row in jsonl.read(jsonl.file_of("two_hop")) if row["split"] == split]
    if not rows:
        raise ValueError(f"there is no split {split!r}; known are dev and test")
    return [
        TwoHop(
            row["question"],
            row["bridge"],
            (row["answer"], *row["accept"]),
            tuple(hop["quote"] for hop in row["hops"]),
        )
        for row in rows
    ]


def one_shot(index: SearchIndex, questions: Sequence[str], budget: int) -> list[list[Hit]]:
    """The whole budget of paragraphs for one search with the question's own words."""
    return [index.search(question, budget) for question in questions]


def search_read_search(
    index: SearchIndex, questions: Sequence[str], budget: int, reader: Reader
) -> tuple[list[list[Hit]], list[str]]:
    """Half the budget for the question, half for the question and what the reader adds.

    Returns:
        all paragraphs read for each question (never more than the budget, none twice), and the
        words that were added.

    Raises:
        ValueError: the budget leaves no paragraph for each search.
    """
    if budget < 2:
        raise ValueError(f"two searches need a budget of at least 2 paragraphs, got {budget}")
    half = budget // 2
    first = one_shot(index, questions, half)
    added = reader(questions, first)
    found = []
    for question, hits, words in zip(questions, first, added, strict=True):
        seen = {hit.row for hit in hits}
        again = index.search(f"{question} {words}", budget)
        found.append([*hits, *[h for h in again if h.row not in seen][: budget - len(hits)]])
    return found, added


def best_sentence(text: str, question: str) -> str:
    """The sentence with most words of the question; of equal ones the first."""
    wanted = set(key_words(question))
    return max(SENTENCE.split(text), key=lambda s: len(wanted & set(key_words(s))))


def new_names(text: str, question: str) -> list[str]:
    """Capitalised names of a text that say something the question does not.

    >>> new_names("In 1815 Jane Austen published Emma in London.", "Who wrote Emma?")
    ['Jane Austen', 'London']
    """
    asked = {word.lower() for word in re.findall(r"\w+", question)} | FUNCTION_WORDS
    found = []
    for name in NAME.findall(text):
        words = name.split()
        while words and words[0].lower() in FUNCTION_WORDS:  # the first word of a sentence
            words = words[1:]
        if any(word.lower() not in asked for word in words):
            found.append(" ".join(words))
    return list(dict.fromkeys(found))


def read_names(questions: Sequence[str], found: Sequence[Sequence[Hit]]) -> list[str]:
    """A reader without a model: all new names of each paragraph's best sentence."""
    return [" ".join(_names_of(q, hits)) for q, hits in zip(questions, found, strict=True)]


class ModelReader:
    """A small model that picks one of the names: it points, it does not write.

    Args:
        llm: of ``prompting.llm.connect("local")``.
    """

    def __init__(self, llm: Any) -> None:
        self.llm = llm
        shown = "".join(f"{_asked(q, text)} {name}\n\n" for q, text, name in EXAMPLES)
        self.decoder = Decoder(llm.model, llm.tokenizer.encode(shown))

    def __call__(self, questions: Sequence[str], found: Sequence[Sequence[Hit]]) -> list[str]:
        """One name for each question; no words where the sentences hold no new name."""
        names = [_names_of(q, hits) for q, hits in zip(questions, found, strict=True)]
        rows = [i for i, options in enumerate(names) if options]
        added = [""] * len(questions)
        if not rows:
            return added
        masks = [self._mask(names[i]) for i in rows]
        texts = [_asked(questions[i], _sentences(questions[i], found[i])) for i in rows]
        room = max(int(mask.distance[START]) for mask in masks) + SPARE
        written = self.decoder.write(
            [self.llm.tokenizer.encode(text) for text in texts], masks, max_new_tokens=room
        )
        for i, row in zip(rows, written, strict=True):
            added[i] = row.text.strip()
        return added

    def _mask(self, names: Sequence[str]) -> TokenMask:
        options = "|".join(literal(" ".join(words_of(name))) for name in names)
        return TokenMask(compile_regex(f" (?:{options})\n"), trie_of(self.llm.tokenizer))


def evidence(asked: TwoHop, hits: Sequence[Hit]) -> tuple[bool, bool]:
    """Do the paragraphs hold the sentence of the first article, and of the second?"""
    texts = [normalize_answer(hit.text) for hit in hits]
    first, second = (
        any(normalize_answer(quote) in text for text in texts) for quote in asked.quotes
    )
    return first, second


def _names_of(question: str, hits: Sequence[Hit]) -> list[str]:
    texts = [best_sentence(hit.text, question) for hit in hits]
    return list(dict.fromkeys(name for text in texts for name in new_names(text, question)))


def _sentences(question: str, hits: Sequence[Hit]) -> str:
    return " ".join(best_sentence(hit.text, question) for hit in hits)


def _asked(question: str, text: str) -> str:
    return f"Question: {question}\nFound: {text}\nSearch next:"
