"""Exercises of lesson 4.15, Structured generation: a mask by hand, weights, the way to the end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

from course_utils.exercises.engine import Exercise, Trial, Wrong

Moves = Mapping[int, Mapping[str, int]]


# -- 4.15.1 which tokens may come next ---------------------------------------------------------


def allowed_tokens(
    moves: Moves, accepting: set[int], state: int, tokens: Sequence[str | None]
) -> list[bool]:
    found = []
    for token in tokens:
        if token is None:
            found.append(state in accepting)
            continue
        at = state
        for character in token:
            at = moves.get(at, {}).get(character)
            if at is None:
                break
        found.append(at is not None)
    return found


def allowed_recursively(moves, accepting, state, tokens):
    def walk(at, rest):
        if not rest:
            return True
        following = moves.get(at, {})
        return rest[0] in following and walk(following[rest[0]], rest[1:])

    return [state in accepting if t is None else walk(state, t) for t in tokens]


def allowed_numpy(moves, accepting, state, tokens):
    import numpy as np

    return np.array(allowed_recursively(moves, accepting, state, tokens))


def first_character_only(moves, accepting, state, tokens):
    following = moves.get(state, {})
    return [state in accepting if t is None else t[0] in following for t in tokens]


def must_complete(moves, accepting, state, tokens):
    found = []
    for token in tokens:
        at = state
        for character in token or "":
            at = moves.get(at, {}).get(character)
        found.append(at in accepting)
    return found


def end_always(moves, accepting, state, tokens):
    real = allowed_tokens(moves, accepting, state, tokens)
    return [True if t is None else ok for t, ok in zip(tokens, real, strict=True)]


def end_never(moves, accepting, state, tokens):
    real = allowed_tokens(moves, accepting, state, tokens)
    return [False if t is None else ok for t, ok in zip(tokens, real, strict=True)]


def from_the_start(moves, accepting, state, tokens):
    return allowed_tokens(moves, accepting, min(moves), tokens)


MASK_MISTAKES = (
    (first_character_only, "You looked at the first character only: all of a token is written."),
    (
        must_complete,
        "You allow a token only where the text is complete after it. It must only be possible to "
        "go on.",
    ),
    (end_always, "The end (None) is allowed although the text is not complete in this state."),
    (end_never, "The end (None) is allowed where the text is complete: in accepting states."),
    (from_the_start, "You walked from the start. The walk begins in the state given."),
)


def random_automaton(rng) -> tuple[dict[int, dict[str, int]], set[int]]:
    """A chain of states with extra moves, so that every state leads to the last, accepting one."""
    size = rng.randint(4, 7)
    moves: dict[int, dict[str, int]] = {s: {} for s in range(1, size + 1)}
    for state in range(1, size):
        letters = rng.sample("abcd", 3)
        moves[state][letters[0]] = state + 1
        for letter in letters[1 : rng.randint(1, 3)]:
            moves[state][letter] = rng.randint(1, size)
    return moves, {size, rng.randint(2, size)}


def check_allowed_tokens(answer, t: Trial) -> None:
    number = {1: {"-": 2, "0": 3, "7": 4}, 2: {"0": 3, "7": 4}, 3: {}, 4: {"0": 5, "7": 5}, 5: {}}
    cases = [(number, {3, 4, 5}, s, ["-", "0", "7", "77", "-7", "00", "7-", None]) for s in number]
    for _ in range(6):
        moves, accepting = random_automaton(t.rng)
        tokens = ["".join(t.rng.choices("abcd", k=t.rng.randint(1, 3))) for _ in range(9)]
        cases.append((moves, accepting, t.rng.choice(sorted(moves)), [*tokens, None]))
    for moves, accepting, state, tokens in cases:
        got = t.call(answer, moves, accepting, state, tokens)
        t.has_shape(got, (len(tokens),), "Return one True or False for each token.")
        t.equal(
            [bool(g) for g in got],
            allowed_tokens(moves, accepting, state, tokens),
            says="Some token is allowed that must not be, or the other way round.",
            mistakes=[(f(moves, accepting, state, tokens), says) for f, says in MASK_MISTAKES],
        )
    t.passed("Masks agree in all states of the number automaton and in six random automata")


ALLOWED_TOKENS = Exercise(
    id="4.15.1",
    title="Which tokens may come next",
    difficulty="easy",
    minutes=8,
    statement="""
