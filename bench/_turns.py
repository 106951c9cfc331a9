"""What the benchmarks share: functions timed in turns, and a row of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Row = dict[str, float | str]


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median seconds of each function, run in turns, so that noise hits all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, own in zip(functions, times, strict=True):
            own.append(seconds(function))
    return [statistics.median(own) for own in times]


def row(name: str, ours: float, other: float, unit: str) -> Row:
    """One row; both numbers are rates, so that a ratio above 1 means that ours is faster."""
    return {"name": name, "ours": ours, "other": other, "ratio": ours / other, "unit": unit}
