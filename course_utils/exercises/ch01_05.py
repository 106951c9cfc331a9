"""Exercises of lesson 1.5: PPMI, training pairs, a gradient, analogies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 1.5.1 PPMI ----------------------------------------------------------------------------------


def ppmi_table(counts: Sequence[Sequence[float]]) -> list[list[float]]:
    total = sum(map(sum, counts))
    rows = [sum(row) for row in counts]
    columns = [sum(column) for column in zip(*counts, strict=True)]
    return [
        [
            max(0.0, math.log(x * total / (rows[i] * columns[j]))) if x else 0.0
            for j, x in enumerate(row)
        ]
        for i, row in enumerate(counts)
    ]


def ppmi_with_numpy(counts: Sequence[Sequence[float]]) -> np.ndarray:
    p = np.asarray(counts, dtype=float) / np.sum(counts)
    chance = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    ratio = np.divide(p, chance, out=np.ones_like(p), where=p > 0)
    return np.maximum(0, np.log(ratio))


def pmi_with_negatives(counts):
    p = np.asarray(counts, dtype=float) / np.sum(counts)
    chance = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return np.log(np.divide(p, chance, out=np.ones_like(p), where=p > 0))


def ppmi_in_bits(counts):
    return ppmi_with_numpy(counts) / math.log(2)


def ppmi_with_row_sums_twice(counts):
    p = np.asarray(counts, dtype=float) / np.sum(counts)
    chance = p.sum(1, keepdims=True) * p.sum(1)[: p.shape[1]]
    ratio = np.divide(p, chance, out=np.ones_like(p), where=p > 0)
    return np.maximum(0, np.log(ratio))


def ppmi_without_total(counts):
    x = np.asarray(counts, dtype=float)
    chance = x.sum(1, keepdims=True) * x.sum(0, keepdims=True)
    ratio = np.divide(x, chance, out=np.ones_like(x), where=x > 0)
    return np.maximum(0, np.log(ratio))


def ppmi_log_of_zero(counts):
    total, rows = sum(map(sum, counts)), [sum(row) for row in counts]
    columns = [sum(column) for column in zip(*counts, strict=True)]
    return [
        [max(0.0, math.log(x * total / (rows[i] * columns[j]))) for j, x in enumerate(row)]
        for i, row in enumerate(counts)
    ]


def _random_counts(t: Trial, rows: int, columns: int, zeros: bool = False) -> list[list[int]]:
    """A lopsided table, so that sums of rows and columns differ; with zeros if asked."""
    table = [
        [t.rng.randint(1, 9) * (1 + 4 * (i == j)) for j in range(columns)] for i in range(rows)
    ]
    if zeros:
        table[0][1] = table[1][0] = 0
    return table


def check_ppmi(answer, t: Trial) -> None:
    for _ in range(4):
        counts = _random_counts(t, 5, 4)
        t.close(
            t.call(answer, counts),
            ppmi_table(counts),
            tolerance=1e-9,
            says="Each cell is ln(count * total / (row sum * column sum)), and 0 where this is "
            "negative.",
            mistakes=[
                (pmi_with_negatives(counts), "Right, but some values are negative. The first P "
                 "of PPMI says: replace them by 0."),
                (ppmi_in_bits(counts), "You took the logarithm to base 2. Here it is the natural "
                 "one, `math.log`."),
                (ppmi_with_row_sums_twice(counts), "The chance of the context comes from its "
                 "*column* sum."),
                (ppmi_without_total(counts), "Everything is 0: turn counts into probabilities "
                 "first, or multiply by the total once."),
            ],
        )  # fmt: skip
    t.passed("Four random tables agree, with the negative values cut off")
    counts = _random_counts(t, 4, 4, zeros=True)
    says = "A pair that never met has no logarithm: let its value be 0."
    t.close(t.call(answer, counts, says=says), ppmi_table(counts), tolerance=1e-9, says=says)
    t.passed("pairs that never met get 0")


PPMI = Exercise(
    id="1.5.1",
    title="PPMI from a table of counts",
    difficulty="easy",
    minutes=8,
    statement=r"""
Write the positive pointwise mutual information of a table of counts, rows = words, columns =
contexts:

$$\mathrm{PPMI}_{ij} = \max\Bigl(0,\;
\ln \frac{x_{ij} \cdot x_{\cdot\cdot}}{x_{i\cdot} \; x_{\cdot j}}\Bigr)$$

