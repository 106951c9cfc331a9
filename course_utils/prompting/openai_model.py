"""Chapter 4 - OpenAI, and every server that speaks its chat interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from course_utils.prompting.hosted import HostedModel
from course_utils.prompting.protocol import Reply, Request, Sampling


class OpenAIModel(HostedModel):
    """A model behind ``chat.completions``; see :class:`HostedModel` for the options."""

    PROVIDER = PACKAGE = "openai"
    KEY, MODEL = "OPENAI_API_KEY", "OPENAI_MODEL"
    DEFAULT = "gpt-5.4-mini"

    def _client(self, options: dict[str, Any]) -> Any:
        return self.package.OpenAI(**options)

    def _lacks(self, sampling: Sampling) -> list[str]:
        return super()._lacks(sampling) + (["top_k"] if sampling.top_k is not None else [])

    def _check(self, request: Request) -> None:
        super()._check(request)
        if request.messages[-1]["role"] == "assistant":
            raise ValueError("openai does not continue an assistant's message; end with the user's")

    def _arguments(self, request: Request) -> dict[str, Any]:
        rule = request.sampling
        optional = {
            "temperature": self._temperature(rule),
            "top_p": rule.top_p,
            "seed": rule.seed,
            "stop": list(rule.stop) or None,
        }
        return {
            "model": self.model,
            "messages": [dict(message) for message in request.messages],
            "max_completion_tokens": rule.max_new_tokens,
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _send(self, request: Request) -> Reply:
        found = self.client.chat.completions.create(**self._arguments(request))
        choice = found.choices[0]
        return _reply(choice.message.content or "", found.usage, choice.finish_reason)

    def _pieces(self, request: Request) -> Iterator[str]:
        usage = reason = None
        events = self.client.chat.completions.create(
            **self._arguments(request), stream=True, stream_options={"include_usage": True}
        )
        with events:
            for event in events:
                usage = event.usage or usage
                for choice in event.choices:
                    reason = choice.finish_reason or reason
                    if choice.delta.content:
                        yield choice.delta.content
        return _reply("", usage, reason)


def _reply(text: str, usage: Any, reason: str | None) -> Reply:
    read, written = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Reply(text, read, written, truncated=reason == "length")
