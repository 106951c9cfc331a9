"""Exercises of lesson 1.4: idf weights, padded character n-grams, perplexity, Kneser-Ney."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from course_utils.exercises.engine import Exercise, Trial, Wrong

WORDS = [
    "oil",
    "wheat",
    "ship",
    "bank",
    "trade",
    "rate",
    "crude",
    "grain",
    "dollar",
    "share",
    "profit",
    "loss",
    "cargo",
    "port",
]

# -- 1.4.1 inverse document frequency ----------------------------------------------------------


def idf(documents: Sequence[Sequence[str]]) -> dict[str, float]:
    document_frequency = Counter(word for words in documents for word in set(words))
    n = len(documents)
    return {word: math.log((1 + n) / (1 + df)) + 1 for word, df in document_frequency.items()}


def idf_with_matrix(documents: Sequence[Sequence[str]]) -> dict[str, float]:
    vocabulary = sorted({word for words in documents for word in words})
    present = np.array([[word in words for word in vocabulary] for words in documents])
    weights = np.log((1 + len(documents)) / (1 + present.sum(axis=0))) + 1
    return dict(zip(vocabulary, weights, strict=True))


def idf_of_counts(documents):
    counts = Counter(word for words in documents for word in words)
    return {w: math.log((1 + len(documents)) / (1 + c)) + 1 for w, c in counts.items()}


def idf_without_smoothing(documents):
    df = Counter(word for words in documents for word in set(words))
    return {w: math.log(len(documents) / c) + 1 for w, c in df.items()}


def idf_without_one(documents):
    return {w: value - 1 for w, value in idf(documents).items()}


def idf_base_two(documents):
    return {w: (value - 1) / math.log(2) + 1 for w, value in idf(documents).items()}


def idf_upside_down(documents):
    return {w: 2 - value for w, value in idf(documents).items()}


def check_idf(answer, t: Trial) -> None:
    for _ in range(3):
        rare, common, *others = t.rng.sample(WORDS, 7)
        documents = [[*t.rng.choices(others, k=4), common] for _ in range(t.rng.randint(4, 8))]
        documents[0] += [rare, rare, rare]
        documents[1] += [common]
        t.close(
            t.call(answer, documents),
            idf(documents),
            tolerance=1e-9,
            says="For each word: ln((1 + N) / (1 + df)) + 1, df = number of documents with it.",
            mistakes=[
                (
                    idf_of_counts(documents),
                    "df counts documents, not occurrences: a word that stands three times in one "
                    "document has df 1.",
                ),
                (
                    idf_without_smoothing(documents),
                    "The imaginary extra document is missing: add 1 to N and to df.",
                ),
                (
                    idf_without_one(documents),
                    "Add 1 at the end, or a word of every document gets weight 0 and disappears.",
                ),
                (idf_base_two(documents), "Use the natural logarithm, `math.log`."),
                (
                    idf_upside_down(documents),
                    "The fraction is upside down: a rare word must get the larger weight.",
                ),
            ],
        )
    t.passed("Three random collections give the right weights, repeated words included")


IDF = Exercise(
    id="1.4.1",
    title="How rare is a word?",
    difficulty="easy",
    minutes=7,
    statement="""
Write the weight that turns counts into TF-IDF, in the smoothed form that scikit-learn uses:

$$\\text{idf}(w) = \\ln\\frac{1 + N}{1 + \\text{df}(w)} + 1$$

