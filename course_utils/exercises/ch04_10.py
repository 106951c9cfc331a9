"""Exercises of lesson 4.10, Retrieval-augmented generation: windows, cosine, nDCG, threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    import numpy as np


# -- 4.10.1 windows ----------------------------------------------------------------------------


def windows(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    spans, start = [], 0
    while True:
        end = min(start + size, length)
        if end > start:
            spans.append((start, end))
        if end == length:
            return spans
        start = end - overlap


def windows_by_formula(length, size, overlap):
    step = size - overlap
    count = max(1, math.ceil((length - overlap) / step)) if length else 0
    return [[i * step, min(i * step + size, length)] for i in range(count)]


def no_overlap(length, size, overlap):
    return [(i, min(i + size, length)) for i in range(0, length, size)]


def step_of_overlap(length, size, overlap):
    step = overlap or size
    return [(i, min(i + size, length)) for i in range(0, length, step)]


def end_beyond_text(length, size, overlap):
    return [(start, start + size) for start, _ in windows(length, size, overlap)]


def tail_lost(length, size, overlap):
    return [(i, i + size) for i in range(0, length - size + 1, size - overlap)]


def window_inside_the_last(length, size, overlap):
    return [(i, min(i + size, length)) for i in range(0, length, size - overlap)]


WINDOW_MISTAKES = (
    (no_overlap, "The windows do not overlap: move on by size - overlap, not by size."),
    (step_of_overlap, "You move on by `overlap`. What two windows share is not the step."),
    (
        end_beyond_text,
        "The last window ends behind the text. Python forgives that in a slice; a citation with "
        "such an offset points at nothing.",
    ),
    (tail_lost, "The end of the text stands in no window. Keep a last, shorter one."),
    (
        window_inside_the_last,
        "The last window repeats only what the one before ends with. Stop as soon as a window "
        "reaches the end of the text.",
    ),
)


def check_windows(answer, t: Trial) -> None:
    size = t.rng.randint(9, 30)
    overlap = t.rng.randint(3, size // 3)
    cases = [
        (3 * size + 1, size, 0),
        (0, size, 0),
        (size - 1, size, overlap),
        (size, size, overlap),
    ]
    # two windows fit exactly: one more step would begin inside the text
    cases += [(2 * size - overlap, size, overlap), (t.rng.randint(90, 200), size, overlap)]
    for case in [(5 * size + 1, size, overlap), *cases]:
        got = t.call(answer, *case)
        spans = [tuple(int(x) for x in pair) for pair in got]
        wrong = [(fault(*case), sentence) for fault, sentence in WINDOW_MISTAKES]
        t.equal(spans, windows(*case), says="Those are not the windows.", mistakes=wrong)
    t.passed("Windows agree for texts shorter, longer and exactly as long as the windows")


WINDOWS = Exercise(
    id="4.10.1",
    title="Windows that lose nothing",
    difficulty="easy",
    minutes=8,
    statement="""
A text of `length` characters is cut into windows of `size` characters, each sharing `overlap`
characters with the one before. Return their offsets `(start, end)`, end excluded.

The last window may be shorter, ends exactly where the text ends, and must hold something that the
window before it did not. An empty text has no windows. (0 ≤ overlap < size.)
""",
    stub='''
def windows(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Offsets of the windows over a text.

    >>> windows(10, 5, 2)
    [(0, 5), (3, 8), (6, 10)]
    """
    raise NotImplementedError