An automaton is given as `moves[state][character] -> next state`; a character that is missing
leads nowhere. All of its states can still reach a complete text. Return, for each token, whether it
may be written in `state`. A token is a text of one or more characters; `None` is the end token,
allowed exactly where the text is complete.
""",
    stub='''
def allowed_tokens(
    moves: dict[int, dict[str, int]], accepting: set[int], state: int, tokens: list[str | None]
) -> list[bool]:
    """True for each token that may come next in this state.

    >>> moves = {1: {"a": 2}, 2: {"b": 1}}
    >>> allowed_tokens(moves, {1}, 1, ["a", "ab", "aa", "b", None])
    [True, True, False, False, True]
    """
    raise NotImplementedError
''',
    name="allowed_tokens",
    reference=allowed_tokens,
    alternatives=(allowed_recursively, allowed_numpy),
    wrong=(
        Wrong(first_character_only, "first character only"),
        Wrong(must_complete, "complete after it"),
        Wrong(end_always, "although the text is not complete"),
        Wrong(end_never, "in accepting states"),
        Wrong(from_the_start, "walked from the start"),
    ),
    check=check_allowed_tokens,
    hints=(
        "Write the walk of one token first: a state, and one character after the other.",
        'In the example, "aa" goes from 1 to 2, and from 2 no "a" leads on: False.',
        "1. for None: `state in accepting`\n"
        "2. else `at = state`, and for each character `at = moves.get(at, {}).get(character)`\n"
        "3. False as soon as `at` is None, True after the last character",
    ),
)


# -- 4.15.2 from masked samples back to the conditional -----------------------------------------


def reweighed(samples: Sequence[tuple[str, Sequence[float]]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, masses in samples:
        weights[text] = weights.get(text, 0.0) + math.prod(masses)
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


def reweighed_by_logs(samples):
    logs = [sum(math.log(m) for m in masses) for _, masses in samples]
    top = max(logs)
    shares = [math.exp(log - top) for log in logs]
    texts = dict.fromkeys(text for text, _ in samples)
    return {
        text: sum(s for s, (other, _) in zip(shares, samples, strict=True) if other == text)
        / sum(shares)
        for text in texts
    }


def just_counted(samples):
    return reweighed([(text, [1.0]) for text, _ in samples])


def not_normalised(samples):
    weights = {}
    for text, masses in samples:
        weights[text] = weights.get(text, 0.0) + math.prod(masses)
    return weights


def one_weight_a_text(samples):
    weights = {text: math.prod(masses) for text, masses in samples}
    return {text: weight / sum(weights.values()) for text, weight in weights.items()}


def summed_masses(samples):
    return reweighed([(text, [sum(masses)]) for text, masses in samples])


def inverse_masses(samples):
    return reweighed([(text, [1 / m for m in masses]) for text, masses in samples])


WEIGHT_MISTAKES = (
    (just_counted, "These are the shares among the masked samples: the masses do not count yet."),
    (not_normalised, "The weights must be divided by their sum, so that they add up to 1."),
    (
        one_weight_a_text,
        "A text that was drawn several times counts several times: add up its weights.",
    ),
    (summed_masses, "The masses of one text are multiplied, not added: they are probabilities."),
    (
        inverse_masses,
        "You divide by the masses. The mask divided by them already; multiplying undoes it.",
    ),
)


def check_reweighed(answer, t: Trial) -> None:
    york = [("New York", [1.0, 0.05])] * 6 + [("Oslo", [1.0])] * 4
    cases = [york, [("a", [0.5, 0.5]), ("b", [0.25])], [("only", [0.125, 1.0, 0.5])]]
    for _ in range(4):
        pool = {
            w: [round(t.rng.uniform(0.05, 0.95), 2) for _ in range(t.rng.randint(1, 4))]
            for w in t.rng.sample(["ja", "nein", "oui", "non", "da"], 3)
        }
        drawn = [*pool, *t.rng.choices(list(pool), k=5)]
        cases.append([(w, pool[w]) for w in drawn])
    for samples in cases:
        got = t.call(answer, samples)
        t.has_type(got, dict, "Return a dictionary from text to probability.")
        expected = reweighed(samples)
        t.equal(sorted(got), sorted(expected), says="Every text that was drawn needs a number.")
        order = list(expected)
        wrong = [([f(samples)[w] for w in order], says) for f, says in WEIGHT_MISTAKES]
        t.close(
            [float(got[w]) for w in order],
            [expected[w] for w in order],
            tolerance=1e-9,
            says="These are not the weighted shares.",
            mistakes=wrong,
        )
    t.passed("Weighted shares agree, for the cities of the lesson and for random samples")


REWEIGHED = Exercise(
    id="4.15.2",
    title="Undo the mask's distortion",
    difficulty="medium",
    minutes=10,
    statement="""