N is the number of documents, df(w) the number of documents that contain w. The documents are lists
of words; return the weight of every word that occurs.
""",
    stub='''
def idf(documents: list[list[str]]) -> dict[str, float]:
    """The smoothed inverse document frequency of each word.

    >>> idf([["oil", "oil"], ["oil", "ship"]])
    {'oil': 1.0, 'ship': 1.4054651081081644}
    """
    raise NotImplementedError
''',
    name="idf",
    reference=idf,
    alternatives=(idf_with_matrix,),
    wrong=(
        Wrong(idf_of_counts, "df counts documents"),
        Wrong(idf_without_smoothing, "imaginary extra document"),
        Wrong(idf_without_one, "Add 1 at the end"),
        Wrong(idf_base_two, "natural logarithm"),
        Wrong(idf_upside_down, "upside down"),
    ),
    check=check_idf,
    hints=(
        "First count in how many documents each word stands; `set(words)` holds each word once.",
        'For `[["oil", "oil"], ["oil", "ship"]]`: N = 2, df(oil) = 2, df(ship) = 1.',
        "1. `df = Counter(word for words in documents for word in set(words))`\n"
        "2. for each word: `math.log((1 + N) / (1 + df[word])) + 1`",
    ),
)


# -- 1.4.2 character n-grams -------------------------------------------------------------------


def padded_ngrams(word: str, low: int, high: int) -> list[str]:
    padded = f" {word} "
    return [padded[i : i + n] for n in range(low, high + 1) for i in range(len(padded) - n + 1)]


def padded_ngrams_by_zip(word: str, low: int, high: int) -> list[str]:
    padded, grams = " " + word + " ", []
    for n in range(low, high + 1):
        grams += ["".join(run) for run in zip(*(padded[i:] for i in range(n)), strict=False)]
    return grams


def without_padding(word, low, high):
    return [word[i : i + n] for n in range(low, high + 1) for i in range(len(word) - n + 1)]


def without_longest(word, low, high):
    return padded_ngrams(word, low, high - 1)


def without_last(word, low, high):
    padded = f" {word} "
    return [padded[i : i + n] for n in range(low, high + 1) for i in range(len(padded) - n)]


def without_repeats(word, low, high):
    return list(dict.fromkeys(padded_ngrams(word, low, high)))


def with_stumps(word, low, high):
    padded = f" {word} "
    return [padded[i : i + n] for n in range(low, high + 1) for i in range(len(padded))]


def check_padded_ngrams(answer, t: Trial) -> None:
    for _ in range(4):
        a, b, c = t.rng.sample("abcdefghijk", 3)
        word = a + b + a + b + t.rng.choice((c, c + a)) + t.rng.choice(WORDS)[:2]
        low = t.rng.randint(1, 2)
        high = low + t.rng.randint(1, 2)
        args = (word, low, high)
        t.equal(
            t.call(answer, *args),
            padded_ngrams(*args),
            says="Shorter runs first, each length from left to right.",
            mistakes=[
                (
                    without_padding(*args),
                    "The spaces at both ends are missing: they tell a prefix from the same "
                    "letters inside a word.",
                ),
                (without_longest(*args), "`high` itself is a length too: `range` stops before it."),
                (
                    without_last(*args),
                    "The last run of each length is missing: there are len - n + 1.",
                ),
                (
                    without_repeats(*args),
                    "A run that occurs twice must come out twice: features are counted later.",
                ),
                (
                    with_stumps(*args),
                    "At the end of the word there are runs shorter than n: stop len - n + 1 in.",
                ),
            ],
        )
    t.passed("Runs of all lengths, repeats included, in order")
    t.equal(
        t.call(answer, "a", 4, 5), [], says="A padded word shorter than n has no run of length n."
    )
    t.passed("a word that is too short gives none")


NGRAMS = Exercise(
    id="1.4.2",
    title="Character n-grams of a word",
    difficulty="medium",
    minutes=8,
    statement="""
Character n-grams see that *shipping* and *shipped* are related, and survive a typing error. Write
them for one word.

