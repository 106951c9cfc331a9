"""Chapter 4 - Anthropic: the system message stands apart, and max_tokens must be given.

Since the interface of 2026-10-21 no request may name a temperature, top_p or top_k. Models up to
the 4.6 line still take them under the interface before; newer ones always draw in their own way.
Models that think before they answer spend max_new_tokens on it too: give them more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from course_utils.prompting.hosted import HostedModel
from course_utils.prompting.protocol import Reply, Request

BEFORE = "2023-06-01"  # the interface that knows sampling options


class AnthropicModel(HostedModel):
    """A model behind ``messages``; see :class:`HostedModel` for the options."""

    PROVIDER = PACKAGE = "anthropic"
    KEY, MODEL = "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL"
    DEFAULT = "claude-haiku-4-5"

    def _client(self, options: dict[str, Any]) -> Any:
        return self.package.Anthropic(**options)

    def _arguments(self, request: Request) -> dict[str, Any]:
        rule, messages = request.sampling, [dict(message) for message in request.messages]
        system = messages.pop(0)["content"] if messages[0]["role"] == "system" else None
        drawn = {
            "temperature": self._temperature(rule),
            "top_p": rule.top_p,
            "top_k": rule.top_k,
        }
        drawn = {name: value for name, value in drawn.items() if value is not None}
        optional = {
            "system": system,
            "stop_sequences": list(rule.stop),
            "extra_body": drawn,
            "extra_headers": {"anthropic-version": BEFORE} if drawn else {},
        }
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": rule.max_new_tokens,
            **{name: value for name, value in optional.items() if value},
        }

    def _send(self, request: Request) -> Reply:
        return _reply(self.client.messages.create(**self._arguments(request)))

    def _pieces(self, request: Request) -> Iterator[str]:
        with self.client.messages.stream(**self._arguments(request)) as events:
            yield from events.text_stream
            return _reply(events.get_final_message())


def _reply(found: Any) -> Reply:
    text = "".join(block.text for block in found.content if block.type == "text")
    read, written = found.usage.input_tokens, found.usage.output_tokens
    return Reply(text, read, written, truncated=found.stop_reason == "max_tokens")
