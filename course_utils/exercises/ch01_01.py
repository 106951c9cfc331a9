"""Exercises of lesson 1.1: the classic pipeline, readings, phrases, the pragmatic listener."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence

import numpy as np

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 1.1.1 the classic pipeline ----------------------------------------------------------------

STOP = ("the", "a", "this", "is", "and", "of", "in", "was")
CONTENT = ("dogs", "barking", "rivers", "evenings", "singing", "trees", "letter", "ringing")
MARKS = (",", ".", "!", "?", ";", " -", "...", ")")


def toy_stem(word: str) -> str:
    """Cuts "-ing" or "-s"; knows lower-case words only, as stemmers do."""
    for ending in ("ing", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word


def classic_pipeline(
    text: str, stop_words: Collection[str], stem: Callable[[str], str]
) -> list[str]:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return [stem(word) for word in words if word not in stop_words]


def by_characters(text: str, stop_words: Collection[str], stem: Callable[[str], str]) -> list[str]:
    spaced = "".join(c.lower() if c.isalpha() else " " for c in text)
    kept = filter(lambda word: word not in stop_words, spaced.split())
    return list(map(stem, kept))


def stop_words_before_lower(text, stop_words, stem):
    words = [w for w in re.findall(r"[^\W\d_]+", text) if w not in stop_words]
    return [stem(word.lower()) for word in words]


def punctuation_left_on(text, stop_words, stem):
    return [stem(word) for word in text.lower().split() if word not in stop_words]


def punctuation_kept_as_tokens(text, stop_words, stem):
    tokens = re.findall(r"[^\W\d_]+|[^\w\s]", text.lower())
    return [stem(token) for token in tokens if token not in stop_words]


def stems_before_stop_words(text, stop_words, stem):
    stems = [stem(word) for word in re.findall(r"[^\W\d_]+", text.lower())]
    return [word for word in stems if word not in stop_words]


def each_word_once(text, stop_words, stem):
    return list(dict.fromkeys(classic_pipeline(text, stop_words, stem)))


def no_stems(text, stop_words, stem):
    return classic_pipeline(text, stop_words, lambda word: word)


def _written(t: Trial, word: str) -> str:
    """The word in random case, sometimes with a mark behind it."""
    cased = t.rng.choice((word, word.capitalize(), word.upper()))
    return cased + (t.rng.choice(MARKS) if t.rng.random() < 0.5 else "")


def check_pipeline(answer, t: Trial) -> None:
    for _ in range(5):
        stop = ["this", *t.rng.sample([w for w in STOP if w != "this"], 3)]
        words = t.rng.sample(CONTENT, 4) + t.rng.sample(STOP, 3) + ["This", "this"]
        words.append(words[0])  # one word twice
        t.rng.shuffle(words)
        # a stop word in both cases, and a mark behind a content word, whatever the seed
        text = "This " + " ".join(_written(t, word) for word in words) + " this barking!"
        _judge_pipeline(t, t.call(answer, text, stop, toy_stem), text, stop)
    t.passed("Five random sentences give the right stems in the right order")
    t.equal(t.call(answer, "...!", ["the"], toy_stem), [], says="No words: return an empty list.")
    t.passed("a text without words gives an empty list")


def _judge_pipeline(t: Trial, got, text: str, stop: list[str]) -> None:
    def mistake(function, sentence):
        return function(text, stop, toy_stem), sentence

    t.equal(
        got,
        classic_pipeline(text, stop, toy_stem),
        says="Tokens, lower case, no punctuation, no stop words, stems: in this order.",
        mistakes=[
            mistake(stop_words_before_lower, "`This` is a stop word too: lower case comes first."),
            mistake(punctuation_left_on, "A mark still hangs on a word: `barking!` is no word."),
            mistake(punctuation_kept_as_tokens, "Punctuation marks are still among the tokens."),
            mistake(
                stems_before_stop_words,
                "The stem of a stop word is not in the list any more: "
                "drop stop words first, then stem.",
            ),
            mistake(each_word_once, "A word that occurs twice must come out twice."),
            mistake(no_stems, "The last step is missing: call `stem` on each word that is left."),
        ],
    )


PIPELINE = Exercise(
    id="1.1.1",
    title="The classic pipeline",
    difficulty="easy",
    minutes=8,
    statement="""
Write the five classic steps as one function: tokens, lower case, no punctuation, no stop words,
stems.

