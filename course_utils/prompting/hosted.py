"""Chapter 4 - Hosted models: what the clients of OpenAI and Anthropic have in common.

Keys come from the environment and are never printed. The providers' own packages do the talking;
their retries are switched off and ours are used, so that both behave alike and are counted.
"""

from __future__ import annotations

import abc
import importlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from course_utils.prompting.answer_cache import AnswerCache
from course_utils.prompting.protocol import LLM, LLMError, Reply, Request, Sampling
from course_utils.prompting.retries import PASSING, Backoff, Passing

T = TypeVar("T")


class HostedModel(LLM, abc.ABC):
    """A model behind an HTTP interface.

    Args:
        model: the provider's name for it; by default from the environment (``OPENAI_MODEL``,
            ``ANTHROPIC_MODEL``), else :attr:`DEFAULT`.
        api_key: by default from the environment. Do not write keys into notebooks.
        base_url: another server with the same interface (vLLM, llama.cpp, a test).
        timeout: seconds for one attempt.
        retries: how failed attempts are repeated, or how many times.
        price: dollars per million tokens (read, written). Prices change, so none is built in;
            without it ``usage.cost`` is None.
        workers: calls at the same time in ``chat_batch``.
        cache: answers on disk; True (default) keeps them in the course's cache folder.

    Some models choose their own temperature and refuse ours. Temperature 0, our default, is then
    left out from the second attempt on; any other is an error.

    Raises:
        LLMError: the package or the key is missing.
    """

    PROVIDER: ClassVar[str]
    PACKAGE: ClassVar[str]
    KEY: ClassVar[str]
    MODEL: ClassVar[str]
    DEFAULT: ClassVar[str]

    def __init__(
        self,
        model: str | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 60.0,
        retries: Backoff | int = 4,
        price: tuple[float, float] | None = None,
        workers: int = 4,
        cache: bool | AnswerCache = True,
    ) -> None:
        self.model = model or os.environ.get(self.MODEL) or self.DEFAULT
        store = AnswerCache() if cache is True else cache or None
        super().__init__(f"{self.PROVIDER}/{self.model}", price=price, cache=store)
        self.base_url, self.workers = base_url, workers
        self.takes_temperature = True  # until the server says otherwise
        self.backoff = Backoff(retries + 1) if isinstance(retries, int) else retries
        key = api_key or os.environ.get(self.KEY) or ("not needed" if base_url else None)
        if not key:
            raise LLMError(
                f'connect("{self.PROVIDER}") needs a key: set the environment variable {self.KEY}, '
                'or use connect("local")'
            )
        self.package = self._import()  # after the key: it takes a second
        options = {"api_key": key, "timeout": timeout, "max_retries": 0}
        self.client = self._client(options | ({"base_url": base_url} if base_url else {}))

    @classmethod
    def _import(cls) -> ModuleType:
        try:
            return importlib.import_module(cls.PACKAGE)
        except ImportError:
            raise LLMError(
                f'connect("{cls.PROVIDER}") needs the package {cls.PACKAGE}: '
                f"pip install {cls.PACKAGE}"
            ) from None

    def _complete(self, requests: list[Request]) -> list[Reply]:
        for request in requests[:1]:
            self._check(request)
        with ThreadPoolExecutor(max_workers=min(self.workers, len(requests))) as pool:
            return list(pool.map(self._one, requests))

    def _one(self, request: Request) -> Reply:
        reply, failed = self._try(lambda: self._send(request))
        return replace(reply, retries=failed)

    def _stream(self, request: Request) -> Iterator[str]:
        """Only the start is repeated: once a piece was shown, a second try would repeat it."""
        self._check(request)
        pieces, failed = self._try(lambda: self._open(request))
        text = ""
        while True:
            try:
                piece = self._translated(lambda: next(pieces))
            except StopIteration as end:
                return replace(end.value, text=text, retries=failed)
            except Passing as fault:
                raise LLMError(f"{self.name} broke off its answer: {fault}") from fault
            text += piece
            yield piece

    def _open(self, request: Request) -> Iterator[str]:
        """Pieces of the answer, the first of them already there."""
        pieces = self._pieces(request)
        try:
            first = next(pieces)
        except StopIteration as end:
            return _chained("", iter(()), end.value)
        return _chained(first, pieces)

    def _try(self, call: Callable[[], T]) -> tuple[T, int]:
        try:
            return self.backoff.call(lambda: self._translated(call))
        except Passing as fault:
            tries = self.backoff.attempts
            raise LLMError(f"{self.name} did not answer in {tries} attempts: {fault}") from fault

    def _translated(self, call: Callable[[], T]) -> T:
        """The call's value; the package's exceptions as Passing or LLMError."""
        errors = self.package
        try:
            return call()
        except errors.APITimeoutError as fault:
            raise Passing("no answer within the time limit") from fault
        except errors.APIConnectionError as fault:
            raise Passing("the server could not be reached") from fault
        except errors.APIStatusError as fault:
            said = f"HTTP {fault.status_code}, {_said(fault)}"
            if fault.status_code == 400 and "temperature" in said and self.takes_temperature:
                self.takes_temperature = False
                raise Passing(said, wait=0) from fault  # once more, without it
            if fault.status_code in PASSING and "insufficient_quota" not in str(fault):
                raise Passing(said, _asked_wait(fault)) from fault
            raise LLMError(f"{self.name} refused: {said}") from fault

    def _temperature(self, sampling: Sampling) -> float | None:
        """The temperature to send; None for models that choose their own.

        Raises:
            LLMError: the model takes none, and the request is for more than "as sure as you can".
        """
        if self.takes_temperature or not sampling.temperature:
            return sampling.temperature if self.takes_temperature else None
        raise LLMError(f"{self.name} takes no temperature: leave it out or pass None")

    def _check(self, request: Request) -> None:
        """Refuse options that this provider does not have, before anything is sent."""
        lacking = self._lacks(request.sampling)
        if lacking:
            raise ValueError(f"{self.PROVIDER} has no option {', '.join(lacking)}")

    def _lacks(self, sampling: Sampling) -> list[str]:
        changed = sampling.changed()
        return [name for name in ("min_p", "repetition_penalty") if name in changed]

    def _identity(self) -> str:
        return f"{self.name} {self.base_url or ''}"

    @abc.abstractmethod
    def _client(self, options: dict[str, Any]) -> Any:
        """The package's client."""

    @abc.abstractmethod
    def _send(self, request: Request) -> Reply:
        """One attempt."""

    @abc.abstractmethod
    def _pieces(self, request: Request) -> Iterator[str]:
        """One attempt, piece by piece; the Reply, without its text, is the return value."""


def _chained(first: str, rest: Iterator[str], value: Reply | None = None) -> Iterator[str]:
    if first:
        yield first
    found = yield from rest
    return value if value is not None else found


def _asked_wait(fault: Any) -> float | None:
    """Seconds from the header Retry-After; None if it is missing or a date."""
    try:
        return float(fault.response.headers.get("retry-after"))
    except (TypeError, ValueError):
        return None


def _said(fault: Any) -> str:
    """The server's own words, on one line and short."""
    body = getattr(fault, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else body
    message = inner.get("message") if isinstance(inner, dict) else None
    return " ".join(str(message or fault).split())[:200]
