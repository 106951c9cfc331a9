"""The questions for retrieval: every gold passage is in the corpus and holds its answer."""

import re
from collections import Counter

import pytest

from course_utils import corpora

KINDS = {"fact", "number", "date", "person", "place", "reason", "definition"}
STYLES = {"direct", "paraphrase", "keyword", "multi"}
COLUMNS = ("id", "question", "answer", "accept", "title", "section", "passage", "quote")


@pytest.fixture(scope="module")
def questions():
    return corpora.authored("rag_questions", columns=(*COLUMNS, "kind", "style", "near", "split"))


@pytest.fixture(scope="module")
def answerable(questions):
    return [row for row in questions if row["kind"] != "unanswerable"]


@pytest.fixture(scope="module")
def unanswerable(questions):
    return [row for row in questions if row["kind"] == "unanswerable"]


@pytest.fixture(scope="module")
def wikipedia():
    return corpora.wikipedia().to_list()


@pytest.fixture(scope="module")
def golds(answerable, wikipedia):
    """For each answerable question the texts that its title, section and passage pick out."""
    sections = {}
    for row in wikipedia:
        sections.setdefault((row["title"], row["section"]), []).append(row["text"])
    return [
        [text for text in sections[row["title"], row["section"]] if text.startswith(row["passage"])]
        for row in answerable
    ]


def holds(text, answers):
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) for answer in answers)


def test_sizes(answerable, unanswerable):
    assert len(answerable) >= 205
    assert len(unanswerable) >= 55
    assert len({row["title"] for row in answerable}) >= 90


def test_ids_are_consecutive_and_questions_differ(questions):
    assert questions["id"] == list(range(len(questions)))
    plain = Counter(" ".join(re.findall(r"\w+", text.lower())) for text in questions["question"])
    assert plain.most_common(1)[0][1] == 1
    assert all(text.endswith("?") for text in questions["question"])


def test_labels_are_the_known_ones(questions, answerable):
    assert {row["kind"] for row in answerable} == KINDS
    assert set(questions["style"]) == STYLES
    assert set(questions["split"]) == {"dev", "test"}


def test_dev_and_test_share_no_article(answerable, unanswerable):
    split_of = {}
    for row in answerable:
        split_of.setdefault(row["title"], set()).add(row["split"])
    for row in unanswerable:
        split_of.setdefault(row["near"], set()).add(row["split"])
    assert [title for title, splits in split_of.items() if len(splits) > 1] == []


def test_every_passage_names_one_paragraph(answerable, golds):
    wrong = [row["id"] for row, texts in zip(answerable, golds, strict=True) if len(texts) != 1]
    assert wrong == []


def test_every_quote_stands_in_its_paragraph(answerable, golds):
    for row, (text,) in zip(answerable, golds, strict=True):
        assert 0 < len(row["quote"]) <= 160, row["id"]
        assert row["quote"] in text, row["id"]
        assert row["near"] == "", row["id"]


def test_answers_are_short_and_stand_in_the_quote(answerable):
    assert [row["id"] for row in answerable if not 1 <= len(row["answer"].split()) <= 8] == []
    found = [holds(row["quote"], [row["answer"], *row["accept"]]) for row in answerable]
    assert sum(found) >= 0.9 * len(found)


def test_unanswerable_rows_name_only_the_article_that_misleads(unanswerable, wikipedia):
    titles = {row["title"] for row in wikipedia}
    for row in unanswerable:
        assert not any(row[name] for name in ("answer", "accept", "title", "section")), row["id"]
        assert not row["passage"] and not row["quote"], row["id"]
        assert row["near"] in titles, row["id"]