- A word is a run of letters. Everything else separates words and disappears.
- `stop_words` is a list of lower-case words; `stem` is a function that takes a lower-case word.
- The order of the words stays, and a word that occurs twice comes out twice.
""",
    stub='''
def classic_pipeline(text: str, stop_words: list[str], stem) -> list[str]:
    """The stems of the content words of a text, in order.

    >>> classic_pipeline("This is fun. Fun!", ["this", "is"], lambda word: word[:2])
    ['fu', 'fu']
    """
    raise NotImplementedError
''',
    name="classic_pipeline",
    reference=classic_pipeline,
    alternatives=(by_characters,),
    wrong=(
        Wrong(stop_words_before_lower, "lower case comes first"),
        Wrong(punctuation_left_on, "A mark still hangs on a word"),
        Wrong(punctuation_kept_as_tokens, "marks are still among the tokens"),
        Wrong(stems_before_stop_words, "drop stop words first"),
        Wrong(each_word_once, "must come out twice"),
        Wrong(no_stems, "The last step is missing"),
    ),
    check=check_pipeline,
    hints=(
        "Go through the five steps of section 2 in their order. `re.findall` can do the first "
        "and the third together.",
        'Try `classic_pipeline("This, THIS!", ["this"], str)`. Both words are the stop word, so '
        "the answer is `[]`.",
        '1. `words = re.findall(r"[^\\W\\d_]+", text.lower())`: runs of letters\n'
        "2. keep the words that are not in `stop_words`\n"
        "3. return `stem(word)` for each word kept",
    ),
)


# -- 1.1.2 readings ----------------------------------------------------------------------------


def readings(n: int) -> int:
    m = n + 1
    return math.comb(2 * m, m) // (m + 1)


def by_recurrence(n: int) -> int:
    catalan = [1]
    for m in range(1, n + 2):
        catalan.append(sum(catalan[i] * catalan[m - 1 - i] for i in range(m)))
    return catalan[n + 1]


def powers_of_two(n: int) -> int:
    return 2**n


def one_index_low(n: int) -> int:
    return math.comb(2 * n, n) // (n + 1)


def factorials(n: int) -> int:
    return math.factorial(n + 1)


def one_more_each(n: int) -> int:
    return n + 1


def with_true_division(n: int) -> int:
    m = n + 1
    return int(math.comb(2 * m, m) / (m + 1))


def check_readings(answer, t: Trial) -> None:
    for n in (0, 1, 2, 3, *t.rng.sample(range(4, 12), 3)):
        got = t.call(answer, n)
        t.equal(
            got,
            readings(n),
            says="Count again: 1, 2 and 5 readings for 0, 1 and 2 phrases.",
            mistakes=[
                (one_index_low(n), "Right numbers, one place too early: `readings(1)` is 2."),
                (powers_of_two(n), "Doubling fits 1 and 2, but two phrases give 5: the phrase "
                 "can attach to more places, the more phrases stand before it."),
                (factorials(n), "Two phrases give 5, not 6: attachments may not cross."),
                (one_more_each(n), "Each phrase multiplies the readings, it does not add one."),
            ],
        )  # fmt: skip
    t.passed("The numbers of readings agree for 0 to 11 phrases")
    n = t.rng.randint(60, 90)
    t.equal(
        t.call(answer, n, says="With many phrases the function must still be quick."),
        readings(n),
        says="Close, but not exact: dividing with `/` gives a float, which has 16 digits only. "
        "Use `//`.",
    )
    t.passed(f"and for {n} phrases, exactly")


READINGS = Exercise(
    id="1.1.2",
    title="How many readings?",
    difficulty="medium",
    minutes=10,
    statement=r"""
A verb, its object and $n$ prepositional phrases (*saw the man in the park with the telescope*)
have as many readings as the Catalan number $C_{n+1}$, where

$$C_0 = 1, \qquad C_m = \sum_{i=0}^{m-1} C_i \, C_{m-1-i} = \frac{1}{m+1}\binom{2m}{m}$$