Texts were sampled token by token under a mask. With each comes a list of *masses*: the share of
its probability that the model gave to the allowed tokens, at each step. Estimate the model's own
distribution **given that the text is valid**: each sample counts with the product of its masses,
the same text may have been drawn several times, and the results add up to 1.
""",
    stub='''
def reweighed(samples: list[tuple[str, list[float]]]) -> dict[str, float]:
    """Estimated probability of each text, given that it is valid.

    >>> reweighed([("yes", [1.0, 0.25]), ("yes", [1.0, 0.25]), ("no", [0.5])])
    {'yes': 0.5, 'no': 0.5}
    """
    raise NotImplementedError
''',
    name="reweighed",
    reference=reweighed,
    alternatives=(reweighed_by_logs,),
    wrong=(
        Wrong(just_counted, "masses do not count yet"),
        Wrong(not_normalised, "divided by their sum"),
        Wrong(one_weight_a_text, "counts several times"),
        Wrong(summed_masses, "multiplied, not added"),
        Wrong(inverse_masses, "multiplying undoes it"),
    ),
    check=check_reweighed,
    hints=(
        "What would a sample be worth if the mask had taken nothing away at any step?",
        "Six times New York with weight 0.05 make 0.3, four times Oslo with weight 1 make 4: "
        "0.3 / 4.3 is 0.07.",
        "1. for each sample add `math.prod(masses)` to the entry of its text\n"
        "2. divide every entry by the sum of all",
    ),
)


# -- 4.15.3 how far is the end -------------------------------------------------------------------


def tokens_to_finish(
    moves: Moves, accepting: set[int], tokens: Sequence[str]
) -> dict[int, int | None]:
    def after(state: int, token: str) -> int | None:
        for character in token:
            state = moves.get(state, {}).get(character)
        return state

    distance: dict[int, int | None] = {s: 0 if s in accepting else None for s in moves}
    for step in range(1, len(moves) + 1):
        for state in moves:
            reached = (after(state, token) for token in tokens)
            if distance[state] is None and any(distance.get(r) == step - 1 for r in reached):
                distance[state] = step
    return distance


def finish_by_search(moves, accepting, tokens):
    def walk(state, token):
        for character in token:
            state = moves.get(state, {}).get(character)
        return state

    found = {}
    for start in moves:
        seen, waiting = {start}, deque([(start, 0)])
        found[start] = None
        while waiting:
            state, steps = waiting.popleft()
            if state in accepting:
                found[start] = steps
                break
            fresh = {walk(state, token) for token in tokens} - seen - {None}
            seen |= fresh
            waiting.extend((s, steps + 1) for s in sorted(fresh))
    return found


def finish_in_characters(moves, accepting, tokens):
    return tokens_to_finish(moves, accepting, sorted({c for row in moves.values() for c in row}))


def finish_at_least_one(moves, accepting, tokens):
    real = tokens_to_finish(moves, accepting, tokens)
    return {s: 1 if n == 0 else n for s, n in real.items()}


def finish_with_the_end(moves, accepting, tokens):
    real = tokens_to_finish(moves, accepting, tokens)
    return {s: None if n is None else n + 1 for s, n in real.items()}


def finish_zero_for_dead(moves, accepting, tokens):
    return {s: n or 0 for s, n in tokens_to_finish(moves, accepting, tokens).items()}


def finish_one_step(moves, accepting, tokens):
    real = tokens_to_finish(moves, accepting, tokens)
    return {s: n if n is not None and n < 2 else None for s, n in real.items()}


FINISH_MISTAKES = (
    (
        finish_in_characters,
        "You counted characters. A token may be several characters, and some characters are no "
        "token.",
    ),
    (finish_at_least_one, "Where the text is complete, no more token is needed: 0."),
    (finish_with_the_end, "The end token does not count: an accepting state needs 0."),
    (finish_zero_for_dead, "A state from which no tokens lead to the end needs None, not 0."),
    (finish_one_step, "You looked one token ahead only. Repeat until nothing changes."),
)


def check_tokens_to_finish(answer, t: Trial) -> None:
    word = {1: {"a": 2}, 2: {"b": 3}, 3: {"c": 4}, 4: {}}
    cases = [(word, {4}, ["a", "bc", "c"]), (word, {4}, ["a", "abc"]), (word, {2, 4}, ["bc"])]
    cases.append((word, {4}, ["a", "b", "c"]))
    for _ in range(6):
        moves, accepting = random_automaton(t.rng)
        tokens = {"".join(t.rng.choices("abcd", k=t.rng.randint(1, 3))) for _ in range(7)}
        cases.append((moves, accepting, sorted(tokens)))
    for moves, accepting, tokens in cases:
        got = t.call(answer, moves, accepting, tokens)
        t.has_type(got, dict, "Return a dictionary from state to number (or None).")
        t.equal(
            dict(got),
            tokens_to_finish(moves, accepting, tokens),
            says="Some state's number of tokens is not the smallest possible one.",
            mistakes=[(f(moves, accepting, tokens), says) for f, says in FINISH_MISTAKES],
        )
    t.passed("Distances agree, with states that tokens cannot leave and tokens of several letters")


TOKENS_TO_FINISH = Exercise(
    id="4.15.3",
    title="How many tokens to the end",
    difficulty="medium",
    minutes=15,
    statement="""
