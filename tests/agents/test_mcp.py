"""The same tools over the Model Context Protocol: in memory and through a real process."""

from __future__ import annotations

import pytest

from course_utils.agents.loop import FINISH, Scripted, react
from course_utils.agents.mcp_client import MCPConnection, stdio_command
from course_utils.agents.mcp_server import build_server
from course_utils.agents.toolbox import course_tools
from course_utils.agents.tools import ToolError


def test_listing_gives_the_same_schemas(box):
    with MCPConnection(build_server(box)) as connection:
        assert connection.tools().specifications() == box.specifications()


def test_calls_and_errors_travel(box):
    with MCPConnection(build_server(box)) as connection:
        remote = connection.tools()
        assert remote.call("calculator", {"expression": "6 * 7"}) == "42"
        with pytest.raises(ToolError, match="no value"):
            remote.call("calculator", {"expression": "1 / 0"})
        with pytest.raises(ToolError, match="no tool called"):
            connection.call("mail", {})
        with pytest.raises(ToolError):  # checked by the server too, not only by our registry
            connection.call("calculator", {"expression": 3})


def test_the_agent_cannot_tell_the_difference(box):
    script = [("", "search", {"query": "Cairo"}), ("", FINISH, {"answer": "Nile"})]
    with MCPConnection(build_server(box)) as connection:
        assert react(Scripted(script), connection.tools(), "?") == react(Scripted(script), box, "?")


def test_over_a_real_process():
    with MCPConnection(stdio_command(0)) as connection:
        remote = connection.tools()
        assert remote.specifications() == course_tools(None).specifications()
        assert remote.call("remember", {"key": "a", "text": "b"}) == "stored a"
        assert remote.call("recall", {"key": "a"}) == "b"  # one process: it remembers


def test_a_server_that_is_not_there_is_an_error():
    with pytest.raises(Exception), MCPConnection(["/nonexistent-server"]):  # noqa: B017
        pass