''',
    name="windows",
    reference=windows,
    alternatives=(windows_by_formula,),
    wrong=(
        Wrong(no_overlap, "do not overlap"),
        Wrong(step_of_overlap, "What two windows share is not the step"),
        Wrong(end_beyond_text, "ends behind the text"),
        Wrong(tail_lost, "stands in no window"),
        Wrong(window_inside_the_last, "repeats only what the one before"),
    ),
    check=check_windows,
    hints=(
        "Where does the second window start? Draw a ruler for the example.",
        "`windows(7, 5, 2)` is `[(0, 5), (3, 7)]`: the second one reaches the end, so there is no "
        "third, although 6 < 7.",
        "1. `end = min(start + size, length)`\n2. keep `(start, end)` if it is not empty\n"
        "3. stop if `end == length`, else go on from `end - overlap`",
    ),
)


# -- 4.10.2 the nearest by cosine --------------------------------------------------------------


def nearest(query: np.ndarray, matrix: np.ndarray, k: int) -> list[tuple[int, float]]:
    import numpy as np

    def unit(x):
        length = np.linalg.norm(x, axis=-1, keepdims=True)
        return x / np.where(length > 0, length, 1)

    scores = unit(matrix) @ unit(query)
    order = np.argsort(-scores, kind="stable")[:k]
    return [(int(i), float(scores[i])) for i in order]


def nearest_by_loop(query, matrix, k):
    found = []
    for i, row in enumerate(matrix):
        product = sum(float(a) * float(b) for a, b in zip(query, row, strict=True))
        lengths = math.hypot(*query) * math.hypot(*row)
        found.append((i, product / lengths if lengths else 0.0))
    return sorted(found, key=lambda pair: -pair[1])[:k]


def nearest_torch(query, matrix, k):
    import torch

    scores = torch.cosine_similarity(
        torch.as_tensor(matrix), torch.as_tensor(query)[None], dim=1, eps=1e-12
    )
    order = torch.sort(-scores, stable=True).indices[:k]
    return [[i, scores[i]] for i in order]


def by_inner_product(query, matrix, k):
    scores = matrix @ query
    return [(int(i), float(scores[i])) for i in (-scores).argsort(kind="stable")[:k]]


def only_rows_scaled(query, matrix, k):
    import numpy as np

    length = float(np.linalg.norm(query))
    return [(i, score * length) for i, score in nearest(query, matrix, k)]


def only_query_scaled(query, matrix, k):
    import numpy as np

    return by_inner_product(query / np.linalg.norm(query), matrix, k)


def farthest(query, matrix, k):
    return sorted(nearest(query, matrix, len(matrix)), key=lambda pair: pair[1])[:k]


def filled_up(query, matrix, k):
    found = nearest(query, matrix, k)
    return found + [(-1, -3.4e38)] * (k - len(found))


def nan_for_zero(query, matrix, k):
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        scores = matrix @ query / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(query))
    return [(int(i), float(scores[i])) for i in (-scores).argsort(kind="stable")[:k]]


NEAREST_MISTAKES = (
    (
        by_inner_product,
        "That is the inner product of unscaled vectors: long rows win, whatever their direction. "
        "Divide by both lengths.",
    ),
    (only_rows_scaled, "The rows have length one, the query does not: the scores are no cosines."),
    (only_query_scaled, "The query has length one, the rows do not: long rows still win."),
    (farthest, "Those are the farthest rows: sort by falling cosine."),
)


def check_nearest(answer, t: Trial) -> None:
    rng = t.numpy_rng()
    for n, k in ((13, 3), (7, 1), (5, 11)):
        matrix = rng.normal(size=(n, 4)) * rng.uniform(0.2, 9, (n, 1))
        query = 3 * rng.normal(size=4)
        got = t.call(answer, query, matrix, k, shows=f"nearest(query, matrix ({n}, 4), k={k})")
        expected = nearest(query, matrix, k)
        t.that(
            len(got) == len(expected),
            f"Expected {len(expected)} rows for k = {k} of {n}, got {len(got)}. A collection "
            "smaller than k gives what it has, without made-up rows.",
        )
        pairs = [[float(i), float(score)] for i, score in got]
        wrong = [
            ([[float(i), s] for i, s in fault(query, matrix, k)], sentence)
            for fault, sentence in NEAREST_MISTAKES
        ]
        t.close(
            pairs,
            [[float(i), s] for i, s in expected],
            tolerance=1e-6,
            says="Numbers of rows or cosines differ.",
            mistakes=wrong,
        )
    t.passed("Rows and cosines agree for vectors of any length, also with k larger than N")
    zeros = "A row of zeros has no direction. Give it the cosine 0, and no NaN."
    matrix = rng.normal(size=(4, 4))
    matrix[2], query = 0, matrix[0] * 2
    got = t.call(answer, query, matrix, 4, says=zeros)
    score = {int(i): float(s) for i, s in got}
    t.that(score.get(2) == 0.0, zeros)
    t.passed("and a row of zeros scores 0")


NEAREST = Exercise(
    id="4.10.2",
    title="The nearest by cosine",
    difficulty="medium",
    minutes=12,
    statement="""
Write the search of a vector store. `query` is (C,), `matrix` is (N, C), neither has length one.
Return the `k` rows with the largest **cosine** to the query as pairs `(row number, cosine)`, best
first.

With k > N return all N rows. A row of zeros (an empty text) gets the cosine 0.
""",
    stub='''
import numpy as np


