"""Chapter 1 – Training byte-pair encoding: which pairs to merge, counted once and kept up to date.

The naive algorithm counts all pairs again after every merge. :class:`PairIndex` counts once,
remembers where each pair stands, and touches only the places that a merge changes, so that its
cost grows with the number of changed pairs and not with corpus × merges.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

Pair = tuple[int, int]
BYTES = 256


def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte value in GPT-2's files.

    Printable Latin-1 bytes stand for themselves; the 68 others take the code points from 256
    on, so that a space is written ``Ġ`` (Radford et al. 2019, ``bytes_to_unicode``).
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(BYTES, BYTES + 68))
    return tuple(chr(byte if byte in plain else next(others)) for byte in range(BYTES))


# position in the sorted alphabet, for each byte: decides ties as the `tokenizers` trainer does
ALPHABET = byte_alphabet()
_BYTE_AT = sorted(range(BYTES), key=ALPHABET.__getitem__)
_PLACE_OF = {byte: place for place, byte in enumerate(_BYTE_AT)}


class PairIndex:
    """All neighbouring pairs of a weighted word list, kept up to date while pairs are merged.

    Every symbol of every word has a slot in flat lists; ``left`` and ``right`` link the slots of
    a word, -1 marks its ends. ``places`` may hold slots that are out of date: they are checked
    when they are used.

    Args:
        words: symbol sequences with their frequencies.

    Attributes:
        counts: frequency of each pair, overlaps included ("aaa" holds the pair (a, a) twice).
        updates: how many pair counts were touched so far, the cost of training.
    """

    def __init__(self, words: Mapping[Sequence[int], int]) -> None:
        self.symbols: list[int] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.weights: list[int] = []
        self.counts: dict[Pair, int] = {}
        self.places: dict[Pair, list[int]] = {}
        self.updates = 0
        for word, frequency in words.items():
            self._add_word(word, frequency)
        self._heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self._heap)

    def _add_word(self, word: Sequence[int], frequency: int) -> None:
        first, last = len(self.symbols), len(self.symbols) + len(word) - 1
        self.symbols.extend(word)
        self.left.extend([-1, *range(first, last)] if word else [])
        self.right.extend([*range(first + 1, last + 1), -1] if word else [])
        self.weights.extend([frequency] * len(word))
        for place in range(first, last):
            self._change(self._pair(place), place, frequency)

    def _pair(self, place: int) -> Pair:
        return self.symbols[place], self.symbols[self.right[place]]

    def _change(self, pair: Pair, place: int, amount: int) -> None:
        """Add to a pair's count; an increase also records where it happened."""
        self.counts[pair] = self.counts.get(pair, 0) + amount
        self.updates += 1
        if amount > 0:
            self.places.setdefault(pair, []).append(place)

    def most_frequent(self) -> tuple[Pair, int] | None:
        """The pair with the highest count and that count; ties go to the smallest pair.

        The heap may hold counts that have fallen since: such an entry is corrected and put back.
        """
        while self._heap:
            noted, pair = heapq.heappop(self._heap)
            count = self.counts.get(pair, 0)
            if count == -noted:
                return (pair, count) if count > 0 else None
            if count > 0:
                heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, pair: Pair, new: int) -> None:
        """Replace every occurrence of ``pair``, from left to right, by the symbol ``new``."""
        raised: set[Pair] = set()
        for place in sorted(self.places.pop(pair, ())):
            after = self.right[place]
            if after < 0 or (self.symbols[place], self.symbols[after]) != pair:
                continue  # this slot has been merged since it was noted
            self._merge_at(place, after, new, raised)
        self.counts.pop(pair, None)
        for risen in raised:
            heapq.heappush(self._heap, (-self.counts[risen], risen))

    def _merge_at(self, place: int, after: int, new: int, raised: set[Pair]) -> None:
        """Merge two neighbours and correct the counts of the pairs to the left and right."""
        weight, before, beyond = self.weights[place], self.left[place], self.right[after]
        if before >= 0:
            self._change(self._pair(before), before, -weight)
        if beyond >= 0:
            self._change(self._pair(after), after, -weight)
        self.symbols[place], self.symbols[after] = new, -1  # -1: a dead slot matches no pair
        self.right[place], self.right[after] = beyond, -1
        if beyond >= 0:
            self.left[beyond] = place
            self._change(self._pair(place), place, weight)
            raised.add(self._pair(place))
        if before >= 0:
            self._change(self._pair(before), before, weight)
            raised.add(self._pair(before))


