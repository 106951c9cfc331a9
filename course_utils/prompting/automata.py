"""Chapter 4 - Finite automata over bytes: from a regular expression to a table.

Three steps. Characters become sequences of byte ranges (UTF-8). The tree becomes a nondeterministic
automaton with free moves (Thompson). Sets of its states become the states of a deterministic one
(subset construction), whose whole knowledge is a table ``next state = table[state, byte]``. Bytes
and not characters, because a language model's token may be half a character.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from course_utils.prompting.regex_syntax import Chars, Either, Node, Ranges, Repeat, Sequence, parse

DEAD, START = 0, 1
MAX_STATES = 100_000
ENDS = (0x7F, 0x7FF, 0xFFFF)  # the last characters of 1, 2 and 3 bytes


def utf8_sequences(low: int, high: int) -> list[tuple[tuple[int, int], ...]]:
    """Byte ranges, one sequence after the other, that spell the characters low to high.

    >>> utf8_sequences(0x41, 0x5A)
    [((65, 90),)]
    >>> utf8_sequences(0x7E, 0x81)
    [((126, 127),), ((194, 194), (128, 129))]

    Source: Cox 2010, "Regular Expression Matching in the Wild", the part on UTF-8.
    """
    for cut in _cuts(low, high):
        return utf8_sequences(low, cut) + utf8_sequences(cut + 1, high)
    return [tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))]


def _cuts(low: int, high: int) -> list[int]:
    """Where a range must be cut so that all byte positions vary independently; the first one."""
    for end in ENDS:
        if low <= end < high:
            return [end]
    for i in range(1, len(chr(low).encode())):
        tail = (1 << 6 * i) - 1  # the bits of the last i bytes
        if low | tail != high | tail:
            if low & tail:
                return [low | tail]
            if high & tail != tail:
                return [(high & ~tail) - 1]
    return []


@dataclass
class NFA:
    """A nondeterministic automaton: moves over byte ranges, and free moves.

    Attributes:
        moves: for each state (low, high, target). free: for each state, targets without a byte.
    """

    moves: list[list[tuple[int, int, int]]] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)

    def new(self) -> int:
        """A new state."""
        if len(self.moves) >= MAX_STATES:
            raise ValueError(f"the pattern needs more than {MAX_STATES:,} states; bound it tighter")
        self.moves.append([])
        self.free.append([])
        return len(self.moves) - 1

    def build(self, node: Node, start: int) -> int:
        """Add a part that begins at ``start``; returns the state in which it ends.

        Source: Thompson 1968, "Regular Expression Search Algorithm".
        """
        match node:
            case Chars(ranges):
                return self._chars(ranges, start)
            case Sequence(parts):
                for part in parts:
                    start = self.build(part, start)
                return start
            case Either(options):
                end = self.new()
                for option in options:
                    first = self.new()
                    self.free[start].append(first)
                    self.free[self.build(option, first)].append(end)
                return end
            case Repeat():
                return self._repeat(node, start)

    def _chars(self, ranges: Ranges, start: int) -> int:
        end = self.new()
        # one state for each way in which a character can go on: é and è share it
        rest: dict[tuple, int] = {(): end}
        for low, high in ranges:
            for sequence in utf8_sequences(low, high):
                for i in range(len(sequence) - 1, 0, -1):
                    if sequence[i:] not in rest:
                        target = rest[sequence[i + 1 :]]
                        rest[sequence[i:]] = self.new()
                        self.moves[rest[sequence[i:]]].append((*sequence[i], target))
                self.moves[start].append((*sequence[0], rest[sequence[1:]]))
        return end

    def _repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.low):
            start = self.build(node.part, start)
        end = self.new()
        if node.high is None:  # a loop: back to its own beginning, or out
            loop = self.new()
            self.free[start].append(loop)
            self.free[self.build(node.part, loop)].append(loop)
            self.free[loop].append(end)
            return end
        for _ in range(node.high - node.low):
            self.free[start].append(end)
            start = self.build(node.part, self._after(start))
        self.free[start].append(end)
        return end

    def _after(self, state: int) -> int:
        self.free[state].append(self.new())
        return self.free[state][-1]

    def reach(self, states: set[int]) -> frozenset[int]:
        """These states and all that free moves lead to."""
        found, waiting = set(states), list(states)
        while waiting:
            fresh = set(self.free[waiting.pop()]) - found
            found |= fresh
            waiting.extend(fresh)
        return frozenset(found)


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic automaton over bytes; state 0 is dead, state 1 the start.

    Attributes:
        table: (states, 256), the next state.
        accepting: (states,), True where the text read so far is complete.
    """

    table: np.ndarray
    accepting: np.ndarray

    def __len__(self) -> int:
        """States, the dead one not counted."""
        return len(self.table) - 1

    def walk(self, data: bytes, state: int = START) -> int:
        """The state after reading these bytes."""
        for byte in data:
            state = int(self.table[state, byte])
        return state

    def accepts(self, text: str | bytes) -> bool:
        """Is this text, as a whole, in the language?"""
        return bool(self.accepting[self.walk(text.encode() if isinstance(text, str) else text)])

    def is_final(self, state: int) -> bool:
        """Is the text complete and can nothing follow?"""
        return bool(self.accepting[state]) and not self.table[state].any()

    def forced(self, state: int) -> bytes:
        """The bytes that must come next: as long as there is one way on and no way to end."""
        found = bytearray()
        while not self.accepting[state]:
            ways = np.flatnonzero(self.table[state])
            if len(ways) != 1:
                break
            found.append(ways[0])
            state = int(self.table[state, ways[0]])
        return bytes(found)

    @cached_property
    def distance(self) -> np.ndarray:
        """(states,) fewest bytes to a complete text; -1 where there is no way."""
        return _distances(self.table, self.accepting)

    @cached_property
    def longest(self) -> int | None:
        """Bytes of the longest text, or None when texts have no bound."""
        return _longest(self.table)

    def restricted(self, usable: np.ndarray) -> Automaton:
        """The same language without the texts that hold a byte which is not usable.

        Args:
            usable: (256,) booleans.

        Raises:
            ValueError: no text is left.
        """
        table = np.where(usable[None], self.table, DEAD)
        live = _distances(table, self.accepting) >= 0
        if not live[START]:
            raise ValueError("no text fits: every one needs a byte that no token spells")
        return Automaton(np.where(live[table] & live[:, None], table, DEAD), self.accepting & live)


