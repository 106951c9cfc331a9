"""Chapter 4 - Tools found and called over MCP, from ordinary code.

The library speaks ``async``; a notebook and our loop do not. So the connection lives in a thread
with an event loop of its own, and each call waits for its answer. What comes back is a
:class:`~course_utils.agents.tools.Registry` like any other: the agent cannot tell the difference.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from course_utils.agents.tools import Registry, Schema, ToolError

TIMEOUT = 60.0


@dataclass(frozen=True)
class RemoteTool:
    """A tool that lives in a server."""

    name: str
    description: str
    parameters: Schema
    connection: MCPConnection

    def __call__(self, **arguments: Any) -> str:
        return self.connection.call(self.name, arguments)


class MCPConnection:
    """A connection to an MCP server, used with ``with``.

    Args:
        server: a server object of this process (tests, first steps); the command that starts one,
            such as ``[sys.executable, "-m", "course_utils.agents.mcp_server"]``; or the address
            of one that runs, such as ``"http://127.0.0.1:8765/mcp"``.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, server: Any, *, timeout: float = TIMEOUT) -> None:
        self.server, self.timeout = server, timeout
        self._stack = ExitStack()

    def __enter__(self) -> MCPConnection:
        from anyio.from_thread import start_blocking_portal

        try:
            self._portal = self._stack.enter_context(start_blocking_portal())
            self._client = self._stack.enter_context(
                self._portal.wrap_async_context_manager(self._connect())
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def _connect(self) -> Any:
        from mcp import Client
        from mcp.client.stdio import StdioServerParameters, stdio_client

        if isinstance(self.server, str):
            local = urlsplit(self.server).hostname in ("127.0.0.1", "localhost", "::1")
            streams = _without_proxy(self.server, self.timeout) if local else self.server
            return Client(streams, read_timeout_seconds=self.timeout)
        if not isinstance(self.server, Sequence):
            return Client(self.server, read_timeout_seconds=self.timeout)
        # the child needs to find the course's cache; nothing else of the environment is passed on
        kept = {k: os.environ[k] for k in ("COURSE_HOME", "PYTHONPATH") if k in os.environ}
        parameters = StdioServerParameters(
            command=self.server[0], args=list(self.server[1:]), env=kept
        )
        errors = self._stack.enter_context(open(os.devnull, "w"))  # noqa: SIM115
        return Client(stdio_client(parameters, errlog=errors), read_timeout_seconds=self.timeout)

    def tools(self) -> Registry:
        """What the server offers now, as a box of tools."""
        found = self._portal.call(self._client.list_tools).tools
        return Registry(
            RemoteTool(t.name, t.description or "", t.input_schema, self) for t in found
        )

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a tool in the server.

        Raises:
            ToolError: the server says that the call failed, in the tool's words.
        """
        result = self._portal.call(self._client.call_tool, name, arguments)
        text = "\n".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise ToolError(text)
        return text


@asynccontextmanager
async def _without_proxy(address: str, timeout: float) -> AsyncIterator[Any]:
    """HTTP to this machine; a proxy of the environment would look for the server elsewhere."""
    import httpx2  # mcp 2.x brings it
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(trust_env=False, timeout=timeout) as plain,
        streamable_http_client(address, http_client=plain) as streams,
    ):
        yield streams


def stdio_command(paragraphs: int | None = None) -> list[str]:
    """The command that starts the course's server as a process of its own."""
    limit = [] if paragraphs is None else ["--paragraphs", str(paragraphs)]
    return [sys.executable, "-m", "course_utils.agents.mcp_server", *limit]
