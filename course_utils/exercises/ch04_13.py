"""Exercises of lesson 4.13, Evaluation: BLEU's guards, pass@k, paired bootstrap, choices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from course_utils.exercises.engine import Exercise, Trial, Wrong


def _telling(make: Callable[[], tuple], answers: Sequence[Callable]) -> tuple:
    """Inputs for which all these answers differ, so that each mistake can be told apart."""
    for _ in range(500):
        inputs = make()
        values = [answer(*inputs) for answer in answers]
        gaps = [abs(a - b) for i, a in enumerate(values) for b in values[:i]]
        if min(gaps, default=1) > 1e-4:
            return inputs
    raise RuntimeError("no inputs were found on which all answers differ")


# -- 4.13.1 BLEU's two guards ------------------------------------------------------------------


def bleu_2(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    def grams(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    precisions = []
    for n in (1, 2):
        found, allowed = grams(candidate, n), Counter()
        for reference in references:
            allowed |= grams(reference, n)  # the largest count of each n-gram
        total = sum(found.values())
        precisions.append(sum((found & allowed).values()) / total if total else 0.0)
    c = len(candidate)
    r = min((abs(len(reference) - c), len(reference)) for reference in references)[1]
    penalty = 1.0 if c >= r else math.exp(1 - r / c) if c else 0.0
    return penalty * math.sqrt(precisions[0] * precisions[1])


def bleu_2_by_lists(candidate, references):
    def precision(n):
        cut = [[tuple(t[i : i + n]) for i in range(len(t) - n + 1)] for t in references]
        grams = [tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1)]
        if not grams:
            return 0
        return sum(min(grams.count(g), max(r.count(g) for r in cut)) for g in set(grams)) / len(
            grams
        )

    closest = min(map(len, references), key=lambda r: (abs(r - len(candidate)), r))
    shortfall = max(0, closest / max(1, len(candidate)) - 1)
    return math.exp(-shortfall) * (precision(1) * precision(2)) ** 0.5


def _bleu_2(
    candidate,
    references,
    *,
    clip=lambda counts: max(counts),
    mean=lambda a, b: math.sqrt(a * b),
    length=lambda c, lengths: min((abs(r - c), r) for r in lengths)[1],
    penalty=lambda c, r: 1.0 if c >= r else math.exp(1 - r / c),
) -> float:
    """``bleu_2`` with one part done differently, for candidates of two words or more."""
    precisions = []
    for n in (1, 2):
        texts = [[tuple(t[i : i + n]) for i in range(len(t) - n + 1)] for t in references]
        grams = [tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1)]
        matches = sum(min(grams.count(g), clip([t.count(g) for t in texts])) for g in set(grams))
        precisions.append(matches / len(grams))
    c = len(candidate)
    return penalty(c, length(c, [len(text) for text in references])) * mean(*precisions)


def not_clipped(candidate, references):
    return _bleu_2(candidate, references, clip=lambda counts: math.inf if any(counts) else 0)


def clipped_by_the_sum(candidate, references):
    return _bleu_2(candidate, references, clip=sum)


def without_penalty(candidate, references):
    return _bleu_2(candidate, references, penalty=lambda c, r: 1.0)


def arithmetic_mean(candidate, references):
    return _bleu_2(candidate, references, mean=lambda a, b: (a + b) / 2)


def rewards_length(candidate, references):
    return _bleu_2(candidate, references, penalty=lambda c, r: math.exp(1 - r / c))


def shortest_reference(candidate, references):
    return _bleu_2(candidate, references, length=lambda c, lengths: min(lengths))


BLEU_MISTAKES = (
    (not_clipped, "Clip: a word counts at most as often as in the reference that has it most."),
    (
        clipped_by_the_sum,
        "You clip by the sum over the references. Take the largest count in any one of them.",
    ),
    (
        shortest_reference,
        "r is the reference length *closest* to the candidate's, not the shortest one.",
    ),
    (
        without_penalty,
        "The brevity penalty is missing: two right words would get the full score.",
    ),
    (
        arithmetic_mean,
        "Take the geometric mean, sqrt(p1 p2): if no bigram matches, the score is 0.",
    ),
    (
        rewards_length,
        "Your penalty is above 1 for a long candidate. It is exactly 1 when c >= r.",
    ),
)


def _bleu_case(t: Trial, length: int, others: tuple[int, int], mistakes: Sequence) -> tuple:
    words = t.rng.sample(["cat", "dog", "sat", "the", "on", "a"], 4)

    def make():
        return t.rng.choices(words, k=length), [t.rng.choices(words, k=k) for k in others]

    return _telling(make, [bleu_2, *mistakes])


def check_bleu_2(answer, t: Trial) -> None:
    cases = (
        (7, (8, 9), [not_clipped, clipped_by_the_sum, without_penalty, arithmetic_mean]),
        (9, (6, 7), [not_clipped, arithmetic_mean, rewards_length]),
        (7, (4, 8), [shortest_reference]),  # after case 1 no penalty at all is ruled out
    )
    for length, others, mistakes in cases:
        inputs = _bleu_case(t, length, others, mistakes)
        t.close(
            t.call(answer, *inputs),
            bleu_2(*inputs),
            says="The score is not the expected one.",
            mistakes=[(wrong(*inputs), sentence) for wrong, sentence in BLEU_MISTAKES],
        )
    t.passed("Clipping, both precisions and the penalty are right on random texts")
    perfect = t.rng.sample(["red", "blue", "green", "black", "white"], 4)
    t.close(
        t.call(answer, perfect, [perfect, [*perfect, "x"]]),
        1.0,
        says="A candidate that equals a reference has the score 1.",
    )
    for short in ([], ["red"]):
        t.close(
            t.call(answer, short, [["red", "car"]]),
            0.0,
            says="A candidate without any bigram has the score 0, and must not divide by zero.",
        )
    t.passed("and a copy scores 1, a candidate without a bigram 0")


BLEU_2 = Exercise(
    id="4.13.1",
    title="The two guards of BLEU",
    difficulty="medium",
    minutes=15,
    statement=r"""
