"""Chapter 1 – Pre-tokenization: where a subword tokenizer may never merge across.

A byte-pair tokenizer first cuts the text into pieces with a regular expression and then merges
bytes inside each piece only. The cut decides much of a tokenizer's behaviour (are digits kept
apart, does a word carry its leading space), so it is stored with the merges. This module reads
the ``pre_tokenizer`` entry of a Hugging Face ``tokenizer.json`` and does the same cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import regex

# Radford et al. (2019), the pattern of GPT-2: contractions, words, numbers, the rest, spaces
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# GPT-4 (tiktoken, cl100k_base): any case of a contraction, at most three digits, line ends apart
GPT4_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Runs of words with their spaces: lets merges cross word borders (Liu et al. 2025, SuperBPE)
SUPERWORD_PATTERN = r"[\p{L}\p{M}' ]+|\p{N}{1,3}|[^\p{L}\p{M}\p{N}' ]+"

BYTE_LEVEL_PLAIN = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
KNOWN = ("ByteLevel", "Digits", "Split", "Sequence")

# Letters, marks and numbers that Unicode received after version 16. Our regex package knows
# them, the one inside `tokenizers` does not, so both would cut them differently. They are
# hidden from the pattern behind a code point that no version has assigned.
_AFTER_UNICODE_16 = (
    "558 58b-58c 5c8-5c9 88f b53-b54 c5c cdc 1acf-1af0 208f 209d-209f a7ce-a7cf a7d2 a7d4 "
    "a7dd-a7f1 ab6c-ab6d 107bb-107bf 10940-10959 10ec5-10efb 11b0a-11b67 11db0-11df1 1246f "
    "12475-1247f 12550-12686 16ea0-16ed3 16ff2-16ff6 187f8-187ff 18cd6-18cda 18d09-191d2 "
    "1b123-1b128 1b168 1d127-1d128 1d250-1d281 1d6a6 1df1f-1df24 1df2b-1dfff 1e6c0-1e6ff "
    "2b73a-2b73f 2b81e 2cea2-2cead 323b0-3fc3f"
)
_NUMBERS_AFTER_UNICODE_17 = "1246f 12475-1247f 12550-12686"  # the Digits step is one version on
_UNASSIGNED = "\u0378"

Step = Callable[[str], list[str]]
Span = tuple[int, int, bool]


def _hide(ranges: str) -> Callable[[str], str]:
    """A function that replaces the code points of ``ranges`` (hexadecimal) one for one."""
    parts = [part.partition("-")[::2] for part in ranges.split()]
    members = "".join(f"{chr(int(a, 16))}-{chr(int(b or a, 16))}" for a, b in parts)
    newer = regex.compile(f"[{members}]")
    return lambda text: newer.sub(_UNASSIGNED, text)


@lru_cache(maxsize=2)
def _hider(ranges: str) -> Callable[[str], str]:
    return _hide(ranges)


class PreTokenizer:
    """Cuts text into pieces; merges never cross the border between two pieces.

    Args:
        config: the ``pre_tokenizer`` entry of a ``tokenizer.json``: one of ``ByteLevel``,
            ``Digits``, ``Split``, or a ``Sequence`` of them that ends in ``ByteLevel``.

    Raises:
        ValueError: for a kind or an option that is not known here, or without ``ByteLevel``.

    >>> PreTokenizer.from_pattern(GPT2_PATTERN).split("I've 2 cats")
    ['I', "'ve", ' 2', ' cats']
    """

    def __init__(self, config: dict) -> None:
        entries = _flatten(config)
        kinds = [entry["type"] for entry in entries]
        if kinds.count("ByteLevel") != 1 or kinds[-1] != "ByteLevel":
            raise ValueError(f"a byte-level tokenizer must end in one ByteLevel step, got {kinds}")
        self.config = config
        self._steps = [_STEPS[entry["type"]](entry) for entry in entries]

    @classmethod
    def from_pattern(cls, pattern: str) -> PreTokenizer:
        """Cut by one regular expression; text between two matches is a piece as well."""
        if pattern == GPT2_PATTERN:
            return cls(dict(BYTE_LEVEL_PLAIN))
        split = {
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": False,
        }
        bytes_only = BYTE_LEVEL_PLAIN | {"use_regex": False}
        return cls({"type": "Sequence", "pretokenizers": [split, bytes_only]})

    def split(self, text: str) -> list[str]:
        """The pieces of ``text``, in order; joined they give the text back (no prefix space)."""
        pieces = [text]
        for step in self._steps:
            pieces = [part for piece in pieces for part in step(piece)]
        return pieces


def _flatten(config: dict | None) -> list[dict]:
    """The steps of a ``pre_tokenizer`` entry, nested sequences unrolled."""
    if not isinstance(config, dict) or config.get("type") not in KNOWN:
        found = config.get("type") if isinstance(config, dict) else config
        raise ValueError(f"pre_tokenizer must be one of {', '.join(KNOWN)}; got {found!r}")
    if config["type"] != "Sequence":
        return [config]
    return [step for inner in config["pretokenizers"] for step in _flatten(inner)]


def _byte_level(entry: dict) -> Step:
    cut = _cutter(GPT2_PATTERN) if entry.get("use_regex", True) else lambda text: [text]
    if not entry.get("add_prefix_space", True):
        return cut
    return lambda text: cut(text if text.startswith(" ") else " " + text)


def _digits(entry: dict) -> Step:
    number = r"\p{N}" if entry.get("individual_digits", False) else r"\p{N}+"
    return _cutter(number + r"|\P{N}+", _NUMBERS_AFTER_UNICODE_17)


def _split(entry: dict) -> Step:
    kind, value = next(iter(entry["pattern"].items()))
    if kind not in ("Regex", "String"):
        raise ValueError(f"a Split pattern must be a Regex or a String, got {kind!r}")
    pattern = value if kind == "Regex" else regex.escape(value)
    behaviour, invert = entry["behavior"], entry.get("invert", False)
    if behaviour not in _BEHAVIOURS:
        raise ValueError(f"behavior must be one of {', '.join(_BEHAVIOURS)}; got {behaviour!r}")
    if behaviour == "Isolated":  # which side is the match does not matter when all are kept
        return _cutter(pattern)
    join, compiled = _BEHAVIOURS[behaviour], regex.compile(pattern)

    def step(text: str) -> list[str]:
        spans = _spans(compiled, _hider(_AFTER_UNICODE_16)(text))
        chosen = join([(a, b, match != invert) for a, b, match in spans])
        return [text[a:b] for a, b in chosen]

    return step


def _cutter(pattern: str, newer: str = _AFTER_UNICODE_16) -> Step:
    """Cut at every match and keep everything (``Isolated``); the fast and usual case."""
    compiled, hide = regex.compile(pattern), _hider(newer)

    def step(text: str) -> list[str]:
        seen = text if text.isascii() else hide(text)
        if seen == text and not compiled.groups:  # with groups, findall returns the groups
            pieces = compiled.findall(text)
            if sum(map(len, pieces)) == len(text):
                return pieces
        return [text[a:b] for a, b, _ in _spans(compiled, seen)]

    return step


def _spans(compiled: regex.Pattern, text: str) -> Iterator[Span]:
    """(start, end, is it a match) for every part of the text, matches and gaps, none empty."""
    position = 0
    for match in compiled.finditer(text):
        start, end = match.span()
        if start > position:
            yield position, start, False
        if end > start:
            yield start, end, True
        position = end
    if position < len(text):
        yield position, len(text), False


def _removed(spans: Iterable[Span]) -> list[tuple[int, int]]:
    return [(a, b) for a, b, match in spans if not match]


def _contiguous(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """Neighbours of the same kind become one piece."""
    joined: list[Span] = []
    for a, b, match in spans:
        if joined and joined[-1][2] == match:
            a = joined.pop()[0]
        joined.append((a, b, match))
    return [(a, b) for a, b, _ in joined]


def _with_previous(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """A match is glued to the piece before it, but not to another match."""
    joined: list[tuple[int, int]] = []
    after_match = False
    for a, b, match in spans:
        if match and not after_match and joined:
            a = joined.pop()[0]
        joined.append((a, b))
        after_match = match
    return joined


def _with_next(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """The mirror image of :func:`_with_previous`."""
    mirrored = [(-b, -a, match) for a, b, match in reversed(list(spans))]
    return [(-b, -a) for a, b in reversed(_with_previous(mirrored))]


_BEHAVIOURS = {
    "Isolated": None,
    "Removed": _removed,
    "Contiguous": _contiguous,
    "MergedWithPrevious": _with_previous,
    "MergedWithNext": _with_next,
}
_STEPS = {"ByteLevel": _byte_level, "Digits": _digits, "Split": _split}