Write `readings(n)`. It must be exact, as an integer, and quick for 90 phrases, so a function
that calls itself twice for each $i$ will not do.
""",
    stub='''
def readings(n: int) -> int:
    """Number of readings of verb + object + n prepositional phrases.

    >>> [readings(n) for n in range(4)]
    [1, 2, 5, 14]
    """
    raise NotImplementedError
''',
    name="readings",
    reference=readings,
    alternatives=(by_recurrence,),
    wrong=(
        Wrong(powers_of_two, "Doubling fits 1 and 2"),
        Wrong(one_index_low, "one place too early"),
        Wrong(factorials, "attachments may not cross"),
        Wrong(one_more_each, "multiplies the readings"),
        Wrong(with_true_division, "Use `//`"),
    ),
    check=check_readings,
    hints=(
        "There are two formulas in the statement. Either will do: the sum with a list that grows, "
        "or the fraction with `math.comb`.",
        "`readings(3)` is $C_4 = C_0 C_3 + C_1 C_2 + C_2 C_1 + C_3 C_0 = 5 + 2 + 2 + 5 = 14$.",
        "1. `m = n + 1`\n2. `math.comb(2 * m, m)` is the binomial coefficient\n"
        "3. divide by `m + 1` with `//`, so that the result stays an exact integer",
    ),
)


# -- 1.1.3 phrase ------------------------------------------------------------------------------


def phrase(heads: Sequence[int], i: int) -> list[int]:
    found, waiting = [], [i]
    while waiting:
        word = waiting.pop()
        found.append(word)
        waiting += [k for k, head in enumerate(heads) if head == word and k != word]
    return sorted(found)


def by_climbing(heads: Sequence[int], i: int) -> list[int]:
    def chain(word: int) -> list[int]:
        return [word] if heads[word] == word else [word, *chain(heads[word])]

    return [word for word in range(len(heads)) if i in chain(word)]


def children_only(heads, i):
    return sorted({i} | {k for k, head in enumerate(heads) if head == i})


def without_the_word(heads, i):
    return [k for k in phrase(heads, i) if k != i]


def upwards(heads, i):
    chain = [i]
    while heads[chain[-1]] != chain[-1]:
        chain.append(heads[chain[-1]])
    return sorted(chain)


def from_first_to_last(heads, i):
    found = phrase(heads, i)
    return list(range(found[0], found[-1] + 1))


def in_order_of_discovery(heads, i):
    found, waiting = [], [i]
    while waiting:
        word = waiting.pop(0)
        found.append(word)
        waiting += [k for k, head in enumerate(heads) if head == word and k != word]
    return found


def root_below_itself(heads, i):
    return sorted({i}.union(*(root_below_itself(heads, k) for k, h in enumerate(heads) if h == i)))


def _random_parse(t: Trial, size: int) -> tuple[list[int], int]:
    """Heads with a chain of three below `top`, one gap, and the root last to be drawn.

    The words of `top` are a, b, c with a > b as dependents in turn, so that their order of
    discovery is not their order in the sentence; one word between them hangs elsewhere.
    """
    root, gap, c, b, top = t.rng.sample(range(size), 5)
    while not (c < b and min(top, b, c) < gap < max(top, b, c) and top > c):
        root, gap, c, b, top = t.rng.sample(range(size), 5)
    heads = [root] * size
    heads[top], heads[b], heads[c], heads[gap] = root, top, b, root
    for k in range(size):
        if k not in (root, gap, c, b, top):
            heads[k] = t.rng.choice((root, gap, c))
    return heads, top


def check_phrase(answer, t: Trial) -> None:
    for _ in range(6):
        heads, top = _random_parse(t, t.rng.randint(7, 11))
        _judge_phrase(t, answer, heads, top)
    t.passed("Phrases of random parses are complete and in order, gaps included")
    root = next(k for k, head in enumerate(heads) if head == k)
    t.equal(
        t.call(answer, heads, root, says="The root is its own head: do not follow it again."),
        list(range(len(heads))),
        says="Everything hangs below the root.",
    )
    leaf = next(k for k in range(len(heads)) if k not in heads)
    t.equal(t.call(answer, heads, leaf), [leaf], says="A word with nothing below is its phrase.")
    t.passed("the root has the whole sentence, a leaf itself alone")


def _judge_phrase(t: Trial, answer, heads: list[int], top: int) -> None:
    got = t.call(answer, heads, top)
    right = phrase(heads, top)
    t.equal(
        got,
        right,
        says="The phrase of a word is the word itself and everything that hangs below it.",
        mistakes=[
            (children_only(heads, top), "Those are the direct dependents: what hangs below them "
             "belongs to the phrase as well."),
            (without_the_word(heads, top), "The word itself belongs to its phrase."),
            (upwards(heads, top), "You went up to the root. A phrase lies below its word."),
            (from_first_to_last(heads, top), "A phrase can have gaps: not every word between its "
             "first and its last one hangs below."),
            (in_order_of_discovery(heads, top), "Right words, but not in the order of the "
             "sentence: sort them."),
        ],
    )  # fmt: skip


PHRASE = Exercise(
    id="1.1.3",
    title="The words of a phrase",
    difficulty="medium",
    minutes=10,
    statement="""