with the row sum $x_{i\cdot}$, the column sum $x_{\cdot j}$ and the total $x_{\cdot\cdot}$. The
table need not be square. A count of 0 gives 0.
""",
    stub='''
def ppmi_table(counts: list[list[float]]) -> list[list[float]]:
    """PPMI in nats of each cell of a table of counts.

    >>> ppmi_table([[2, 0], [1, 1]])       # ln(2 * 4 / (2 * 3)) = ln(4/3), 0; 0, ln 2
    [[0.2876..., 0.0], [0.0, 0.6931...]]
    """
    raise NotImplementedError
''',
    name="ppmi_table",
    reference=ppmi_table,
    alternatives=(ppmi_with_numpy,),
    wrong=(
        Wrong(pmi_with_negatives, "some values are negative"),
        Wrong(ppmi_in_bits, "logarithm to base 2"),
        Wrong(ppmi_with_row_sums_twice, "*column* sum"),
        Wrong(ppmi_without_total, "Everything is 0"),
        Wrong(ppmi_log_of_zero, "has no logarithm"),
    ),
    check=check_ppmi,
    hints=(
        "You need three kinds of sums before the first cell: of each row, of each column, of all.",
        "`ppmi_table([[1, 1], [1, 1]])` is all zeros: independent words surprise nobody.",
        "1. `total`, `rows`, `columns`\n"
        "2. for a count `x > 0`: `math.log(x * total / (rows[i] * columns[j]))`\n"
        "3. `max(0.0, …)`; and `0.0` where `x` is 0",
    ),
)


# -- 1.5.2 training pairs --------------------------------------------------------------------------


def window_pairs(words: Sequence[str], window: int) -> list[tuple[str, str]]:
    pairs = []
    for i, centre in enumerate(words):
        for j in range(max(0, i - window), min(len(words), i + window + 1)):
            if j != i:
                pairs.append((centre, words[j]))
    return pairs


def window_pairs_by_offset(words: Sequence[str], window: int) -> list[tuple[str, str]]:
    pairs = []
    for i in range(len(words)):
        left, right = words[max(0, i - window) : i], words[i + 1 : i + 1 + window]
        pairs += [(words[i], neighbour) for neighbour in (*left, *right)]
    return pairs


def only_to_the_right(words, window):
    return [(w, n) for i, w in enumerate(words) for n in words[i + 1 : i + 1 + window]]


def with_itself(words, window):
    return [(w, n) for i, w in enumerate(words) for n in words[max(0, i - window) : i + window + 1]]


def one_too_short(words, window):
    return window_pairs(words, window - 1)


def negative_start(words, window):
    return [
        (w, n)
        for i, w in enumerate(words)
        for n in (*words[i - window : i], *words[i + 1 : i + 1 + window])
    ]


def drops_equal_words(words, window):
    return [(a, b) for a, b in window_pairs(words, window) if a != b]


POOL = ("river", "bank", "boat", "trout", "willow", "bridge", "mill", "ferry", "current", "meadow")


def check_pairs(answer, t: Trial) -> None:
    for window in (1, 2, 3):
        words = t.rng.sample(POOL, 7)
        got = [tuple(pair) for pair in t.call(answer, words, window)]
        expected = window_pairs(words, window)
        t.equal(
            sorted(got),
            sorted(expected),
            says="Every word pairs with the words at most `window` places away, on both sides.",
            mistakes=[
                (sorted(only_to_the_right(words, window)), "You look to the right only: a word's "
                 "left neighbours are its context too."),
                (sorted(with_itself(words, window)), "A word is not its own neighbour: leave out "
                 "the pair of a position with itself."),
                (sorted(one_too_short(words, window)), "The window is one too small: a word "
                 "`window` places away still belongs to it. `range` stops before its end."),
                (sorted(negative_start(words, window)), "Near the start, `i - window` is negative, "
                 "and Python counts it from the end. Use `max(0, …)`."),
            ],
        )  # fmt: skip
    t.passed("Pairs of random sentences agree for windows 1, 2 and 3")
    words = t.rng.sample(POOL, 3)
    words = [words[0], words[0], *words[1:]]
    t.equal(
        sorted(tuple(pair) for pair in t.call(answer, words, 1)),
        sorted(window_pairs(words, 1)),
        says="The same word twice in a row makes a real pair: compare positions, not words.",
    )
    t.passed("a repeated word is a neighbour like any other")


PAIRS = Exercise(
    id="1.5.2",
    title="The pairs of skip-gram",
    difficulty="easy",
    minutes=8,
    statement="""