def compile_regex(pattern: str) -> Automaton:
    """The automaton of a pattern (see ``regex_syntax``), over the UTF-8 bytes of the text.

    Every state but the dead one can still reach a complete text.

    >>> compile_regex("ab|c+").accepts("ccc")
    True

    Raises:
        ValueError: the pattern is not supported, too large, or matches nothing.
    """
    return from_tree(parse(pattern))


def from_tree(node: Node) -> Automaton:
    """The automaton of a parsed pattern, see :func:`compile_regex`."""
    nfa = NFA()
    start = nfa.new()
    end = nfa.build(node, start)
    table, accepting = _subsets(nfa, start, end)
    automaton = Automaton(table, accepting)
    if automaton.distance[START] < 0:
        raise ValueError("the pattern matches no text at all")
    return automaton.restricted(np.ones(256, dtype=bool))


def _subsets(nfa: NFA, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Subset construction: a state stands for all places where the slow automaton could be.

    Source: Rabin & Scott 1959, "Finite Automata and Their Decision Problems", theorem 11.
    """
    first = nfa.reach({start})
    numbers, waiting = {frozenset(): DEAD, first: START}, deque([first])
    rows, accepting = [np.zeros(256, np.int32)], [False]
    closures: dict[frozenset[int], frozenset[int]] = {}
    while waiting:
        places = waiting.popleft()
        row = np.zeros(256, np.int32)
        for low, high, targets in _split([m for place in places for m in nfa.moves[place]]):
            if targets not in closures:
                closures[targets] = nfa.reach(set(targets))
            reached = closures[targets]
            if reached not in numbers:
                numbers[reached] = len(numbers)
                waiting.append(reached)
                _check_size(len(numbers))
            row[low : high + 1] = numbers[reached]
        rows.append(row)
        accepting.append(end in places)
    return np.stack(rows), np.array(accepting)


def _check_size(states: int) -> None:
    if states > MAX_STATES:
        raise ValueError(f"the automaton needs more than {MAX_STATES:,} states; bound it tighter")


def _split(moves: list[tuple[int, int, int]]) -> list[tuple[int, int, frozenset[int]]]:
    """Overlapping byte ranges as disjoint ones, each with all of its targets."""
    borders = sorted({border for low, high, _ in moves for border in (low, high + 1)})
    targets: list[set[int]] = [set() for _ in borders]
    for low, high, target in moves:
        for i in range(bisect_left(borders, low), bisect_left(borders, high + 1)):
            targets[i].add(target)
    pairs = zip(borders, borders[1:], targets, strict=False)
    return [(low, high - 1, frozenset(found)) for low, high, found in pairs if found]


def _edges(table: np.ndarray) -> list[np.ndarray]:
    """For each state the different live states that follow."""
    found = [np.unique(row) for row in table]
    return [targets[targets != DEAD] for targets in found]


def _distances(table: np.ndarray, accepting: np.ndarray) -> np.ndarray:
    """Breadth-first search backwards from the accepting states."""
    before: list[list[int]] = [[] for _ in table]
    for state, targets in enumerate(_edges(table)):
        for target in targets:
            before[target].append(state)
    distance = np.full(len(table), -1)
    distance[accepting] = 0
    waiting = deque(np.flatnonzero(accepting).tolist())
    while waiting:
        state = waiting.popleft()
        for source in before[state]:
            if distance[source] < 0:
                distance[source] = distance[state] + 1
                waiting.append(source)
    return distance


def _longest(table: np.ndarray) -> int | None:
    """Longest path by peeling off states that nothing follows; a cycle is never peeled."""
    edges = _edges(table)
    before: list[list[int]] = [[] for _ in table]
    left = np.array([len(targets) for targets in edges])
    for state, targets in enumerate(edges):
        for target in targets:
            before[target].append(state)
    length, waiting = np.zeros(len(table), int), deque(np.flatnonzero(left == 0).tolist())
    peeled = 0
    while waiting:
        state = waiting.popleft()
        peeled += 1
        for source in before[state]:
            length[source] = max(length[source], length[state] + 1)
            left[source] -= 1
            if left[source] == 0:
                waiting.append(source)
    return int(length[START]) if peeled == len(table) else None