Put one space at each end of the word. Return all runs of `low` to `high` characters of the padded
word: shorter runs first, each length from left to right, repeated ones as often as they occur.
""",
    stub='''
def padded_ngrams(word: str, low: int, high: int) -> list[str]:
    """Runs of low to high characters of the word between two spaces.

    >>> padded_ngrams("to", 2, 3)
    [' t', 'to', 'o ', ' to', 'to ']
    """
    raise NotImplementedError
''',
    name="padded_ngrams",
    reference=padded_ngrams,
    alternatives=(padded_ngrams_by_zip,),
    wrong=(
        Wrong(without_padding, "spaces at both ends"),
        Wrong(without_longest, "`high` itself"),
        Wrong(without_last, "last run of each length"),
        Wrong(without_repeats, "must come out twice"),
        Wrong(with_stumps, "shorter than n"),
    ),
    check=check_padded_ngrams,
    hints=(
        "Pad first, then two loops: the length n outside, the start i inside.",
        'Try `padded_ngrams("aa", 2, 2)`: the padded word is `" aa "`, the runs are '
        '`[" a", "aa", "a "]`.',
        "1. `padded = ' ' + word + ' '`\n"
        "2. for `n` from `low` to `high`, both included\n"
        "3. for `i` from 0 to `len(padded) - n`: take `padded[i:i + n]`",
    ),
)


# -- 1.4.3 perplexity --------------------------------------------------------------------------


def perplexity(probabilities: Sequence[float]) -> float:
    if min(probabilities) == 0:
        return math.inf
    bits = [-math.log2(p) for p in probabilities]
    return 2 ** (sum(bits) / len(bits))


def perplexity_with_numpy(probabilities: Sequence[float]) -> float:
    with np.errstate(divide="ignore"):
        return float(np.exp(-np.mean(np.log(np.asarray(probabilities, dtype=float)))))


def mean_of_inverses(probabilities):
    return sum(1 / p for p in probabilities) / len(probabilities)


def mixed_bases(probabilities):
    if min(probabilities) == 0:
        return math.inf
    return 2 ** (-sum(math.log(p) for p in probabilities) / len(probabilities))


def not_averaged(probabilities):
    if min(probabilities) == 0:
        return math.inf
    return 2 ** min(-sum(math.log2(p) for p in probabilities), 1000)


def bits_only(probabilities):
    if min(probabilities) == 0:
        return math.inf
    return sum(-math.log2(p) for p in probabilities) / len(probabilities)


def upside_down(probabilities):
    return 1 / perplexity(probabilities)


def product_first(probabilities):
    product = math.prod(probabilities)
    return math.inf if product == 0 else product ** (-1 / len(probabilities))


def check_perplexity(answer, t: Trial) -> None:
    for _ in range(4):
        values = [round(t.rng.uniform(0.02, 0.9), 3) for _ in range(t.rng.randint(3, 6))]
        t.close(
            t.call(answer, values),
            perplexity(values),
            tolerance=1e-9,
            says="Two to the mean of -log2 p.",
            mistakes=[
                (
                    mean_of_inverses(values),
                    "That is the mean of 1/p. Perplexity is the geometric mean: average the "
                    "logarithms, then go back.",
                ),
                (mixed_bases(values), "Base 2 and base e are mixed: `2 **` goes with `log2`."),
                (not_averaged(values), "Divide by the number of words before you raise 2 to it."),
                (bits_only(values), "That is the cross-entropy in bits. Raise 2 to it."),
                (upside_down(values), "Turn it over: the surer the model, the lower."),
            ],
        )
    t.passed("Random probabilities give the right perplexity")
    n = t.rng.randint(3, 20)
    t.close(
        t.call(answer, [1 / n] * 7),
        n,
        tolerance=1e-9,
        says=f"A model that gives every word 1/{n} has perplexity {n}.",
    )
    long = [t.rng.uniform(0.001, 0.01) for _ in range(2000)]
    t.close(
        t.call(answer, long, shows="perplexity(2,000 small probabilities)"),
        perplexity(long),
        tolerance=1e-6,
        says="The product of 2,000 small numbers is 0 in a computer: add logarithms.",
    )
    t.passed("2,000 words do not underflow")
    t.equal(
        t.call(answer, [0.5, 0.0, 0.25], says="One word has probability 0."),
        math.inf,
        says="A word of probability 0 makes the perplexity infinite: return `math.inf`.",
    )
    t.passed("a word of probability 0 makes it infinite")


PERPLEXITY = Exercise(
    id="1.4.3",
    title="Perplexity",
    difficulty="medium",
    minutes=9,
    statement="""
A language model gave each word of a text a probability. Compute the perplexity of the text:

$$2^{\\,\\frac{1}{n}\\sum_i -\\log_2 p_i}$$

