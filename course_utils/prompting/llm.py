"""Chapter 4 - Connect to a language model: local by default, OpenAI or Anthropic with a key.

    llm = connect()                                   # SmolLM2 on this machine
    llm.chat("Name a colour.", max_new_tokens=8)
    llm.chat_batch(["Name a bird.", "Name a tree."])  # left-padded batch
    for piece in llm.stream([{"role": "user", "content": "Hello"}]):
        print(piece, end="")
    llm.usage                                         # calls, tokens, cost

Seeds and older notebooks name models such as gpt-3.5-turbo in the code. Such names live two years
or less; here the model is an option, and its default stands in one place per provider.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from course_utils.prompting.answer_cache import AnswerCache
from course_utils.prompting.protocol import (
    LLM,
    LLMError,
    Messages,
    Sampling,
    Usage,
    check_messages,
)
from course_utils.prompting.retries import Backoff, Passing

__all__ = [
    "LLM",
    "PROVIDERS",
    "AnswerCache",
    "Backoff",
    "LLMError",
    "Messages",
    "Passing",
    "Sampling",
    "Usage",
    "available",
    "check_messages",
    "connect",
]

PROVIDERS = {
    "local": ("course_utils.prompting.local", "LocalModel"),
    "openai": ("course_utils.prompting.openai_model", "OpenAIModel"),
    "anthropic": ("course_utils.prompting.anthropic_model", "AnthropicModel"),
}


def connect(provider: str = "local", **options: Any) -> LLM:
    """A model to talk to; the calls are the same for all providers.

    Args:
        provider: "local" (SmolLM2 by our own code), "openai" or "anthropic".
        options: ``model=…`` and what :class:`~course_utils.prompting.local.LocalModel` or
            :class:`~course_utils.prompting.hosted.HostedModel` take: dtype, batch_size, device;
            timeout, retries, price, workers; cache for all.

    Raises:
        ValueError: an unknown provider.
        LLMError: the provider's package or key is missing.
    """
    module, name = PROVIDERS[_known(provider)]
    return getattr(import_module(module), name)(**options)


def available(provider: str) -> bool:
    """Whether :func:`connect` has what it needs: package and key, both for hosted models only."""
    if _known(provider) == "local":
        return True
    module, name = PROVIDERS[provider]
    kind = getattr(import_module(module), name)
    return bool(os.environ.get(kind.KEY)) and find_spec(kind.PACKAGE) is not None


def _known(provider: str) -> str:
    if provider not in PROVIDERS:
        raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}; got {provider!r}")
    return provider
