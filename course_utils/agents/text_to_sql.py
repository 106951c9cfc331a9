"""Chapter 4 - Questions to SQL: a small model under a grammar made from the database.

The grammar knows the tables, the columns of each, and which of them hold numbers. Values are not
written but copied: names that stand in the question *and* in the database, and the question's
numbers. So every query runs. *Linking* goes on from there: only number columns that the question
names, each name in the column where the database has it, and all of them used. Whether it is the
right query is another matter, and the only test of that is to run it: execution accuracy compares
results, not texts.

Source: Scholak et al. 2021, "PICARD", section 2; Zhong et al. 2017, "Seq2SQL", section 4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from course_utils.agents.copying import literal, numbers_in
from course_utils.agents.database import SCHEMA, Answer, Database, create_text
from course_utils.agents.decoding import Decoder
from course_utils.agents.tools import ToolError
from course_utils.corpora import jsonl
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.token_mask import TokenMask, trie_of

FREE = "[!-~][ -~]{0,119}"  # any line: what a model without a grammar may write
SPARE = 48  # tokens beyond the shortest query
SHORTEST_NAME = 3  # a title such as "A" stands in every question

# written for the prompt; none of them is among the authored questions
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("How many sections are there?", "SELECT COUNT(*) FROM sections"),
    ("How many words does the article Anatomy have?",
     "SELECT words FROM articles WHERE title = 'Anatomy'"),
    ("Which article has the fewest sections?",
     "SELECT title FROM articles ORDER BY sections ASC LIMIT 1"),
    ("How many articles have more than 20 sections?",
     "SELECT COUNT(*) FROM articles WHERE sections > 20"),
    ("How many paragraphs do all articles have together?", "SELECT SUM(paragraphs) FROM articles"),
    ("How many paragraphs does the section Etymology of the article Apollo have?",
     "SELECT paragraphs FROM sections WHERE title = 'Apollo' AND section = 'Etymology'"),
    ("What is the average number of words of a section?", "SELECT AVG(words) FROM sections"),
    ("Which section of the article Anthropology has the most paragraphs?",
     "SELECT section FROM sections WHERE title = 'Anthropology' ORDER BY paragraphs DESC LIMIT 1"),
    ("How many articles have a section called Geography?",
     "SELECT COUNT(*) FROM sections WHERE section = 'Geography'"),
    ("What is the largest number of words of an article?", "SELECT MAX(words) FROM articles"),
    ("Which 2 articles have the most paragraphs?",
     "SELECT title FROM articles ORDER BY paragraphs DESC LIMIT 2"),
    ("How many articles have fewer than 10 sections and more than 900 words?",
     "SELECT COUNT(*) FROM articles WHERE sections < 10 AND words > 900"),
)  # fmt: skip


@dataclass(frozen=True)
class SQLQuestion:
    """A question with a query that answers it; ``kind`` "nested" is beyond the grammar."""

    id: int
    question: str
    sql: str
    kind: str


@dataclass(frozen=True)
class Outcome:
    """A written query and what came of it: does it run, and is its result the right one?"""

    sql: str
    answer: Answer | None
    problem: str
    right: bool

    @property
    def runs(self) -> bool:
        """Did the database answer?"""
        return self.answer is not None


def load_questions() -> list[SQLQuestion]:
    """The authored questions, in the file's order."""
    rows = jsonl.read(jsonl.file_of("sql_questions"))
    return [SQLQuestion(row["id"], row["question"], row["sql"], row["kind"]) for row in rows]


def prompt() -> str:
    """The tables, then solved examples."""
    tables = "\n".join(create_text(table, columns) for table, columns in SCHEMA.items())
    solved = "".join(f"Question: {question}\nSQL: {sql}\n\n" for question, sql in EXAMPLES)
    return f"{tables}\n\n{solved}"


def names_in(question: str, database: Database) -> dict[str, list[str]]:
    """Values of text columns that stand in the question, and the columns that hold them.

    Longest first; a name inside a longer one that was found is left out.
    """
    found: dict[str, list[str]] = {}
    for table, columns in SCHEMA.items():
        for column in _of_kind(columns, "TEXT"):
            for value in database.values(table, column):
                if len(value) >= SHORTEST_NAME and _stands_in(value, question):
                    places = found.setdefault(value, [])
                    places += [column] * (column not in places)
    longest = sorted(found, key=lambda v: (-len(v), v))
    kept = (v for i, v in enumerate(longest) if not any(v in other for other in longest[:i]))
    return {v: found[v] for v in kept}


def select_pattern(names: Iterable[str], numbers: Sequence[str]) -> str:
    """A regular expression for all SELECTs of one table, at most two conditions and an order.

    >>> pattern = select_pattern(["Alchemy"], [])
    >>> bool(re.fullmatch(pattern, "SELECT words FROM articles WHERE title = 'Alchemy'"))
    True
    """
    options = []
    quoted, values = [_quoted(name) for name in names], list(map(literal, numbers))
    for table, columns in SCHEMA.items():
        text, number = (_any(_of_kind(columns, kind)) for kind in ("TEXT", "INTEGER"))
        tests = [f"{text} = {_any(quoted)}"] * bool(quoted)
        tests += [f"{number} (?:<|>) {_any(values)}"] * bool(values)
        where = f"(?: WHERE {_any(tests)}(?: AND {_any(tests)})?)?" if tests else ""
        options += _selects(table, number, where, ["1", *values])
    return _any(options)


