"""Exercises of lesson 4.11, Advanced RAG: BM25, fusion by rank, diversity."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from course_utils.exercises.engine import Exercise, Trial, Wrong

POOL = ["heron", "copper", "tower", "jewel", "river"]
POOL += ["minister", "glacier", "violin", "orchard", "comet"]

# -- 4.11.1 BM25 -------------------------------------------------------------------------------


def bm25_score(
    query: list[str], texts: Sequence[list[str]], k1: float = 1.5, b: float = 0.75
) -> list[float]:
    average = sum(len(text) for text in texts) / len(texts)
    scores = []
    for text in texts:
        norm = k1 * (1 - b + b * len(text) / average)
        total = 0.0
        for word in query:
            n = sum(word in other for other in texts)
            f = text.count(word)
            idf = math.log((len(texts) - n + 0.5) / (n + 0.5))
            total += idf * f * (k1 + 1) / (f + norm)
        scores.append(total)
    return scores


def bm25_by_numpy(query, texts, k1=1.5, b=0.75):
    import numpy as np

    counts = np.array([[text.count(word) for word in query] for text in texts], dtype=float)
    sizes = np.array([len(text) for text in texts], dtype=float)
    n = (counts > 0).sum(axis=0)
    idf = np.log(len(texts) - n + 0.5) - np.log(n + 0.5)
    norm = k1 * (1 - b + b * sizes / sizes.mean())
    return (idf * counts * (k1 + 1) / (counts + norm[:, None])).sum(axis=1)


def _bm25(query, texts, k1, b, *, length=len, holds=None, once=False, plus=1.0):
    average = sum(map(len, texts)) / len(texts)
    found = []
    for text in texts:
        norm = k1 * (1 - b + b * length(text) / average)
        total = 0.0
        for word in dict.fromkeys(query) if once else query:
            n = holds(word, texts) if holds else sum(word in other for other in texts)
            f = text.count(word)
            idf = math.log((len(texts) - n + 0.5) / (n + 0.5))
            total += idf * f * (k1 + plus) / (f + norm)
        found.append(total)
    return found


def no_length(query, texts, k1=1.5, b=0.75):
    return bm25_score(query, texts, k1, 0.0)


def no_saturation(query, texts, k1=1.5, b=0.75):
    n = {word: sum(word in text for text in texts) for word in query}
    idf = {w: math.log((len(texts) - c + 0.5) / (c + 0.5)) for w, c in n.items()}
    return [sum(idf[w] * text.count(w) for w in query) for text in texts]


def occurrences_for_texts(query, texts, k1=1.5, b=0.75):
    return _bm25(
        query, texts, k1, b, holds=lambda w, all_: min(sum(t.count(w) for t in all_), len(all_))
    )


def each_word_once(query, texts, k1=1.5, b=0.75):
    return _bm25(query, texts, k1, b, once=True)


def no_plus_one(query, texts, k1=1.5, b=0.75):
    return _bm25(query, texts, k1, b, plus=0.0)


BM25_MISTAKES = (
    (
        no_length,
        "All texts are treated as equally long: k1 is multiplied by 1 - b + b |d| / average.",
    ),
    (
        no_saturation,
        "You multiply idf by the plain count: the tenth occurrence must add less than the second. "
        "Use f (k1 + 1) / (f + norm).",
    ),
    (
        occurrences_for_texts,
        "n is the number of texts that hold the word, not how often the word occurs in all of "
        "them.",
    ),
    (each_word_once, "A word that stands twice in the query counts twice."),
    (
        no_plus_one,
        "The factor is f (k1 + 1) / (f + norm): one occurrence in an average text gives 1.",
    ),
)


def bm25_case(rng) -> tuple[list[str], list[list[str]]]:
    """A query with a doubled word, and texts in which each of its words is rare but repeated."""
    words = rng.sample(POOL, 7)
    query = [words[0], words[1], words[0]]
    texts = [[rng.choice(words[3:]) for _ in range(rng.randint(3, 6))] for _ in range(8)]
    texts[1] = [*texts[1], words[0], words[0], words[0], *texts[0]]
    texts[4] = [*texts[4], words[1], words[0]]
    texts[6] = [words[1], words[1], words[4], words[5], words[3], words[3], words[4], words[6]]
    return query, texts


def check_bm25(answer, t: Trial) -> None:
    for k1, b in (
        (1.5, 0.75),
        (round(t.rng.uniform(0.8, 2.0), 2), round(t.rng.uniform(0.3, 0.9), 2)),
    ):
        query, texts = bm25_case(t.rng)
        got = t.call(answer, query, texts, k1, b)
        t.has_shape(got, (8,), "Return one score for each text, in order.")
        t.close(
            got,
            bm25_score(query, texts, k1, b),
            tolerance=1e-9,
            says="The scores are not those of BM25.",
            mistakes=[(wrong(query, texts, k1, b), says) for wrong, says in BM25_MISTAKES],
        )
    none = t.call(answer, ["unseen"], [["heron"], ["copper", "river"], ["comet"]], 1.5, 0.75)
    t.close(none, [0, 0, 0], tolerance=1e-12, says="A word that no text holds must add nothing.")
    t.passed("Scores agree for repeated words, long texts, other k1 and b, and unseen words")


BM25_SCORE = Exercise(
    id="4.11.1",
    title="BM25 from its formula",
    difficulty="medium",
    minutes=12,
    statement="""
