"""Exercises of lesson 4.6, Instruction tuning: labels, packing, loose checks, novelty."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100


# -- 4.6.1 what is learned ---------------------------------------------------------------------


def training_row(
    turns: Sequence[tuple[str, Sequence[int]]], header: dict[str, Sequence[int]], end: int
) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    labels: list[int] = []
    for role, content in turns:
        said = [*content, end]
        ids += [*header[role], *said]
        labels += [IGNORED] * len(header[role])
        labels += said if role == "assistant" else [IGNORED] * len(said)
    return ids, labels


def training_row_from_a_mask(turns, header, end):
    import numpy as np

    pieces = []
    for role, content in turns:
        pieces += [(list(header[role]), False), ([*content, end], role == "assistant")]
    ids = np.array([token for piece, _ in pieces for token in piece], dtype=int)
    learned = np.repeat([flag for _, flag in pieces], [len(piece) for piece, _ in pieces])
    return ids, np.where(learned, ids, IGNORED)


def everything_learned(turns, header, end):
    ids, _ = training_row(turns, header, end)
    return ids, list(ids)


def end_masked_by_id(turns, header, end):
    ids, labels = training_row(turns, header, end)
    return ids, [
        IGNORED if token == end else label for token, label in zip(ids, labels, strict=True)
    ]


def every_end_learned(turns, header, end):
    ids, labels = training_row(turns, header, end)
    return ids, [end if token == end else label for token, label in zip(ids, labels, strict=True)]


def header_learned(turns, header, end):
    ids: list[int] = []
    labels: list[int] = []
    for role, content in turns:
        piece = [*header[role], *content, end]
        ids += piece
        labels += piece if role == "assistant" else [IGNORED] * len(piece)
    return ids, labels


def shifted_labels(turns, header, end):
    ids, labels = training_row(turns, header, end)
    return ids, [*labels[1:], IGNORED]


def last_reply_only(turns, header, end):
    ids, labels = training_row(turns, header, end)
    keep = len(ids) - len(turns[-1][1]) - 1
    return ids, [IGNORED] * keep + labels[keep:]


ROW_MISTAKES = (
    (everything_learned, "The labels of the user's tokens must be -100: the model shall answer."),
    (
        end_masked_by_id,
        "The end of a reply is -100, so the model never learns to stop. Mask by place, not by id.",
    ),
    (
        every_end_learned,
        "The end of the *user's* turn is the user's too; only a reply's is taught.",
    ),
    (header_learned, "The header is written by the program that asks, not by the model: -100."),
    (shifted_labels, "You shifted the labels. labels[t] belongs to ids[t]; the loss shifts them."),
    (last_reply_only, "Every reply of the conversation is learned, not only the last one."),
)


def check_training_row(answer, t: Trial) -> None:
    end = t.rng.randint(2, 9)
    names = ["system", "user", "assistant"]
    header = {
        name: t.rng.sample(range(100, 200), size)
        for name, size in zip(names, (2, 3, 4), strict=True)
    }
    for count, system in ((2, False), (6, False), (4, True)):
        turns = [(names[1 + i % 2], _tokens(t)) for i in range(count)]
        turns = [("system", _tokens(t)), *turns] if system else turns
        got = t.call(answer, turns, header, end)
        t.that(isinstance(got, (tuple, list)) and len(got) == 2, "Return two lists: (ids, labels).")
        ids, labels = training_row(turns, header, end)
        t.equal(
            got[0],
            ids,
            says="ids is, turn after turn: header, content, end token.",
        )
        t.equal(
            got[1],
            labels,
            says="The labels are not the replies' tokens with their ends and -100 elsewhere.",
            mistakes=[(fault(turns, header, end)[1], says) for fault, says in ROW_MISTAKES],
        )
    t.passed("Replies and their ends are learned, nothing else; with one, three and system turns")


def _tokens(t: Trial) -> list[int]:
    return [t.rng.randint(10, 99) for _ in range(t.rng.randint(2, 6))]


TRAINING_ROW = Exercise(
    id="4.6.1",
    title="What is learned of a conversation",
    difficulty="easy",
    minutes=10,
    statement="""
