"""Chapter 4 - The same tools as an MCP server.

The Model Context Protocol (MCP, 2024) gives tools one plug: a client asks ``tools/list``, gets
names, descriptions and JSON schemas, and sends ``tools/call``. Messages are JSON-RPC 2.0: one
a line over the input and output of a process, or one a POST to an address (streamable HTTP).
Start one by hand:

    python -m course_utils.agents.mcp_server --paragraphs 500
    python -m course_utils.agents.mcp_server --paragraphs 500 --port 8765

(mcp 2.x; most tutorials are written for 1.x, where names differ.)
"""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from course_utils.agents.tools import Registry, ToolError

if TYPE_CHECKING:
    import uvicorn
    from mcp.server import Server

NAME = "course-tools"
HOST = "127.0.0.1"  # this machine only: nobody else can reach the tools
PATH = "/mcp"


def build_server(tools: Registry, name: str = NAME) -> Server[Any]:
    """A server that offers these tools with exactly their own schemas.

    The low-level class is used because the high-level one writes schemas anew from signatures;
    here a tool has one schema, whoever asks.
    """
    import mcp_types as types
    from mcp.server import Server

    async def list_tools(context: Any, parameters: Any) -> types.ListToolsResult:
        """Name, description and schema of every tool."""
        return types.ListToolsResult(
            tools=[
                types.Tool(name=t.name, description=t.description, input_schema=dict(t.parameters))
                for t in tools
            ]
        )

    async def call_tool(context: Any, parameters: types.CallToolRequestParams) -> Any:
        """The tool's text; its own error as a result that is marked, not as a broken call."""
        import anyio

        arguments = parameters.arguments or {}
        try:
            # a thread: a tool that computes must not keep the server from answering others
            text, failed = (
                await anyio.to_thread.run_sync(tools.call, parameters.name, arguments),
                False,
            )
        except ToolError as error:
            # a result and not a protocol error, so that the model reads it and can try again
            text, failed = str(error), True
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text)], is_error=failed
        )

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio(tools: Registry) -> None:
    """Serve until the client closes the input."""
    from mcp.server.stdio import stdio_server

    server = build_server(tools)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


@contextmanager
def serving_http(tools: Registry) -> Iterator[str]:
    """Serve over HTTP on a free port of this machine while the block runs; gives the address.

    The port is bound before the server starts, so a client that comes early waits in the queue.

    Raises:
        OSError: the machine gives no port.
    """
    with socket.create_server((HOST, 0)) as listening:
        server = _http_server(tools)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}{PATH}"
        finally:
            server.should_exit = True
            thread.join()


def _http_server(tools: Registry, port: int = 0) -> uvicorn.Server:
    """One answer a request and no sessions: our tools have nothing to say unasked.

    The library refuses requests whose ``Host`` is not this machine (DNS rebinding).
    """
    import uvicorn

    app = build_server(tools).streamable_http_app(
        streamable_http_path=PATH, host=HOST, json_response=True, stateless_http=True
    )
    return uvicorn.Server(
        uvicorn.Config(app, HOST, port, log_config=None, access_log=False, ws="none")
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry of ``python -m course_utils.agents.mcp_server``."""
    import anyio

    from course_utils.agents.toolbox import course_tools, wikipedia_index

    parser = argparse.ArgumentParser(description="Offer the course's tools over MCP.")
    parser.add_argument("--paragraphs", type=int, help="of Wikipedia to search in; 0: no search")
    parser.add_argument("--port", type=int, help="serve over HTTP there; else stdio")
    chosen = parser.parse_args(arguments)
    tools = course_tools(None if chosen.paragraphs == 0 else wikipedia_index(chosen.paragraphs))
    if chosen.port is None:
        anyio.run(serve_stdio, tools)
    else:
        _http_server(tools, chosen.port).run()


if __name__ == "__main__":
    main()
