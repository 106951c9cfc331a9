"""Exercise 4.9.4, Tree of thoughts: a depth-first search that comes back from dead ends."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from course_utils.exercises.engine import Trial


def tree_search(
    root: str,
    children: Callable[[str], list[str]],
    score: Callable[[str], float],
    is_goal: Callable[[str], bool],
    breadth: int,
) -> tuple[list[str], int]:
    stack, visits = [[root]], 0
    while stack:
        path = stack.pop()
        visits += 1
        if is_goal(path[-1]):
            return path, visits
        kept = sorted(children(path[-1]), key=score, reverse=True)[:breadth]
        stack.extend([*path, child] for child in reversed(kept))
    return [], visits


def search_by_recursion(root, children, score, is_goal, breadth):
    if is_goal(root):
        return [root], 1
    visits = 1
    for child in heapq.nlargest(breadth, children(root), key=score):
        path, more = search_by_recursion(child, children, score, is_goal, breadth)
        visits += more
        if path:
            return (root, *path), visits
    return (), visits


def _search(root, children, score, is_goal, breadth, *, best=True, prune=True, first_in=False):
    waiting, visits = [[root]], 0
    while waiting:
        path = waiting.pop(0 if first_in else -1)
        visits += 1
        if is_goal(path[-1]):
            return path, visits
        kept = sorted(children(path[-1]), key=score, reverse=best)
        kept = kept[:breadth] if prune else kept
        waiting.extend([*path, child] for child in (kept if first_in else reversed(kept)))
    return [], visits


def greedy(root, children, score, is_goal, breadth):
    path, visits = [root], 1
    while not is_goal(path[-1]):
        after = children(path[-1])
        if not after:
            return [], visits
        path.append(max(after, key=score))
        visits += 1
    return path, visits


def level_by_level(*case):
    return _search(*case, first_in=True)


def worst_first(*case):
    return _search(*case, best=False)


def keeps_all(*case):
    return _search(*case, prune=False)


def last_only(*case):
    path, visits = tree_search(*case)
    return path[-1:], visits


MISTAKES = (
    (
        greedy,
        "The search stopped at a dead end: go back and try the next best child of an earlier "
        "state. That is the backtracking.",
    ),
    (level_by_level, "You went level by level: go down first, come back only at a dead end."),
    (worst_first, "The child with the highest score comes first."),
    (keeps_all, "Prune: keep only the `breadth` best children of each state."),
    (last_only, "Return the whole path from the root to the goal."),
)


def _tree(t: Trial) -> tuple:
    """A tree with a tempting dead end, and the goal below the second best child."""
    a, b, c, d = t.rng.sample("bcdfghkmnp", 4)
    tree = {
        "r": [a, b, c, d],
        a: [a + "1", a + "2"],
        b: [b + "1", b + "2", b + "3"],
        c: [c + "1", c + "2"],
    }
    scores = {a: 3.0, b: 2.0, c: 1.0, d: 0.5} | dict.fromkeys((a + "1", c + "1"), 1.0)
    scores |= {a + "2": 0.4, c + "2": 0.7, b + "1": 0.2, b + "2": 0.9, b + "3": 0.8}
    for state in tree:
        tree[state] = t.rng.sample(tree[state], len(tree[state]))
    return tree, scores, b + "3"


def check_search(answer, t: Trial) -> None:
    for breadth in (4, 3, 2, 1):
        tree, scores, goal = _tree(t)
        case = ("r", lambda s, x=tree: list(x.get(s, [])), scores.get, goal.__eq__, breadth)
        shown = f"tree_search('r', children, score, is_goal, breadth={breadth}) on {tree}"
        got = t.call(answer, *case, shows=shown)
        two = isinstance(got, (tuple, list)) and len(got) == 2
        t.that(two, "Return two values: (path, visits).")
        expected = tree_search(*case)
        wrongs = [(wrong(*case), sentence) for wrong, sentence in MISTAKES]
        t.equal(
            list(got[0] or []),
            list(expected[0]),
            says="That is not the path that the search should find.",
            mistakes=[(list(w[0]), s) for w, s in wrongs],
        )
        t.equal(
            got[1],
            expected[1],
            says="The path is right, the number of visited states is not.",
            mistakes=[(w[1], s) for w, s in wrongs],
        )
    t.passed("Paths and visits are right with a tempting dead end, and with a pruned goal")
