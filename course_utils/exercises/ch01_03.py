"""Exercises of lesson 1.3: pair counts, BPE encoding, streamed text, the most probable cut."""

from __future__ import annotations

import codecs
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise

from course_utils.exercises.engine import Exercise, Trial, Wrong

LETTERS = "abcdefghijklmnopqrstuvwxyz"

# -- 1.3.1 pair counts -------------------------------------------------------------------------


def pair_counts(words: Mapping[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    for symbols, frequency in words.items():
        for pair in pairwise(symbols):
            counts[pair] += frequency
    return dict(counts)


def pair_counts_by_index(words: Mapping[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts = {}
    for symbols, frequency in words.items():
        for i in range(len(symbols) - 1):
            pair = (symbols[i], symbols[i + 1])
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


def without_frequencies(words):
    return pair_counts(dict.fromkeys(words, 1))


def once_per_word(words):
    counts: Counter = Counter()
    for symbols, frequency in words.items():
        for pair in set(pairwise(symbols)):
            counts[pair] += frequency
    return dict(counts)


def across_words(words):
    counts: Counter = Counter()
    before = None
    for symbols, frequency in words.items():
        for symbol in symbols:
            if before is not None:
                counts[before, symbol] += frequency
            before = symbol
    return dict(counts)


def every_second_pair(words):
    counts: Counter = Counter()
    for symbols, frequency in words.items():
        for pair in zip(symbols[::2], symbols[1::2], strict=False):
            counts[pair] += frequency
    return dict(counts)


def _random_words(t: Trial) -> dict[tuple[str, ...], int]:
    """Words over few symbols, one with a repeated pair, one with a run, one of one symbol."""
    a, b, c, longer = *t.rng.sample(LETTERS, 3), "".join(t.rng.sample(LETTERS, 2))
    words = {(a, b, a, b): t.rng.randint(2, 9), (c, c, c): t.rng.randint(2, 9), (b,): 5}
    while len(words) < 6:
        size = t.rng.randint(2, 6)
        words[tuple(t.rng.choices((a, b, c, longer), k=size))] = t.rng.randint(2, 9)
    return words


def check_pair_counts(answer, t: Trial) -> None:
    for _ in range(4):
        words = _random_words(t)
        t.equal(
            t.call(answer, words),
            pair_counts(words),
            says="Go through each word and add its frequency for every pair of neighbours.",
            mistakes=[
                (
                    without_frequencies(words),
                    "The words are types: a word with frequency 7 adds 7 to each of its pairs.",
                ),
                (
                    once_per_word(words),
                    "A pair that stands twice in a word counts twice: `abab` holds `ab` two times.",
                ),
                (
                    across_words(words),
                    "The end of one word and the start of the next are no pair.",
                ),
                (
                    every_second_pair(words),
                    "Pairs overlap: `abc` holds `ab` and `bc`.",
                ),
            ],
        )
    t.passed("Four random word lists give the right counts, repeated pairs included")
    t.equal(t.call(answer, {("x",): 3}), {}, says="A word of one symbol has no pair.")
    t.passed("a word of one symbol gives none")


PAIRS = Exercise(
    id="1.3.1",
    title="Count the pairs",
    difficulty="easy",
    minutes=6,
    statement="""
Training begins each round with a count. Write it.

`words` maps each word, a tuple of its symbols so far, to how often the word stands in the corpus.
Return how often each pair of neighbouring symbols stands in the corpus.
""",
    stub='''
def pair_counts(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """Frequency of each pair of neighbouring symbols.

    >>> pair_counts({("h", "ug"): 10, ("h", "ug", "s"): 5})
    {('h', 'ug'): 15, ('ug', 's'): 5}
    """
    raise NotImplementedError
''',
    name="pair_counts",
    reference=pair_counts,
    alternatives=(pair_counts_by_index,),
    wrong=(
        Wrong(without_frequencies, "adds 7 to each of its pairs"),
        Wrong(once_per_word, "counts twice"),
        Wrong(across_words, "are no pair"),
        Wrong(every_second_pair, "Pairs overlap"),
    ),
    check=check_pair_counts,
    hints=(
        "Two loops: one over the words with their frequencies, one over the pairs of a word.",
        'Try `pair_counts({("a", "a", "a"): 2})`. The pair `("a", "a")` stands twice in the word, '
        "and the word stands twice in the corpus: 4.",
        "1. start with an empty dictionary\n"
        "2. for `symbols, frequency` in `words.items()`:\n"
        "3. for each `i`, add `frequency` to the entry of `(symbols[i], symbols[i + 1])`",
    ),
)


# -- 1.3.2 encoding ----------------------------------------------------------------------------


def bpe_encode(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    symbols = list(word)
    while True:
        known = [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
        if not known:
            return symbols
        _, i = min(known)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def replay_merges(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    symbols = list(word)
    for left, right in sorted(ranks, key=ranks.get):
        i = 0
        while i < len(symbols) - 1:
            if (symbols[i], symbols[i + 1]) == (left, right):
                symbols[i : i + 2] = [left + right]
            i += 1
    return symbols


def leftmost_first(word, ranks):
    symbols = list(word)
    while True:
        known = [i for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
        if not known:
            return symbols
        i = known[0]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def latest_first(word, ranks):
    return bpe_encode(word, {pair: -rank for pair, rank in ranks.items()})


def longest_match(word, ranks):
    known = {a + b for a, b in ranks} | set(word)
    pieces = []
    while word:
        size = next(n for n in range(len(word), 0, -1) if word[:n] in known)
        pieces.append(word[:size])
        word = word[size:]
    return pieces


def one_merge_only(word, ranks):
    symbols = list(word)
    known = [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
    if known:
        _, i = min(known)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return symbols


def _three_words(t: Trial) -> list[tuple[str, dict[tuple[str, str], int], str]]:
    """Three small cases, each with the sentence for the mistake that it uncovers."""
    x, y, z = t.rng.sample(LETTERS, 3)
    word = x + y + z
    return [
        (
            word,
            {(x, y): 0, (y, z): 1},
            "A small rank means learned early, and the earliest merge goes first.",
        ),
        (
            word,
            {(y, z): 0, (x, y + z): 1, (x, y): 2},
            "Of all known pairs take the one with the smallest rank, not the leftmost one.",
        ),
        (
            word,
            {(y, z): 0, (x, y): 1},
            "BPE replays its merges. It does not look for the longest known piece.",
        ),
    ]


def _trained_ranks(t: Trial) -> dict[tuple[str, str], int]:
    """Merges learned from random words, as training would give them."""
    letters = t.rng.sample(LETTERS, 4)
    words = Counter(tuple(t.rng.choices(letters, k=t.rng.randint(3, 7))) for _ in range(12))
    ranks: dict[tuple[str, str], int] = {}
    for rank in range(8):
        counts = pair_counts(words)
        if not counts:
            break
        left, right = max(counts, key=lambda pair: (counts[pair], pair))
        ranks[left, right] = rank
        words = Counter(
            {tuple(replay_merges_on(word, left, right)): n for word, n in words.items()}
        )
    return ranks


def replay_merges_on(symbols: tuple[str, ...], left: str, right: str) -> list[str]:
    """One merge over a tuple of symbols."""
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == (left, right):
            merged[-1] = left + right
        else:
            merged.append(symbol)
    return merged


def check_bpe_encode(answer, t: Trial) -> None:
    for word, ranks, sentence in _three_words(t):
        t.equal(
            t.call(answer, word, ranks),
            bpe_encode(word, ranks),
            says=sentence,
            mistakes=[
                (
                    one_merge_only(word, ranks),
                    "One merge is done. Go on until no neighbouring pair has a rank.",
                ),
                (list(word), "Nothing was merged, although a known pair stands in the word."),
            ],
        )
    t.passed("Ranks decide, not position or length")
    for _ in range(6):
        ranks = _trained_ranks(t)
        letters = sorted({c for pair in ranks for side in pair for c in side})
        word = "".join(t.rng.choices(letters, k=9))
        if bpe_encode(word, ranks) != replay_merges(word, ranks):
            continue  # two merges spell one string: the order of equal choices would matter
        t.equal(
            t.call(answer, word, ranks),
            bpe_encode(word, ranks),
            says="After a merge there are new pairs: look at all of them again.",
        )
    t.passed("random words under random trained merges come out right")
    t.equal(t.call(answer, "", {("a", "b"): 0}), [], says="No characters, no tokens.")
    t.passed("the empty word gives no token")


ENCODE = Exercise(
    id="1.3.2",
    title="Encode with merge ranks",
    difficulty="medium",
    minutes=12,
    statement="""
Write the encoder. It starts from single characters and replays what training did.

- `ranks` maps each pair that training merged to its place in the order of merges: 0 came first.
- As long as some neighbouring pair has a rank, merge the pair with the smallest rank. If it stands
  in several places, take the leftmost one first.
""",
    stub='''
def bpe_encode(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The tokens of a word.

    >>> bpe_encode("hugs", {("u", "g"): 0, ("h", "ug"): 1})
    ['hug', 's']
    """
    raise NotImplementedError
''',
    name="bpe_encode",
    reference=bpe_encode,
    alternatives=(replay_merges,),
    wrong=(
        Wrong(latest_first, "the earliest merge goes first"),
        Wrong(leftmost_first, "not the leftmost one"),
        Wrong(longest_match, "does not look for the longest"),
        Wrong(one_merge_only, "Go on until no"),
    ),
    check=check_bpe_encode,
    hints=(
        "Keep a list of symbols, find the best pair in it, replace two entries by one, repeat.",
        'Try `bpe_encode("xyz", {("y", "z"): 0, ("x", "y"): 1})`. Both pairs are known, `yz` was '
        "learned first: `['x', 'yz']`.",
        "1. `symbols = list(word)`\n"
        "2. collect `(rank, i)` for every `i` whose pair `(symbols[i], symbols[i + 1])` is known\n"
        "3. none: return `symbols`; else take the smallest and put the joined symbol in its place\n"
        "4. go back to 2",
    ),
)


# -- 1.3.3 streaming ---------------------------------------------------------------------------


def stream_text(pieces: Iterable[bytes]) -> list[str]:
    shown, rest = [], b""
    for piece in pieces:
        rest += piece
        try:
            text, rest = rest.decode(), b""
        except UnicodeDecodeError as error:  # error.start: where the unfinished character begins
            text, rest = rest[: error.start].decode(), rest[error.start :]
        shown.append(text)
    return shown


def with_incremental_decoder(pieces: Iterable[bytes]) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(piece) for piece in pieces]


def by_prefixes(pieces: Iterable[bytes]) -> list[str]:
    shown, so_far, before = [], b"", ""
    for piece in pieces:
        so_far += piece
        now = so_far.decode("utf-8", "ignore")
        shown.append(now[len(before) :])
        before = now
    return shown


def replace_each(pieces):
    return [piece.decode("utf-8", "replace") for piece in pieces]


def ignore_each(pieces):
    return [piece.decode("utf-8", "ignore") for piece in pieces]


def wait_for_all(pieces):
    shown, rest = [], b""
    for piece in pieces:
        rest += piece
        try:
            shown.append(rest.decode())
            rest = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def skip_empty(pieces):
    return [text for text in stream_text(pieces) if text]


def _cut_bytes(t: Trial, data: bytes) -> list[bytes]:
    """Random pieces of one to four bytes."""
    pieces = []
    while data:
        size = t.rng.randint(1, 4)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def _judge_stream(t: Trial, got, pieces: list[bytes]) -> None:
    t.equal(
        got,
        stream_text(pieces),
        says="Show each character in the step in which its last byte arrives.",
        mistakes=[
            (
                replace_each(pieces),
                "The reader sees replacement marks (U+FFFD): half a character was decoded on its "
                "own. Keep the bytes back until the rest arrives.",
            ),
            (
                ignore_each(pieces),
                "A character that is spread over two pieces is lost. Keep its first bytes for "
                "the next step.",
            ),
            (
                wait_for_all(pieces),
                "Complete characters wait for an incomplete one behind them. Show the complete "
                "part at once and keep only the rest.",
            ),
            (
                skip_empty(pieces),
                "One text for each piece, please: an empty string where nothing new can be shown.",
            ),
        ],
    )


def check_stream(answer, t: Trial) -> None:
    first, second = t.rng.sample("猫犬鳥🙂🎉€", 2)
    plain = t.rng.choice(LETTERS) + t.rng.choice(LETTERS)
    data = (plain + first).encode()
    pieces = [data[:3], data[3:] + second.encode()[:1], second.encode()[1:], b"!"]
    _judge_stream(t, t.call(answer, pieces), pieces)
    t.passed("Characters cut in two appear whole")
    for _ in range(6):
        text = "".join(t.rng.choices("ab é猫🙂ж", k=15))
        pieces = _cut_bytes(t, text.encode())
        _judge_stream(t, t.call(answer, pieces), pieces)
    t.passed("random cuts give the text back, each character as early as possible")


STREAM = Exercise(
    id="1.3.3",
    title="Stream text without broken characters",
    difficulty="medium",
    minutes=12,
    statement="""
A chat window shows tokens as they arrive. A token is a byte string, and a character may be spread
over two or three of them. Write the function that every such program needs.

For each piece of bytes, return the text that can be shown *now*: a character is shown in the step
in which its last byte arrives, never as a replacement mark, and never later. All pieces together
are valid UTF-8.
""",
    stub='''
def stream_text(pieces: list[bytes]) -> list[str]:
    """One text for each piece; joined, they are the whole text.

    >>> stream_text([b"a\\\\xc3", b"\\\\xa9", b"!"])
    ['a', 'é', '!']
    """
    raise NotImplementedError
''',
    name="stream_text",
    reference=stream_text,
    alternatives=(with_incremental_decoder, by_prefixes),
    wrong=(
        Wrong(replace_each, "replacement marks"),
        Wrong(ignore_each, "is lost"),
        Wrong(wait_for_all, "Complete characters wait"),
        Wrong(skip_empty, "One text for each piece"),
    ),
    check=check_stream,
    hints=(
        "Carry the bytes that are not yet a character from one step to the next.",
        "`'é'.encode()` is `b'\\xc3\\xa9'`. For `[b'\\xc3', b'\\xa9']` the answer is `['', 'é']`.",
        "1. `rest = b''`; for each piece: `rest += piece`\n"
        "2. try `rest.decode()`; if that works, show it and empty `rest`\n"
        "3. a `UnicodeDecodeError` has `.start`, the place of the first bad byte: show the bytes "
        "before it, keep the others",
    ),
)


# -- 1.3.4 the most probable cut ---------------------------------------------------------------


def best_cut(text: str, log_p: Mapping[str, float]) -> list[str]:
    best: list[tuple[float, list[str]]] = [(0.0, [])]
    for end in range(1, len(text) + 1):
        choices = [
            (best[start][0] + log_p[text[start:end]], [*best[start][1], text[start:end]])
            for start in range(end)
            if text[start:end] in log_p and best[start][0] > -math.inf
        ]
        best.append(max(choices, default=(-math.inf, [])))
    return best[-1][1]


def best_cut_recursive(text: str, log_p: Mapping[str, float]) -> list[str]:
    @cache
    def best(start: int) -> tuple[float, tuple[str, ...]]:
        if start == len(text):
            return 0.0, ()
        choices = [(-math.inf, ())]
        for end in range(start + 1, len(text) + 1):
            if text[start:end] in log_p:
                score, pieces = best(end)
                choices.append((log_p[text[start:end]] + score, (text[start:end], *pieces)))
        return max(choices)

    return list(best(0)[1])


def longest_pieces(text, log_p):
    pieces = []
    while text:
        size = next((n for n in range(len(text), 0, -1) if text[:n] in log_p), 1)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def likeliest_next_piece(text, log_p):
    pieces = []
    while text:
        sizes = [n for n in range(1, len(text) + 1) if text[:n] in log_p]
        size = max(sizes, key=lambda n: log_p[text[:n]], default=1)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def fewest_pieces(text, log_p):
    return best_cut(text, dict.fromkeys(log_p, -1.0))


def probabilities_added(text, log_p):
    """Treats the numbers as probabilities: adds exp(log p), so many pieces look good."""
    return best_cut(text, {piece: math.exp(value) for piece, value in log_p.items()})


_CUT_MISTAKES = {
    longest_pieces: "That is the greedy cut into longest pieces (WordPiece). A long piece may be "
    "improbable, or force bad pieces after it.",
    likeliest_next_piece: "Taking the likeliest next piece is greedy: what counts is the sum over "
    "the whole cut.",
    fewest_pieces: "That is the cut with the fewest pieces. The scores decide, not the number.",
    probabilities_added: "The scores are logarithms: add them as they are. Probabilities are "
    "multiplied, never added, so `exp` is not needed.",
}


def _pieces_for(t: Trial, letters: list[str]) -> dict[str, float]:
    """Single letters and some longer pieces with log probabilities."""
    pieces = {letter: t.rng.uniform(-6, -2) for letter in letters}
    for _ in range(9):
        piece = "".join(t.rng.choices(letters, k=t.rng.randint(2, 4)))
        pieces[piece] = t.rng.uniform(-9, -3)
    return pieces


def _revealing_case(t: Trial, mistake) -> tuple[str, dict[str, float]]:
    """A text and pieces for which this mistake shows, and no mistake looks like another."""
    while True:
        letters = t.rng.sample(LETTERS, 3)
        log_p = _pieces_for(t, letters)
        text = "".join(t.rng.choices(letters, k=8))
        best = _score(best_cut(text, log_p), log_p)
        cuts = {other: other(text, log_p) for other in _CUT_MISTAKES}
        worse = [tuple(cut) for cut in cuts.values() if _score(cut, log_p) < best - 1e-6]
        if tuple(cuts[mistake]) in worse and len(set(worse)) == len(worse):
            return text, log_p


def _score(pieces, log_p: Mapping[str, float]) -> float:
    return sum(log_p[piece] for piece in pieces)


def _judge_cut(t: Trial, got, text: str, log_p: Mapping[str, float]) -> None:
    """Two cuts may have the same score (`aa|a` and `a|aa`): both are right."""
    t.has_type(got, (list, tuple), "Return a list of pieces.")
    t.that("".join(map(str, got)) == text, "Joined, the pieces must give the text back.")
    t.that(all(piece in log_p for piece in got), "A piece of your cut is not among the known ones.")
    best = best_cut(text, log_p)
    if _score(got, log_p) < _score(best, log_p) - 1e-9:
        t.equal(
            got,
            best,
            says="Another cut has a higher sum of log probabilities.",
            mistakes=[(other(text, log_p), told) for other, told in _CUT_MISTAKES.items()],
        )


def check_best_cut(answer, t: Trial) -> None:
    for mistake in _CUT_MISTAKES:
        text, log_p = _revealing_case(t, mistake)
        _judge_cut(t, t.call(answer, text, log_p), text, log_p)
    t.passed("Four texts that mislead greedy rules are cut at the highest sum")
    letters = t.rng.sample(LETTERS, 3)
    log_p = _pieces_for(t, letters)
    text = "".join(t.rng.choices(letters, k=60))
    got = t.call(answer, text, log_p, says="A text of 60 characters has 2**59 cuts: reuse results.")
    _judge_cut(t, got, text, log_p)
    t.passed("60 characters take no longer than they should")


CUT = Exercise(
    id="1.3.4",
    title="The most probable cut",
    difficulty="hard",
    minutes=18,
    statement="""
A Unigram tokenizer chooses, among all ways to cut a text into known pieces, the one with the
highest probability: the product over its pieces, so the *sum of their log probabilities*.

A text of n characters has 2^(n-1) cuts. Do not try them all: the best cut of the first `e`
characters ends in some piece `text[s:e]`, and before it stands the best cut of the first `s`
characters. Every single letter of `text` is a known piece, so a cut always exists.
""",
    stub='''
def best_cut(text: str, log_p: dict[str, float]) -> list[str]:
    """The pieces of the most probable cut.

    >>> best_cut("hug", {"h": -2.3, "u": -1.6, "g": -3.0, "hu": -2.3, "ug": -1.2, "hug": -3.9})
    ['h', 'ug']
    """
    raise NotImplementedError
''',
    name="best_cut",
    reference=best_cut,
    alternatives=(best_cut_recursive,),
    wrong=(
        Wrong(longest_pieces, "greedy cut into longest pieces"),
        Wrong(likeliest_next_piece, "likeliest next piece is greedy"),
        Wrong(fewest_pieces, "fewest pieces"),
        Wrong(probabilities_added, "scores are logarithms"),
    ),
    check=check_best_cut,
    hints=(
        "Keep, for every prefix length `e`, the best score and where its last piece starts.",
        "For `hug` above: `h|ug` has -2.3 - 1.2 = -3.5, `hug` has -3.9, `hu|g` has -5.3.",
        "1. `best[0] = 0` with no pieces\n"
        "2. for `e` from 1 to n: over all `s < e` with `text[s:e]` known, take the largest "
        "`best[s] + log_p[text[s:e]]`, and remember its pieces\n"
        "3. the answer are the pieces of the prefix of length n",
    ),
)

EXERCISES = [PAIRS, ENCODE, STREAM, CUT]