To finish in time, a generator must know how far the end is. For **every state** of an automaton
(`moves[state][character] -> next state`) return the **fewest tokens** after which the text can be
complete: 0 in accepting states, `None` where no sequence of these tokens gets there. The end token
itself does not count.
""",
    stub='''
def tokens_to_finish(
    moves: dict[int, dict[str, int]], accepting: set[int], tokens: list[str]
) -> dict[int, int | None]:
    """Fewest tokens from each state to a complete text, None if there is no way.

    >>> moves = {1: {"a": 2}, 2: {"b": 3}, 3: {"c": 4}, 4: {}}
    >>> tokens_to_finish(moves, {4}, ["a", "bc"])
    {1: 2, 2: 1, 3: None, 4: 0}
    """
    raise NotImplementedError
''',
    name="tokens_to_finish",
    reference=tokens_to_finish,
    alternatives=(finish_by_search,),
    wrong=(
        Wrong(finish_in_characters, "You counted characters"),
        Wrong(finish_at_least_one, "no more token is needed"),
        Wrong(finish_with_the_end, "end token does not count"),
        Wrong(finish_zero_for_dead, "needs None, not 0"),
        Wrong(finish_one_step, "one token ahead only"),
    ),
    check=check_tokens_to_finish,
    hints=(
        "Begin at the end: which states need 0? From which states does one token lead to those?",
        'In the example only "c" would lead from 3 to 4, and "c" is no token: 3 gets None, '
        'although 2 gets there with "bc".',
        "1. `distance = 0` for accepting states, `None` for the others\n"
        "2. for step 1, 2, …: a state without a number gets `step` if some token leads to a state "
        "with `step - 1`\n"
        "3. as many rounds as there are states are enough",
    ),
)


EXERCISES = [ALLOWED_TOKENS, REWEIGHED, TOKENS_TO_FINISH]
