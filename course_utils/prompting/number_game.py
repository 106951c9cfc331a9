"""Chapter 4 - A number game whose whole tree can be checked: make a target from given numbers.

From 3, 5 and 7 make 26: 3 · 7 = 21, then 21 + 5. A step takes two of the numbers and puts the
result in their place, so a game with K numbers has K - 1 steps, and the last number must be the
target. Intermediate results are whole and not negative. (Yao et al. play it with four numbers and
the target 24.)
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Board:
    """Numbers that are left, smallest first, and the steps that led here.

    Two boards with the same numbers are equal, however they were reached.
    """

    numbers: tuple[int, ...]
    steps: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Board) and self.numbers == other.numbers

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __str__(self) -> str:
        return " ".join(map(str, self.numbers))


def start(numbers: tuple[int, ...]) -> Board:
    """The board at the beginning of a game."""
    return Board(tuple(sorted(numbers)))


def moves(board: Board) -> list[Board]:
    """All boards one step further, each different one once.

    >>> [str(b) for b in moves(start((2, 6)))]
    ['8', '4', '12', '3']
    """
    found: dict[Board, None] = {}
    for i, j in itertools.combinations(range(len(board.numbers)), 2):
        small, large = board.numbers[i], board.numbers[j]
        rest = [n for k, n in enumerate(board.numbers) if k not in (i, j)]
        for value, step in _results(small, large):
            numbers = tuple(sorted([*rest, value]))
            found.setdefault(Board(numbers, (*board.steps, f"{step} = {value}")))
    return list(found)


def _results(small: int, large: int) -> Iterator[tuple[int, str]]:
    yield large + small, f"{large} + {small}"
    yield large - small, f"{large} - {small}"
    yield large * small, f"{large} * {small}"
    if small and large % small == 0:
        yield large // small, f"{large} / {small}"


def solved(board: Board, target: int) -> bool:
    """Whether only the target is left."""
    return board.numbers == (target,)


def solvable(board: Board, target: int) -> bool:
    """Whether some way leads from here to the target: by looking at all of them."""
    return solved(board, target) or any(solvable(child, target) for child in moves(board))


def puzzles(
    count: int, *, size: int = 4, target: int = 24, seed: int = 0, largest: int = 9
) -> list[Board]:
    """Different solvable games drawn at random.

    Args:
        count: of games. size: numbers in each. target: to be reached.
        largest: numbers are drawn from 1 to this.
    """
    rng, found = random.Random(seed), {}
    while len(found) < count:
        board = start(tuple(rng.randint(1, largest) for _ in range(size)))
        if board not in found and solvable(board, target):
            found[board] = None
    return list(found)