A dependency parse gives for each word the index of its **head**; the root is its own head. In
*The chef stirred the hot soup*, `heads = [1, 2, 2, 5, 5, 2]`: "The" (0) hangs on "chef" (1),
"chef" on "stirred" (2), the root, and so on.

Write `phrase(heads, i)`: the indices of word `i` and of everything below it, at any depth, in the
order of the sentence. This is what spaCy's `token.subtree` does.
""",
    stub='''
def phrase(heads: list[int], i: int) -> list[int]:
    """Indices of word i and of all words below it, ascending.

    >>> phrase([1, 2, 2, 5, 5, 2], 5)
    [3, 4, 5]
    """
    raise NotImplementedError
''',
    name="phrase",
    reference=phrase,
    alternatives=(by_climbing,),
    wrong=(
        Wrong(children_only, "direct dependents"),
        Wrong(without_the_word, "The word itself belongs"),
        Wrong(upwards, "A phrase lies below its word"),
        Wrong(from_first_to_last, "A phrase can have gaps"),
        Wrong(in_order_of_discovery, "sort them"),
        Wrong(root_below_itself, "The root is its own head"),
    ),
    check=check_phrase,
    hints=(
        "Either go down from `i`, collecting dependents of dependents; or go up from every word "
        "and see whether you pass `i`.",
        "`phrase([0, 0, 1], 0)` is `[0, 1, 2]`: word 2 hangs on word 1, which hangs on the root. "
        "Does your function stop, although the root is its own head?",
        "1. `found, waiting = [], [i]`\n"
        "2. while `waiting` is not empty: take a word out, add it to `found`\n"
        "3. put every `k` with `heads[k] == word` and `k != word` into `waiting`\n"
        "4. return `sorted(found)`",
    ),
)


# -- 1.1.4 pragmatic listener ------------------------------------------------------------------


def pragmatic_listener(
    truth: Sequence[Sequence[float]], prior: Sequence[float], alpha: float = 1.0
) -> np.ndarray:
    prior = np.asarray(prior, dtype=float)
    literal = np.asarray(truth, dtype=float) * prior
    literal = literal / literal.sum(axis=1, keepdims=True)  # P(state | utterance)
    speaker = literal**alpha
    speaker = speaker / speaker.sum(axis=0)  # P(utterance | state)
    listener = speaker * prior
    return listener / listener.sum(axis=1, keepdims=True)


def with_loops(truth, prior, alpha: float = 1.0) -> list[list[float]]:
    def scaled(row):
        return [x / sum(row) for x in row]

    literal = [scaled([x * p for x, p in zip(row, prior, strict=True)]) for row in truth]
    columns = [scaled([x**alpha for x in column]) for column in zip(*literal, strict=True)]
    return [
        scaled([x * p for x, p in zip(row, prior, strict=True)])
        for row in zip(*columns, strict=True)
    ]


def literal_listener(truth, prior, alpha=1.0):
    table = np.asarray(truth, dtype=float) * np.asarray(prior)
    return table / table.sum(axis=1, keepdims=True)


def alpha_ignored(truth, prior, alpha=1.0):
    return pragmatic_listener(truth, prior, 1.0)


def prior_ignored(truth, prior, alpha=1.0):
    return pragmatic_listener(truth, np.ones(len(prior)), alpha)


def prior_only_once(truth, prior, alpha=1.0):
    speaker = literal_listener(truth, prior) ** alpha
    speaker = speaker / speaker.sum(axis=0)
    return speaker / speaker.sum(axis=1, keepdims=True)


def speaker_over_states(truth, prior, alpha=1.0):
    speaker = literal_listener(truth, prior) ** alpha
    speaker = speaker / speaker.sum(axis=1, keepdims=True)
    listener = speaker * np.asarray(prior)
    return listener / listener.sum(axis=1, keepdims=True)


def not_scaled(truth, prior, alpha=1.0):
    speaker = literal_listener(truth, prior) ** alpha
    return speaker / speaker.sum(axis=0) * np.asarray(prior)


def _random_truth(t: Trial, utterances: int, states: int) -> list[list[int]]:
    """0 and 1; each row and column has a 1, and two rows differ in how many they have."""
    while True:
        table = [[t.rng.randint(0, 1) for _ in range(states)] for _ in range(utterances)]
        sums = [sum(row) for row in table]
        if all(sums) and all(map(any, zip(*table, strict=True))) and len(set(sums)) > 2:
            return table


def check_listener(answer, t: Trial) -> None:
    for utterances, states in ((3, 4), (5, 4), (5, 7)):
        truth = _random_truth(t, utterances, states)
        weights = t.rng.sample(range(1, 12), states)
        prior = [weight / sum(weights) for weight in weights]
        _judge_listener(t, answer, truth, prior, t.rng.choice((2.0, 3.0)))
    t.passed("The listener agrees for 3 to 5 utterances and 4 to 7 states; rows sum to one")
    got = t.call(answer, [[1, 0, 0], [0, 1, 1], [0, 0, 1]], [1 / 3] * 3)
    right = [[1, 0, 0], [0, 0.75, 0.25], [0, 0, 1]]
    t.close(got, right, says="With `alpha` left out, it is 1, and 'some' means 'not all' to 3/4.")
    t.passed("and 'some' means 'some but not all' with probability 3/4")


def _judge_listener(t: Trial, answer, truth, prior, alpha: float) -> None:
    got = t.call(answer, truth, prior, alpha)
    t.has_shape(got, (len(truth), len(prior)), "One row per utterance, one column per state.")
    arguments = (truth, prior, alpha)
    t.close(
        got,
        pragmatic_listener(*arguments),
        says="Three tables: literal listener, speaker, pragmatic listener; compare each by hand.",
        mistakes=[
            (literal_listener(*arguments), "This is the literal listener: it does not reason "
             "about the speaker yet."),
            (alpha_ignored(*arguments), "`alpha` has no effect: it is the power of the literal "
             "listener's probabilities in the speaker's table."),
            (prior_ignored(*arguments), "The prior has no effect: some states are likelier than "
             "others before anything is said."),
            (prior_only_once(*arguments), "The pragmatic listener weighs the states by the prior "
             "as well, not only the literal one."),
            (speaker_over_states(*arguments), "The speaker chooses among utterances: scale the "
             "columns of his table to sum to one, not the rows."),
            (not_scaled(*arguments), "The rows do not sum to one: the listener's probabilities "
             "of the states must, for each utterance."),
        ],
    )  # fmt: skip


LISTENER = Exercise(
    id="1.1.4",
    title="A listener who reasons about the speaker",
    difficulty="hard",
    minutes=15,
    statement=r"""