Write BLEU with unigrams and bigrams for one candidate and several references:
$\mathrm{BP} \cdot \sqrt{p_1 p_2}$.

- $p_n$: matching n-grams of the candidate divided by all its n-grams. A match is **clipped**: an
  n-gram counts at most as often as in the reference that has it most.
- $\mathrm{BP} = 1$ if $c \ge r$, else $e^{1 - r/c}$; $c$ is the candidate's length, $r$ the length
  of the reference **closest** to it (of two equally close ones the shorter).
- A candidate without any bigram scores 0.
""",
    stub='''
def bleu_2(candidate: list[str], references: list[list[str]]) -> float:
    """Brevity penalty times the geometric mean of clipped 1- and 2-gram precision.

    >>> bleu_2(["a", "b", "b", "b"], [["a", "b", "c", "d"]])  # p1 = 2/4, p2 = 1/3, BP = 1
    0.408...
    """
    raise NotImplementedError
''',
    name="bleu_2",
    reference=bleu_2,
    alternatives=(bleu_2_by_lists,),
    wrong=tuple(
        Wrong(wrong, says)
        for (wrong, _), says in zip(
            BLEU_MISTAKES,
            (
                "at most as often as in the reference",
                "largest count in any one",
                "not the shortest one",
                "brevity penalty is missing",
                "geometric mean",
                "above 1 for a long candidate",
            ),
            strict=True,
        )
    ),
    check=check_bleu_2,
    hints=(
        "Count the candidate's n-grams and each reference's with a `Counter`. For two counters "
        "`a | b` keeps the larger counts and `a & b` the smaller ones.",
        'The candidate `["the"] * 7` against `["the", "cat", "is", "on", "the", "mat"]`: '
        "unclipped p1 is 7/7, clipped it is 2/7, and p2 is 0.",
        "1. for n = 1, 2: `found`, and `allowed` = union of the references' counters\n"
        "2. p_n = total of `found & allowed` / total of `found` (0 if there is none)\n"
        "3. r by `min((abs(len(x) - c), len(x)) for x in references)[1]`, then the penalty",
    ),
)


# -- 4.13.2 pass@k -----------------------------------------------------------------------------


def pass_at_k(n: int, c: int, k: int) -> float:
    return 1 - math.comb(n - c, k) / math.comb(n, k)  # Python's whole numbers do not overflow


def pass_at_k_product(n, c, k):
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_at_k_numpy(n, c, k):
    import numpy as np

    return 1 - np.prod(1 - c / np.arange(n - k + 1, n + 1)) if n - c >= k else np.float64(1)


def plugged_in(n, c, k):
    return 1 - (1 - c / n) ** k


def all_pass(n, c, k):
    return math.comb(c, k) / math.comb(n, k)


def ignores_k(n, c, k):
    return c / n


def union_bound(n, c, k):
    return min(1.0, k * c / n)


def overflowing(n, c, k):
    def choose(a, b):
        if b > a:
            return 0.0
        return math.gamma(a + 1) / math.gamma(b + 1) / math.gamma(a - b + 1)

    return 1 - choose(n - c, k) / choose(n, k)


PASS_MISTAKES = (
    (
        plugged_in,
        "1 - (1 - c/n)^k draws the same sample twice and is too low on average: draw "
        "*without* replacement.",
    ),
    (all_pass, "That is the chance that *all* k pass. One is enough: 1 minus *none* passes."),
    (ignores_k, "c/n is pass@1. A draw of k samples has more chances."),
    (union_bound, "k c / n counts draws with two right samples twice."),
)


def check_pass_at_k(answer, t: Trial) -> None:
    for _ in range(3):

        def make():
            n = t.rng.randint(8, 20)
            k = t.rng.randint(2, 4)
            return n, t.rng.randint(k, n // 2 + 1), k

        inputs = _telling(make, [pass_at_k, *(wrong for wrong, _ in PASS_MISTAKES)])
        t.close(
            t.call(answer, *inputs),
            pass_at_k(*inputs),
            says="Count the draws of k out of n that hold no right sample.",
            mistakes=[(wrong(*inputs), sentence) for wrong, sentence in PASS_MISTAKES],
        )
    t.passed("Random cases agree with counting all draws")
    for n, c, k, expected in ((7, 0, 3, 0.0), (7, 7, 1, 1.0), (7, 5, 3, 1.0)):
        got = t.call(answer, n, c, k)
        says = "With no right sample it is 0; with fewer than k wrong ones every draw succeeds."
        t.close(got, expected, says=says)
    n, k = t.rng.randint(1500, 2000), 100
    says = "Thousands of samples must work: factorials of such numbers overflow a float."
    got = t.call(answer, n, 11, k, says=says)
    t.close(got, pass_at_k(n, 11, k), tolerance=1e-9, says=says)
    t.passed("the edges are right, and thousands of samples do not overflow")


PASS_AT_K = Exercise(
    id="4.13.2",
    title="pass@k without bias",
    difficulty="easy",
    minutes=10,
    statement="""
