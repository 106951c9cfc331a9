"""The two-hop questions: quotes stand where they should, and neither passage gives it away."""

import re
from collections import Counter

import pytest

from course_utils import corpora
from course_utils.rag.passages import wikipedia_passages

COLUMNS = ("id", "question", "bridge", "answer", "accept", "hops", "kind", "split")
KINDS = {"person", "place", "date", "number", "work", "other"}


@pytest.fixture(scope="module")
def rows():
    return corpora.authored("two_hop", columns=COLUMNS).to_list()


@pytest.fixture(scope="module")
def bridged(rows):
    return [row for row in rows if row["bridge"]]


@pytest.fixture(scope="module")
def passages():
    return wikipedia_passages()


@pytest.fixture(scope="module")
def golds(rows, passages):
    """By id, the passages that hold the first and the second quote."""
    return {
        row["id"]: [[p for p in passages if hop["quote"] in p.text] for hop in row["hops"]]
        for row in rows
    }


def holds(text, words):
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def forms(row):
    return [row["answer"], *row["accept"]]


def test_sizes_and_labels(rows, bridged):
    assert len(rows) >= 48
    assert len(rows) - len(bridged) <= len(rows) / 4
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert {row["kind"] for row in rows} == KINDS
    splits = Counter(row["split"] for row in rows)
    assert set(splits) == {"dev", "test"}
    assert 0.2 <= splits["dev"] / len(rows) <= 0.3


def test_questions_differ(rows):
    plain = Counter(" ".join(re.findall(r"\w+", row["question"].lower())) for row in rows)
    assert plain.most_common(1)[0][1] == 1
    assert all(row["question"].endswith("?") for row in rows)
    openings = Counter(" ".join(row["question"].split()[:3]) for row in rows)
    assert openings.most_common(1)[0][1] <= 3


def test_each_quote_stands_in_one_passage_of_its_article(rows, golds):
    for row in rows:
        assert len(row["hops"]) == 2, row["id"]
        assert row["hops"][0]["title"] != row["hops"][1]["title"], row["id"]
        for hop, found in zip(row["hops"], golds[row["id"]], strict=True):
            assert [p.title for p in found] == [hop["title"]], (row["id"], hop["quote"])


def test_the_answer_stands_in_the_second_quote(bridged):
    for row in bridged:
        assert any(holds(row["hops"][1]["quote"], form) for form in forms(row)), row["id"]
        assert 1 <= len(row["answer"].split()) <= 8, row["id"]


def test_comparisons_are_answered_by_the_second_passage(rows, golds):
    for row in rows:
        if not row["bridge"]:
            second = golds[row["id"]][1][0].text
            assert any(holds(second, form) for form in forms(row)), row["id"]
            assert all(re.search(r"\d|seven", hop["quote"]) for hop in row["hops"]), row["id"]


def test_the_bridge_stands_in_the_first_quote_and_not_in_the_question(bridged):
    for row in bridged:
        assert holds(row["hops"][0]["quote"], row["bridge"]), row["id"]
        assert not holds(row["question"], row["bridge"]), row["id"]


def test_the_bridge_leads_to_the_second_passage(bridged, golds):
    for row in bridged:
        last, second = row["bridge"].split()[-1], golds[row["id"]][1][0]
        assert holds(f"{second.title}: {second.text}", last), (row["id"], last)


def test_the_answer_is_not_given_away(bridged, golds):
    for row in bridged:
        first = golds[row["id"]][0][0].text
        for form in forms(row):
            assert not holds(row["question"], form), (row["id"], form)
            assert not holds(first, form), (row["id"], form)


def test_no_passage_of_another_article_names_bridge_and_answer(bridged, golds, passages):
    small = [(p, p.text.lower()) for p in passages]
    for row in bridged:
        own = {hop["title"] for hop in row["hops"]}
        both = row["answer"].lower(), row["bridge"].lower()
        near = [p for p, text in small if p.title not in own and all(s in text for s in both)]
        other = [p.id for p in near if all(holds(p.text, words) for words in both)]
        assert other == [], row["id"]


def test_dev_and_test_share_no_passage(rows, golds):
    split_of = {}
    for row in rows:
        for (passage,) in golds[row["id"]]:
            split_of.setdefault(passage.id, set()).add(row["split"])
    assert [name for name, splits in split_of.items() if len(splits) > 1] == []
