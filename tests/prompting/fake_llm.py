"""A model that answers by a rule: the protocol without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from course_utils.prompting.protocol import LLM, Reply, Request


class FakeLLM(LLM):
    """Answers with ``rule(messages, seed)``; every request is kept in ``seen``."""

    def __init__(self, rule: Callable[..., str]) -> None:
        super().__init__("fake", price=(0.0, 0.0), cache=None)
        self.rule, self.seen = rule, []

    def _complete(self, requests: list[Request]) -> list[Reply]:
        self.seen += requests
        return [Reply(self.rule(r.messages, r.sampling.seed), 1, 1) for r in requests]

    def _stream(self, request: Request) -> Iterator[str]:
        text = self.rule(request.messages, request.sampling.seed)
        yield text
        return Reply(text, 1, 1)