A code model wrote `n` programs for a problem, and `c` of them pass the tests. Estimate **pass@k**:
the chance that at least one of `k` programs, drawn from the `n` **without replacement**, passes.

- It is 1 minus the share of draws that hold no right program.
- It must work for n = 2,000 and k = 100, where the number of draws has more than 170 digits.
""",
    stub='''
def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k of n samples, c of them right, hold a right one (0 <= c <= n, 1 <= k <= n).

    >>> pass_at_k(4, 2, 2)  # of 6 pairs one has no right sample
    0.8333...
    """
    raise NotImplementedError
''',
    name="pass_at_k",
    reference=pass_at_k,
    alternatives=(pass_at_k_product, pass_at_k_numpy),
    wrong=(
        Wrong(plugged_in, "*without* replacement"),
        Wrong(all_pass, "One is enough"),
        Wrong(ignores_k, "c/n is pass@1"),
        Wrong(union_bound, "counts draws with two right samples twice"),
        Wrong(overflowing, "overflow a float"),
    ),
    check=check_pass_at_k,
    hints=(
        "How many ways are there to draw k of n? How many of them use only the n - c wrong ones?",
        "For n = 4, c = 2, k = 2 the pairs are 6, and one of them holds both wrong samples: 5/6.",
        "`1 - math.comb(n - c, k) / math.comb(n, k)`: `math.comb` works with whole numbers of any "
        "size and gives 0 when k > n - c.",
    ),
)


# -- 4.13.3 paired bootstrap -------------------------------------------------------------------


def paired_interval(
    first: Sequence[float], second: Sequence[float], draws: Sequence[Sequence[int]]
) -> tuple[float, float]:
    gaps = [x - y for x, y in zip(first, second, strict=True)]
    means = sorted(sum(gaps[i] for i in draw) / len(draw) for draw in draws)
    cut = len(draws) // 20
    return means[cut], means[len(means) - 1 - cut]


def paired_interval_numpy(first, second, draws):
    import numpy as np

    items = np.asarray(draws)
    gaps = np.asarray(first)[items].mean(axis=1) - np.asarray(second)[items].mean(axis=1)
    kept = np.sort(gaps)[len(gaps) // 20 : len(gaps) - len(gaps) // 20]
    return kept[[0, -1]]


def _ends(values: Sequence[float], low: int, high: int) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[low], ordered[len(ordered) - 1 - high]


def _means(scores, draws) -> list[float]:
    return [sum(scores[i] for i in draw) / len(draw) for draw in draws]


def two_intervals(first, second, draws):
    cut = len(draws) // 20
    ours, theirs = (_ends(_means(scores, draws), cut, cut) for scores in (first, second))
    return ours[0] - theirs[1], ours[1] - theirs[0]


def not_paired(first, second, draws):
    other = [*draws[1:], draws[0]]
    gaps = [a - b for a, b in zip(_means(first, draws), _means(second, other), strict=True)]
    return _ends(gaps, len(draws) // 20, len(draws) // 20)


def wrong_sign(first, second, draws):
    return paired_interval(second, first, draws)


def not_trimmed(first, second, draws):
    gaps = [x - y for x, y in zip(first, second, strict=True)]
    return _ends(_means(gaps, draws), 0, 0)


def one_tail(first, second, draws):
    gaps = [x - y for x, y in zip(first, second, strict=True)]
    return _ends(_means(gaps, draws), len(draws) // 10, 0)


def spread_of_items(first, second, draws):
    gaps = [x - y for x, y in zip(first, second, strict=True)]
    return _ends(gaps, len(gaps) // 20, len(gaps) // 20)


INTERVAL_MISTAKES = (
    (
        two_intervals,
        "You combined two separate intervals. Take the difference on the *same* drawn items, "
        "then sort the differences.",
    ),
    (
        not_paired,
        "The two systems were scored on different draws. Pairing means: the same items for both.",
    ),
    (wrong_sign, "The sign is turned round: first minus second."),
    (not_trimmed, "Leave out R // 20 differences at each end: these are the extremes of all R."),
    (one_tail, "You cut one end only. Leave out R // 20 differences at *each* end."),
    (
        spread_of_items,
        "That is the spread of single items. The interval is about *means* of drawn items.",
    ),
)


def check_paired_interval(answer, t: Trial) -> None:
    says = "The ends are not those of the sorted differences."
    for size, resamples in ((29, 100), (23, 60), (47, 40)):
        hard = [t.rng.uniform(0, 1) for _ in range(size)]
        first = [round(h + t.rng.gauss(0.1, 0.2), 3) for h in hard]
        second = [round(h + t.rng.gauss(0, 0.2), 3) for h in hard]
        draws = [t.rng.choices(range(size), k=size) for _ in range(resamples)]
        got = t.call(
            answer,
            first,
            second,
            draws,
            shows=f"paired_interval({size} scores, {size} scores, {resamples} draws)",
        )
        t.has_shape(got, (2,), "Return two numbers: the low end and the high end.")
        inputs = (first, second, draws)
        t.close(
            got,
            paired_interval(*inputs),
            says=says,
            mistakes=[(wrong(*inputs), sentence) for wrong, sentence in INTERVAL_MISTAKES],
        )
    t.passed("The interval is right for several sizes")
    scores = [t.rng.random() for _ in range(11)]
    draws = [t.rng.choices(range(11), k=11) for _ in range(20)]
    got = t.call(answer, scores, [s - 0.25 for s in scores], draws)
    t.close(
        got,
        (0.25, 0.25),
        says="A system that is better by 0.25 on every item leaves no doubt: both ends are 0.25.",
    )
    t.passed("and a constant advantage leaves no doubt")


PAIRED_INTERVAL = Exercise(
    id="4.13.3",
    title="A paired bootstrap interval",
    difficulty="medium",
    minutes=15,
    statement="""
Two systems were scored on the same N items. How sure is the difference of their means?

`draws` holds R lists of N item numbers each, drawn with replacement (drawn for you, so that the
result can be checked).

- For each draw compute mean(first) - mean(second) on the drawn items.
- Sort the R differences, leave out the R // 20 smallest and the R // 20 largest, and return the
  smallest and the largest of the rest: a 90 % interval.
""",
    stub='''
