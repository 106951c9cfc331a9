"""Regular expressions and automata: by hand, invariants, and Python's ``re`` as the oracle."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from course_utils.prompting import automata
from course_utils.prompting import regex_syntax as rx
from course_utils.prompting.automata import DEAD, START, compile_regex, utf8_sequences

PATTERNS = (
    "ab|c+",
    "(?:a|bc){2,5}d?",
    "[a-c]{3}(?:x*|yy)z",
    "(a|b)*abb",
    r"-?(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,3})?",
    r'"(?:[^"\\]|\\["\\n])*"',
    "a{2}(?:b{0,3}c?){1,2}|",
    r"\d+\s\w?",
    "[^a-y0]{1,3}é?",
    "(?:ab?){0,3}b",
    "((a*)*|b)+c",
)
ALPHABET = 'abcdxyz019.-"\\n é€𝄞\t'


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(9)))


def random_member(automaton, rng: random.Random) -> bytes:
    """A text by a random walk; it ends at an accepting state with probability one half."""
    state, found = START, bytearray()
    while True:
        ways = np.flatnonzero(automaton.table[state])
        if automaton.accepting[state] and (not len(ways) or rng.random() < 0.5):
            return bytes(found)
        found.append(int(rng.choice(list(ways))))
        state = int(automaton.table[state, found[-1]])


def test_by_hand():
    # ab|c+: start, after a, after ab, after c, after cc.. -> the loop gives one state more
    automaton = compile_regex("ab|c+")
    assert [automaton.accepts(t) for t in ("ab", "c", "ccc")] == [True] * 3
    assert [automaton.accepts(t) for t in ("", "a", "abc", "ca", "b")] == [False] * 5
    assert np.flatnonzero(automaton.table[START]).tolist() == [ord("a"), ord("c")]
    assert automaton.forced(automaton.walk(b"a")) == b"b"
    assert automaton.forced(START) == b""
    assert automaton.is_final(automaton.walk(b"ab")) and not automaton.is_final(
        automaton.walk(b"c")
    )


def test_distance_and_longest_by_hand():
    automaton = compile_regex("(?:abc){1,3}|abcdefgh{2}i?")
    assert automaton.distance[START] == 3
    assert automaton.distance[automaton.walk(b"abcd")] == 5  # e f g h h
    assert automaton.longest == 10
    assert compile_regex("a*b").longest is None
    assert compile_regex("é{2,5}").longest == 10  # bytes, not characters


@pytest.mark.parametrize("pattern", PATTERNS)
def test_same_as_re(pattern):
    rng, ours, theirs = random.Random(3), compile_regex(pattern), re.compile(pattern, re.ASCII)
    for _ in range(400):
        text = random_text(rng)
        assert ours.accepts(text) == bool(theirs.fullmatch(text)), text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_random_bytes_agree_with_re(pattern):
    """Bytes that are no UTF-8 are never accepted; all others as ``re`` says."""
    rng, ours, theirs = random.Random(5), compile_regex(pattern), re.compile(pattern, re.ASCII)
    pool = [*ALPHABET.encode(), 0xC3, 0x80, 0xFF, 0xED, 0xA0]
    for _ in range(400):
        data = bytes(rng.choice(pool) for _ in range(rng.randrange(7)))
        try:
            expected = bool(theirs.fullmatch(data.decode()))
        except UnicodeDecodeError:
            expected = False
        assert ours.accepts(data) == expected, data


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_walk_is_accepted_by_re(pattern):
    rng, ours, theirs = random.Random(7), compile_regex(pattern), re.compile(pattern, re.ASCII)
    for _ in range(100):
        text = random_member(ours, rng)
        assert theirs.fullmatch(text.decode()), text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_dead_ends(pattern):
    automaton = compile_regex(pattern)
    assert (automaton.distance[1:] >= 0).sum() == len(automaton)
    assert not automaton.table[DEAD].any() and not automaton.accepting[DEAD]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_printed_tree_is_the_same_language(pattern):
    rng, printed = random.Random(11), rx.to_pattern(rx.parse(pattern))
    first, second, theirs = compile_regex(pattern), compile_regex(printed), re.compile(printed)
    for _ in range(200):
        text = random_text(rng)
        assert first.accepts(text) == second.accepts(text) == bool(theirs.fullmatch(text))


@pytest.mark.parametrize(
    "low, high", [(0, 0x7F), (0x61, 0x10FFFF), (0x3FF, 0x1003), (0xE000, 0x1F600), (0x80, 0x80)]
)
def test_utf8_sequences_cover_exactly_the_range(low, high):
    if low < 0xD800 <= high:
        high = 0xD7FF  # a class never holds surrogates
    sequences = utf8_sequences(low, high)
    rng = random.Random(13)
    codes = [low, high, *(rng.randint(low, high) for _ in range(200))]
    codes += [
        max(low - 1, 0),
        min(high + 1, 0x10FFFF),
        *(rng.randrange(0xD800) for _ in range(200)),
    ]
    for code in codes:
        if 0xD800 <= code <= 0xDFFF:
            continue
        data = chr(code).encode()
        hits = sum(
            len(s) == len(data) and all(a <= b <= c for (a, c), b in zip(s, data, strict=True))
            for s in sequences
        )
        assert hits == (low <= code <= high), hex(code)


@pytest.mark.parametrize(
    "pattern, says",
    [
        ("(a", "not closed"),
        ("a**", "double repetition"),
        ("a+?", "lazy"),
        ("(?=a)b", "only (?:...)"),
        ("^a", "not supported here"),
        (r"(a)\1", "\\1 is not supported"),
        ("a{3,2}", "at least 3 and at most 2"),
        ("a{x}", "expected {m}"),
        ("a)", "unexpected ')'"),
        ("[z-a]", "in order"),
        ("a\\", "unexpected end"),
    ],
)
def test_refused_with_a_reason(pattern, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        compile_regex(pattern)


def test_empty_language_and_size_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="no text"):
        compile_regex(r"a[^\x00-\U0010ffff]")
    monkeypatch.setattr(automata, "MAX_STATES", 997)
    with pytest.raises(ValueError, match="bound it tighter"):
        compile_regex("(?:[^a]{0,500}){0,500}")
    with pytest.raises(ValueError, match="automaton needs more than 997"):
        compile_regex("(?:a|b)*a" + "(?:a|b)" * 11)  # 11 letters to remember: 2^12 states


def test_restricted_takes_out_bytes_and_what_needs_them():
    usable = np.ones(256, dtype=bool)
    usable[ord("x")] = False
    automaton = compile_regex("ax|ab|x*c").restricted(usable)
    assert [automaton.accepts(t) for t in ("ab", "c")] == [True, True]
    assert [automaton.accepts(t) for t in ("ax", "xc")] == [False, False]
    assert automaton.forced(automaton.walk(b"a")) == b"b"
    with pytest.raises(ValueError, match="no text fits"):
        compile_regex("x+").restricted(usable)