def linked_pattern(question: str, names: Mapping[str, Sequence[str]]) -> str:
    """As :func:`select_pattern`, with only what the question names, and all of it.

    >>> pattern = linked_pattern("How many words has Alchemy?", {"Alchemy": ["title"]})
    >>> [bool(re.fullmatch(pattern, f"SELECT {c} FROM articles WHERE title = 'Alchemy'"))
    ...  for c in ("words", "paragraphs")]
    [True, False]
    """
    options, values = [], list(map(literal, numbers_in(question)))
    for table, columns in SCHEMA.items():
        counts = _of_kind(columns, "INTEGER")
        number = _any([c for c in counts if _stands_in(c, question)] or counts)
        places = [[c for c in held if c in columns] for held in names.values()]
        for chosen in product(*places):
            same = [f"{c} = {_quoted(n)}" for c, n in zip(chosen, names, strict=True)]
            compared = [f"{number} (?:<|>) {value}" for value in values]
            options += _selects(table, number, _where(same + compared), ["1"])
            if values:  # the last number may be how many rows are wanted
                options += _selects(table, number, _where(same + compared[:-1]), values[-1:])
    return _any(options) if options else select_pattern(names, numbers_in(question))


def _where(tests: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(tests)}" if tests else ""


def _selects(table: str, number: str, where: str, limits: Iterable[str]) -> list[str]:
    """Totals, counts and columns of one table; only columns are put in order."""
    start = rf"(?:COUNT\(\*\)|(?:SUM|AVG|MIN|MAX)\({number}\))"
    text = _any(_of_kind(SCHEMA[table], "TEXT"))
    order = rf"(?: ORDER BY {number} (?:ASC|DESC) LIMIT {_any(dict.fromkeys(limits))})?"
    return [
        f"SELECT {start} FROM {table}{where}",
        f"SELECT (?:{text}|{number}) FROM {table}{where}{order}",
    ]


def write_sql(
    llm: Any, questions: Sequence[str], database: Database, grammar: str = "linked"
) -> list[str]:
    """A query for each question, greedy, in one batch.

    Args:
        llm: of ``prompting.llm.connect("local")``.
        questions: texts.
        database: its names may be copied.
        grammar: "free" (any line), "grammar" (any SELECT) or "linked".

    Raises:
        ValueError: another grammar.
    """
    makers = {
        "free": lambda q: FREE,
        "grammar": lambda q: select_pattern(names_in(q, database), numbers_in(q)),
        "linked": lambda q: linked_pattern(q, names_in(q, database)),
    }
    if grammar not in makers:
        raise ValueError(f"grammar must be one of {', '.join(makers)}, got {grammar!r}")
    patterns = [makers[grammar](question) for question in questions]
    trie, known = trie_of(llm.tokenizer), {}
    for pattern in patterns:
        if pattern not in known:
            known[pattern] = TokenMask(compile_regex(f" {pattern}\n"), trie)
    masks = [known[pattern] for pattern in patterns]
    decoder = Decoder(llm.model, llm.tokenizer.encode(prompt()))
    prompts = [llm.tokenizer.encode(f"Question: {q}\nSQL:") for q in questions]
    room = max(int(mask.distance[START]) for mask in masks) + SPARE
    return [row.text.strip() for row in decoder.write(prompts, masks, max_new_tokens=room)]


def judge(database: Database, questions: Sequence[SQLQuestion], queries: Sequence[str]) -> list:
    """Run each query and compare its result with that of the right one: an Outcome each."""
    return [
        judge_one(database, asked.sql, query)
        for asked, query in zip(questions, queries, strict=True)
    ]


def judge_one(database: Database, gold: str, query: str) -> Outcome:
    """Execution accuracy of one query: the same rows, in any order, whatever the text.

    Source: Yu et al. 2018, "Spider", section 5; Zhong et al. 2020 on what chance agreement does.
    """
    try:
        answer = database.query(query)
    except ToolError as error:
        return Outcome(query, None, str(error), False)
    same = _bag(answer) == _bag(database.query(gold))
    return Outcome(query, answer, "", same and not answer.more)  # what was cut off is unknown


def _bag(answer: Answer) -> Counter:
    return Counter(
        tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in answer.rows
    )


def _stands_in(name: str, question: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question) is not None


def _of_kind(columns: Mapping[str, str], kind: str) -> list[str]:
    return [column for column, found in columns.items() if found == kind]


def _quoted(name: str) -> str:
    return "'" + literal(name.replace("'", "''")) + "'"


def _any(options: Iterable[str]) -> str:
    return f"(?:{'|'.join(options)})"
