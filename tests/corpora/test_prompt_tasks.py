"""The task sets for prompting and for agents: splits, fields, answers that can be recomputed."""

import re
from collections import Counter

import pytest

from course_utils import corpora

SETS = {
    "prompt_classification": "text",
    "prompt_extraction": "text",
    "prompt_arithmetic": "question",
}
LABELS = {"billing", "delivery", "technical", "account", "praise"}
EQUATION = re.compile(r"(-?\d+(?: [-+x/] \d+)+) = (-?\d+)")


@pytest.mark.parametrize(("name", "column"), SETS.items())
def test_splits_and_unique_texts(name, column):
    rows = corpora.authored(name).to_list()
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert len({row[column].lower() for row in rows}) == len(rows)
    splits = Counter(row["split"] for row in rows)
    assert set(splits) == {"examples", "dev", "test"}
    assert splits["examples"] == 8 and splits["dev"] == 40 and splits["test"] >= 70


def test_messages():
    rows = corpora.authored("prompt_classification").to_list()
    assert all(8 <= len(row["text"].split()) <= 35 for row in rows)
    for split in ("examples", "dev", "test"):
        counts = Counter(row["label"] for row in rows if row["split"] == split)
        assert set(counts) == LABELS and max(counts.values()) - min(counts.values()) <= 1


def test_extracted_strings_stand_once_in_the_text():
    for row in corpora.authored("prompt_extraction").to_list():
        for field in ("name", "job", "city", "company"):
            assert row["text"].count(row[field]) == 1, (row["id"], field)
        assert re.search(rf"(?<!\d){row['age']}(?!\d)", row["text"]), row["id"]


def value(expression):
    """Whole numbers with plus, minus, times and exact division; the last two bind stronger."""
    parts = re.findall(r"-?\d+|[-+x/](?= )", expression)
    total = [int(parts[0])]
    for operator, number in zip(parts[1::2], map(int, parts[2::2]), strict=True):
        if operator == "x":
            total[-1] *= number
        elif operator == "/":
            assert total[-1] % number == 0, expression
            total[-1] //= number
        else:
            total.append(number if operator == "+" else -number)
    return sum(total)


def test_value_respects_precedence():
    assert value("92 - 37 + 1") == 56
    assert value("-4 + 11") == 7
    assert value("2 + 3 x 4 - 10 / 5") == 12


def test_worked_solutions_hold_and_end_in_the_answer():
    for row in corpora.authored("prompt_arithmetic").to_list():
        equations = EQUATION.findall(row["solution"])
        assert len(equations) == row["solution"].count("=") == row["steps"], row["id"]
        assert all(value(left) == int(right) for left, right in equations), row["id"]
        assert int(equations[-1][1]) == row["answer"] and 1 <= row["steps"] <= 4


def test_agent_tasks():
    rows = corpora.authored("agent_tasks").to_list()
    assert len(rows) >= 64 and [row["id"] for row in rows] == list(range(len(rows)))
    assert len({row["task"] for row in rows}) == len(rows)
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == {"calculator", "search", "python", "two_step", "no_tool"}
    assert min(kinds.values()) >= 10
    for row in rows:
        assert set(row["tools"]) <= {"calculator", "search", "python", "memory"}
        assert (row["kind"] == "no_tool") == (not row["tools"])
        assert (row["kind"] == "two_step") == (len(row["tools"]) == 2)
        assert row["answer"] and row["answer"] not in row["accept"]
        assert bool(row["source"]) == ("search" in row["tools"]) == bool(row["evidence"])


def test_evidence_stands_in_the_articles():
    texts = {}
    for row in corpora.wikipedia().to_list():
        texts.setdefault(row["title"], []).append(row["text"])
    for row in corpora.authored("agent_tasks").to_list():
        for words in row["evidence"]:
            assert any(words in t for title in row["source"] for t in texts[title]), row["id"]
        if row["kind"] == "search":
            assert any(row["answer"] in words for words in row["evidence"]), row["id"]
