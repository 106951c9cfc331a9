"""The authored preference pairs: fields, splits, lengths, nothing told twice."""

import re
from collections import Counter

import pytest

from course_utils import corpora

PRINCIPLES = {"helpful", "honest", "harmless", "format", "concise"}


@pytest.fixture(scope="module")
def pairs():
    return corpora.authored("preference_pairs").to_list()


def length(text):
    return len(text.split())


def grams(text, n):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_fields_and_counts(pairs):
    assert len(pairs) >= 210
    assert [row["id"] for row in pairs] == list(range(len(pairs)))
    assert {row["principle"] for row in pairs} == PRINCIPLES
    assert all(row[k].strip() == row[k] != "" for row in pairs for k in row if k != "id")


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
def test_no_text_stands_twice(pairs, column):
    assert len({row[column].lower() for row in pairs}) == len(pairs)


def test_every_category_is_in_both_splits(pairs):
    splits = Counter(row["split"] for row in pairs)
    assert set(splits) == {"train", "test"} and splits["test"] >= 40
    counts = Counter((row["category"], row["split"]) for row in pairs)
    for category in {row["category"] for row in pairs}:
        assert counts[category, "test"] >= 3 and counts[category, "train"] >= 10


def test_test_prompts_share_no_wording_with_train(pairs):
    train = set().union(*(grams(row["prompt"], 4) for row in pairs if row["split"] == "train"))
    for row in pairs:
        if row["split"] == "test":
            assert not grams(row["prompt"], 4) & train, row["prompt"]


def test_lengths_tell_nothing(pairs):
    assert all(length(row["prompt"]) <= 40 for row in pairs)
    assert all(8 <= length(row[k]) <= 45 for row in pairs for k in ("chosen", "rejected"))
    for split in ("train", "test"):
        gaps = [
            length(row["chosen"]) - length(row["rejected"])
            for row in pairs
            if row["split"] == split
        ]
        assert abs(sum(gaps) / len(gaps)) < 2
        assert 0.4 <= sum(gap > 0 for gap in gaps) / len(gaps) <= 0.6
