"""Chapter 4 - Retries with back-off: wait longer each time, a little at random, then give up.

A server that is overloaded does not get better if all its clients come back after exactly one
second, hence the random part. What the server asks for (``Retry-After``) goes before our own rule.
Only faults that may pass are repeated: a wrong key stays wrong.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # HTTP status of such faults


class Passing(Exception):
    """A fault that may pass: repeat the call.

    Args:
        message: for the reader, if it does not pass.
        wait: seconds that the server asked for, or None.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass
class Backoff:
    """How often a call is repeated and how long we wait in between.

    Before attempt n + 1 the wait is drawn from 0.5 to 1 times min(longest, first · 2^(n - 1)).

    Attributes:
        attempts: calls in all, the first included.
        first, longest: seconds.
        sleep: called with the seconds to wait; tests pass their own.
        rng: source of the random part.

    Source: Brooker 2015, "Exponential Backoff And Jitter" (AWS Architecture Blog).
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.Random)

    def call(self, function: Callable[[], T]) -> tuple[T, int]:
        """The function's value, and how many attempts failed before it.

        Raises:
            Passing: the last one, if all attempts failed. Other exceptions at once.
        """
        for failed in range(self.attempts):
            try:
                return function(), failed
            except Passing as fault:
                if failed + 1 == self.attempts:
                    raise
                self.sleep(self.wait(failed, fault.wait))
        raise ValueError(f"attempts must be at least 1, got {self.attempts}")

    def wait(self, failed: int, asked: float | None = None) -> float:
        """Seconds to wait after so many earlier failures; the server's wish is kept, up to a point.

        Args:
            failed: failures before the one just seen, 0 for the first.
            asked: seconds the server asked for.
        """
        if asked is not None:
            return min(max(asked, 0.0), 3 * self.longest)
        return min(self.longest, self.first * 2**failed) * self.rng.uniform(0.5, 1.0)