Skip-gram learns from pairs (word in the middle, word nearby). Write `window_pairs(words, window)`:
all pairs of a position with each other position at most `window` places to its left or right. The
order of the pairs does not matter; a pair that occurs twice stands there twice.
""",
    stub='''
def window_pairs(words: list[str], window: int) -> list[tuple[str, str]]:
    """All (middle, neighbour) pairs of one sentence.

    >>> window_pairs(["a", "b", "c"], 1)
    [('a', 'b'), ('b', 'a'), ('b', 'c'), ('c', 'b')]
    """
    raise NotImplementedError
''',
    name="window_pairs",
    reference=window_pairs,
    alternatives=(window_pairs_by_offset,),
    wrong=(
        Wrong(only_to_the_right, "to the right only"),
        Wrong(with_itself, "not its own neighbour"),
        Wrong(one_too_short, "The window is one too small"),
        Wrong(negative_start, "counts it from the end"),
        Wrong(drops_equal_words, "compare positions, not words"),
    ),
    check=check_pairs,
    hints=(
        "For each position `i`, which positions `j` may be partners? Mind both ends of the list.",
        '`window_pairs(["a", "a"], 1)` is `[("a", "a"), ("a", "a")]`: two positions, two pairs.',
        "1. for each `i`: `start = max(0, i - window)`, `stop = min(len(words), i + window + 1)`\n"
        "2. for each `j` in `range(start, stop)` with `j != i`: append `(words[i], words[j])`",
    ),
)


# -- 1.5.3 the gradient of CBOW ----------------------------------------------------------------


def cbow_gradient(contexts: np.ndarray, target: np.ndarray, noise: np.ndarray) -> np.ndarray:
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    mean = contexts.mean(axis=0)
    d_mean = (sigmoid(target @ mean) - 1) * target + sigmoid(noise @ mean) @ noise
    return np.tile(d_mean / len(contexts), (len(contexts), 1))


def cbow_gradient_by_autograd(contexts, target, noise):
    import torch

    inputs = torch.tensor(np.asarray(contexts, dtype=float), requires_grad=True)
    mean = inputs.mean(0)
    true = torch.nn.functional.logsigmoid(torch.tensor(np.asarray(target, dtype=float)) @ mean)
    false = torch.nn.functional.logsigmoid(-torch.tensor(np.asarray(noise, dtype=float)) @ mean)
    (-(true + false.sum())).backward()
    return inputs.grad.numpy()


def whole_gradient_to_each(contexts, target, noise):
    return cbow_gradient(contexts, target, noise) * len(contexts)


def uphill(contexts, target, noise):
    return -cbow_gradient(contexts, target, noise)


def without_noise(contexts, target, noise):
    return cbow_gradient(contexts, target, noise[:0])


def noise_with_wrong_sign(contexts, target, noise):
    full, true = cbow_gradient(contexts, target, noise), cbow_gradient(contexts, target, noise[:0])
    return 2 * true - full


def gradient_of_the_mean(contexts, target, noise):
    return whole_gradient_to_each(contexts, target, noise)[0]


def check_gradient(answer, t: Trial) -> None:
    rng = t.numpy_rng()
    for m, k in ((2, 3), (5, 4), (3, 1)):
        args = rng.normal(size=(m, 7)), rng.normal(size=7), rng.normal(size=(k, 7))
        got = t.call(
            answer, *args, shows=f"cbow_gradient(contexts ({m}, 7), target (7,), noise ({k}, 7))"
        )
        t.has_shape(got, (m, 7), "One row for each context vector is needed.")
        t.close(
            got,
            cbow_gradient(*args),
            tolerance=1e-6,
            says="Compare with autograd: error of the true word, errors of the noise words, "
            "then the mean's share.",
            mistakes=[
                (whole_gradient_to_each(*args), "This is the gradient of the *mean*. Each word "
                 "is one m-th of it, so divide by m. (word2vec and gensim leave the division "
                 "out, and that is a known fault.)"),
                (uphill(*args), "The sign is turned: this is the direction of ascent, not the "
                 "gradient of the loss."),
                (without_noise(*args), "The noise words are missing: each adds "
                 "s(noise · mean) * noise."),
                (noise_with_wrong_sign(*args), "The noise words have the wrong sign: they push "
                 "the mean away, so their part of the gradient is positive."),
            ],
        )  # fmt: skip
    t.passed("Three random windows agree with the exact gradient")


GRADIENT = Exercise(
    id="1.5.3",
    title="The exact gradient of CBOW",
    difficulty="hard",
    minutes=15,
    statement=r"""
