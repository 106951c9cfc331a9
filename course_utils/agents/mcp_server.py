"""Chapter 4 - The same tools as an MCP server.

The Model Context Protocol (MCP, 2024) gives tools one plug: a client asks ``tools/list``, gets
names, descriptions and JSON schemas, and sends ``tools/call``. Messages are JSON-RPC 2.0, here one
a line over the standard input and output of a process. Start one by hand:

    python -m course_utils.agents.mcp_server --paragraphs 500

(mcp 2.x; most tutorials are written for 1.x, where names differ.)
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from course_utils.agents.tools import Registry, ToolError

if TYPE_CHECKING:
    from mcp.server import Server

NAME = "course-tools"


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


def main(arguments: list[str] | None = None) -> None:
    """Entry of ``python -m course_utils.agents.mcp_server``."""
    import anyio

    from course_utils.agents.toolbox import course_tools, wikipedia_index

    parser = argparse.ArgumentParser(description="Offer the course's tools over MCP (stdio).")
    parser.add_argument("--paragraphs", type=int, help="of Wikipedia to search in; 0: no search")
    chosen = parser.parse_args(arguments)
    index = None if chosen.paragraphs == 0 else wikipedia_index(chosen.paragraphs)
    anyio.run(serve_stdio, course_tools(index))


if __name__ == "__main__":
    main()
