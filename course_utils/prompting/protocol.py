"""Chapter 4 - One protocol for language models: the same calls, whoever answers them.

``LLM`` owns what is common: checked messages, sampling options, the answer cache, and the account
of calls, tokens and money. A back end adds two methods, one that answers a list of requests and
one that streams a single answer.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting.answer_cache import AnswerCache

Message = Mapping[str, str]
Messages = str | Sequence[Message]  # a text is one message of the user
ROLES = ("system", "user", "assistant")


class LLMError(RuntimeError):
    """A model could not be reached or would not answer; the message is one sentence."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn; every back end takes the same options or says what it lacks.

    Attributes:
        max_new_tokens: at most so many tokens of answer.
        temperature: 0 takes the best token each time; None leaves it to the provider.
        top_p, top_k, min_p, repetition_penalty: see ``course_utils.nn.sampling``.
        stop: the answer ends before the first of these texts.
        seed: makes sampling repeatable (local exactly, OpenAI as far as it promises).
    """

    max_new_tokens: int = 128
    temperature: float | None = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        object.__setattr__(self, "stop", stop)
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if not all(stop):
            raise ValueError("a stop text must not be empty: it would end every answer at once")

    @property
    def repeatable(self) -> bool:
        """Whether the same request gives the same answer: greedy, or sampled with a seed."""
        return self.temperature == 0 or self.seed is not None

    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        pairs = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        return {name: value for name, value, default in pairs if value != default}


@dataclass(frozen=True)
class Request:
    """One question to a model: checked messages and how to draw the answer."""

    messages: tuple[Message, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Reply:
    """One answer and what it took.

    Attributes:
        text: of the answer.
        input_tokens, output_tokens: as the back end counts them.
        truncated: it ended because max_new_tokens was reached.
        retries: attempts that failed before this one.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    truncated: bool = False
    retries: int = 0


@dataclass(frozen=True)
class Usage:
    """The account of a model: what was asked of it since it was connected.

    Attributes:
        calls: answers that the model itself gave (or scored).
        cached: answers taken from the cache instead.
        input_tokens, output_tokens: read and written by the model.
        truncated: answers that ended at max_new_tokens.
        retries: failed attempts that were repeated.
        cost: in dollars; None if the price of the model was not given.
    """

    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    truncated: int = 0
    retries: int = 0
    cost: float | None = 0.0

    def __sub__(self, earlier: Usage) -> Usage:
        """What happened since ``earlier``, which is a ``.usage`` kept from before."""
        names = [f.name for f in dataclasses.fields(self) if f.name != "cost"]
        counts = {name: getattr(self, name) - getattr(earlier, name) for name in names}
        known = self.cost is not None and earlier.cost is not None
        return Usage(**counts, cost=self.cost - earlier.cost if known else None)

    def __str__(self) -> str:
        cost = "price not given" if self.cost is None else f"${self.cost:.4f}"
        return (
            f"{self.calls} calls ({self.cached} more from the cache), {self.input_tokens:,} tokens "
            f"read, {self.output_tokens:,} written, {self.retries} retries, {cost}"
        )