A conversation comes as turns `(role, token ids)`. Its text is, turn after turn:
`header[role]`, the turn's ids, the `end` token. Return `(ids, labels)`, two lists of the same
length. `labels[t]` is `ids[t]` where the model itself has to write (a reply **and its end
token**), else -100. Roles are `"system"`, `"user"` and `"assistant"`. Do not shift: the loss does.
""",
    stub='''
def training_row(
    turns: list[tuple[str, list[int]]], header: dict[str, list[int]], end: int
) -> tuple[list[int], list[int]]:
    """(ids, labels) of a conversation; labels are -100 where nothing is learned.

    >>> training_row([("user", [5]), ("assistant", [6])], {"user": [1], "assistant": [3]}, end=2)
    ([1, 5, 2, 3, 6, 2], [-100, -100, -100, -100, 6, 2])
    """
    raise NotImplementedError
''',
    name="training_row",
    reference=training_row,
    alternatives=(training_row_from_a_mask,),
    wrong=(
        Wrong(everything_learned, "the model shall answer"),
        Wrong(end_masked_by_id, "never learns to stop"),
        Wrong(every_end_learned, "only a reply's is taught"),
        Wrong(header_learned, "written by the program that asks"),
        Wrong(shifted_labels, "You shifted the labels"),
        Wrong(last_reply_only, "Every reply of the conversation"),
    ),
    check=check_training_row,
    hints=(
        "Who writes each token when the model is in use? Only what the model writes is learned.",
        "With `end=2`: the user's `[1, 5, 2]` gives three times -100; the reply's `[3, 6, 2]` "
        "gives `[-100, 6, 2]`, since 3 is its header.",
        "1. for each turn: `said = [*content, end]`\n"
        "2. ids get the header and `said`\n"
        "3. labels get -100 for the header, then `said` or -100s, by the role",
    ),
)


# -- 4.6.2 several conversations in one row ----------------------------------------------------


def packed_layout(lengths: Sequence[int], T: int) -> tuple[Tensor, Tensor]:
    import torch

    owner = torch.zeros(T, dtype=torch.long)  # 0: padding
    positions = torch.zeros(T, dtype=torch.long)
    start = 0
    for number, length in enumerate(lengths, start=1):
        owner[start : start + length] = number
        positions[start : start + length] = torch.arange(length)
        start += length
    same = (owner[:, None] == owner) & (owner > 0)
    return positions, same.tril()


def packed_layout_by_lists(lengths, T):
    positions = [i for length in lengths for i in range(length)]
    positions += [0] * (T - len(positions))
    owners = [n for n, length in enumerate(lengths) for _ in range(length)]
    owners += [None] * (T - len(owners))
    mask = [
        [owners[s] is not None and owners[s] == owners[t] and s <= t for s in range(T)]
        for t in range(T)
    ]
    return positions, mask


def packed_layout_by_blocks(lengths, T):
    import numpy as np

    mask = np.zeros((T, T), dtype=bool)
    positions = np.zeros(T, dtype=int)
    for start, length in zip(itertools.accumulate([0, *lengths[:-1]]), lengths, strict=True):
        here = slice(start, start + length)
        mask[here, here] = np.tri(length, dtype=bool)
        positions[here] = np.arange(length)
    return positions, mask


def positions_run_on(lengths, T):
    positions, mask = packed_layout(lengths, T)
    total = sum(lengths)
    positions[:total] = positions.new_tensor(range(total))
    return positions, mask


def positions_from_one(lengths, T):
    positions, mask = packed_layout(lengths, T)
    positions[: sum(lengths)] += 1
    return positions, mask


def only_causal(lengths, T):
    positions, mask = packed_layout(lengths, T)
    return positions, mask.new_ones(T, T).tril()


def whole_blocks(lengths, T):
    positions, mask = packed_layout(lengths, T)
    return positions, mask | mask.T


def padding_sees_itself(lengths, T):
    positions, mask = packed_layout(lengths, T)
    total = sum(lengths)
    mask[total:, total:] = mask.new_ones(T - total, T - total).tril()
    return positions, mask


def upside_down(lengths, T):
    positions, mask = packed_layout(lengths, T)
    return positions, mask.T


POSITION_MISTAKES = (
    (
        positions_run_on,
        "Positions begin again at 0 with each conversation; yours run on through the row.",
    ),
    (positions_from_one, "The first token of a conversation has position 0."),
)
MASK_MISTAKES = (
    (only_causal, "That is the plain causal mask: a conversation reads those before it."),
    (whole_blocks, "Within a conversation a token must not see later ones."),
    (padding_sees_itself, "Padding attends to nothing here and is attended to by nothing."),
    (upside_down, "Rows are the tokens that look, columns those looked at: yours is transposed."),
)


def check_packed_layout(answer, t: Trial) -> None:
    for count, spare in ((3, 2), (2, 0), (1, 3)):
        lengths = [t.rng.randint(2, 5) for _ in range(count)]
        T = sum(lengths) + spare
        got = t.call(answer, lengths, T)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two things: (positions, mask).",
        )
        positions, mask = packed_layout(lengths, T)
        t.has_shape(got[0], (T,), "positions has one number for each of the T places.")
        t.close(
            got[0],
            positions,
            says="Those are not the positions within each conversation (0 under padding).",
            mistakes=[(fault(lengths, T)[0], says) for fault, says in POSITION_MISTAKES],
        )
        t.has_shape(got[1], (T, T), "mask is (T, T): who looks, who is looked at.")
        t.equal(
            _truths(got[1]),
            _truths(mask),
            says="mask[t][s] must be True exactly if s <= t in the same conversation.",
            mistakes=[(_truths(fault(lengths, T)[1]), says) for fault, says in MASK_MISTAKES],
        )
    t.passed("Positions and masks agree for one to three conversations, with and without padding")


def _truths(mask: object) -> list[list[bool]]:
    rows = mask.tolist() if hasattr(mask, "tolist") else mask
    return [[bool(x) for x in row] for row in rows]


PACKED_LAYOUT = Exercise(
    id="4.6.2",
    title="Packed without cross-talk",
    difficulty="medium",
    minutes=12,
    statement="""
