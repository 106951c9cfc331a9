"""Chapter 1 – Byte-level byte-pair encoding: train, encode, decode, save, and read others' files.

A token is a byte string. The 256 bytes are tokens, so no text is out of vocabulary; every merge
adds the concatenation of two tokens. ``save`` writes the ``tokenizer.json`` of the Hugging Face
ecosystem, so that a tokenizer trained here opens there, and :meth:`BPETokenizer.from_hf` reads
SmolLM2's, GPT-2's or any other byte-level BPE file.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

import regex

from course_utils.text import bpe_training, tokenizer_file
from course_utils.text.bpe_training import BYTES, Pair
from course_utils.text.pretokenization import GPT2_PATTERN, PreTokenizer

CACHE_SIZE = 1 << 17


class _Cache(dict):
    """Pre-token -> ids; a piece is merged the first time it is seen, until the cache is full."""

    def __init__(self, tokenizer: BPETokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, piece: str) -> list[int]:
        ids = self._tokenizer._merge(piece.encode("utf-8", "surrogateescape"))
        if len(self) < CACHE_SIZE:
            self[piece] = ids
        return ids


class BPETokenizer:
    """A byte-level BPE tokenizer.

    Use :meth:`train`, :meth:`load` or :meth:`from_hf`; the constructor takes finished parts.

    Args:
        tokens: the byte string of each id.
        merges: pairs of ids in the order in which they were learned; the earlier, the sooner
            they are applied.
        special_tokens: texts that always are one id and are never merged.
        pre_tokenizer: where text is cut before merging.
        unknown: (id, fuse) for bytes without a token; None drops such bytes silently, as the
            `tokenizers` library does. Tokenizers trained here know all bytes.
        whole_pieces: look a piece up as a whole before merging (``ignore_merges`` of LLaMA 3).

    Attributes:
        tokens, merges, special_tokens, pre_tokenizer: as given.

    >>> tokenizer = BPETokenizer.train(["hug hugs pug pugs hug"], vocab_size=259)
    >>> [tokenizer.decode([i]) for i in tokenizer.encode("hugs bug")]
    ['hug', 's', ' ', 'b', 'ug']
    """

    def __init__(
        self,
        tokens: Mapping[int, bytes],
        merges: Sequence[Pair],
        special_tokens: Mapping[str, int],
        pre_tokenizer: PreTokenizer,
        *,
        unknown: tuple[int, bool] | None = None,
        whole_pieces: bool = False,
    ) -> None:
        self.tokens = dict(tokens)
        self.merges = list(merges)
        self.special_tokens = dict(special_tokens)
        self.pre_tokenizer = pre_tokenizer
        self._unknown, self._whole = unknown, whole_pieces
        self._ids = {spelling: i for i, spelling in self.tokens.items()}
        self._byte_ids = [self._ids.get(bytes([byte])) for byte in range(BYTES)]
        self._ranks = self._rank_merges()
        self._special_pattern = _any_of(self.special_tokens)
        self._special_ids = set(self.special_tokens.values())
        self._spelled = self.tokens | {i: text.encode() for text, i in special_tokens.items()}
        self._cache = _Cache(self)

    # -- making one ---------------------------------------------------------------------------

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
        *,
        pattern: str = GPT2_PATTERN,
        min_frequency: int = 1,
    ) -> BPETokenizer:
        """Learn merges from texts: ids 0-255 are the bytes, then the merges, then the specials.

        Training stops early when no pair is left, so ``vocab_size`` is an upper bound.

        Args:
            texts: any iterable of strings (not one string).
            vocab_size: 256 + merges + special tokens.
            special_tokens: cut out of the training text, never learned from.
            pattern: the pre-tokenization, a regular expression for the ``regex`` package.
            min_frequency: pairs seen fewer times are not merged.

        Raises:
            TypeError: if ``texts`` is one string or holds something else than strings.
            ValueError: if ``vocab_size`` leaves no room for bytes and special tokens.
        """
        specials = _check_specials(special_tokens)
        _check_size(vocab_size, BYTES + len(specials))
        pre_tokenizer = PreTokenizer.from_pattern(pattern)
        words = bpe_training.count_pieces(_plain(texts, specials), pre_tokenizer.split)
        size = vocab_size - len(specials)
        merges = bpe_training.learn_merges(words, size, min_frequency=min_frequency)
        return cls._from_merges(merges, specials, pre_tokenizer)

    def extend(self, texts: Iterable[str], vocab_size: int, *, pattern: str) -> BPETokenizer:
        """A new tokenizer that goes on learning with another, coarser pre-tokenization.

        With a pattern that lets pieces run over spaces, the new merges are "superwords"
        (Liu et al. 2025, SuperBPE, section 2): first words, then word groups.

        Args:
            texts, vocab_size: as for :meth:`train`; the vocabulary must grow.
            pattern: the pre-tokenization of the second stage and of all later encoding.

        Raises:
            ValueError: if the vocabulary does not grow, or the ids are not those of :meth:`train`.
        """
        self._require_own_ids()
        specials = list(self.special_tokens)
        _check_size(vocab_size, self.vocab_size + 1)
        pre_tokenizer = PreTokenizer.from_pattern(pattern)
        words = bpe_training.count_pieces(_plain(texts, specials), pre_tokenizer.split)
        size = vocab_size - len(specials)
        merges = bpe_training.learn_merges(words, size, known=self.merges)
        return self._from_merges(merges, specials, pre_tokenizer)

    def shrink(self, vocab_size: int) -> BPETokenizer:
        """The tokenizer as it was when training had reached ``vocab_size``.

        Merges are learned one after the other, so every tokenizer holds all smaller ones.

        Raises:
            ValueError: if ``vocab_size`` is larger than the vocabulary or leaves no room for
                bytes and special tokens, or the ids are not those of :meth:`train`.
        """
        self._require_own_ids()
        specials = list(self.special_tokens)
        _check_size(vocab_size, BYTES + len(specials))
        if vocab_size > self.vocab_size:
            raise ValueError(
                f"the vocabulary has {self.vocab_size} entries, cannot keep {vocab_size}"
            )
        size = vocab_size - len(specials)
        made = (self._ranks[pair][1] < size for pair in self.merges)
        merges = [pair for pair, kept in zip(self.merges, made, strict=True) if kept]
        return self._from_merges(merges, specials, self.pre_tokenizer)

    def _require_own_ids(self) -> None:
        if any(self.tokens.get(byte) != bytes([byte]) for byte in range(BYTES)):
            raise ValueError(
                "this needs a tokenizer made by train(), whose first ids are the bytes"
            )

    @classmethod
    def _from_merges(
        cls, merges: Sequence[Pair], specials: Sequence[str], pre_tokenizer: PreTokenizer
    ) -> BPETokenizer:
        tokens = dict(enumerate(bpe_training.spell(merges)))
        numbers = {text: len(tokens) + i for i, text in enumerate(specials)}
        clash = {text for text in specials if text.encode() in set(tokens.values())}
        if clash:
            raise ValueError(f"special tokens must not spell a learned token: {sorted(clash)}")
        return cls(tokens, merges, numbers, pre_tokenizer)

    def _rank_merges(self) -> dict[Pair, tuple[int, int]]:
        """(rank, id of the merged token) of each pair."""
        return {
            (a, b): (rank, self._ids[self.tokens[a] + self.tokens[b]])
            for rank, (a, b) in enumerate(self.merges)
        }

    # -- using it -----------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._spelled)

    def pieces(self, text: str) -> list[str]:
        """The pre-tokens of a text without special tokens: no token crosses their borders."""
        return self.pre_tokenizer.split(text)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text; nothing is added at its start or end.

        Args:
            text: any string; the empty one gives no ids.
            special: if False, special tokens in the text are spelled out like other text.
                Text from a user must be encoded so, or the user can write control tokens.

        Raises:
            TypeError: if ``text`` is not a string.
            ValueError: if it holds a lone surrogate, which has no UTF-8 form.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, got {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            where = f"{text[error.start]!r} at position {error.start}"
            raise ValueError(f"text holds a lone surrogate, {where}") from error
        if not special or self._special_pattern is None:
            return self._encode_plain(text)
        return self._encode_with_specials(text)

    def encode_bytes(self, data: bytes) -> list[int]:
        """Token ids of any bytes, valid UTF-8 or not; :meth:`decode_bytes` gives them back."""
        return self._encode_plain(data.decode("utf-8", "surrogateescape"))

    def decode(self, ids: Iterable[int], *, special: bool = True, errors: str = "replace") -> str:
        """The text of token ids.

        Args:
            ids: any iterable of ids.
            special: if False, special tokens are left out.
            errors: what becomes of bytes that are no UTF-8 (half a character, for instance):
                ``"replace"`` writes U+FFFD, ``"strict"`` raises.

        Raises:
            ValueError: for an id that the vocabulary does not have.
        """
        if not special:
            ids = (i for i in ids if int(i) not in self._special_ids)
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of token ids, special tokens spelled out."""
        try:
            return b"".join([self._spelled[int(i)] for i in ids])
        except KeyError as error:
            known = f"0 to {max(self._spelled)}"
            raise ValueError(f"no token has the id {error.args[0]}; ids run from {known}") from None

    def _encode_plain(self, text: str) -> list[int]:
        pieces = self.pre_tokenizer.split(text)
        return list(chain.from_iterable(map(self._cache.__getitem__, pieces)))

    def _encode_with_specials(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._special_pattern.split(text):  # the group keeps the special tokens
            number = self.special_tokens.get(part)
            ids.extend(self._encode_plain(part) if number is None else [number])
        return ids

    def _merge(self, piece: bytes) -> list[int]:
        """Ids of one piece: always the earliest learned pair, leftmost first, until none is left.

        A heap holds the pairs that can be merged, so that a piece of n bytes costs O(n log n).
        """
        if self._whole and piece in self._ids:
            return [self._ids[piece]]
        symbols = self._symbols(piece)
        right = [*range(1, len(symbols)), -1]
        left = list(range(-1, len(symbols) - 1))
        ranks = self._ranks
        heap = [
            (ranks[pair], place, pair)
            for place, pair in enumerate(pairwise(symbols))
            if pair in ranks
        ]
        heapq.heapify(heap)
        while heap:
            (_, new), place, pair = heapq.heappop(heap)
            after = right[place]
            if after < 0 or (symbols[place], symbols[after]) != pair:
                continue  # one of the two was merged in the meantime
            symbols[place], symbols[after] = new, -1
            right[place], right[after] = right[after], -1
            if right[place] >= 0:
                left[right[place]] = place
            for at in (left[place], place):
                if at >= 0 and right[at] >= 0:
                    near = (symbols[at], symbols[right[at]])
                    if near in ranks:
                        heapq.heappush(heap, (ranks[near], at, near))
        return [symbol for symbol in symbols if symbol >= 0]

    def _symbols(self, piece: bytes) -> list[int]:
        """The id of each byte; bytes without one are dropped or become the unknown token."""
        symbols = [self._byte_ids[byte] for byte in piece]
        if None not in symbols:
            return symbols
        if self._unknown is None:
            return [symbol for symbol in symbols if symbol is not None]
        number, fuse = self._unknown
        return [
            number if symbol is None else symbol
            for i, symbol in enumerate(symbols)
            if not (fuse and symbol is None and i and symbols[i - 1] is None)
        ]

    # -- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``tokenizer.json`` that :meth:`load` and the `tokenizers` library read."""
        content = tokenizer_file.write_dict(
            self.tokens,
            self.merges,
            self.special_tokens,
            self.pre_tokenizer.config,
            self._unknown,
            self._whole,
        )
        text = json.dumps(content, ensure_ascii=False, indent=1)
        target = Path(path)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> BPETokenizer:
        """Read a tokenizer that :meth:`save` wrote (or any other that :meth:`from_hf` reads)."""
        return cls.from_hf(path)

    @classmethod
    def from_hf(cls, tokenizer_json_path: str | os.PathLike) -> BPETokenizer:
        """Read a byte-level BPE ``tokenizer.json``: same ids as its own library, nothing added.

        Vocabulary, merges, special tokens and the pre-tokenization (ByteLevel, Digits, Split,
        Sequence) are taken over. A template that adds tokens at the ends is not: the ids are
        those of ``Tokenizer.encode(text, add_special_tokens=False)``.

        Raises:
            ValueError: if the file is not a byte-level BPE tokenizer, or uses an option that
                would change the ids and is not known here.
        """
        return cls(**tokenizer_file.read_parts(Path(tokenizer_json_path)))


def _any_of(texts: Iterable[str]) -> regex.Pattern | None:
    """A pattern that finds any of the texts, the longest first."""
    ordered = sorted(texts, key=len, reverse=True)
    return regex.compile("(" + "|".join(map(regex.escape, ordered)) + ")") if ordered else None


def _check_specials(special_tokens: Sequence[str]) -> list[str]:
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens must be a list of strings, got {special_tokens!r}")
    specials = list(dict.fromkeys(special_tokens))
    if not all(isinstance(text, str) and text for text in specials):
        raise ValueError(f"special tokens must be non-empty strings, got {specials}")
    return specials


def _check_size(vocab_size: int, least: int) -> None:
    if not isinstance(vocab_size, int) or vocab_size < least:
        raise ValueError(f"vocab_size must be a whole number of {least} or more: {vocab_size!r}")


def _plain(texts: Iterable[str], specials: Sequence[str]) -> Iterator[str]:
    """The texts with the special tokens cut out."""
    if isinstance(texts, str):
        raise TypeError("texts must be an iterable of strings, got one string; wrap it in a list")
    pattern = _any_of(specials)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"texts must hold strings, got {type(text).__name__}")
        if pattern is None:
            yield text
        else:
            yield from (part for part in pattern.split(text) if part not in specials)
