"""The authored instructions: counts, a test split of its own, and answers that obey."""

import re
from collections import Counter

import pytest

from course_utils.corpora import jsonl
from course_utils.tuning.constraints import check_constraint

COLUMNS = ("id", "category", "instruction", "input", "response", "constraints", "split")


@pytest.fixture(scope="module")
def rows():
    # not corpora.authored(): a datasets column gives every constraint the keys of all others
    return jsonl.read(jsonl.file_of("instructions"), COLUMNS)


def _runs(row, n):
    """Runs of n words within the instruction, the input or the response."""
    for column in ("instruction", "input", "response"):
        words = re.findall(r"\w+", row[column].casefold())
        yield from zip(*(words[i:] for i in range(n)), strict=False)


def test_counts_ids_and_splits(rows):
    assert len(rows) >= 420
    assert [row["id"] for row in rows] == list(range(len(rows)))
    splits = Counter(row["split"] for row in rows)
    assert set(splits) == {"train", "test"}
    assert 80 <= splits["test"] <= 110
    for split, least in (("train", 20), ("test", 6)):
        counts = Counter(row["category"] for row in rows if row["split"] == split)
        assert len(counts) == 13
        assert min(counts.values()) >= least
    assert sum(bool(row["constraints"]) for row in rows) >= 0.8 * len(rows)


def test_rows_are_trimmed_and_short_enough(rows):
    for row in rows:
        for column in ("instruction", "input", "response"):
            assert row[column] == row[column].strip(), row["id"]
        assert row["instruction"] and row["response"], row["id"]
        assert len(row["response"].split()) <= 60, row["id"]
    assert len({(row["instruction"], row["input"]) for row in rows}) == len(rows)


def test_test_split_shares_no_wording_and_no_answer_with_train(rows):
    train = [row for row in rows if row["split"] == "train"]
    seen = {run for row in train for run in _runs(row, 5)}
    answers = {row["response"].casefold() for row in train}
    for row in rows:
        if row["split"] == "test":
            assert seen.isdisjoint(_runs(row, 5)), row["id"]
            assert row["response"].casefold() not in answers, row["id"]


def test_every_response_obeys_its_constraints(rows):
    failed = [
        (row["id"], constraint)
        for row in rows
        for constraint in row["constraints"]
        if not check_constraint(row["response"], constraint)
    ]
    assert not failed


def test_what_a_constraint_asks_for_stands_in_the_instruction(rows):
    for row in rows:
        text = row["instruction"].casefold()
        for constraint in row["constraints"]:
            wanted = constraint.get("options") or constraint.get("keys") or []
            if constraint["kind"] == "starts_with" and constraint["text"][0].isalnum():
                wanted = [constraint["text"]]
            for piece in wanted:
                assert piece.casefold() in text, (row["id"], piece)
