"""Chapter 4 - Solved examples for a small model, cut into one short prompt for each decision.

One long prompt with everything in it makes a model of 135 million weights copy whatever stands
last. So each decision has its own prompt and sees only what it needs: which tool; how this tool is
called; what the result says. (Khot et al. 2022, "Decomposed Prompting".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One solved question; none of them is among the authored tasks.

    Attributes:
        tool: "calculator", "search", "python" or "finish" (no tool). argument: of the call.
        found: what the tool returned. then: an expression that is computed after a search.
    """

    question: str
    tool: str
    answer: str
    argument: str = ""
    found: str = ""
    then: str = ""


EXAMPLES: tuple[Example, ...] = (
    Example("What is 45 times 12?", "calculator", "540", "45 * 12"),
    Example(
        "Which river flows through Cairo?", "search", "Nile", "river flows through Cairo",
        "Cairo: The city lies on the Nile, near its delta.",
    ),
    Example('Write the word "garden" backwards.', "python", "nedrag", "'garden'[::-1]"),
    Example('What is the opposite of "hot"?', "finish", "cold"),
    Example(
        "A box holds 36 eggs. 15 boxes come and 20 eggs break. How many eggs are whole?",
        "calculator", "520", "36 * 15 - 20",
    ),
    Example(
        "Who painted the Mona Lisa?", "search", "Leonardo da Vinci", "painted the Mona Lisa",
        "Mona Lisa: The portrait was painted by Leonardo da Vinci around 1503 in Florence.",
    ),
    Example(
        "How many numbers from 1 to 60 can be divided by 4?", "python", "15",
        "len([n for n in range(1, 61) if n % 4 == 0])",
    ),
    Example('Which animal says "woof"?', "finish", "dog"),
    Example("What is 30 percent of 250?", "calculator", "75", "30 / 100 * 250"),
    Example(
        "How many years after 1900 was the poet Ann Lee born?", "search", "32",
        "poet Ann Lee born", "Ann Lee: The poet was born in 1932 in York.", "1932 - 1900",
    ),
    Example("What is the factorial of 7?", "python", "5040", "math.factorial(7)"),
    Example("How many months does a year have?", "finish", "12"),
    Example("Subtract 289 from 1,400.", "calculator", "1111", "1400 - 289"),
    Example(
        "In which town was the singer Bo Hall born?", "search", "Leeds",
        "town was the singer Bo Hall born",
        "Bo Hall: Hall was born in Leeds and moved to Paris in 1950.",
    ),
    Example(
        'How many letters e are in the word "celebrate"?', "python", "3", "'celebrate'.count('e')"
    ),
    Example('What is the plural of "mouse"?', "finish", "mice"),
    Example(
        "Each of 8 friends pays 12.50 dollars. How much is that together?", "calculator", "100",
        "8 * 12.50",
    ),
    Example(
        "By how many metres is Mount Etna higher than 2,000 metres?", "search", "1357",
        "metres is Mount Etna higher than 2,000 metres",
        "Mount Etna: The volcano is 3,357 metres high and stands in Sicily.", "3357 - 2000",
    ),
    Example(
        "Sort the words dog, cat and ant by the alphabet.", "python", "ant, cat, dog",
        "sorted(['dog', 'cat', 'ant'])",
    ),
    Example("Is fire hot or cold?", "finish", "hot"),
    Example("Divide 96 by 8.", "calculator", "12", "96 / 8"),
    Example(
        "A rope of 45 m is cut into 9 pieces. How long is a piece?", "calculator", "5", "45 / 9"
    ),
    Example("What is the mean of 4, 8 and 12?", "calculator", "8", "(4 + 8 + 12) / 3"),
    Example(
        "What is the capital of Peru?", "search", "Lima", "capital of Peru",
        "Peru: The capital of the country is Lima, a city on the Pacific coast.",
    ),
    Example("What is the least common multiple of 12 and 18?", "python", "36", "math.lcm(12, 18)"),
    Example(
        "What is the sum of all odd numbers from 1 to 30?", "python", "225", "sum(range(1, 31, 2))"
    ),
)  # fmt: skip

# questions without labels: what the model says of them on average is its prejudice
CALIBRATION = (
    "What is 17 plus 88?", "Divide 900 by 12.", "A pen costs 3 euros. What do 14 pens cost?",
    "Who wrote Hamlet?", "What is the capital of Chile?", "When was the first railway opened?",
    "How many vowels are in \"banana\"?", "What is the 12th prime number?",
    "Write 25 in binary.", "What is the opposite of \"tall\"?", "What colour is grass?",
    "How many legs has a dog?",
)  # fmt: skip

# what stands after "Type:"; the first tokens differ, so one look at the model decides
TYPES = {
    "calculator": " calculation",
    "search": " encyclopedia",
    "python": " programming",
    "finish": " vocabulary",
}
NEXT = {"finish": " answer", "calculator": " calculation"}
THOUGHTS = {
    "calculator": "This is a calculation.",
    "search": "This stands in the encyclopedia.",
    "python": "This needs a small program.",
    "finish": "This is plain vocabulary.",
}
READ = "What I found has the answer."
# what stands before an argument: a plain line, since a small model writes worse inside JSON
CUES = {"calculator": "Calculation:", "search": "Search:", "python": "Python:", "finish": "Answer:"}
ARGUMENT = {"calculator": "expression", "search": "query", "python": "code", "finish": "answer"}


def question_text(question: str, found: str = "") -> str:
    """The question, and what was found if anything was."""
    return f"Question: {question}\n" + (f"Found: {found}\n" if found else "")


def type_prompt(examples: Sequence[Example] = EXAMPLES) -> str:
    """Which kind of question is it?"""
    return "".join(f"{question_text(e.question)}Type:{TYPES[e.tool]}\n\n" for e in examples)


def next_prompt(examples: Sequence[Example] = EXAMPLES) -> str:
    """After a search: is the answer there, or must something be computed?"""
    shown = [e for e in examples if e.tool == "search"]
    kinds = ((e, NEXT["calculator" if e.then else "finish"]) for e in shown)
    return "".join(f"{question_text(e.question, e.found)}Next:{kind}\n\n" for e, kind in kinds)


def call_prompt(name: str, examples: Sequence[Example] = EXAMPLES) -> str:
    """How is this tool called?"""
    shown = [(e, e.argument, "") for e in examples if e.tool == name]
    if name == "calculator":
        shown += [(e, e.then, e.found) for e in examples if e.then]
    return "".join(_solved(e, name, argument, found) for e, argument, found in shown)


def read_prompt(examples: Sequence[Example] = EXAMPLES) -> str:
    """Which words of what was found are the answer?"""
    shown = [e for e in examples if e.tool == "search" and not e.then]
    return "".join(_solved(e, "finish", e.answer, e.found) for e in shown)


def closed_book_prompt(examples: Sequence[Example] = EXAMPLES) -> str:
    """All examples with their answers and no tool: from memory, with nothing found."""
    return "".join(_solved(e, "finish", e.answer, "") for e in examples)


def _solved(example: Example, name: str, argument: str, found: str) -> str:
    return f"{question_text(example.question, found)}{CUES[name]} {argument}\n\n"