Conversations of these `lengths` stand one behind the other in a row of `T` places; what is left at
the end is padding. Return

- `positions` (T): the place of each token **in its own conversation**, from 0; 0 under padding;
- `mask` (T, T) of truth values: `mask[t][s]` is True if token t may attend to token s, that is, if
  both stand in the same conversation and s is not later. Padding attends to nothing and is
  attended to by nothing.
""",
    stub='''
from torch import Tensor


def packed_layout(lengths: list[int], T: int) -> tuple[Tensor, Tensor]:
    """(positions, mask) of conversations packed into one row.

    >>> positions, mask = packed_layout([2, 1], T=4)
    >>> positions.tolist()
    [0, 1, 0, 0]
    >>> mask.int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    """
    raise NotImplementedError
''',
    name="packed_layout",
    reference=packed_layout,
    alternatives=(packed_layout_by_lists, packed_layout_by_blocks),
    wrong=(
        Wrong(positions_run_on, "yours run on through the row"),
        Wrong(positions_from_one, "has position 0"),
        Wrong(only_causal, "reads those before it"),
        Wrong(whole_blocks, "must not see later ones"),
        Wrong(padding_sees_itself, "Padding attends to nothing"),
        Wrong(upside_down, "yours is transposed"),
    ),
    check=check_packed_layout,
    hints=(
        "First write down which conversation owns each place: 1 1 1 2 2 0 0.",
        "For lengths [2, 1] and T = 4 the owners are 1 1 2 0. Places 0 and 1 form a triangle, "
        "place 2 sees itself, place 3 sees nothing.",
        "1. `owner` (T), 0 under padding\n"
        "2. `same = (owner[:, None] == owner) & (owner > 0)`\n"
        "3. `mask = same.tril()`",
    ),
)


# -- 4.6.3 strict and loose --------------------------------------------------------------------


def loose_check(response: str, check: Callable[[str], bool]) -> bool:
    lines = response.split("\n")
    cuts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(cut).strip() for cut in cuts]
    texts += [text.replace("*", "") for text in texts]
    return any(bool(text.strip()) and bool(check(text)) for text in texts)


def loose_check_by_product(response, check):
    for first, last, stars in itertools.product((0, 1), (0, 1), (False, True)):
        lines = response.splitlines()
        kept = lines[first : len(lines) - last]
        text = "\n".join(kept).strip()
        if stars:
            text = "".join(c for c in text if c != "*")
        if text.strip() and check(text):
            return True
    return False


def strict_only(response, check):
    return bool(check(response.strip()))


def one_change_at_a_time(response, check):
    lines = response.split("\n")
    texts = [response, "\n".join(lines[1:]), "\n".join(lines[:-1]), response.replace("*", "")]
    return any(text.strip() and check(text.strip()) for text in texts)


def all_must_pass(response, check):
    lines = response.split("\n")
    cuts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(cut).strip() for cut in cuts]
    texts += [text.replace("*", "") for text in texts]
    return all(bool(text.strip()) and bool(check(text)) for text in texts)


def empty_counts(response, check):
    lines = response.split("\n")
    cuts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(cut).strip() for cut in cuts]
    texts += [text.replace("*", "") for text in texts]
    return any(bool(check(text)) for text in texts)


def everything_removed(response, check):
    text = "\n".join(response.split("\n")[1:-1]).replace("*", "").strip()
    return bool(text) and bool(check(text))


LOOSE_MISTAKES = (
    (all_must_pass, "One text that passes is enough; you ask for all eight."),
    (everything_removed, "The untouched reply is one of the eight texts, too."),
    (strict_only, "That is the strict check: only the untouched reply is tried."),
    (one_change_at_a_time, "The changes are combined: all three may be needed at once."),
    (empty_counts, "A text with nothing left must not count, whatever `check` says of it."),
)


def check_loose_check(answer, t: Trial) -> None:
    word = t.rng.choice(["teal", "plum", "moss", "sand"])
    number = t.rng.randint(2, 9)

    def is_word(text: str) -> bool:
        return text == word

    def short(text: str) -> bool:
        return len(text.split()) <= 1

    cases = [
        (word, is_word),
        (f"**{word}**", is_word),
        (f"Sure!\n{word}", is_word),
        (f"{word}\nAnything else?", is_word),
        (f"Sure!\n*{word}*\nBye.", is_word),
        (f"Sure!\n\n{word}", is_word),
        (f"{word} {number}", is_word),
        (f"{word} is {number}, of course", short),  # nothing is left without its only line
    ]
    got = []
    for response, test in cases:
        shows = f"loose_check({response!r}, {test.__name__})"
        got.append(bool(t.call(answer, response, test, shows=shows)))
    expected = [loose_check(*case) for case in cases]
    first = next((i for i in range(len(cases)) if got[i] != expected[i]), 0)
    t.equal(
        got,
        expected,
        says=f"Eight replies were checked; the first wrong verdict is on {cases[first][0]!r}.",
        mistakes=[([fault(*case) for case in cases], says) for fault, says in LOOSE_MISTAKES],
    )
    t.passed("Each change alone, all changes together, and nothing that is empty")


LOOSE_CHECK = Exercise(
    id="4.6.3",
    title="Strict and loose",
    difficulty="medium",
    minutes=12,
    statement="""