def nearest(query: np.ndarray, matrix: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The k rows nearest to the query, best first, with their cosines.

    >>> nearest(np.array([1.0, 1.0]), np.array([[5.0, 0.0], [1.0, 1.0]]), k=2)
    [(1, 1.0), (0, 0.7071)]          # rounded here
    """
    raise NotImplementedError
''',
    name="nearest",
    reference=nearest,
    alternatives=(nearest_by_loop, nearest_torch),
    wrong=(
        Wrong(by_inner_product, "long rows win, whatever their direction"),
        Wrong(only_rows_scaled, "the scores are no cosines"),
        Wrong(only_query_scaled, "the rows do not"),
        Wrong(farthest, "the farthest rows"),
        Wrong(filled_up, "without made-up rows"),
        Wrong(nan_for_zero, "A row of zeros"),
    ),
    check=check_nearest,
    hints=(
        "Scale the query and all rows to length one first. What is an inner product then?",
        "In the example the inner products are 5 and 2, the cosines 0.707 and 1: the order turns.",
        "1. `lengths = np.linalg.norm(x, axis=-1, keepdims=True)`, zeros replaced by 1\n"
        "2. `scores = unit_matrix @ unit_query`\n"
        "3. `np.argsort(-scores)[:k]`: a slice never runs over",
    ),
)


# -- 4.10.3 one ranking, three numbers ---------------------------------------------------------


def score_ranking(ranking: Sequence[str], gold: set[str], k: int) -> tuple[float, float, float]:
    top = list(dict.fromkeys(ranking))[:k]
    places = [place for place, name in enumerate(top, 1) if name in gold]
    recall = len(places) / len(gold)
    reciprocal = 1 / places[0] if places else 0.0
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(gold)) + 1))
    return recall, reciprocal, sum(1 / math.log2(place + 1) for place in places) / best


def score_ranking_numpy(ranking, gold, k):
    import numpy as np

    seen: list[str] = []
    for name in ranking:
        if name not in seen:
            seen.append(name)
    found = np.array([name in gold for name in seen[:k]], dtype=float)
    weights = 1 / np.log2(np.arange(len(found)) + 2)
    ideal = (1 / np.log2(np.arange(min(k, len(gold))) + 2)).sum()
    first = int(found.argmax()) + 1 if found.any() else np.inf
    return np.array([found.sum() / len(gold), 1 / first, found @ weights / ideal])


def precision_for_recall(ranking, gold, k):
    recall, reciprocal, gain = score_ranking(ranking, gold, k)
    return recall * len(gold) / k, reciprocal, gain


def duplicates_stay(ranking, gold, k):
    top = list(ranking)[:k]
    places = [place for place, name in enumerate(top, 1) if name in gold]
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(gold)) + 1))
    gain = sum(1 / math.log2(place + 1) for place in places) / best
    return len(set(top) & gold) / len(gold), 1 / places[0] if places else 0.0, gain


def counted_from_zero(ranking, gold, k):
    recall, reciprocal, gain = score_ranking(ranking, gold, k)
    return recall, 1 / (1 / reciprocal - 1) if 0 < reciprocal < 1 else reciprocal, gain


def whole_ranking(ranking, gold, k):
    return score_ranking(ranking, gold, max(k, len(ranking)))


def ideal_of_all_gold(ranking, gold, k):
    recall, reciprocal, gain = score_ranking(ranking, gold, k)
    short = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(gold)) + 1))
    return recall, reciprocal, gain * short / sum(1 / math.log2(p + 2) for p in range(len(gold)))


def not_normalised(ranking, gold, k):
    recall, reciprocal, gain = score_ranking(ranking, gold, k)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(gold)) + 1))
    return recall, reciprocal, gain * best


RANKING_MISTAKES = (
    (
        duplicates_stay,
        "An id that stands twice (two chunks of one document) must count at its first place only.",
    ),
    (whole_ranking, "Only the first k distinct ids count, for all three numbers."),
    (
        precision_for_recall,
        "You divided by k: that is precision@k. Recall divides by the number of gold ids.",
    ),
    (counted_from_zero, "Places count from 1: the reciprocal rank of the second place is 1/2."),
    (
        ideal_of_all_gold,
        "The best ranking has only k places: its gain sums over min(k, number of gold ids).",
    ),
    (not_normalised, "That is DCG. Divide it by the gain of the best ranking."),
)


def check_score_ranking(answer, t: Trial) -> None:
    pool = [f"d{i}" for i in range(12)]
    a, b, c, d, e, f = t.rng.sample(pool, 6)
    x, y = "missing1", "missing2"
    cases = [
        ([a, b, c, d, e, f], {c, y}, 5),
        ([a, b, c, d, e, f], {b, c, e, y}, 3),
        ([a, a, b, c, b, d], {b, d}, 3),
        ([a, b, c, d, e, f], {b, e}, 3),
        ([a, b, c, d], {x}, 3),
        ([], {a}, 3),
    ]
    for ranking, gold, k in cases:
        got = t.call(answer, list(ranking), set(gold), k)
        t.has_shape(got, (3,), "Return three numbers: recall@k, reciprocal rank, nDCG@k.")
        wrong = [(list(fault(ranking, gold, k)), sentence) for fault, sentence in RANKING_MISTAKES]
        t.close(
            [float(value) for value in got],
            list(score_ranking(ranking, gold, k)),
            tolerance=1e-9,
            says="At least one of recall@k, reciprocal rank and nDCG@k differs.",
            mistakes=wrong,
        )
    t.passed("All three numbers agree, with duplicates, missing gold and an empty ranking")


SCORE_RANKING = Exercise(
    id="4.10.3",
    title="One ranking, three numbers",
    difficulty="medium",
    minutes=15,
    statement=r"""
Score one ranking of document ids against the set of gold ids, looking at the first `k` **distinct**
ids (an id that comes twice counts at its first place). Return

1. **recall@k**: share of the gold ids that were found;
2. the **reciprocal rank**: 1 / place of the first gold id, 0 if there is none;
3. **nDCG@k**: $\sum 1/\log_2(\text{place}+1)$ over the places with a gold id, divided by the same
   sum for the best possible ranking of k places.
""",
    stub='''
def score_ranking(ranking: list[str], gold: set[str], k: int) -> tuple[float, float, float]:
    """(recall@k, reciprocal rank, nDCG@k) of one ranking.

    >>> score_ranking(["a", "b", "c"], {"b"}, k=3)
    (1.0, 0.5, 0.6309)               # rounded here: 1 / log2(3)
    """
    raise NotImplementedError
''',
    name="score_ranking",
    reference=score_ranking,
    alternatives=(score_ranking_numpy,),
    wrong=tuple(
        Wrong(fault, sentence.split(":")[0].split(".")[0]) for fault, sentence in RANKING_MISTAKES
    ),
    check=check_score_ranking,
    hints=(
        "First make the list of the k distinct ids. Then all three are about the *places* of gold "
        "ids in it.",
        "Gold {b, z} in [a, a, b] with k = 2: the distinct ids are [a, b], b stands at place 2. "
        "Recall 1/2, reciprocal rank 1/2, nDCG (1/log2 3) / (1/log2 2 + 1/log2 3).",
        "1. `top = list(dict.fromkeys(ranking))[:k]`\n"
        "2. `places = [place for place, name in enumerate(top, 1) if name in gold]`\n"
        "3. `best` = the sum over places 1 … min(k, len(gold))",
    ),
)


# -- 4.10.4 when to be silent ------------------------------------------------------------------


def silence_threshold(
    scores: Sequence[float], answerable: Sequence[bool], coverage: float
) -> tuple[float, float]:
    can = sorted((s for s, a in zip(scores, answerable, strict=True) if a), reverse=True)
    threshold = can[math.ceil(coverage * len(can) - 1e-9) - 1]
    cannot = [s for s, a in zip(scores, answerable, strict=True) if not a]
    return threshold, sum(s < threshold for s in cannot) / len(cannot)


def silence_by_search(scores, answerable, coverage):
    import numpy as np

    score, can = np.asarray(scores, dtype=float), np.asarray(answerable, dtype=bool)
    fits = [t for t in score[can] if (score[can] >= t).mean() >= coverage - 1e-9]
    return np.array([max(fits), (score[~can] < max(fits)).mean()])


def smallest_threshold(scores, answerable, coverage):
    threshold = min(s for s, a in zip(scores, answerable, strict=True) if a)
    return threshold, silence_threshold_share(scores, answerable, threshold)


def silence_threshold_share(scores, answerable, threshold):
    cannot = [s for s, a in zip(scores, answerable, strict=True) if not a]
    return sum(s < threshold for s in cannot) / len(cannot)


def over_all_questions(scores, answerable, coverage):
    ordered = sorted(scores, reverse=True)
    threshold = ordered[math.ceil(coverage * len(ordered) - 1e-9) - 1]
    return threshold, silence_threshold_share(scores, answerable, threshold)


def wrong_side(scores, answerable, coverage):
    can = sorted(s for s, a in zip(scores, answerable, strict=True) if a)
    threshold = can[math.ceil(coverage * len(can) - 1e-9) - 1]
    return threshold, silence_threshold_share(scores, answerable, threshold)


def share_answered(scores, answerable, coverage):
    threshold, recall = silence_threshold(scores, answerable, coverage)
    return threshold, 1 - recall


def precision_instead(scores, answerable, coverage):
    threshold, _ = silence_threshold(scores, answerable, coverage)
    silent = [not a for s, a in zip(scores, answerable, strict=True) if s < threshold]
    return threshold, sum(silent) / len(silent) if silent else 0.0


THRESHOLD_MISTAKES = (
    (
        over_all_questions,
        "Coverage is a share of the *answerable* questions: look at their scores only.",
    ),
    (
        wrong_side,
        "You sorted the wrong way: the share with a score of *at least* the threshold must be the "
        "coverage.",
    ),
    (
        smallest_threshold,
        "That threshold answers every answerable question. Take the *largest* one that still "
        "reaches the coverage.",
    ),
)
SHARE_MISTAKES = (
    (
        share_answered,
        "That is the share of unanswerable questions which got an answer; return the silent ones.",
    ),
    (
        precision_instead,
        "That is the precision of silence. Recall divides by the number of unanswerable questions.",
    ),
)


def check_silence(answer, t: Trial) -> None:
    for n, m, coverage in ((20, 10, 0.9), (7, 5, 0.5), (11, 6, 1.0), (10, 7, 0.7)):
        pool = t.rng.sample(range(50, 950), n + m)
        rows = [(s / 1000 + 0.05, True) for s in pool[:n]] + [(s / 1000, False) for s in pool[n:]]
        t.rng.shuffle(rows)
        scores, can = [s for s, _ in rows], [a for _, a in rows]
        got = t.call(answer, scores, can, coverage)
        t.has_shape(got, (2,), "Return two numbers: the threshold and the share of silence.")
        expected = silence_threshold(scores, can, coverage)
        t.close(
            float(got[0]),
            expected[0],
            tolerance=1e-9,
            says="That is not the largest threshold (one of the answerable scores) that still "
            "answers the wanted share.",
            mistakes=[(f(scores, can, coverage)[0], s) for f, s in THRESHOLD_MISTAKES],
        )
        t.close(
            float(got[1]),
            expected[1],
            tolerance=1e-9,
            says="The share of unanswerable questions below the threshold differs.",
            mistakes=[(f(scores, can, coverage)[1], s) for f, s in SHARE_MISTAKES],
        )
    t.passed("Thresholds and shares agree on random questions, for coverages from 0.5 to 1")


SILENCE = Exercise(
    id="4.10.4",
    title="When to be silent",
    difficulty="medium",
    minutes=12,
    statement="""
`scores` holds the cosine of the best passage for each question of a development set, `answerable`
says whether the collection has an answer. The system answers where **score ≥ threshold**.

Your users accept silence, but not too much of it: at least the share `coverage` of the
*answerable* questions must get an answer. Return

1. the **largest threshold**, one of the answerable questions' scores, that still does that;
2. the share of the *unanswerable* questions on which the system is then silent.
""",
    stub='''
def silence_threshold(
    scores: list[float], answerable: list[bool], coverage: float
) -> tuple[float, float]:
    """(threshold, share of the unanswerable questions below it).

    >>> silence_threshold([0.9, 0.6, 0.5, 0.3], [True, True, False, False], coverage=1.0)
    (0.6, 1.0)
    """
    raise NotImplementedError
''',
    name="silence_threshold",
    reference=silence_threshold,
    alternatives=(silence_by_search,),
    wrong=(
        Wrong(over_all_questions, "a share of the *answerable* questions"),
        Wrong(wrong_side, "sorted the wrong way"),
        Wrong(smallest_threshold, "answers every answerable question"),
        Wrong(share_answered, "which got an answer"),
        Wrong(precision_instead, "the precision of silence"),
    ),
    check=check_silence,
    hints=(
        "Sort the scores of the answerable questions from high to low. How many must stay above?",
        "With 10 answerable questions and a coverage of 0.9, nine must be answered: the ninth "
        "largest score is the threshold.",
        "1. `can = sorted(answerable scores, reverse=True)`\n"
        "2. `threshold = can[ceil(coverage * len(can)) - 1]` (mind 0.7 * 10 = 7.000000000000001)\n"
        "3. the share of the other scores with `s < threshold`",
    ),
)


EXERCISES = [WINDOWS, NEAREST, SCORE_RANKING, SILENCE]