CBOW compares the **mean** $h$ of the $m$ vectors around a word with the word's output vector
$u$ and with $k$ noise vectors $n_1 \dots n_k$:

$$h = \frac{1}{m}\sum_{j=1}^{m} c_j, \qquad
L = -\ln \sigma(u \cdot h) - \sum_{i=1}^{k} \ln \sigma(-n_i \cdot h)$$

Write the gradient of $L$ with respect to each context vector $c_j$, as an array of shape
$(m, C)$. Work it out by hand; $\frac{d}{dx} \ln\sigma(x) = 1 - \sigma(x)$. Then look at what the
check says about the version that word2vec has used since 2013.
""",
    stub='''
def cbow_gradient(contexts: np.ndarray, target: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Gradient of the loss with respect to each context vector.

    contexts (m, C), target (C,), noise (k, C) -> (m, C)

    >>> cbow_gradient(np.zeros((2, 1)), np.array([4.0]), np.zeros((1, 1)))   # (0.5 - 1) * 4 / 2
    array([[-1.], [-1.]])
    """
    raise NotImplementedError
''',
    name="cbow_gradient",
    reference=cbow_gradient,
    alternatives=(cbow_gradient_by_autograd,),
    wrong=(
        Wrong(whole_gradient_to_each, "divide by m"),
        Wrong(uphill, "The sign is turned"),
        Wrong(without_noise, "The noise words are missing"),
        Wrong(noise_with_wrong_sign, "wrong sign"),
        Wrong(gradient_of_the_mean, "One row for each context vector"),
    ),
    check=check_gradient,
    hints=(
        "First the gradient with respect to h; the chain rule does the rest. How does h change "
        "when one context vector changes by a little?",
        "With all context vectors zero every sigmoid is 1/2: the gradient of each context vector "
        "is `(-target / 2 + noise.sum(0) / 2) / m`.",
        "1. `h = contexts.mean(0)`\n"
        "2. `d = (s(target @ h) - 1) * target + s(noise @ h) @ noise`, with the sigmoid `s`\n"
        "3. every row of the answer is `d / m`",
    ),
)


# -- 1.5.4 analogies ---------------------------------------------------------------------------


def answer_analogy(words: list[str], vectors: np.ndarray, a: str, a_star: str, b: str) -> str:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = {word: i for i, word in enumerate(words)}
    scores = unit @ (unit[row[a_star]] - unit[row[a]] + unit[row[b]])
    for given in (a, a_star, b):
        scores[row[given]] = -np.inf
    return words[int(scores.argmax())]


def analogy_by_loop(words, vectors, a, a_star, b):
    def cosine(x, y):
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    rows = dict(zip(words, vectors, strict=True))
    others = [word for word in words if word not in (a, a_star, b)]
    return max(
        others,
        key=lambda w: (
            cosine(rows[w], rows[a_star]) - cosine(rows[w], rows[a]) + cosine(rows[w], rows[b])
        ),
    )


def given_words_allowed(words, vectors, a, a_star, b):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = {word: i for i, word in enumerate(words)}
    return words[int((unit @ (unit[row[a_star]] - unit[row[a]] + unit[row[b]])).argmax())]


def lengths_left_in(words, vectors, a, a_star, b):
    row = {word: i for i, word in enumerate(words)}
    scores = vectors @ (vectors[row[a_star]] - vectors[row[a]] + vectors[row[b]])
    scores[[row[a], row[a_star], row[b]]] = -np.inf
    return words[int(scores.argmax())]


def wrong_way_round(words, vectors, a, a_star, b):
    return answer_analogy(words, vectors, a_star, a, b)


def neighbour_of_b(words, vectors, a, a_star, b):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = {word: i for i, word in enumerate(words)}
    scores = unit @ unit[row[b]]
    scores[[row[a], row[a_star], row[b]]] = -np.inf
    return words[int(scores.argmax())]


def _places(t: Trial) -> tuple[list[str], np.ndarray]:
    """Two countries with capitals, a trap for each mistake, and words of no direction.

    Axes: country A, country B, "is a capital", and two more. The rows have random lengths.
    """
    shift = t.rng.uniform(0.37, 0.42)
    rows = {
        "France": [1, 0, 0, 0, 0],
        "Paris": [1, 0, shift, 0, 0],
        "Italy": [0, 1, 0, 0, 0],
        "Rome": [0, 1, shift, 0, 0.45],  # so far off that Italy itself scores more
        "Tuscany": [0, 1, 0, 0.3, 0],  # Italy's nearest neighbour
        "anti-Rome": [0, 1, -shift, 0, 0.45],  # the answer when the arrow is turned
        "giant": [0, 0.5, 0.3, 0, 1],  # wins by length alone
        "pear": [0, 0, 0, 1, 0.3],
        "apple": [0.1, 0, 0, 1, 0],
    }
    words = t.rng.sample(list(rows), len(rows))
    lengths = {word: t.rng.uniform(0.8, 1.25) for word in words} | {"giant": 30.0}
    return words, np.array([np.array(rows[w], dtype=float) * lengths[w] for w in words])


def check_analogy(answer, t: Trial) -> None:
    for _ in range(3):
        words, vectors = _places(t)
        args = words, vectors, "France", "Paris", "Italy"
        got = t.call(
            answer, *args, shows="answer_analogy(words, vectors, 'France', 'Paris', 'Italy')"
        )
        right = answer_analogy(*args)
        t.equal(
            got,
            right,
            says="Score every word by cos(x, a*) - cos(x, a) + cos(x, b) and take the best that "
            "was not given.",
            mistakes=[
                (given_words_allowed(*args), "The answer is one of the three given words. They "
                 "may not be answers; without this rule they nearly always win."),
                (lengths_left_in(*args), "A long vector won by its length: bring all vectors to "
                 "length 1 first."),
                (wrong_way_round(*args), "The arrow is turned around: add a*, subtract a."),
                (neighbour_of_b(*args), "That is the nearest neighbour of b: the step from a to "
                 "a* has not been used."),
            ],
        )  # fmt: skip
    t.passed("Three tables with traps give the right capital")


ANALOGY = Exercise(
    id="1.5.4",
    title="a is to a* as b is to …",
    difficulty="medium",
    minutes=12,
    statement="""
Answer an analogy question with a table of word vectors: among all words except the three given
ones, the word x with the largest

cos(x, a*) − cos(x, a) + cos(x, b)

`vectors` has one row a word, in the order of `words`, and the rows have any length. Return the
word.
""",
    stub='''
