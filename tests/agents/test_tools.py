"""Schemas, checked calls, memory and search."""

from __future__ import annotations

from typing import Annotated, Literal

import jsonschema
import pytest

from course_utils.agents.memory import Memory
from course_utils.agents.searching import SearchIndex, best_sentences
from course_utils.agents.tools import Registry, ToolError, schema_of, tool


def weather(town: str, days: int = 3, unit: Literal["C", "F"] = "C", tags: list[str] | None = None):
    """Forecast for a town.

    Args:
        town: where,
            in words.
        days: how many.
        unit: of the temperature.
        tags: anything else.
    """
    return f"{town} {days} {unit}"


def test_schema_by_hand():
    assert schema_of(weather)["properties"]["town"] == {
        "type": "string",
        "description": "where, in words.",
    }
    assert schema_of(weather)["required"] == ["town"]
    assert schema_of(weather)["properties"]["unit"]["enum"] == ["C", "F"]


def test_schema_equals_that_of_transformers():
    from transformers.utils import get_json_schema

    def area(width: float, count: int, name: str, loud: bool = False) -> str:
        """Area of things.

        Args:
            width: in metres.
            count: how many.
            name: of the thing.
            loud: or not.
        """

    theirs = get_json_schema(area)["function"]
    ours = tool(area)
    assert (ours.name, ours.description) == (theirs["name"], theirs["description"])
    assert ours.parameters["properties"] == theirs["parameters"]["properties"]
    assert ours.parameters["required"] == theirs["parameters"]["required"]


def test_every_schema_is_a_schema(box):
    for one in [*box, tool(weather)]:
        jsonschema.Draft202012Validator.check_schema(one.parameters)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"town": 3}, {"town": "x", "days": True}, {"town": "x", "more": 1}, ["x"], None],
)
def test_bad_calls_are_refused_as_jsonschema_does(arguments):
    registry = Registry([tool(weather)])
    assert not jsonschema.Draft202012Validator(schema_of(weather)).is_valid(arguments)
    with pytest.raises(ToolError):
        registry.call("weather", arguments)


def test_unknown_tool_names_the_nearest(box):
    with pytest.raises(ToolError, match="did you mean 'calculator'"):
        box.call("calculater", {})
    with pytest.raises(ValueError, match="already"):
        box.add(next(iter(box)))


def test_functions_that_are_no_tools():
    def silent(x: int): ...

    def untyped(x):
        """Something."""

    def strange(x: Annotated[complex, {}]):
        """Something."""

    with pytest.raises(ValueError, match="docstring"):
        tool(silent)
    with pytest.raises(TypeError, match="no type"):
        tool(untyped)
    with pytest.raises(TypeError, match="JSON has no type"):
        tool(strange)


def test_a_fault_of_the_tool_is_not_hidden():
    def broken() -> str:
        """Breaks."""
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        Registry([tool(broken)]).call("broken", {})


def test_memory_by_key_and_by_likeness():
    memory = Memory(capacity=2, length=30)
    memory.store("a", "one ticket costs 17 euros")
    assert memory.recall("a") == memory.recall("what does a ticket cost")
    memory.store("b", "the bus leaves at nine")
    assert "dropped a" in memory.store("c", "three")
    assert len(memory) == 2
    with pytest.raises(ToolError, match="nothing is stored"):
        memory.recall("zebra")
    with pytest.raises(ToolError, match="30 characters"):
        memory.store("d", "x" * 31)


def test_bm25_equals_rank_bm25_up_to_its_idf():
    """One word at a time the idf is a constant factor, so the order and the ratios must agree."""
    from rank_bm25 import BM25Okapi

    texts = ["cat dog", "cat cat bird fish", "dog bird", "cat", "fish fish fish lamp desk"]
    ours = SearchIndex([{"title": "", "text": t} for t in texts], title_weight=0, k1=1.2)
    theirs = BM25Okapi([t.split() for t in texts], k1=1.2, b=0.75)
    for word in ("bird", "fish", "dog"):
        want = theirs.get_scores([word])
        got = {hit.row: hit.score for hit in ours.search(word, top_k=9)}
        assert set(got) == {i for i, s in enumerate(want) if s != 0}
        ratios = [got[i] / want[i] for i in got]
        assert max(ratios) - min(ratios) < 1e-9 * abs(ratios[0])


def test_search_finds_and_trims(index, box):
    assert index.search("volcano height")[0].title == "Mount Etna"
    assert index.search("zebra") == []
    assert len(index.search("the nile cairo ann", top_k=2)) == 2
    with pytest.raises(ToolError, match="no article"):
        box.call("search", {"query": "zebra"})
    text = "First one. The Nile is long. " + "Filler words here. " * 30
    assert best_sentences(text, "nile", 60) == "The Nile is long."
    assert len(best_sentences("word " * 200, "word", 50)) <= 54
