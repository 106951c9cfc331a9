"""Chapter 4 - Tree of thoughts: a search over partial solutions, scored by a model.

A *thought* is one step of a solution. The search expands a state into its next states, scores
them, keeps the best (pruning), goes on with the best of these, and comes back for the others when
it runs into a dead end (backtracking). The model may propose steps, score them, or both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
EXPANDED, PRUNED, REPEATED, GOAL, DEAD = "expanded", "pruned", "seen before", "goal", "dead end"


@dataclass
class Node(Generic[State]):
    """A state in the tree: where it came from, its score, and what became of it.

    Attributes:
        fate: expanded, pruned, seen before, goal, dead end; "" if the search ended before.
    """

    state: State
    parent: Node[State] | None = None
    score: float = 0.0
    depth: int = 0
    fate: str = ""

    def path(self) -> list[State]:
        """States from the root to here."""
        return [*(self.parent.path() if self.parent else []), self.state]


@dataclass
class SearchResult(Generic[State]):
    """What a search found and what it took.

    Attributes:
        goal: the solution's last node, or None.
        nodes: all nodes in the order in which they were made.
        visited: how many states were expanded or recognised as goal or dead end.
        backtracks: how often the search went on somewhere else than below the last state.
    """

    goal: Node[State] | None = None
    nodes: list[Node[State]] = field(default_factory=list)
    visited: int = 0
    backtracks: int = 0

    @property
    def path(self) -> list[State]:
        """From the root to the goal; empty if none was found."""
        return self.goal.path() if self.goal else []


def tree_search(
    root: State,
    expand: Callable[[State], Sequence[State]],
    score: Callable[[Sequence[State]], Sequence[float]],
    is_goal: Callable[[State], bool],
    *,
    breadth: int | None = None,
    threshold: float = float("-inf"),
    max_visits: int = 100,
) -> SearchResult[State]:
    """Depth-first search in the order of the scores, with pruning and backtracking.

    Args:
        root: where it starts; states can be hashed, equal ones are visited once.
        expand: next states of a state; none for a dead end.
        score: of sibling states, higher is better; one call for all of them.
        is_goal: whether a state solves the problem; such a child is never pruned.
        breadth: children kept of each state; None keeps all (then the search is complete).
        threshold: children below it are pruned.
        max_visits: the budget; the search ends without a solution when it is spent.

    Source: Yao et al. 2023, "Tree of Thoughts", algorithm 2 (ToT-DFS).
    """
    if breadth is not None and breadth < 1:
        raise ValueError(f"breadth must be at least 1 or None, got {breadth}")
    result, last = SearchResult(), None
    stack, seen = [Node(root)], {root}
    result.nodes.append(stack[0])
    while stack and result.visited < max_visits:
        node = stack.pop()
        result.visited += 1
        result.backtracks += last is not None and node.parent is not last
        last = node
        if is_goal(node.state):
            node.fate, result.goal = GOAL, node
            break
        children = _children(node, expand, seen, result)
        kept = _best(children, score, is_goal, breadth, threshold)
        node.fate = EXPANDED if kept else DEAD
        stack.extend(reversed(kept))  # the best one on top
    return result


def _children(node: Node, expand: Callable, seen: set, result: SearchResult) -> list[Node]:
    """New nodes below a node; states that were met before are noted and left out."""
    fresh = []
    for state in expand(node.state):
        child = Node(state, node, depth=node.depth + 1, fate=REPEATED if state in seen else "")
        result.nodes.append(child)
        if state not in seen:
            seen.add(state)
            fresh.append(child)
    return fresh


def _best(
    children: list[Node],
    score: Callable,
    is_goal: Callable,
    breadth: int | None,
    threshold: float,
) -> list[Node]:
    """Children to go on with, best first, a solution before all; the others are pruned."""
    if not children:
        return []
    values = list(score([child.state for child in children]))
    if len(values) != len(children):
        raise ValueError(f"score() gave {len(values)} numbers for {len(children)} states")
    for child, value in zip(children, values, strict=True):
        child.score = math.inf if is_goal(child.state) else float(value)
    ranked = sorted(children, key=lambda child: -child.score)  # stable: equals keep their order
    kept = [child for child in ranked[:breadth] if child.score >= threshold]
    for child in ranked:
        if child not in kept:
            child.fate = PRUNED
    return kept