def answer_analogy(words: list[str], vectors: np.ndarray, a: str, a_star: str, b: str) -> str:
    """The word that is to b as a_star is to a.

    >>> table = np.array([[1, 0], [1, 1], [-1, 0], [-1, 1], [0, -1]])
    >>> answer_analogy(["man", "king", "woman", "queen", "pear"], table, "man", "king", "woman")
    'queen'
    """
    raise NotImplementedError
''',
    name="answer_analogy",
    reference=answer_analogy,
    alternatives=(analogy_by_loop,),
    wrong=(
        Wrong(given_words_allowed, "one of the three given words"),
        Wrong(lengths_left_in, "won by its length"),
        Wrong(wrong_way_round, "The arrow is turned around"),
        Wrong(neighbour_of_b, "nearest neighbour of b"),
    ),
    check=check_analogy,
    hints=(
        "If all vectors have length 1, a cosine is a dot product, and the three of them are one "
        "dot product with a sum of three vectors.",
        'What does your function say to ("man", "man", "woman")? The sum is the vector of '
        '"woman", which may not be the answer.',
        "1. divide every row by its length\n"
        "2. `scores = unit @ (unit[a*] - unit[a] + unit[b])`\n"
        "3. set the scores of the three given words to minus infinity\n"
        "4. return the word with the largest score",
    ),
)

EXERCISES = [PPMI, PAIRS, GRADIENT, ANALOGY]