A reply such as "Sure, here it is:" and then the right answer fails a strict check. IFEval reports a
second, *loose* figure beside it. A reply passes loosely if **any** of eight texts passes: with or
without its first line, with or without its last line, with or without its asterisks `*`, in all
combinations. Trim each text. One that is empty does not count. `check` takes a text and says
whether it passes.
""",
    stub='''
from collections.abc import Callable


def loose_check(response: str, check: Callable[[str], bool]) -> bool:
    """Whether the reply, or one of its seven trimmed forms, passes.

    >>> loose_check("Sure!\\n**blue**", lambda text: text == "blue")
    True
    >>> loose_check("It is blue", lambda text: len(text) < 3)
    False
    """
    raise NotImplementedError
''',
    name="loose_check",
    reference=loose_check,
    alternatives=(loose_check_by_product,),
    wrong=(
        Wrong(strict_only, "That is the strict check"),
        Wrong(one_change_at_a_time, "The changes are combined"),
        Wrong(all_must_pass, "you ask for all eight"),
        Wrong(empty_counts, "A text with nothing left"),
        Wrong(everything_removed, "The untouched reply is one"),
    ),
    check=check_loose_check,
    hints=(
        "Three switches, each on or off: how many combinations are there?",
        '`"Sure!\\n*red*\\nBye."` needs all three: without the first line, the last line and the '
        "asterisks it is `red`.",
        "1. `lines = response.split('\\n')`\n"
        "2. four cuts: `lines`, `lines[1:]`, `lines[:-1]`, `lines[1:-1]`, joined and trimmed\n"
        "3. each also without `*`\n"
        "4. `any(text and check(text) for …)`",
    ),
)


# -- 4.6.4 only what is new --------------------------------------------------------------------


def _overlap(first: str, second: str) -> float:
    a, b = set(first.lower().split()), set(second.lower().split())
    return len(a & b) / len(a | b)


def keep_novel(candidates: Sequence[str], pool: Sequence[str], limit: float) -> list[str]:
    kept: list[str] = []
    for text in candidates:
        if all(_overlap(text, other) < limit for other in (*pool, *kept)):
            kept.append(text)
    return kept


def keep_novel_by_counting(candidates, pool, limit):
    seen = [frozenset(text.casefold().split()) for text in pool]
    kept = []
    for text in candidates:
        words = frozenset(text.casefold().split())
        nearest = max((len(words & s) / len(words | s) for s in seen), default=0.0)
        if nearest < limit:
            seen.append(words)
            kept.append(text)
    return kept


def only_against_the_pool(candidates, pool, limit):
    return [c for c in candidates if all(_overlap(c, other) < limit for other in pool)]


def only_against_the_kept(candidates, pool, limit):
    return keep_novel(candidates, [], limit)


def against_all_candidates(candidates, pool, limit):
    return [
        c
        for i, c in enumerate(candidates)
        if all(_overlap(c, o) < limit for o in (*pool, *candidates[:i], *candidates[i + 1 :]))
    ]


def case_counts(candidates, pool, limit):
    kept: list[str] = []
    for text in candidates:
        words = set(text.split())
        others = [set(o.split()) for o in (*pool, *kept)]
        if all(len(words & o) / len(words | o) < limit for o in others):
            kept.append(text)
    return kept


def equal_is_kept(candidates, pool, limit):
    kept: list[str] = []
    for text in candidates:
        if all(_overlap(text, other) <= limit for other in (*pool, *kept)):
            kept.append(text)
    return kept


def share_of_the_new(candidates, pool, limit):
    kept: list[str] = []
    for text in candidates:
        words = set(text.lower().split())
        others = [set(o.lower().split()) for o in (*pool, *kept)]
        if all(len(words & o) / len(words) < limit for o in others):
            kept.append(text)
    return kept


NOVEL_MISTAKES = (
    (
        only_against_the_pool,
        "Two candidates that are alike must not both stay: compare with those kept before, too.",
    ),
    (only_against_the_kept, "Compare with the instructions of `pool` as well."),
    (
        against_all_candidates,
        "Of two candidates that are alike the first stays; a dropped one drops nobody.",
    ),
    (case_counts, "Case does not count: lower-case the words first."),
    (equal_is_kept, "An overlap of exactly `limit` is too much: it must lie below."),
    (
        share_of_the_new,
        "Divide by the words that are in *either* text, not by those of the candidate alone.",
    ),
)


def check_keep_novel(answer, t: Trial) -> None:
    words = [f"w{i}" for i in t.rng.sample(range(100), 40)]
    a, b, c, d, e, f, g, h, i, *more = words
    cases = [
        # copies, a copy in capitals, one of the pool, a tie (2 of 4 words), a part (2 of 6)
        (
            [f"{a} {b}", f"{a} {b}".upper(), f"{a} {b}", c, f"{d} {e}", f"{f} {g}"],
            [c, f"{d} {e} {h} {i}", f"{f} {g} {a} {d} {e} {h}"],
            0.5,
        ),
        # the second falls to the first; the third resembles only the second
        ([f"{a} {b} {c}", f"{b} {c} {d}", f"{c} {d} {e}"], [], 0.5),
    ]
    for _ in range(2):
        texts = [" ".join(t.rng.sample(more[:9], 4)) for _ in range(9)]
        cases.append((texts[:6], texts[6:], 0.4))
    for candidates, pool, limit in cases:
        got = t.call(answer, candidates, pool, limit)
        t.that(isinstance(got, (list, tuple)), "Return the list of candidates that are kept.")
        t.equal(
            list(got),
            keep_novel(candidates, pool, limit),
            says="Those are not the candidates whose overlap with all before them is below limit.",
            mistakes=[(fault(candidates, pool, limit), says) for fault, says in NOVEL_MISTAKES],
        )
    t.passed("Copies, parts, ties and chains of likeness are handled; order is kept")


KEEP_NOVEL = Exercise(
    id="4.6.4",
    title="Keep only what is new",
    difficulty="medium",
    minutes=10,
    statement=r"""