class LLM(abc.ABC):
    """A language model behind five calls: chat, chat_batch, sample, sample_batch, stream.

    Args:
        name: provider and model, as it stands in reports.
        price: dollars per million tokens read and written; None if unknown.
        cache: answers on disk, or None.
    """

    def __init__(
        self, name: str, *, price: tuple[float, float] | None = None, cache: AnswerCache | None
    ) -> None:
        self.name, self.price, self.cache = name, price, cache
        self._usage = Usage(cost=None if price is None else 0.0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def usage(self) -> Usage:
        """Calls, tokens and cost so far: a snapshot, so that two of them can be subtracted."""
        return self._usage

    def chat(self, messages: Messages, **sampling: Any) -> str:
        """The answer to one conversation.

        Args:
            messages: dictionaries with ``role`` and ``content``, or a text for one user message.
                If the last message is the assistant's, the answer continues it (local model).
            sampling: options of :class:`Sampling`, such as max_new_tokens and temperature.

        Raises:
            ValueError: messages or options that no model could take.
            LLMError: the model could not be reached or refused.
        """
        return self.chat_batch([messages], **sampling)[0]

    def chat_batch(self, conversations: Sequence[Messages], **sampling: Any) -> list[str]:
        """The answers to many conversations, in their order.

        With a seed, row i is drawn with ``seed + i``, as ``chat(…, seed=seed + i)`` would.
        """
        return [texts[0] for texts in self.sample_batch(conversations, 1, **sampling)]

    def sample(self, messages: Messages, count: int, **sampling: Any) -> list[str]:
        """``count`` answers to one conversation; the local model reads the prompt once."""
        return self.sample_batch([messages], count, **sampling)[0]

    def sample_batch(
        self, conversations: Sequence[Messages], count: int, **sampling: Any
    ) -> list[list[str]]:
        """``count`` answers to each of many conversations.

        With a seed, answer j of row i is drawn with ``seed + i * count + j``.
        """
        if isinstance(conversations, (str, Mapping)):
            raise TypeError("expected a list of conversations; for a single one call chat()")
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        options = Sampling(**sampling)
        checked = [check_messages(messages) for messages in conversations]
        rows = [messages for messages in checked for _ in range(count)]
        texts = self._answers([Request(m, _seeded(options, i)) for i, m in enumerate(rows)])
        return [texts[i : i + count] for i in range(0, len(texts), count)]

    def stream(self, messages: Messages, **sampling: Any) -> Iterator[str]:
        """Pieces of one answer, each as soon as it is known; joined they are ``chat``'s answer."""
        request = Request(check_messages(messages), Sampling(**sampling))
        pieces = self._stream(request)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                self._count(end.value)
                return
            yield piece

    def _answers(self, requests: list[Request]) -> list[str]:
        """Answers in order: from the cache where it has them, the rest from the model."""
        keys = [self._key(request) for request in requests]
        found = [self.cache.get(key) if key else None for key in keys]
        missing = [i for i, text in enumerate(found) if text is None]
        self._usage = dataclasses.replace(
            self._usage, cached=self._usage.cached + len(found) - len(missing)
        )
        replies = self._complete([requests[i] for i in missing]) if missing else []
        for i, reply in zip(missing, replies, strict=True):
            found[i] = reply.text
            self._count(reply)
            if keys[i]:
                self.cache.put(keys[i], reply.text)
        return found

    def _key(self, request: Request) -> str | None:
        if self.cache is None or not request.sampling.repeatable:
            return None
        asked = [dict(message) for message in request.messages]
        return self.cache.key(self._identity(), asked, request.sampling.changed())

    def _count(self, reply: Reply) -> None:
        old, cost = self._usage, None
        if self.price is not None:
            spent = reply.input_tokens * self.price[0] + reply.output_tokens * self.price[1]
            cost = (old.cost or 0.0) + spent / 1e6
        self._usage = Usage(
            calls=old.calls + 1,
            cached=old.cached,
            input_tokens=old.input_tokens + reply.input_tokens,
            output_tokens=old.output_tokens + reply.output_tokens,
            truncated=old.truncated + reply.truncated,
            retries=old.retries + reply.retries,
            cost=cost,
        )

    def _identity(self) -> str:
        """What the cache takes this model for; the same only if its answers are."""
        return self.name

    @abc.abstractmethod
    def _complete(self, requests: list[Request]) -> list[Reply]:
        """Answer all requests, which differ in messages and seed only."""

    @abc.abstractmethod
    def _stream(self, request: Request) -> Iterator[str]:
        """Yield the pieces of an answer; return the whole as a Reply."""


def check_messages(messages: Messages) -> tuple[Message, ...]:
    """Messages that a model can take, or an error that names the place of the fault.

    Raises:
        TypeError: not a text and not a list of dictionaries with texts.
        ValueError: no message, an unknown role, an empty text, a system message not at the front.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping):
        raise TypeError("expected a list of messages, got one dictionary: put it into a list")
    found = tuple(_message(message, i) for i, message in enumerate(messages))
    if not found:
        raise ValueError("a conversation needs at least one message")
    if found[-1]["role"] == "system":
        raise ValueError("the last message is the system's: there is nothing to answer")
    return found


def _message(message: Message, place: int) -> Message:
    if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
        raise TypeError(f"message {place} must be a dictionary with role and content: {message!r}")
    role, content = message["role"], message["content"]
    if role not in ROLES or (role == "system" and place):
        raise ValueError(
            f"message {place} has the role {role!r}; expected one of {', '.join(ROLES)}, and "
            "system only at the front"
        )
    if not isinstance(content, str):
        raise TypeError(f"the content of message {place} must be a text, got {type(content)}")
    if not content.strip():
        raise ValueError(f"message {place} is empty")
    return {"role": role, "content": content}


def _seeded(sampling: Sampling, row: int) -> Sampling:
    if sampling.seed is None or sampling.temperature == 0:
        return sampling
    return dataclasses.replace(sampling, seed=sampling.seed + row)
