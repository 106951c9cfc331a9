"""Chapter 4 - Function calling: one call of one tool, valid by construction.

A model "calls" a tool by writing a small JSON object with the tool's name and its arguments; a
program reads it and runs the tool. With a mask over the tokens, the name is always one of those
offered and the arguments always fit that tool's schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting.json_schema import Limits, Schema
from course_utils.prompting.structured import (
    ConstrainedText,
    Messages,
    generate_json,
    schema_mask,
)
from course_utils.prompting.token_mask import TokenMask

Tool = Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """What a model asks for; ``how`` has the tokens and their cost."""

    name: str
    arguments: dict[str, Any]
    how: ConstrainedText


def tool_parts(tool: Tool) -> tuple[str, str, Schema]:
    """Name, description and parameters' schema, of our form or of OpenAI's.

    Args:
        tool: ``{"name", "description", "parameters"}``, or the same under ``"function"``, or with
            ``"input_schema"`` / ``"inputSchema"`` as Anthropic and MCP call it.

    Raises:
        ValueError: no name, or parameters that are no object schema.
    """
    inner = tool.get("function", tool)
    schemas = (inner.get(key) for key in ("parameters", "input_schema", "inputSchema"))
    schema = next((s for s in schemas if s is not None), {"type": "object", "properties": {}})
    if not inner.get("name") or schema.get("type") != "object":
        raise ValueError(f"a tool needs a name and parameters of type object, got {tool!r}")
    return inner["name"], inner.get("description", ""), schema


def call_schema(tools: Sequence[Tool]) -> Schema:
    """The schema of one call: ``{"name": …, "arguments": {…}}`` for one of the tools.

    Raises:
        ValueError: no tool, or two of one name.
    """
    parts = [tool_parts(tool) for tool in tools]
    names = [name for name, _, _ in parts]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected tools with different names, got {names}")
    return {"anyOf": [_one_call(name, schema) for name, _, schema in parts]}


def _one_call(name: str, schema: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": schema},
        "required": ["name", "arguments"],
    }


def describe_tools(tools: Sequence[Tool]) -> str:
    """The tools as lines of a prompt."""
    lines = []
    for name, description, schema in map(tool_parts, tools):
        arguments = json.dumps(schema.get("properties", {}), ensure_ascii=False)
        lines.append(f"- {name}: {description} Arguments: {arguments}")
    return "\n".join(lines)


def tools_mask(tools: Sequence[Tool], tokenizer: Any, limits: Limits | None = None) -> TokenMask:
    """The mask of one call; build it once for a set of tools."""
    return schema_mask(call_schema(tools), tokenizer, limits)


def call_tool(
    model: Any,
    tokenizer: Any,
    messages: Messages,
    tools: Sequence[Tool] | TokenMask,
    **options: Any,
) -> ToolCall:
    """Let the model choose a tool and fill in its arguments.

    Args:
        messages: the conversation; say in it which tools there are (:func:`describe_tools`).
        tools: tool descriptions, or a mask made by :func:`tools_mask`.
        options: ``max_new_tokens``, ``temperature``, ``generator``.
    """
    mask = tools if isinstance(tools, TokenMask) else tools_mask(tools, tokenizer)
    found = generate_json(model, tokenizer, messages, mask, **options)
    return ToolCall(found.value["name"], found.value["arguments"], found)