Write the pragmatic listener of section 6 for any table of truths, with two additions: a prior
$P(s)$ over states, and how strongly the speaker prefers the best utterance, $\alpha$.

$$L_0(s \mid u) \propto [\![u]\!](s)\,P(s) \qquad S_1(u \mid s) \propto L_0(s \mid u)^{\alpha}
\qquad L_1(s \mid u) \propto S_1(u \mid s)\,P(s)$$

$\propto$ means: scale so that the probabilities of what stands left of the bar sum to one, over
states for the listeners and over utterances for the speaker. `truth` has one row per utterance
and one column per state; each utterance is true in some state, and each state has a true
utterance. Return a table of the same shape, nested lists or an array.
""",
    stub='''
def pragmatic_listener(
    truth: list[list[int]], prior: list[float], alpha: float = 1.0
) -> list[list[float]]:
    """P(state | utterance) of a listener who reasons about the speaker; rows sum to one.

    >>> pragmatic_listener([[1, 1], [0, 1]], [0.5, 0.5])  # "some", "all"
    [[0.75, 0.25], [0.0, 1.0]]
    """
    raise NotImplementedError
''',
    name="pragmatic_listener",
    reference=pragmatic_listener,
    alternatives=(with_loops,),
    wrong=(
        Wrong(literal_listener, "This is the literal listener"),
        Wrong(alpha_ignored, "`alpha` has no effect"),
        Wrong(prior_ignored, "The prior has no effect"),
        Wrong(prior_only_once, "weighs the states by the prior as well"),
        Wrong(speaker_over_states, "The speaker chooses among utterances"),
        Wrong(not_scaled, "The rows do not sum to one"),
    ),
    check=check_listener,
    hints=(
        "Three tables of one shape. Ask of each: does it sum to one along rows or along columns?",
        "By hand, `truth = [[1, 1], [0, 1]]`, even prior, alpha 1: literal `[[½, ½], [0, 1]]`; "
        "the second column sums to 1½, so the speaker is `[[1, ⅓], [0, ⅔]]`; the first row scaled "
        "is `[¾, ¼]`.",
        "1. `literal = truth * prior`, rows scaled to one\n"
        "2. `speaker = literal ** alpha`, columns scaled to one\n"
        "3. `listener = speaker * prior`, rows scaled to one",
    ),
)

EXERCISES = [PIPELINE, READINGS, PHRASE, LISTENER]
