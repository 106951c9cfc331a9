"""The same tools over the Model Context Protocol: in memory, through a process, over HTTP."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest

from course_utils.agents.loop import FINISH, Scripted, react
from course_utils.agents.mcp_client import MCPConnection, stdio_command
from course_utils.agents.mcp_server import build_server, serving_http
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


def post(address: str, method: str, parameters: dict | None = None, host: str = "") -> dict:
    """One JSON-RPC message by hand, no MCP library on this side."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": parameters or {}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"Host": host} if host else {}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.loads(plain.open(request, timeout=20).read())


def test_over_http_the_same_tools_and_calls(box, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy would never find us
    with serving_http(box) as address, MCPConnection(address) as connection:
        remote = connection.tools()
        assert remote.specifications() == box.specifications()
        assert remote.call("search", {"query": "Cairo"}) == box.call("search", {"query": "Cairo"})
        with pytest.raises(ToolError, match="no value"):
            connection.call("calculator", {"expression": "1 / 0"})


def test_the_wire_holds_plain_json_rpc(box):
    with serving_http(box) as address:
        listed = post(address, "tools/list")
        found = post(
            address, "tools/call", {"name": "calculator", "arguments": {"expression": "3 * 7"}}
        )
    assert listed["id"] == 7
    tools = listed["result"]["tools"]
    assert [(t["name"], t["inputSchema"]) for t in tools] == [(t.name, t.parameters) for t in box]
    assert found["result"]["content"] == [{"type": "text", "text": "21"}]


def test_the_server_is_for_this_machine_only_and_goes_away(box):
    before = threading.active_count()
    with serving_http(box) as address, serving_http(box) as other:
        assert address.startswith("http://127.0.0.1:") and address != other
        with pytest.raises(urllib.error.HTTPError, match="421"):  # DNS rebinding
            post(address, "tools/list", host="evil.example")
    with pytest.raises(urllib.error.URLError):
        post(address, "tools/list")
    assert threading.active_count() <= before