Score each text for a query. Words come ready as lists. For every word of the query (a word that
stands twice counts twice), with `N` texts of which `n` hold the word, and `f` occurrences in the
text at hand:

idf = ln((N - n + 0.5) / (n + 0.5)), norm = k1 (1 - b + b · length / average length), and the
word adds idf · f (k1 + 1) / (f + norm).

No floor for common words is needed here.
""",
    stub='''
def bm25_score(
    query: list[str], texts: list[list[str]], k1: float = 1.5, b: float = 0.75
) -> list[float]:
    """The BM25 score of each text, in order.

    >>> texts = [["a", "heron"], ["a", "tower"], ["the", "river"]]
    >>> [round(score, 3) for score in bm25_score(["heron"], texts)]
    [0.511, 0.0, 0.0]
    """
    raise NotImplementedError
''',
    name="bm25_score",
    reference=bm25_score,
    alternatives=(bm25_by_numpy,),
    wrong=(
        Wrong(no_length, "All texts are treated as equally long"),
        Wrong(no_saturation, "the tenth occurrence must add less"),
        Wrong(occurrences_for_texts, "number of texts that hold the word"),
        Wrong(each_word_once, "counts twice"),
        Wrong(no_plus_one, "one occurrence in an average text gives 1"),
    ),
    check=check_bm25,
    hints=(
        "Three things to compute: the average length once, idf for each word, norm for each text.",
        "One text of three holds the word: idf = ln(2.5 / 1.5) = 0.511. If all texts are equally "
        "long, norm = k1, and f = 1 gives the factor (k1 + 1) / (1 + k1) = 1.",
        "1. `average = sum(map(len, texts)) / len(texts)`\n"
        "2. for each text: `norm = k1 * (1 - b + b * len(text) / average)`\n"
        "3. for each word: `n = sum(word in other for other in texts)`, `f = text.count(word)`\n"
        "4. add `idf * f * (k1 + 1) / (f + norm)`",
    ),
)


# -- 4.11.2 fusion -----------------------------------------------------------------------------


def fuse(rankings: Sequence[Sequence[str]], constant: float = 60) -> list[str]:
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, name in enumerate(ranking, 1):
            scores[name] = scores.get(name, 0.0) + 1 / (constant + place)
    return sorted(scores, key=lambda name: -scores[name])


def fuse_by_counter(rankings, constant=60):
    total = Counter()
    for ranking in rankings:
        total.update({name: 1 / (constant + i + 1) for i, name in enumerate(ranking)})
    return tuple(name for name, _ in total.most_common())


def only_common(rankings, constant=60):
    everywhere = set(rankings[0]).intersection(*rankings[1:])
    return [name for name in fuse(rankings, constant) if name in everywhere]


def sum_of_places(rankings, constant=60):
    names = dict.fromkeys(name for ranking in rankings for name in ranking)
    total = {n: sum(list(r).index(n) + 1 for r in rankings if n in r) for n in names}
    return sorted(total, key=total.get)


def worst_first(rankings, constant=60):
    return fuse(rankings, constant)[::-1]


def best_place(rankings, constant=60):
    names = dict.fromkeys(name for ranking in rankings for name in ranking)
    place = {n: min(list(r).index(n) for r in rankings if n in r) for n in names}
    return sorted(place, key=place.get)


def constant_ignored(rankings, constant=60):
    return fuse(rankings, 0)


FUSE_MISTAKES = (
    (only_common, "Texts that only one ranking knows are missing: they take part with one term."),
    (
        sum_of_places,
        "That adds the places. A text found by one ranking only then looks better than one found "
        "by all. Add 1 / (constant + place).",
    ),
    (worst_first, "The order is upside down: the largest score comes first."),
    (best_place, "That looks at the best place only: agreement must count, so add up the terms."),
    (constant_ignored, "The constant is missing in the denominator: 1 / (constant + place)."),
)


def fusion_case(rng) -> tuple[list[list[str]], float]:
    """Rankings in which every mistake gives another order, and no two scores are equal."""
    while True:
        rankings = [rng.sample(POOL, rng.randint(4, 7)) for _ in range(3)]
        constant = rng.choice((20, 60, 90))
        scores = Counter()
        for ranking in rankings:
            for place, name in enumerate(ranking, 1):
                scores[name] += 1 / (constant + place)
        values = sorted(scores.values())
        apart = min(b - a for a, b in itertools.pairwise(values)) > 1e-7
        orders = {tuple(wrong(rankings, constant)) for wrong, _ in FUSE_MISTAKES}
        if apart and len(orders) == 5 and tuple(fuse(rankings, constant)) not in orders:
            return rankings, constant


def check_fuse(answer, t: Trial) -> None:
    for _ in range(4):
        rankings, constant = fusion_case(t.rng)
        got = t.call(answer, rankings, constant)
        t.equal(
            list(got),
            fuse(rankings, constant),
            says="That is not the order of reciprocal rank fusion.",
            mistakes=[(wrong(rankings, constant), says) for wrong, says in FUSE_MISTAKES],
        )
    one = t.rng.sample(POOL, 5)
    t.equal(list(t.call(answer, [one], 60)), one, says="One ranking alone must keep its order.")
    t.passed("Orders agree for three rankings of different length and for a single one")


FUSE = Exercise(
    id="4.11.2",
    title="Several rankings into one",
    difficulty="easy",
    minutes=8,
    statement="""