A model writes new instructions, and many of them repeat each other or those you had. Go through
`candidates` in their order. Keep one if its overlap with **every** instruction of `pool`, and with
every candidate **kept so far**, lies below `limit`. The overlap of two texts is that of their sets
of words (split at white space, lower-cased): words in both, divided by words in either,
$|A\cap B|\,/\,|A\cup B|$. No text is empty.
""",
    stub='''
def keep_novel(candidates: list[str], pool: list[str], limit: float) -> list[str]:
    """The candidates that resemble nothing before them, in their order.

    >>> keep_novel(["Name a colour", "name a Colour", "Sing"], ["Sing"], limit=0.7)
    ['Name a colour']
    """
    raise NotImplementedError
''',
    name="keep_novel",
    reference=keep_novel,
    alternatives=(keep_novel_by_counting,),
    wrong=(
        Wrong(only_against_the_pool, "must not both stay"),
        Wrong(only_against_the_kept, "instructions of `pool`"),
        Wrong(against_all_candidates, "the first stays"),
        Wrong(case_counts, "Case does not count"),
        Wrong(equal_is_kept, "it must lie below"),
        Wrong(share_of_the_new, "in *either* text"),
    ),
    check=check_keep_novel,
    hints=(
        "The list you compare with grows while you go.",
        "`a b` and `a b c d` share 2 of 4 words: overlap 0.5. With limit 0.5 the second goes.",
        "1. `kept = []`\n"
        "2. for each candidate: overlap with each of `[*pool, *kept]`\n"
        "3. keep it if all are `< limit`",
    ),
)

EXERCISES = [TRAINING_ROW, PACKED_LAYOUT, LOOSE_CHECK, KEEP_NOVEL]
