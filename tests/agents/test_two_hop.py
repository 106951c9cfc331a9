"""Search, read, search: budgets, names, and what the authored questions rest on."""

from __future__ import annotations

import pytest

from course_utils import corpora
from course_utils.agents import two_hop
from course_utils.agents.searching import Hit, SearchIndex

ROWS = [
    {"title": "Emma", "text": "Emma is a novel by Jane Austen. It is long."},
    {"title": "Author", "text": "An author writes and may die in a town, says one author."},
    {"title": "Jane Austen", "text": "Jane Austen went to Winchester for her last weeks."},
    {"title": "Cairo", "text": "The Nile flows through Cairo."},
    {"title": "Town", "text": "A town is smaller than a city, and a city larger than a town."},
]
ASKED = "In which town did the author of Emma die?"


@pytest.fixture
def novels():
    return SearchIndex(ROWS)


def test_names_by_hand():
    names = two_hop.new_names("However, The King of the Franks met Emma and Jane Austen.", ASKED)
    assert names == ["King", "Franks", "Jane Austen"]
    assert two_hop.new_names("He went home.", ASKED) == []
    assert two_hop.best_sentence(ROWS[0]["text"], ASKED) == "Emma is a novel by Jane Austen."


def test_the_second_search_finds_what_the_first_cannot(novels):
    once = two_hop.one_shot(novels, [ASKED], 4)[0]
    found, added = two_hop.search_read_search(novels, [ASKED], 4, two_hop.read_names)
    assert "Jane Austen" in added[0]
    assert "Jane Austen" in [hit.title for hit in found[0]]
    assert "Jane Austen" not in [hit.title for hit in once]


@pytest.mark.parametrize("budget", [2, 3, 5, 7])
def test_the_budget_is_kept_and_nothing_is_read_twice(novels, budget):
    found, _ = two_hop.search_read_search(novels, [ASKED, "Cairo?"], budget, two_hop.read_names)
    for hits in found:
        assert len(hits) <= budget and len({hit.row for hit in hits}) == len(hits)
    first = two_hop.one_shot(novels, [ASKED], budget // 2)[0]
    assert found[0][: len(first)] == first
    with pytest.raises(ValueError, match="at least 2"):
        two_hop.search_read_search(novels, [ASKED], 1, two_hop.read_names)


def test_a_reader_that_adds_nothing_is_one_shot(novels):
    """With no words added both searches are the same, so the loop reads the same paragraphs."""
    found, _ = two_hop.search_read_search(novels, [ASKED], 4, lambda q, hits: [""] * len(q))
    assert found == two_hop.one_shot(novels, [ASKED], 4)


def test_evidence_by_hand():
    asked = two_hop.TwoHop(ASKED, "Jane Austen", ("Winchester",), ("by Jane Austen", "went to"))
    hits = [Hit(row["title"], row["text"], 1.0, i) for i, row in enumerate(ROWS)]
    assert two_hop.evidence(asked, hits[:2]) == (True, False)
    assert two_hop.evidence(asked, hits[1:3]) == (False, True)
    assert two_hop.evidence(asked, hits) == (True, True)


def test_a_model_points_at_names_only(llm, novels):
    reader = two_hop.ModelReader(llm)
    hits = two_hop.one_shot(novels, [ASKED, "Which river?"], 2)
    words = reader([ASKED, "Which river?", "?"], [*hits, []])
    for asked, found, word in zip([ASKED, "Which river?"], hits, words, strict=False):
        names = {n for h in found for n in two_hop.new_names(h.text, asked)}
        assert (word in names) if names else word == ""
    assert words[2] == ""


def test_authored_questions_rest_on_real_sentences():
    from course_utils.evaluation.answers import normalize_answer

    texts: dict[str, str] = {}
    for row in corpora.wikipedia():
        texts[row["title"]] = texts.get(row["title"], "") + " " + normalize_answer(row["text"])
    with pytest.raises(ValueError, match="split"):
        two_hop.load_two_hop("train")
    dev, test = two_hop.load_two_hop("dev"), two_hop.load_two_hop("test")
    assert len(test) > 20 and not {q.question for q in dev} & {q.question for q in test}
    for asked in (*dev, *test):
        for quote in asked.quotes:
            assert any(normalize_answer(quote) in text for text in texts.values()), quote