Fuse rankings (lists of names, best first) by reciprocal rank: a name gets
1 / (`constant` + place) from every ranking that holds it, places counted from 1. Return the names,
largest sum first. A name that is missing in a ranking gets nothing from it.
""",
    stub='''
def fuse(rankings: list[list[str]], constant: float = 60) -> list[str]:
    """Names in the order of their fused score.

    >>> fuse([["a", "b", "c"], ["c", "a"]])
    ['a', 'c', 'b']
    """
    raise NotImplementedError
''',
    name="fuse",
    reference=fuse,
    alternatives=(fuse_by_counter,),
    wrong=(
        Wrong(only_common, "only one ranking knows"),
        Wrong(sum_of_places, "That adds the places"),
        Wrong(worst_first, "upside down"),
        Wrong(best_place, "agreement must count"),
        Wrong(constant_ignored, "constant is missing"),
    ),
    check=check_fuse,
    hints=(
        "A dictionary from name to sum, filled ranking by ranking.",
        "Rankings a b c and c a: a has 1/61 + 1/62, c has 1/63 + 1/61, b has 1/62.",
        "1. `for place, name in enumerate(ranking, 1)`\n"
        "2. `scores[name] = scores.get(name, 0) + 1 / (constant + place)`\n"
        "3. `sorted(scores, key=lambda name: -scores[name])`",
    ),
)


# -- 4.11.3 diversity --------------------------------------------------------------------------


def choose_diverse(
    relevance: Sequence[float],
    similarity: Sequence[Sequence[float]],
    k: int,
    balance: float = 0.5,
) -> list[int]:
    chosen: list[int] = []
    rest = list(range(len(relevance)))
    while rest and len(chosen) < k:

        def gain(i: int) -> float:
            closest = max((similarity[i][j] for j in chosen), default=0.0)
            return balance * relevance[i] - (1 - balance) * closest

        best = max(rest, key=gain)
        chosen.append(best)
        rest.remove(best)
    return chosen


def choose_by_numpy(relevance, similarity, k, balance=0.5):
    import numpy as np

    relevance, similarity = np.asarray(relevance, float), np.asarray(similarity, float)
    closest, chosen = np.zeros(len(relevance)), []
    for _ in range(min(k, len(relevance))):
        gain = balance * relevance - (1 - balance) * closest
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        column = similarity[:, chosen[-1]]
        closest = column if len(chosen) == 1 else np.maximum(closest, column)
    return np.array(chosen)


def _greedy(relevance, similarity, k, balance, closest):
    chosen = []
    while len(chosen) < min(k, len(relevance)):
        rest = [i for i in range(len(relevance)) if i not in chosen]
        chosen.append(
            max(
                rest,
                key=lambda i: (
                    balance * relevance[i]
                    - (1 - balance) * closest([similarity[i][j] for j in chosen] or [0.0])
                ),
            )
        )
    return chosen


def relevance_alone(relevance, similarity, k, balance=0.5):
    return sorted(range(len(relevance)), key=lambda i: -relevance[i])[:k]


def mean_similarity(relevance, similarity, k, balance=0.5):
    return _greedy(relevance, similarity, k, balance, lambda v: sum(v) / len(v))


def swapped_balance(relevance, similarity, k, balance=0.5):
    return choose_diverse(relevance, similarity, k, 1 - balance)


def similar_is_good(relevance, similarity, k, balance=0.5):
    return _greedy(relevance, similarity, k, balance, lambda v: -max(v))


def last_only(relevance, similarity, k, balance=0.5):
    return _greedy(relevance, similarity, k, balance, lambda v: v[-1])


DIVERSE_MISTAKES = (
    (
        relevance_alone,
        "That is the plain ranking: similarity to what is chosen already has no part.",
    ),
    (
        mean_similarity,
        "You take the mean similarity to the chosen ones. One copy among them is enough to make a "
        "passage superfluous: take the maximum.",
    ),
    (swapped_balance, "balance and 1 - balance are swapped: balance belongs to the relevance."),
    (similar_is_good, "Similarity to the chosen ones is added; it must be subtracted."),
    (last_only, "You compare with the last one chosen only; compare with all of them."),
)


def diversity_case(rng) -> tuple[list[float], list[list[float]], int, float]:
    """A case in which the mistakes give other choices than the rule, and than one another."""
    while True:
        count, k = rng.randint(6, 8), 4
        relevance = [round(rng.uniform(0.2, 0.95), 3) for _ in range(count)]
        similarity = [[1.0] * count for _ in range(count)]
        for i in range(count):
            for j in range(i):
                similarity[i][j] = similarity[j][i] = round(rng.uniform(0.0, 0.95), 3)
        balance = rng.choice((0.4, 0.6, 0.65))
        right = choose_diverse(relevance, similarity, k, balance)
        made = {tuple(wrong(relevance, similarity, k, balance)) for wrong, _ in DIVERSE_MISTAKES}
        if len(made) == 5 and tuple(right) not in made:
            return relevance, similarity, k, balance


def check_choose_diverse(answer, t: Trial) -> None:
    for _ in range(3):
        relevance, similarity, k, balance = diversity_case(t.rng)
        got = t.call(answer, relevance, similarity, k, balance)
        t.equal(
            [int(i) for i in got],
            choose_diverse(relevance, similarity, k, balance),
            says="Those are not the rows that maximal marginal relevance chooses, in its order.",
            mistakes=[
                (wrong(relevance, similarity, k, balance), says) for wrong, says in DIVERSE_MISTAKES
            ],
        )
    relevance, similarity, _, _ = diversity_case(t.rng)
    everything = t.call(answer, relevance, similarity, 50, 0.5)
    t.equal(
        sorted(int(i) for i in everything),
        list(range(len(relevance))),
        says="With k larger than the number of passages, each must be chosen once.",
    )
    t.passed("Choices agree for several balances, and for more places than passages")


CHOOSE_DIVERSE = Exercise(
    id="4.11.3",
    title="Near to the question, far from each other",
    difficulty="medium",
    minutes=12,
    statement="""
