"""Chapter 4 - Token masks: which tokens may come next, for each state of an automaton.

A token may be written if its bytes lead from the present state to a live one. All tokens together
form a trie, in which common beginnings are walked once. The trie is stored level by level, so that
one step of *all* tokens is one look-up in the automaton's table.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from course_utils.prompting.automata import DEAD, START, Automaton
from course_utils.text.tokenization import BPETokenizer
from course_utils.text.tokenizer_file import from_printable

MEMORY = 4096  # masks kept, 6 kB each for 49,152 tokens


@dataclass(frozen=True)
class Level:
    """All trie nodes of one depth.

    Attributes:
        parent: (n,) place of each node's parent in the level before.
        byte: (n,) the byte that leads here.
        ends: (m,) places of the nodes where a token ends. ids: (m,) those tokens.
    """

    parent: np.ndarray
    byte: np.ndarray
    ends: np.ndarray
    ids: np.ndarray


class TokenTrie:
    """The tokens of a vocabulary as a tree of bytes.

    Args:
        spellings: bytes of each id; None or empty where an id spells nothing (special tokens),
            which no mask ever allows.
        encode: text -> ids as the model's tokenizer cuts it, for spans without a choice.
    """

    def __init__(self, spellings: Sequence[bytes | None], encode: Any = None) -> None:
        self.spellings, self.encode = list(spellings), encode
        self.levels = list(_levels(self.spellings))

    @property
    def vocab_size(self) -> int:
        """V, ids that spell nothing included."""
        return len(self.spellings)

    @property
    def nodes(self) -> int:
        """Nodes of the tree: what a complete walk visits."""
        return sum(len(level.byte) for level in self.levels)

    @property
    def nbytes(self) -> int:
        """Bytes of all tokens: what a walk without shared beginnings visits."""
        return sum(len(spelling or b"") for spelling in self.spellings)

    @property
    def usable(self) -> np.ndarray:
        """(256,) bytes that are tokens by themselves: only these are always at hand."""
        found = np.zeros(256, dtype=bool)
        found[self.levels[0].byte[self.levels[0].ends]] = True
        return found

    @property
    def bytewise(self) -> bool:
        """Is every byte that occurs in some token a token by itself?"""
        occurring = np.unique(np.concatenate([level.byte for level in self.levels]))
        return bool(self.usable[occurring].all())

    def targets(self, table: np.ndarray, state: int) -> np.ndarray:
        """(V,) the state after each token; 0 (dead) where the token may not be written."""
        found = np.zeros(self.vocab_size, dtype=np.int32)
        states = np.array([state], dtype=np.int32)
        for level in self.levels:
            states = table[states[level.parent], level.byte]
            if not states.any():
                break
            found[level.ids] = states[level.ends]
        return found

    def text(self, ids: Iterable[int]) -> bytes:
        """The bytes of some tokens."""
        return b"".join(self.spellings[i] or b"" for i in ids)


def _levels(spellings: list[bytes | None]):
    ids = np.array([i for i, spelling in enumerate(spellings) if spelling], dtype=np.int64)
    if not len(ids):
        raise ValueError("no token spells anything")
    lengths = np.array([len(spellings[i]) for i in ids])
    matrix = np.zeros((len(ids), lengths.max()), dtype=np.uint8)
    for row, i in enumerate(ids):
        matrix[row, : lengths[row]] = np.frombuffer(spellings[i], dtype=np.uint8)
    place = np.zeros(len(ids), dtype=np.int64)  # of each token's prefix in the level before
    for depth in range(matrix.shape[1]):
        alive = lengths > depth
        ids, lengths, matrix, place = ids[alive], lengths[alive], matrix[alive], place[alive]
        # a node is a parent and a byte, so one number tells nodes apart
        nodes, place = np.unique(place * 256 + matrix[:, depth], return_inverse=True)
        last = lengths == depth + 1
        yield Level(nodes // 256, nodes % 256, place[last], ids[last])


class TokenMask:
    """An automaton over a vocabulary: allowed tokens by state, computed when first needed.

    Args:
        automaton: the language of the whole text.
        trie: the vocabulary. A vocabulary may lack some bytes (SmolLM2's lacks 21), so a state
            counts as live only if *tokens* lead from it to a complete text: no dead ends.

    Attributes:
        automaton: without texts that no tokens spell, where bytes can tell.
        distance: (states,) tokens that are sure to suffice for a complete text; -1 if none do.
        computed, asked: masks computed, and masks asked for.

    Raises:
        ValueError: no text of the language can be spelled with these tokens.
    """

    def __init__(self, automaton: Automaton, trie: TokenTrie) -> None:
        self.trie, self.automaton = trie, automaton
        if trie.bytewise:
            self.automaton = automaton.restricted(trie.usable)
            self.distance = self.automaton.distance  # one token a byte is always possible
        else:
            self.distance = _token_distances(automaton, trie)
        self._known: dict[int, np.ndarray] = {}
        self.computed = self.asked = 0

    def allowed(self, state: int, room: int | None = None) -> np.ndarray:
        """(V,) booleans: tokens that may be written in this state.

        Args:
            room: tokens that may still be written, this one included. Tokens after which the
                text could not be finished in time are not allowed either.
        """
        self.asked += 1
        if room is not None and self.distance.max() > room - 1:
            left = self.distance[self.trie.targets(self.automaton.table, state)]
            return (left >= 0) & (left <= room - 1)
        if state not in self._known:
            self.computed += 1
            if len(self._known) >= MEMORY:
                self._known.pop(next(iter(self._known)))
            targets = self.trie.targets(self.automaton.table, state)
            self._known[state] = np.packbits(self.distance[targets] >= 0)
        bits = np.unpackbits(self._known[state], count=self.trie.vocab_size)
        return bits.view(bool)

    def may_end(self, state: int) -> bool:
        """Only here may the end token be written."""
        return bool(self.automaton.accepting[state])

    def advance(self, state: int, token: int) -> int:
        """The state after a token.

        Raises:
            ValueError: the token is not allowed here.
        """
        spelling = self.trie.spellings[token]
        reached = self.automaton.walk(spelling, state) if spelling else DEAD
        if self.distance[reached] < 0:
            raise ValueError(f"token {token} ({spelling!r}) is not allowed in state {state}")
        return reached

    def forced(self, state: int) -> list[int]:
        """Tokens of the span without a choice, as the tokenizer itself would cut it.

        Half a character at the end of the span is left to the next step.
        """
        span = _whole_characters(self.automaton.forced(state))
        return self.trie.encode(span) if span and self.trie.encode else []

    def state_of(self, ids: Iterable[int], state: int = START) -> int:
        """The state after some tokens."""
        for token in ids:
            state = self.advance(state, token)
        return state


def _token_distances(automaton: Automaton, trie: TokenTrie) -> np.ndarray:
    """Fewest tokens from each state to a complete text, by a search backwards over tokens."""
    before: list[list[int]] = [[] for _ in automaton.table]
    for state in range(START, len(automaton.table)):
        for target in np.unique(trie.targets(automaton.table, state)):
            before[target].append(state)
    distance = np.where(automaton.accepting, 0, -1)
    waiting = deque(np.flatnonzero(automaton.accepting).tolist())
    while waiting:
        state = waiting.popleft()
        for source in before[state]:
            if distance[source] < 0:
                distance[source] = distance[state] + 1
                waiting.append(source)
    if distance[START] < 0:
        raise ValueError("no text fits: the tokens spell none")
    return distance


_TRIES: WeakKeyDictionary = WeakKeyDictionary()


def trie_of(tokenizer: Any) -> TokenTrie:
    """The trie of a byte-level tokenizer, built once.

    Args:
        tokenizer: our ``BPETokenizer`` or a fast Hugging Face tokenizer with a byte-level BPE.

    Raises:
        TypeError: another kind of tokenizer.
    """
    if tokenizer not in _TRIES:
        _TRIES[tokenizer] = TokenTrie(token_bytes(tokenizer), _encoder(tokenizer))
    return _TRIES[tokenizer]


def token_bytes(tokenizer: Any) -> list[bytes | None]:
    """The bytes that each id stands for; None for special tokens.

    A special token must never be written by the content: an end token inside a string would cut
    the object off, although its letters ``<|im_end|>`` are harmless there.
    """
    if isinstance(tokenizer, BPETokenizer):
        special, tokens = set(tokenizer.special_tokens.values()), tokenizer.tokens
    elif hasattr(tokenizer, "backend_tokenizer"):
        special = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
        tokens = {i: from_printable(text) for text, i in tokenizer.get_vocab().items()}
    else:
        raise TypeError(
            "expected a BPETokenizer or a fast Hugging Face tokenizer, got "
            f"{type(tokenizer).__name__}"
        )
    size = max([*tokens, *special]) + 1
    return [None if i in special else tokens.get(i) for i in range(size)]


def _encoder(tokenizer: Any):
    if isinstance(tokenizer, BPETokenizer):
        return lambda text: tokenizer.encode(text, special=False)
    return lambda text: tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def _whole_characters(span: bytes) -> str:
    """The text of a span, without a piece of a character at its start or end."""
    for cut in range(4):
        try:
            return span[: len(span) - cut].decode()
        except UnicodeDecodeError:
            continue
    return ""