def paired_interval(
    first: list[float], second: list[float], draws: list[list[int]]
) -> tuple[float, float]:
    """Ends of the 90 % bootstrap interval of mean(first) - mean(second).

    >>> paired_interval([1.0, 0.0], [0.0, 0.0], [[0, 1], [0, 0], [1, 1]])  # .5, 1, 0; 3 // 20 = 0
    (0.0, 1.0)
    """
    raise NotImplementedError
''',
    name="paired_interval",
    reference=paired_interval,
    alternatives=(paired_interval_numpy,),
    wrong=tuple(
        Wrong(wrong, says)
        for (wrong, _), says in zip(
            INTERVAL_MISTAKES,
            (
                "two separate intervals",
                "the same items for both",
                "first minus second",
                "the extremes of all",
                "one end only",
                "spread of single items",
            ),
            strict=True,
        )
    ),
    check=check_paired_interval,
    hints=(
        "The difference of two means on the same items is the mean of the items' differences.",
        "With scores [1, 0] and [0, 0] the items' differences are [1, 0]; the draw [0, 0] has the "
        "mean difference 1, the draw [0, 1] has 0.5.",
        "1. `gaps`: first minus second for every item\n"
        "2. for each draw the mean of `gaps[i]` over its items\n"
        "3. sort; `cut = R // 20`; return entry `cut` from the left and from the right",
    ),
)


# -- 4.13.4 three ways to choose ---------------------------------------------------------------


def pick_choices(
    given: Sequence[Sequence[float]], neutral: Sequence[Sequence[float]]
) -> tuple[int, int, int]:
    def best(scores):
        return scores.index(max(scores))

    plain = [sum(logs) for logs in given]
    per_token = [sum(logs) / len(logs) for logs in given]
    gained = [sum(with_it) - sum(alone) for with_it, alone in zip(given, neutral, strict=True)]
    return best(plain), best(per_token), best(gained)


def pick_choices_numpy(given, neutral):
    import numpy as np

    totals = np.array([np.sum(logs) for logs in given])
    lengths = np.array([len(logs) for logs in given])
    alone = np.array([np.sum(logs) for logs in neutral])
    return [int(np.argmax(x)) for x in (totals, totals / lengths, totals - alone)]


def _picks(given, neutral, plain, per_token, gained) -> tuple[int, ...]:
    columns = []
    for rule in (plain, per_token, gained):
        scores = [rule(x, y) for x, y in zip(given, neutral, strict=True)]
        columns.append(scores.index(max(scores)))
    return tuple(columns)


def _total(x, _):
    return sum(x)


def _mean(x, _):
    return sum(x) / len(x)


def _gain(x, y):
    return sum(x) - sum(y)


def always_normalised(given, neutral):
    return _picks(given, neutral, _mean, _mean, _gain)


def lowest(given, neutral):
    return _picks(
        given, neutral, lambda x, y: -sum(x), lambda x, y: -_mean(x, y), lambda x, y: -_gain(x, y)
    )


def ratio_of_logs(given, neutral):
    return _picks(given, neutral, _total, _mean, lambda x, y: -sum(x) / -sum(y))


def only_neutral(given, neutral):
    return _picks(given, neutral, _total, _mean, lambda x, y: sum(y))


def multiplied_lengths(given, neutral):
    return _picks(given, neutral, _total, lambda x, y: sum(x) * len(x), _gain)


def underflowing(given, neutral):
    return _picks(given, neutral, lambda x, y: math.prod(map(math.exp, x)), _mean, _gain)


CHOICE_MISTAKES = (
    (always_normalised, "The first rule is plain: add up the log-probabilities, no division."),
    (lowest, "Log-probabilities are negative: the *largest* one, nearest to 0, is the best."),
    (
        ratio_of_logs,
        "Subtract the logarithms, do not divide them: log(a/b) = log a - log b.",
    ),
    (
        only_neutral,
        "The third rule asks what the question *adds*: log P given the question minus log P "
        "without it.",
    ),
    (multiplied_lengths, "Divide the sum by the number of tokens; you multiply by it."),
)


def _choice_case(t: Trial) -> tuple[list[list[float]], list[list[float]]]:
    """Three choices of different lengths, on which every rule and every mistake is told apart."""
    for _ in range(2000):
        lengths = t.rng.sample(range(1, 9), 4)
        logs = [
            [[round(-t.rng.uniform(0.1, 3), 2) for _ in range(n)] for n in lengths]
            for _ in range(2)
        ]
        right = pick_choices(*logs)
        others = [wrong(*logs) for wrong, _ in CHOICE_MISTAKES]
        if len({right, *others}) == 1 + len(others) and len(set(right)) == 3:
            return logs[0], logs[1]
    raise RuntimeError("no case was found on which all answers differ")


def check_pick_choices(answer, t: Trial) -> None:
    for _ in range(3):
        inputs = _choice_case(t)
        t.equal(
            t.call(answer, *inputs),
            pick_choices(*inputs),
            says="Return three indices: plain sum, mean per token, gain over the neutral prompt.",
            mistakes=[(wrong(*inputs), sentence) for wrong, sentence in CHOICE_MISTAKES],
        )
    t.passed("All three rules pick the right choice where they disagree")
    long = [[-4.0] * 400, [-3.0] * 400, [-5.0] * 400]
    says = "Long texts have tiny probabilities: add logarithms, do not multiply probabilities."
    got = t.call(
        answer, long, [[-2.0] * 400] * 3, shows="pick_choices(choices of 400 tokens)", says=says
    )
    t.equal(got, (1, 1, 1), says=says)
    t.passed("and choices of 400 tokens do not underflow")


PICK_CHOICES = Exercise(
    id="4.13.4",
    title="Three ways to choose",
    difficulty="easy",
    minutes=10,
    statement="""
A multiple-choice question is answered by log-likelihood. For each choice you get the
log-probabilities of its tokens, once after the question (`given`) and once after the bare prompt
"Answer:" (`neutral`). Return the index of the best choice under three rules:

1. **plain**: the largest sum in `given`;
2. **per token**: the largest mean in `given`;
3. **gain**: the largest sum in `given` minus sum in `neutral`, that is, how much the question
   raised the choice's probability.
""",
    stub='''
