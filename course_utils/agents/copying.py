"""Chapter 4 - Copying: regular expressions that let a small model point instead of recite.

A model of 135 million weights loses digits when it writes them again. Most arguments need no new
text: the numbers stand in the task, the answer stands in the observation. So the mask allows only
texts that can be copied from there, and the model chooses *which*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import permutations

from course_utils.prompting.regex_syntax import MEANS_SOMETHING

NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
# words of the question that let something in which does not stand there as a number
POWER = re.compile(r"\b(power|squared|cubed)\b|\*\*|\^", re.IGNORECASE)
UNSAID = (
    (re.compile(r"per ?cent|%", re.IGNORECASE), "100"),
    (re.compile(r"\b(double|twice|half|halve)\b", re.IGNORECASE), "2"),
    (re.compile(r"\b(minutes|seconds) are there in\b", re.IGNORECASE), "60"),
)
MEAN = re.compile(r"\b(mean|average)\b", re.IGNORECASE)
NUMBERS = 10  # at most so many different numbers are offered
ORDERED = 4  # up to so many are tried in every order, each of them once


def literal(text: str) -> str:
    """A pattern for exactly this text.

    >>> literal("a+b")
    'a\\\\+b'
    """
    return "".join("\\" + c if c in MEANS_SOMETHING else c for c in text)


def numbers_in(*texts: str) -> list[str]:
    """Different numbers of some texts in order, without thousands' commas.

    >>> numbers_in("Add 1,875, 2,048 and 2,048 or 0.5.")
    ['1875', '2048', '0.5']
    """
    found = (n.replace(",", "") for text in texts for n in NUMBER.findall(text))
    return list(dict.fromkeys(found))


def unsaid_numbers(task: str) -> list[str]:
    """Numbers that a word of the question stands for.

    >>> unsaid_numbers("What is 12 percent of the double?")
    ['100', '2']
    """
    return [number for word, number in UNSAID if word.search(task)]


def expression_pattern(task: str, found: str = "") -> str:
    """Arithmetic over the numbers of the question, each of them once, in any order.

    With a result beside the question, or many numbers, any two to four of them may be used. Powers
    and numbers that are not said (100 for percent) are offered where a word asks for them.

    >>> pattern = expression_pattern("What is 12 percent of 48?")
    >>> [bool(re.fullmatch(pattern, e)) for e in ("12 / 100 * 48", "12 / 48", "48 * 48 * 100")]
    [True, False, False]
    """
    operator = r"(?:\+|-|\*|/" + (r"|\*\*)" if POWER.search(task) else ")")
    offered = numbers_in(task, found)[:NUMBERS]
    extra = unsaid_numbers(task)
    if MEAN.search(task):
        total = f" {literal('+')} ".join(map(literal, numbers_in(task)))
        if not found and len(offered) > 1:
            return rf"\({total}\) / {len(offered)}|{total}"
    offered = list(dict.fromkeys([*offered, *extra]))
    if not found and 2 <= len(offered) <= ORDERED:
        return "|".join(_every_order(offered, operator))
    if len(offered) < 2:
        offered += ["2", "100"]
    number = f"(?:{'|'.join(map(literal, dict.fromkeys(offered)))})"
    chain = f"{number}(?: {operator} {number})"
    term = rf"(?:{number}|\({chain}{{1,3}}\))"
    return f"{term}(?: {operator} {term}){{1,3}}"


def _every_order(numbers: Sequence[str], operator: str) -> Iterator[str]:
    """All orders of the numbers, plain and with one pair of brackets."""
    join = f" {operator} ".join
    for order in permutations(map(literal, numbers)):
        yield join(order)
        for size in range(2, len(order)):
            for at in range(len(order) - size + 1):
                inner = rf"\({join(order[at : at + size])}\)"
                yield join([*order[:at], inner, *order[at + size :]])


def spans(text: str, longest: int = 6, *, question: str = "") -> str:
    """Any run of up to so many neighbouring words, without marks at its ends.

    Words of the question end a run: an answer seldom repeats them, and a small model likes to.

    >>> sorted(w for w in ("a", "a b", "b", "b c", "a c") if re.fullmatch(spans("a, b", 2), w))
    ['a', 'b']
    """
    asked = {word.lower() for word in re.findall(r"[^\W\d]+", question)}
    runs: list[list[str]] = []
    for part in re.split(r"[;:()\[\]]|[.,!?](?=\s|$)|\s[–-]\s", text):
        runs.append([])
        for word in words_of(part):
            if word.lower() in asked:
                runs.append([])
            else:
                runs[-1].append(word)
    options = [_run(words[i : i + longest]) for words in runs for i in range(len(words))]
    if not options and question:
        return spans(text, longest)
    if not options:
        raise ValueError(f"there is no word to copy in {text!r}")
    return f"(?:{'|'.join(dict.fromkeys(options))})"


def endings(text: str) -> str:
    """The words of a text from any place of its first half to its end.

    >>> [bool(re.fullmatch(endings("Who wrote the song?"), t)) for t in ("wrote the song", "song")]
    [True, False]
    """
    words = words_of(text.rstrip("?.! "))
    if not words:
        raise ValueError(f"there is no word to copy in {text!r}")
    tail = [literal(" ".join(words[i:])) for i in range(max(1, (len(words) + 1) // 2))]
    return f"(?:{'|'.join(tail)})"


def words_of(text: str) -> list[str]:
    """Words that JSON can hold as they are, quotation marks at their ends cut off."""
    words = (w.strip("\"'“”‘’«»,.") for w in text.split())
    return [w for w in words if w and w.isprintable() and not set(w) & set('"\\')]


def _run(words: Sequence[str]) -> str:
    pattern = ""
    for word in reversed(words):
        pattern = f"{literal(word)}(?: {pattern})?" if pattern else literal(word)
    return pattern
