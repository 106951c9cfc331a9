"""Copies of a check's inputs, so that a learner's code can neither spoil nor share them."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np


def copied(value: Any) -> tuple[Any, Any]:
    """Two deep copies of plain data: one to hand out, one to compare with afterwards.

    Containers, arrays and tensors are copied. A tensor that requires grad is handed out
    itself, since a copy would lose its place in the graph, and any other object too: a
    recording fake must see its calls.
    """
    return _copy(value, {}, keep_graph=True), _copy(value, {}, keep_graph=False)


def _copy(value: Any, memo: dict[int, Any], *, keep_graph: bool) -> Any:
    if id(value) in memo:
        return memo[id(value)]
    new = _new(value, memo, keep_graph)
    memo[id(value)] = new
    return new


def _new(value: Any, memo: dict[int, Any], keep_graph: bool) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "untyped_storage") and hasattr(value, "detach"):
        return value if keep_graph and value.requires_grad else value.detach().clone()
    if type(value) in (list, tuple, set, frozenset, deque):
        return type(value)(_copy(item, memo, keep_graph=keep_graph) for item in value)
    if isinstance(value, (dict, list, set, bytearray)):
        return _copy_subclass(value, memo, keep_graph)
    return value


def _copy_subclass(value: Any, memo: dict[int, Any], keep_graph: bool) -> Any:
    """A Counter stays a Counter; what cannot be copied is handed out itself."""
    import copy

    try:
        new = copy.copy(value)
    except Exception:
        return value
    if isinstance(new, dict):
        for key, item in value.items():
            new[key] = _copy(item, memo, keep_graph=keep_graph)
    return new