def pick_choices(given: list[list[float]], neutral: list[list[float]]) -> tuple[int, int, int]:
    """Indices of the best choice: plain, per token, gain over the neutral prompt.

    >>> pick_choices([[-2.0], [-1.5, -1.5]], [[-1.0], [-4.0, -3.0]])
    (0, 1, 1)
    """
    raise NotImplementedError
''',
    name="pick_choices",
    reference=pick_choices,
    alternatives=(pick_choices_numpy,),
    wrong=(
        Wrong(always_normalised, "no division"),
        Wrong(lowest, "nearest to 0, is the best"),
        Wrong(ratio_of_logs, "do not divide them"),
        Wrong(only_neutral, "what the question *adds*"),
        Wrong(multiplied_lengths, "you multiply by it"),
        Wrong(underflowing, "do not multiply probabilities"),
    ),
    check=check_pick_choices,
    hints=(
        "Compute three lists of scores, one number for each choice, and take the index of the "
        "largest in each.",
        "`given = [[-2.0], [-1.5, -1.5]]`: the sums are -2 and -3, so plain picks 0; the means are "
        "-2 and -1.5, so per token picks 1.",
        "`sum(x)`, `sum(x) / len(x)` and `sum(x) - sum(y)` for each pair of lists, then "
        "`scores.index(max(scores))` three times.",
    ),
)

EXERCISES = [BLEU_2, PASS_AT_K, PAIRED_INTERVAL, PICK_CHOICES]