def learn_merges(
    words: Mapping[bytes, int],
    size: int,
    *,
    known: Sequence[Pair] = (),
    min_frequency: int = 1,
    index: PairIndex | None = None,
) -> list[Pair]:
    """Learn byte-pair merges: again and again the most frequent pair becomes one symbol.

    Symbols 0-255 are the bytes; every merge that spells a new byte string adds one. Two merges
    may spell the same string, "a"+"bc" and "ab"+"c": they share the symbol. Ties go to the pair
    that comes first, bytes in the order of GPT-2's alphabet before merged symbols in the order
    of their birth, as in the `tokenizers` trainer.

    Args:
        words: pieces (bytes) with their frequencies; no merge crosses a piece.
        size: number of symbols to reach, the 256 bytes included.
        known: merges that exist already and are applied first.
        min_frequency: pairs rarer than this are not merged.
        index: a PairIndex to use (a caller that wants to read its counters passes its own;
            see :func:`index_words`).

    Returns:
        All merges, the known ones first; the symbols are numbered as in the result.

    Source: Sennrich et al. (2016), algorithm 1, on bytes.
    """
    merges, spellings = list(known), spell(known)
    index = index or index_words(words, known)
    numbers = {spelling: number for number, spelling in enumerate(spellings)}
    while len(spellings) < size:
        best = index.most_frequent()
        if best is None or best[1] < min_frequency:
            break
        pair = tuple(map(_to_byte, best[0]))
        spelling = spellings[pair[0]] + spellings[pair[1]]
        if spelling not in numbers:
            numbers[spelling] = len(spellings)
            spellings.append(spelling)
        index.merge(best[0], numbers[spelling])
        merges.append(pair)
    return list(dict.fromkeys(merges))


def index_words(words: Mapping[bytes, int], known: Sequence[Pair] = ()) -> PairIndex:
    """The PairIndex of a word list, bytes renumbered so that ties fall as documented."""
    places = {tuple(map(_to_place, word)): count for word, count in words.items()}
    index = PairIndex(places)
    numbers = _numbers(known)
    for pair in known:
        index.merge(tuple(map(_to_place, pair)), numbers[pair])
    return index


def naive_merges(words: Mapping[bytes, int], size: int) -> tuple[list[Pair], int]:
    """The textbook algorithm: count every pair of every word again before each merge.

    Args:
        words, size: as for :func:`learn_merges`, which finds the same merges.

    Returns:
        The merges, and how many pairs were counted to find them.
    """
    corpus = {tuple(map(_to_place, word)): count for word, count in words.items()}
    merges: list[Pair] = []
    counted = 0
    while len(spell(merges)) < size:
        counts: Counter[Pair] = Counter()
        for word, frequency in corpus.items():
            for pair in itertools.pairwise(word):
                counts[pair] += frequency
                counted += 1
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append((_to_byte(best[0]), _to_byte(best[1])))
        new = _numbers(merges)[merges[-1]]
        corpus = {merge_pair(word, best, new): count for word, count in corpus.items()}
    return merges, counted


def merge_pair(symbols: Sequence[int], pair: Pair, new: int) -> tuple[int, ...]:
    """Replace ``pair`` by ``new``, from left to right and without overlap.

    >>> merge_pair((7, 7, 7, 2), (7, 7), 9)
    (9, 7, 2)
    """
    first, second = pair
    if first not in symbols:
        return tuple(symbols)
    merged: list[int] = []
    after_first = False  # a `first` is waiting for its right neighbour
    for symbol in symbols:
        if after_first and symbol == second:
            merged[-1] = new
            after_first = False
        else:
            merged.append(symbol)
            after_first = symbol == first
    return tuple(merged)


def count_pieces(texts: Iterable[str], split: Callable[[str], list[str]]) -> Counter[bytes]:
    """Frequency of each pre-token, as UTF-8 bytes, over a collection of texts."""
    pieces: Counter[str] = Counter()
    for text in texts:
        pieces.update(split(text))
    return Counter({piece.encode(): count for piece, count in pieces.items()})


def _to_place(symbol: int) -> int:
    return _PLACE_OF.get(symbol, symbol)


def _to_byte(symbol: int) -> int:
    return _BYTE_AT[symbol] if symbol < BYTES else symbol


def spell(merges: Sequence[Pair]) -> list[bytes]:
    """The byte string of every symbol."""
    spellings = [bytes([byte]) for byte in range(BYTES)]
    seen = set(spellings)
    for a, b in merges:
        if (spelling := spellings[a] + spellings[b]) not in seen:
            spellings.append(spelling)
            seen.add(spelling)
    return spellings


def _numbers(merges: Sequence[Pair]) -> dict[Pair, int]:
    """The symbol that each merge makes."""
    spellings = spell(merges)
    numbers = {spelling: number for number, spelling in enumerate(spellings)}
    return {(a, b): numbers[spellings[a] + spellings[b]] for a, b in merges}