Choose up to `k` passages by maximal marginal relevance, one at a time. `relevance[i]` is the cosine
of passage i with the question, `similarity[i][j]` that of passages i and j. Each time take the
passage not yet chosen with the largest

balance · relevance[i] - (1 - balance) · (largest similarity of i to any chosen one)

where the second term is 0 as long as nothing is chosen. Return the numbers in the order of choice.
""",
    stub='''
def choose_diverse(
    relevance: list[float], similarity: list[list[float]], k: int, balance: float = 0.5
) -> list[int]:
    """Numbers of the chosen passages, in the order of choice.

    >>> copies = [[1.0, 1.0, 0.1], [1.0, 1.0, 0.1], [0.1, 0.1, 1.0]]
    >>> choose_diverse([0.9, 0.8, 0.5], copies, 2)
    [0, 2]
    """
    raise NotImplementedError
''',
    name="choose_diverse",
    reference=choose_diverse,
    alternatives=(choose_by_numpy,),
    wrong=(
        Wrong(relevance_alone, "plain ranking"),
        Wrong(mean_similarity, "take the maximum"),
        Wrong(swapped_balance, "are swapped"),
        Wrong(similar_is_good, "must be subtracted"),
        Wrong(last_only, "last one chosen only"),
    ),
    check=check_choose_diverse,
    hints=(
        "A loop that runs k times; in each round compute the gain of every passage that is left.",
        "relevance 0.9, 0.8, 0.5; the first two are copies. Second round: 0.5 · 0.8 - 0.5 · 1 is "
        "negative, 0.5 · 0.5 - 0.5 · 0.1 is positive, so the third one is taken.",
        "1. `closest = max((similarity[i][j] for j in chosen), default=0)`\n"
        "2. `gain = balance * relevance[i] - (1 - balance) * closest`\n"
        "3. append the best of the rest; stop at k or when nothing is left",
    ),
)

EXERCISES = [BM25_SCORE, FUSE, CHOOSE_DIVERSE]