It must work for long texts, and a word of probability 0 makes it infinite (`math.inf`).
""",
    stub='''
def perplexity(probabilities: list[float]) -> float:
    """Two to the mean surprise in bits.

    >>> perplexity([0.5, 0.125])
    4.0
    """
    raise NotImplementedError
''',
    name="perplexity",
    reference=perplexity,
    alternatives=(perplexity_with_numpy,),
    wrong=(
        Wrong(mean_of_inverses, "geometric mean"),
        Wrong(mixed_bases, "are mixed"),
        Wrong(not_averaged, "Divide by the number of words"),
        Wrong(bits_only, "cross-entropy in bits"),
        Wrong(upside_down, "Turn it over"),
        Wrong(product_first, "add logarithms"),
    ),
    check=check_perplexity,
    hints=(
        "Surprise of one word: -log2 p, in bits. Average first, exponentiate last.",
        "For `[0.5, 0.125]` the surprises are 1 and 3 bits, their mean is 2, and 2 ** 2 = 4.",
        "1. if a probability is 0, return `math.inf`\n"
        "2. `bits = [-math.log2(p) for p in probabilities]`\n"
        "3. return `2 ** (sum(bits) / len(bits))`",
    ),
)


# -- 1.4.4 Kneser-Ney --------------------------------------------------------------------------

Bigrams = Mapping[tuple[str, str], int]


def kneser_ney(bigrams: Bigrams, context: str, word: str, discount: float) -> float:
    continuation = sum(1 for pair in bigrams if pair[1] == word) / len(bigrams)
    after = {pair[1]: count for pair, count in bigrams.items() if pair[0] == context}
    total = sum(after.values())
    if total == 0:
        return continuation
    kept = max(after.get(word, 0) - discount, 0) / total
    return kept + discount * len(after) / total * continuation


def kneser_ney_with_counters(bigrams: Bigrams, context: str, word: str, discount: float) -> float:
    companions = Counter(second for _, second in bigrams)
    followers = Counter(first for first, _ in bigrams)
    totals: Counter[str] = Counter()
    for (first, _), count in bigrams.items():
        totals[first] += count
    lower = companions[word] / sum(companions.values())
    if not totals[context]:
        return lower
    count = bigrams.get((context, word), 0)
    weight = discount * followers[context] / totals[context]
    return max(count - discount, 0) / totals[context] + weight * lower


def _variant(bigrams, context, word, discount, *, lower, mass=None):
    after = {pair[1]: count for pair, count in bigrams.items() if pair[0] == context}
    total = sum(after.values())
    if total == 0:
        return lower
    weight = discount * len(after) / total if mass is None else mass
    return max(after.get(word, 0) - discount, 0) / total + weight * lower


def _continuation(bigrams, word):
    return sum(1 for pair in bigrams if pair[1] == word) / len(bigrams)


def lower_order_from_counts(bigrams, context, word, discount):
    seen = sum(count for pair, count in bigrams.items() if pair[1] == word)
    return _variant(bigrams, context, word, discount, lower=seen / sum(bigrams.values()))


def mass_is_the_discount(bigrams, context, word, discount):
    return _variant(
        bigrams, context, word, discount, lower=_continuation(bigrams, word), mass=discount
    )


def only_if_unseen(bigrams, context, word, discount):
    """Backs off instead of interpolating: seen words get no share of the lower order."""
    if bigrams.get((context, word), 0):
        return _variant(bigrams, context, word, discount, lower=0.0)
    return kneser_ney(bigrams, context, word, discount)


def divided_by_words(bigrams, context, word, discount):
    vocabulary = {pair[1] for pair in bigrams}
    companions = sum(1 for pair in bigrams if pair[1] == word)
    return _variant(bigrams, context, word, discount, lower=companions / len(vocabulary))


def no_discount(bigrams, context, word, discount):
    lower = _continuation(bigrams, word)
    total = sum(c for pair, c in bigrams.items() if pair[0] == context)
    if not total:
        return lower
    kinds = sum(1 for pair in bigrams if pair[0] == context)
    return bigrams.get((context, word), 0) / total + discount * kinds / total * lower


def crash_on_new_context(bigrams, context, word, discount):
    if not any(pair[0] == context for pair in bigrams):
        return 0.0
    return kneser_ney(bigrams, context, word, discount)


def _random_bigrams(t: Trial) -> dict[tuple[str, str], int]:
    """A few contexts; one word is frequent after a single context, as Francisco is."""
    words = t.rng.sample(WORDS, 6)
    bigrams = {(words[0], words[1]): t.rng.randint(15, 30)}
    while len(bigrams) < 9:
        pair = (t.rng.choice(words), t.rng.choice(words[2:]))
        bigrams[pair] = t.rng.randint(1, 6)
    bigrams.setdefault((words[0], words[2]), 3)
    return bigrams


def check_kneser_ney(answer, t: Trial) -> None:
    for _ in range(4):
        bigrams, discount = _random_bigrams(t), t.rng.choice((0.5, 0.6, 0.75))
        context = next(iter(bigrams))[0]
        vocabulary = sorted({pair[1] for pair in bigrams})
        for word in vocabulary:
            args = (bigrams, context, word, discount)
            t.close(
                t.call(answer, *args),
                kneser_ney(*args),
                tolerance=1e-9,
                says="Share of the discounted count, plus the mass handed on times the "
                "continuation probability.",
                mistakes=[
                    (
                        lower_order_from_counts(*args),
                        "The lower order counts how often the word occurs. It must count after "
                        "how many *different* words it occurs.",
                    ),
                    (
                        mass_is_the_discount(*args),
                        "The discount was taken once for each different follower: the mass handed "
                        "on is discount · followers / total.",
                    ),
                    (
                        only_if_unseen(*args),
                        "Interpolated Kneser-Ney gives the lower order's share to seen words too.",
                    ),
                    (
                        divided_by_words(*args),
                        "Divide the companions by the number of bigram types, so that the "
                        "continuation probabilities sum to one.",
                    ),
                    (
                        no_discount(*args),
                        "The discount is handed on, but it was not taken from the count.",
                    ),
                ],
            )
        total = sum(t.call(answer, bigrams, context, word, discount) for word in vocabulary)
        t.close(total, 1.0, tolerance=1e-9, says="The probabilities after a context must sum to 1.")
    t.passed("All words after four contexts get the right probability, and the sums are one")
    word = t.rng.choice(vocabulary)
    t.close(
        t.call(answer, bigrams, "zzz", word, 0.5),
        kneser_ney(bigrams, "zzz", word, 0.5),
        tolerance=1e-9,
        says="A context that was never seen leaves only the continuation probability.",
    )
    t.passed("a new context falls back to the continuation probability")


KNESER_NEY = Exercise(
    id="1.4.4",
    title="Kneser-Ney for bigrams",
    difficulty="hard",
    minutes=18,
    statement="""
