"""Chapter 4 - Tools: a function that a model may call, and the contract between the two.

The model sees a name, a sentence and a JSON schema, all three taken from the function itself. It
answers with a name and arguments. Between that text and the function stands a check: nothing is
run that is not in the box, and nothing with arguments that do not fit.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

Schema = Mapping[str, Any]
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")


class ToolError(Exception):
    """A tool could not do what was asked; the message is meant for the model to read."""


class Tool(Protocol):
    """What a box of tools needs to know about each of them."""

    name: str
    description: str
    parameters: Schema

    def __call__(self, **arguments: Any) -> str:
        """Run the tool; the result is text, because a model will read it."""


@dataclass(frozen=True)
class FunctionTool:
    """A Python function as a tool.

    Attributes:
        name: what the model writes to call it.
        description: one sentence for the model.
        parameters: JSON schema of the arguments, an object.
        function: what is run.
    """

    name: str
    description: str
    parameters: Schema
    function: Callable[..., Any]

    def __call__(self, **arguments: Any) -> str:
        return str(self.function(**arguments))


def tool(function: Callable[..., Any], *, name: str | None = None) -> FunctionTool:
    """Make a tool of a function: its schema from type hints, its texts from the docstring.

    Args:
        function: documented and fully annotated; an ``Args:`` section describes the arguments.
        name: another name than the function's.

    Raises:
        TypeError: an argument without a type, or of a type that JSON does not know.
        ValueError: no docstring: a model cannot choose a tool it knows nothing about.
    """
    text = inspect.getdoc(function)
    if not text:
        raise ValueError(f"{function.__name__} needs a docstring: it is what the model reads")
    name = name or function.__name__
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a tool; use letters, digits and _")
    return FunctionTool(
        name, text.split("\n\n")[0].replace("\n", " "), schema_of(function), function
    )


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """JSON schema of a function's arguments.

    >>> def area(width: float, unit: Literal["m", "cm"] = "m") -> float: ...
    >>> schema_of(area)["required"]
    ['width']

    Raises:
        TypeError: ``*args``, ``**kwargs``, no annotation, or a type that JSON does not know.
    """
    hints = get_type_hints(function, include_extras=True)
    texts = argument_texts(inspect.getdoc(function) or "")
    properties, required = {}, []
    for parameter in inspect.signature(function).parameters.values():
        where = f"{function.__name__}({parameter.name})"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{where}: a tool's arguments must be listed by name")
        if parameter.name not in hints:
            raise TypeError(f"{where} has no type, and without one it cannot be checked")
        properties[parameter.name] = type_schema(hints[parameter.name], where)
        if parameter.name in texts:
            properties[parameter.name]["description"] = texts[parameter.name]
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def type_schema(hint: Any, where: str = "the value") -> dict[str, Any]:
    """JSON schema of a type hint.

    ``Annotated[str, {"maxLength": 80}]`` adds keywords, ``Literal`` becomes an enum.

    >>> type_schema(list[int])
    {'type': 'array', 'items': {'type': 'integer'}}
    """
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if origin is Annotated:
        extra = [part for part in inner[1:] if isinstance(part, Mapping)]
        return type_schema(inner[0], where) | {k: v for part in extra for k, v in part.items()}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is list and inner:
        return {"type": "array", "items": type_schema(inner[0], where)}
    if origin in (Union, types.UnionType):
        kept = [type_schema(part, where) for part in inner if part is not types.NoneType]
        null = [{"type": "null"}] if len(kept) < len(inner) else []
        return {"anyOf": kept + null}
    raise TypeError(f"{where}: JSON has no type for {hint!r}")


def argument_texts(docstring: str) -> dict[str, str]:
    """What the ``Args:`` section says about each argument, joined to one line."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    found: dict[str, str] = {}
    last = None
    for line in (section.group(1) if section else "").splitlines():
        entry = re.match(r"\s+(\w+):\s*(.+)", line)
        if entry:
            last = entry.group(1)
            found[last] = entry.group(2).strip()
        elif last and line.strip():
            found[last] += " " + line.strip()
    return found


class Registry:
    """A box of tools: the only way from a model's text to a function.

    Args:
        tools: with different names.
    """

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for one in tools:
            self.add(one)

    def add(self, new: Tool) -> None:
        """Add a tool.

        Raises:
            ValueError: the name is taken: the later tool would silently replace the earlier one.
        """
        if new.name in self._tools:
            raise ValueError(f"there is a tool called {new.name!r} already")
        self._tools[new.name] = new

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    @property
    def names(self) -> list[str]:
        """Names of the tools, in the order in which they were added."""
        return list(self._tools)

    def __getitem__(self, name: str) -> Tool:
        if name not in self._tools:
            raise ToolError(self._unknown(name))
        return self._tools[name]

    def specifications(self) -> list[dict[str, Any]]:
        """Name, description and parameters of each tool: what a model or an MCP client gets."""
        return [
            {"name": t.name, "description": t.description, "parameters": dict(t.parameters)}
            for t in self
        ]

    def problems(self, name: str, arguments: Any) -> list[str]:
        """What is wrong with a call, one sentence a fault; empty if it may be run."""
        if name not in self._tools:
            return [self._unknown(name)]
        from jsonschema import Draft202012Validator

        checker = Draft202012Validator(dict(self._tools[name].parameters))
        faults = sorted(checker.iter_errors(arguments), key=lambda e: [str(p) for p in e.path])
        return [f"{'.'.join(map(str, e.path)) or 'arguments'}: {e.message}" for e in faults]

    def call(self, name: str, arguments: Any) -> str:
        """Check a call and run it.

        Raises:
            ToolError: an unknown tool, arguments that do not fit, or the tool's own refusal. Any
                other exception is a fault of the tool and is not hidden.
        """
        faults = self.problems(name, arguments)
        if faults:
            raise ToolError("; ".join(faults))
        return self._tools[name](**arguments)

    def _unknown(self, name: object) -> str:
        near = difflib.get_close_matches(str(name), self._tools, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"there is no tool called {name!r}{hint} Known: {', '.join(self._tools) or 'none'}"
