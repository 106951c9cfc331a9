"""A database behind locks, and SQL written under a grammar made from it."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from course_utils import corpora
from course_utils.agents import text_to_sql
from course_utils.agents.database import SCHEMA, Answer, article_database, create_text, sql_tool
from course_utils.agents.mcp_client import MCPConnection
from course_utils.agents.mcp_server import serving_http
from course_utils.agents.tools import Registry, ToolError

ROWS = [
    {"title": "Abacus", "section": "Use", "text": "one two three"},
    {"title": "Abacus", "section": "Use", "text": "four five"},
    {"title": "Abacus", "section": "History", "text": "six"},
    {"title": "Algae", "section": "Use", "text": "seven eight"},
]


@pytest.fixture
def small():
    return article_database(ROWS)


@pytest.fixture(scope="module")
def archive():
    return article_database(corpora.wikipedia())


def test_counts_by_hand(small):
    assert small.query("SELECT * FROM articles").rows == (("Abacus", 2, 3, 6), ("Algae", 1, 1, 2))
    assert small.query("SELECT title, section, words FROM sections").rows == (
        ("Abacus", "Use", 5),
        ("Abacus", "History", 1),
        ("Algae", "Use", 2),
    )
    assert str(small.query("SELECT AVG(words) FROM sections")) == "2.66667"
    assert str(small.query("SELECT title FROM articles WHERE words > 9")) == "no rows"


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("DELETE FROM articles", "only be read"),
        ("UPDATE articles SET words = 0", "only be read"),
        ("INSERT INTO articles VALUES ('x', 1, 1, 1)", "only be read"),
        ("DROP TABLE articles", "only be read"),
        ("CREATE TEMP TABLE t (x)", "only be read"),
        ("PRAGMA query_only = OFF", "only be read"),
        ("ATTACH DATABASE ':memory:' AS other", "only be read"),
        ("VACUUM INTO 'copy.db'", "only be read"),
        ("BEGIN", "only be read"),
        ("SELECT 1; DROP TABLE articles", "one statement"),
        ("SELECT load_extension('x')", "function 'load_extension'"),
        ("SELECT randomblob(99999999)", "function 'randomblob'"),
        ("SELECT sql FROM sqlite_master", "table 'sqlite_master'"),
        ("SELECT colour FROM articles", "no such column"),
        ("", "only a SELECT"),
    ],
)
def test_attacks_and_mistakes_are_refused_with_a_sentence(small, sql, sentence):
    before = small.query("SELECT * FROM articles")
    with pytest.raises(ToolError, match=re.escape(sentence)):
        small.query(sql)
    assert small.query("SELECT * FROM articles") == before


def test_query_only_stands_behind_the_authorizer(small):
    small.connection.set_authorizer(None)
    with pytest.raises(ToolError, match="readonly"):
        small.query("DELETE FROM articles")


def test_what_never_ends_is_stopped_at_the_same_place():
    endless = "SELECT COUNT(*) FROM sections a, sections b, sections c, sections d"
    patient = article_database(ROWS, instructions=1_000_000)
    assert patient.query(endless).rows == ((3**4,),)
    hasty = article_database([{**ROWS[0], "section": str(i)} for i in range(97)], instructions=7000)
    for _ in range(2):
        with pytest.raises(ToolError, match="after 7,000 instructions"):
            hasty.query(endless)
    assert len(hasty.values("sections", "section")) == 97  # and it goes on
    assert hasty.query("SELECT 1").rows == ((1,),)
    with pytest.raises(ValueError, match="no column"):
        hasty.values("articles", "words; DROP TABLE articles")


def test_threads_do_not_mix_their_sentences(small):
    asked = [
        "SELECT COUNT(*) FROM articles",
        "SELECT load_extension('x')",
        "DROP TABLE articles",
    ] * 31

    def answer(sql):
        try:
            return str(small.query(sql))
        except ToolError as error:
            return str(error)

    alone = [answer(sql) for sql in asked]
    with ThreadPoolExecutor(7) as pool:
        assert list(pool.map(answer, asked)) == alone


def test_rows_are_limited_and_it_says_so():
    few = article_database(ROWS, rows=1)
    answer = few.query("SELECT title FROM articles")
    assert answer == Answer(("title",), (("Abacus",),), more=True)
    assert str(answer).endswith("more rows")
    assert not few.query("SELECT title FROM articles LIMIT 1").more


def test_the_tool_over_http(small):
    with serving_http(Registry([sql_tool(small)])) as address, MCPConnection(address) as connection:
        remote = connection.tools()
        assert remote.call("sql", {"query": "SELECT words FROM articles"}) == "6\n2"
        with pytest.raises(ToolError, match="only be read"):
            remote.call("sql", {"query": "DROP TABLE articles"})


def test_authored_answers_are_what_the_queries_give(archive):
    rows = corpora.authored("sql_questions")
    for row in rows:
        got = [[f"{v:.6g}" if isinstance(v, float) else str(v) for v in r]
               for r in archive.query(row["sql"]).rows]  # fmt: skip
        assert got == row["answer"], row
    assert len(rows) >= 12 and len(set(rows["question"])) == len(rows)


def test_authored_answers_against_plain_counting():
    """No SQL on this side."""
    words, paragraphs = Counter(), Counter()
    for row in corpora.wikipedia():
        words[row["title"]] += len(row["text"].split())
        paragraphs[row["title"]] += 1
    answer = {row["question"]: row["answer"] for row in corpora.authored("sql_questions")}
    assert answer["How many articles are there?"] == [[str(len(words))]]
    assert answer["How many words do all articles have together?"] == [[str(sum(words.values()))]]
    top = [[title] for title, _ in words.most_common(3)]
    assert answer["Which 3 articles have the most words?"] == top
    assert answer["Which article has the most words?"] == top[:1]
    many = sum(n > 100 for n in paragraphs.values())
    assert answer["How many articles have more than 100 paragraphs?"] == [[str(many)]]
    more = sum(n > words["Alaska"] for n in words.values())
    assert answer["How many articles have more words than the article Alaska?"] == [[str(more)]]


def test_grammar_holds_the_right_query_unless_it_is_nested(archive):
    for asked in text_to_sql.load_questions():
        names = text_to_sql.names_in(asked.question, archive)
        numbers = text_to_sql.numbers_in(asked.question)
        wide = text_to_sql.select_pattern(names, numbers)
        held = bool(re.fullmatch(wide, asked.sql))
        assert held == (asked.kind != "nested"), asked


def test_every_text_of_the_grammars_runs(archive):
    """Words of the languages, drawn by walking the automaton, never fail in the database."""
    import random

    from course_utils.prompting.automata import START, compile_regex

    rng = random.Random(5)
    question = "How many words does the section Etymology of the article Algeria have, 3 or 7?"
    names = text_to_sql.names_in(question, archive)
    assert names == {"Etymology": ["section"], "Algeria": ["title"]}
    for pattern in (
        text_to_sql.select_pattern(names, ["3", "7"]),
        text_to_sql.linked_pattern(question, names),
    ):
        automaton = compile_regex(pattern)
        for _ in range(97):
            state, text = START, bytearray()
            while not (automaton.accepting[state] and rng.random() < 0.5):
                ways = automaton.table[state].nonzero()[0]
                if not len(ways):
                    break
                text.append(rng.choice(list(ways)))
                state = int(automaton.table[state, text[-1]])
            archive.query(text.decode())


def test_linked_columns_are_those_of_the_question():
    pattern = text_to_sql.linked_pattern("How many words has Abacus?", {"Abacus": ["title"]})
    allowed = [c for c in ("words", "paragraphs") if re.fullmatch(
        pattern, f"SELECT {c} FROM articles WHERE title = 'Abacus'")]  # fmt: skip
    assert allowed == ["words"]
    assert not re.fullmatch(pattern, "SELECT words FROM articles")  # the name must be used


def test_quotes_in_names_are_doubled():
    pattern = text_to_sql.select_pattern(["Euler's (number)"], [])
    assert re.fullmatch(pattern, "SELECT words FROM articles WHERE title = 'Euler''s (number)'")


def test_judging_compares_results_not_texts(small):
    judge = text_to_sql.judge_one
    gold = "SELECT title FROM articles"
    assert judge(small, gold, "SELECT title FROM articles ORDER BY words ASC LIMIT 2").right
    wrong = judge(small, gold, "SELECT title FROM sections")
    assert wrong.runs and not wrong.right  # Abacus twice: a multiset, not a set
    cut = article_database(ROWS, rows=1)
    assert not judge(cut, "SELECT title FROM articles LIMIT 1", "SELECT title FROM articles").right
    broken = judge(small, gold, "SELEC title")
    assert not broken.runs and not broken.right and "syntax" in broken.problem


def test_examples_are_true_and_are_no_test_questions(archive):
    asked = {question.question for question in text_to_sql.load_questions()}
    for question, sql in text_to_sql.EXAMPLES:
        assert question not in asked
        assert archive.query(sql).rows


def test_a_model_of_random_weights_still_writes_queries_that_run(llm, archive):
    asked = text_to_sql.load_questions()[:5]
    for grammar in ("grammar", "linked"):
        written = text_to_sql.write_sql(llm, [q.question for q in asked], archive, grammar)
        assert all(o.runs for o in text_to_sql.judge(archive, asked, written))
    with pytest.raises(ValueError, match="grammar"):
        text_to_sql.write_sql(llm, ["?"], archive, "none")


def test_create_text_is_the_schema():
    plain = sqlite3.connect(":memory:")
    for table, columns in SCHEMA.items():
        plain.execute(create_text(table, columns))
        found = {row[1]: row[2] for row in plain.execute(f"PRAGMA table_info({table})")}
        assert found == columns
