"""A small corpus and a box of tools for the agents' tests."""

from __future__ import annotations

import pytest

from course_utils.agents.searching import SearchIndex
from course_utils.agents.toolbox import course_tools
from course_utils.agents.tools import Registry

ROWS = [
    {"title": "Ann Lee", "text": "Ann Lee was born in 1932. She wrote poems."},
    {"title": "Cairo", "text": "The Nile flows through Cairo."},
    {"title": "Mount Etna", "text": "The volcano is 3,357 metres high."},
]


@pytest.fixture
def index() -> SearchIndex:
    return SearchIndex(ROWS)


@pytest.fixture
def box(index: SearchIndex) -> Registry:
    return course_tools(index)