Write interpolated Kneser-Ney for bigrams, with one discount d:

$$P(w \\mid v) = \\frac{\\max(c(v w) - d,\\ 0)}{c(v)} + \\frac{d \\cdot f(v)}{c(v)}\\,
P_{cont}(w), \\qquad P_{cont}(w) = \\frac{\\text{number of different words before } w}
{\\text{number of different bigrams}}$$

c(v) is the sum of the counts of all bigrams that begin with v, f(v) the number of different words
after v. `bigrams` maps each pair to its count. After a context that was never seen, answer with
the continuation probability.
""",
    stub='''
def kneser_ney(
    bigrams: dict[tuple[str, str], int], context: str, word: str, discount: float
) -> float:
    """P(word | context).

    >>> kneser_ney({("a", "b"): 2, ("c", "b"): 1}, "a", "b", 0.5)
    1.0
    """
    raise NotImplementedError
''',
    name="kneser_ney",
    reference=kneser_ney,
    alternatives=(kneser_ney_with_counters,),
    wrong=(
        Wrong(lower_order_from_counts, "after how many *different* words"),
        Wrong(mass_is_the_discount, "once for each different follower"),
        Wrong(only_if_unseen, "to seen words too"),
        Wrong(divided_by_words, "number of bigram types"),
        Wrong(no_discount, "not taken from the count"),
        Wrong(crash_on_new_context, "never seen"),
    ),
    check=check_kneser_ney,
    hints=(
        "Write the continuation probability first: it looks only at the keys of `bigrams`.",
        'For `{("a", "b"): 2, ("c", "b"): 1}` and context `a`: (2 - 0.5) / 2 = 0.75, the mass '
        "handed on is 0.5 · 1 / 2 = 0.25, and `b` ends all bigrams, so 0.75 + 0.25 · 1 = 1.",
        "1. `continuation` = keys that end in `word` / all keys\n"
        "2. `after` = the followers of `context` with their counts; none: return `continuation`\n"
        "3. `total = sum(after.values())`\n"
        "4. `max(after.get(word, 0) - discount, 0) / total + discount * len(after) / total * "
        "continuation`",
    ),
)

EXERCISES = [IDF, NGRAMS, PERPLEXITY, KNESER_NEY]
