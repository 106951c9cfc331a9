"""Exercises of lesson 1.6: pooling, spans of pieces, mixing layers, mending anisotropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 1.6.1 masked mean pooling -------------------------------------------------------------------


def mean_pool(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = np.asarray(mask, dtype=float)[:, :, None]
    return (np.asarray(states) * weights).sum(axis=1) / weights.sum(axis=1)


def mean_pool_by_loop(states: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    return [
        np.mean([vector for vector, real in zip(row, flags, strict=True) if real], axis=0)
        for row, flags in zip(states, mask, strict=True)
    ]


def mean_of_everything(states, mask):
    return np.asarray(states).mean(axis=1)


def divided_by_t(states, mask):
    return (states * mask[:, :, None]).sum(axis=1) / states.shape[1]


def first_vector(states, mask):
    return states[:, 0]


def divided_by_batch_total(states, mask):
    return (states * mask[:, :, None]).sum(axis=1) / mask.sum() * len(mask)


def check_mean_pool(answer, t: Trial) -> None:
    rng = t.numpy_rng()
    for B, T, C in ((3, 5, 7), (2, 11, 3)):
        states = rng.normal(size=(B, T, C))
        lengths = [T, *(t.rng.randint(1, T - 2) for _ in range(B - 1))]
        mask = (np.arange(T) < np.array(lengths)[:, None]).astype(int)
        states[mask == 0] = rng.normal(size=(int((mask == 0).sum()), C)) + 9  # loud padding
        got = t.call(
            answer, states, mask, shows=f"mean_pool(states {B, T, C}, mask with {lengths} ones)"
        )
        t.has_shape(got, (B, C), "One vector a text is needed: the sum runs over the positions.")
        t.close(
            got,
            mean_pool(states, mask),
            tolerance=1e-6,
            says="The mean of the vectors whose mask is 1, for each text by itself.",
            mistakes=[
                (mean_of_everything(states, mask), "Padding is in your mean: multiply by the mask "
                 "first. The vector of a text may not depend on its neighbours in the batch."),
                (divided_by_t(states, mask), "Padding left the sum but not the divisor: divide by "
                 "the number of real pieces."),
                (first_vector(states, mask), "That is the first vector, `[CLS]`, not the mean."),
                (divided_by_batch_total(states, mask), "Each text has its own number of real "
                 "pieces; you used one number for the whole batch."),
            ],
        )  # fmt: skip
    t.passed("Texts of different lengths give the mean of their own pieces, loud padding or not")


MEAN_POOL = Exercise(
    id="1.6.1",
    title="Mean pooling that ignores padding",
    difficulty="easy",
    minutes=8,
    statement="""
A batch of texts comes out of the encoder as `states` of shape (B, T, C). Shorter texts are filled
up to T with padding, whose vectors mean nothing; `mask` (B, T) has 1 at real pieces and 0 at
padding. Write `mean_pool(states, mask)`: for each text the mean of its real vectors, shape (B, C).
Every text has at least one real piece.
""",
    stub='''
def mean_pool(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each text's real vectors.

    states (B, T, C), mask (B, T) of 0 and 1 -> (B, C)

    >>> mean_pool(np.array([[[2.0], [4.0], [99.0]]]), np.array([[1, 1, 0]]))
    array([[3.]])
    """
    raise NotImplementedError
''',
    name="mean_pool",
    reference=mean_pool,
    alternatives=(mean_pool_by_loop,),
    wrong=(
        Wrong(mean_of_everything, "Padding is in your mean"),
        Wrong(divided_by_t, "not the divisor"),
        Wrong(first_vector, "not the mean"),
        Wrong(divided_by_batch_total, "its own number of real"),
    ),
    check=check_mean_pool,
    hints=(
        "A vector times 0 adds nothing to a sum. What must you divide by, then?",
        "Two texts, (1, 3) real pieces, T = 3: the first text's answer is its first vector itself.",
        "1. `weights = mask[:, :, None]`, shape (B, T, 1)\n"
        "2. `(states * weights).sum(axis=1)`, shape (B, C)\n"
        "3. divide by `weights.sum(axis=1)`, shape (B, 1)",
    ),
)


# -- 1.6.2 the pieces of a span --------------------------------------------------------------------


def pieces_of_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    return [i for i, (a, b) in enumerate(offsets) if a < b and a < end and b > start]


def pieces_by_characters(offsets: Sequence[tuple[int, int]], start: int, end: int) -> np.ndarray:
    wanted = set(range(start, end))
    return np.array([i for i, (a, b) in enumerate(offsets) if wanted & set(range(a, b))], dtype=int)


def first_piece_only(offsets, start, end):
    return pieces_of_span(offsets, start, end)[:1]


def touching_counts(offsets, start, end):
    return [i for i, (a, b) in enumerate(offsets) if a < b and a <= end and b >= start]


def marks_included(offsets, start, end):
    return [
        i
        for i, (a, b) in enumerate(offsets)
        if (a < end and b > start) or (a == b and start <= a < end)
    ]


def inside_only(offsets, start, end):
    return [i for i, (a, b) in enumerate(offsets) if a < b and a >= start and b <= end]


def exact_match(offsets, start, end):
    return [i for i, (a, b) in enumerate(offsets) if (a, b) == (start, end)]


def _tokenized(t: Trial) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Offsets of pieces between two marks at (0, 0), and the spans of the words.

    Words stand directly beside each other or after a space, so that borders touch.
    """
    offsets, words, place = [(0, 0)], [], 0
    for _ in range(5):
        start = place
        for _ in range(t.rng.randint(2, 3)):
            size = t.rng.randint(2, 4)
            offsets.append((place, place + size))
            place += size
        words.append((start, place))
        place += t.rng.choice((0, 0, 1))
    return [*offsets, (0, 0)], words


def check_pieces(answer, t: Trial) -> None:
    for _ in range(3):
        offsets, words = _tokenized(t)
        for start, end in words:  # the first word starts at 0, where the marks are
            _judge_pieces(t, answer, offsets, start, end)
    t.passed("All words of three texts give their pieces, without marks and neighbours")
    offsets, words = _tokenized(t)
    a, b = words[2]
    _judge_pieces(t, answer, offsets, a + 1, b - 1)
    t.passed("a span that starts and ends inside a piece takes that piece too")


def _judge_pieces(t: Trial, answer, offsets, start: int, end: int) -> None:
    args = offsets, start, end
    t.equal(
        t.call(answer, *args),
        pieces_of_span(*args),
        says="A piece belongs to the span if they share at least one character.",
        mistakes=[
            (first_piece_only(*args), "You return one piece: the word was cut into several."),
            (touching_counts(*args), "A piece that ends where the span starts only touches it: "
             "`end` is the first character that is *not* inside."),
            (marks_included(*args), "`[CLS]` and `[SEP]` have the offsets (0, 0): they are no "
             "part of the text, also where the span starts at 0."),
            (inside_only(*args), "A piece that sticks out of the span still shares characters "
             "with it."),
            (exact_match(*args), "No single piece is the whole word: look for pieces *within* the "
             "span."),
        ],
    )  # fmt: skip


PIECES = Exercise(
    id="1.6.2",
    title="Which pieces make up the word?",
    difficulty="medium",
    minutes=10,
    statement="""
A tokenizer cuts text into pieces and tells with `offsets` where each one stands: characters
[start, end), `end` not included. The marks `[CLS]` and `[SEP]` have the empty range (0, 0). You
want the vector of the word at the characters [start, end), so you need its pieces.

Write `pieces_of_span(offsets, start, end)`: the indices of all pieces that share at least one
character with the span, ascending.
""",
    stub='''
def pieces_of_span(offsets: list[tuple[int, int]], start: int, end: int) -> list[int]:
    """Indices of the pieces that overlap the characters [start, end).

    >>> pieces_of_span([(0, 0), (0, 4), (4, 7), (8, 11), (0, 0)], 0, 7)
    [1, 2]
    """
    raise NotImplementedError
''',
    name="pieces_of_span",
    reference=pieces_of_span,
    alternatives=(pieces_by_characters,),
    wrong=(
        Wrong(first_piece_only, "cut into several"),
        Wrong(touching_counts, "only touches it"),
        Wrong(marks_included, "they are no part of the text"),
        Wrong(inside_only, "still shares characters"),
        Wrong(exact_match, "*within* the span"),
    ),
    check=check_pieces,
    hints=(
        "Two ranges share a character if each starts before the other ends.",
        "`pieces_of_span([(0, 0), (0, 2), (2, 5)], 0, 2)` is `[1]`: the mark is empty, and the "
        "third piece starts where the span is over.",
        "Keep the index `i` of a piece `(a, b)` if `a < b` (not empty), `a < end` and `b > start`.",
    ),
)


# -- 1.6.3 mixing layers ---------------------------------------------------------------------------


def mix_layers(states: np.ndarray, weights: Sequence[float], gamma: float) -> np.ndarray:
    raw = np.exp(np.asarray(weights, dtype=float) - max(weights))
    shares = raw / raw.sum()
    return gamma * np.tensordot(shares, states, axes=1)


def mix_by_loop(states: np.ndarray, weights: Sequence[float], gamma: float) -> np.ndarray:
    top = max(weights)
    raw = [math.exp(w - top) for w in weights]
    return sum(gamma * w / sum(raw) * layer for w, layer in zip(raw, states, strict=True))


def weights_without_softmax(states, weights, gamma):
    return gamma * np.tensordot(np.asarray(weights), states, axes=1)


def weights_divided_by_sum(states, weights, gamma):
    w = np.asarray(weights)
    return gamma * np.tensordot(w / w.sum(), states, axes=1)


def gamma_inside(states, weights, gamma):
    return mix_layers(states, [gamma * w for w in weights], 1.0)


def without_gamma(states, weights, gamma):
    return mix_layers(states, weights, 1.0)


def overflowing(states, weights, gamma):
    with np.errstate(over="ignore", invalid="ignore"):
        raw = np.exp(np.asarray(weights, dtype=float))
        return gamma * np.tensordot(raw / raw.sum(), states, axes=1)


def check_mix(answer, t: Trial) -> None:
    rng = t.numpy_rng()
    for L, T, C in ((3, 5, 7), (7, 2, 11)):
        states, weights = rng.normal(size=(L, T, C)), rng.uniform(0.5, 2.5, size=L).tolist()
        gamma = t.rng.uniform(1.5, 3.0)
        args = states, weights, gamma
        got = t.call(answer, *args, shows=f"mix_layers(states {L, T, C}, {L} weights, {gamma:.2f})")
        t.has_shape(got, (T, C), "The layers are summed away: the result has shape (T, C).")
        t.close(
            got,
            mix_layers(*args),
            tolerance=1e-6,
            says="Softmax of the weights, then the weighted sum of the layers, times gamma.",
            mistakes=[
                (weights_without_softmax(*args), "The weights go through a softmax first, so that "
                 "the shares are positive and sum to one."),
                (weights_divided_by_sum(*args), "Dividing by the sum is no softmax: it fails as "
                 "soon as a weight is negative. Take `exp` first."),
                (gamma_inside(*args), "Gamma scales the finished vector. Inside the softmax it "
                 "would only make the shares more or less even."),
                (without_gamma(*args), "Gamma is missing."),
            ],
        )  # fmt: skip
    t.passed("Random layers and weights are mixed as in equation 1 of the paper")
    states = rng.normal(size=(3, 2, 5))
    says = "`exp` of a large weight overflows: subtract the largest weight first."
    got = t.call(answer, states, [800.0, 801.0, -800.0], 1.0, says=says)
    t.close(got, mix_layers(states, [800.0, 801.0, -800.0], 1.0), tolerance=1e-6, says=says)
    t.passed("very large weights do not overflow")


MIX = Exercise(
    id="1.6.3",
    title="A task's own blend of layers",
    difficulty="easy",
    minutes=8,
    statement=r"""
ELMo hands a task not one layer but a blend that the task learns (Peters et al., 2018, equation 1):

$$h = \gamma \sum_{j=0}^{L} s_j \, h_j, \qquad s = \mathrm{softmax}(w)$$

Write `mix_layers(states, weights, gamma)` for `states` of shape (layers, T, C). The weights may be
any real numbers, also very large ones.
""",
    stub='''
def mix_layers(states: np.ndarray, weights: list[float], gamma: float) -> np.ndarray:
    """gamma times the sum of the layers, weighted by softmax(weights).

    states (layers, T, C) -> (T, C)

    >>> mix_layers(np.array([[[2.0]], [[4.0]]]), [0.0, 0.0], 10.0)
    array([[30.]])
    """
    raise NotImplementedError
''',
    name="mix_layers",
    reference=mix_layers,
    alternatives=(mix_by_loop,),
    wrong=(
        Wrong(weights_without_softmax, "go through a softmax"),
        Wrong(weights_divided_by_sum, "no softmax"),
        Wrong(gamma_inside, "Gamma scales the finished vector"),
        Wrong(without_gamma, "Gamma is missing"),
        Wrong(overflowing, "large weight overflows"),
    ),
    check=check_mix,
    hints=(
        "Three steps, one line each: shares, weighted sum over the first axis, scale.",
        "Equal weights mean equal shares, whatever their value: `[7.0, 7.0]` gives the plain mean.",
        "1. `raw = np.exp(w - w.max())`, `shares = raw / raw.sum()`\n"
        "2. `np.tensordot(shares, states, axes=1)` or a loop over the layers\n"
        "3. times `gamma`",
    ),
)


# -- 1.6.4 anisotropy ------------------------------------------------------------------------------


def remove_top(vectors: np.ndarray, k: int) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    top = directions[:k]
    return centred - centred @ top.T @ top


def remove_top_by_eigenvectors(vectors: np.ndarray, k: int) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, columns = np.linalg.eigh(centred.T @ centred)
    for i in range(1, k + 1):
        direction = columns[:, -i]  # eigenvalues come in ascending order
        centred = centred - np.outer(centred @ direction, direction)
    return centred


def without_centring(vectors, k):
    _, _, directions = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return vectors - vectors @ directions[:k].T @ directions[:k]


def only_centring(vectors, k):
    return vectors - vectors.mean(axis=0)


def keeps_the_top(vectors, k):
    return only_centring(vectors, k) - remove_top(vectors, k)


def removes_the_weakest(vectors, k):
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred - centred @ directions[-k:].T @ directions[-k:]


def cuts_columns(vectors, k):
    return (vectors - vectors.mean(axis=0))[:, k:]


def centres_rows(vectors, k):
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred - centred @ directions[:k].T @ directions[:k]


def check_remove_top(answer, t: Trial) -> None:
    rng = t.numpy_rng()
    for N, C, k in ((31, 5, 1), (23, 7, 2), (41, 11, 3)):
        strengths = 0.6 ** np.arange(C)  # clear first directions
        turn, _ = np.linalg.qr(rng.normal(size=(C, C)))
        vectors = rng.normal(size=(N, C)) * strengths @ turn + rng.normal(size=C) * 3
        got = t.call(answer, vectors, k, shows=f"remove_top(vectors {N, C}, {k})")
        t.has_shape(got, (N, C), "The shape stays (N, C): directions are emptied, not cut off.")
        t.close(
            got,
            remove_top(vectors, k),
            tolerance=1e-6,
            says="Take off the mean, find the k strongest directions, subtract the part of each "
            "vector that lies along them.",
            mistakes=[
                (without_centring(vectors, k), "The mean is still in: subtract it from every "
                 "vector, not only before the SVD."),
                (only_centring(vectors, k), "The mean is off, but the k directions are still in."),
                (keeps_the_top(vectors, k), "You kept what should go: subtract the projection "
                 "from the centred vectors."),
                (removes_the_weakest(vectors, k), "Those are the weakest directions. The SVD "
                 "sorts from strong to weak."),
                (centres_rows(vectors, k), "You took the mean of each vector over its "
                 "coordinates; the mean over the vectors (axis 0) is the shared direction."),
            ],
        )  # fmt: skip
    t.passed("Three clouds lose their mean and their strongest directions, and nothing else")


REMOVE_TOP = Exercise(
    id="1.6.4",
    title="All but the top",
    difficulty="medium",
    minutes=12,
    statement=r"""
Vectors of a trained model often share a large common part: a mean, and a few directions in which
all of them vary most. Both drown what is special to each (Mu and Viswanath, 2018). Write
`remove_top(vectors, k)` for `vectors` of shape (N, C):

1. subtract the mean vector $m$ from every vector;
2. find the $k$ principal directions $u_1 \dots u_k$ of the result (the first right singular
   vectors);
3. return $x' = (x - m) - \sum_{i=1}^{k} \bigl(u_i \cdot (x - m)\bigr)\, u_i$, shape (N, C).
""",
    stub='''
def remove_top(vectors: np.ndarray, k: int) -> np.ndarray:
    """Vectors without their mean and their k strongest principal directions.

    >>> remove_top(np.array([[5.0, 1.0], [9.0, 2.0], [7.0, 0.0], [7.0, 3.0]]), 0).mean(axis=0)
    array([0., 0.])
    """
    raise NotImplementedError
''',
    name="remove_top",
    reference=remove_top,
    alternatives=(remove_top_by_eigenvectors,),
    wrong=(
        Wrong(without_centring, "The mean is still in"),
        Wrong(only_centring, "the k directions are still in"),
        Wrong(keeps_the_top, "You kept what should go"),
        Wrong(removes_the_weakest, "weakest directions"),
        Wrong(cuts_columns, "directions are emptied"),
        Wrong(centres_rows, "axis 0"),
    ),
    check=check_remove_top,
    hints=(
        "`np.linalg.svd(x, full_matrices=False)` returns three things; the rows of the third are "
        "the directions, strongest first.",
        "Vectors on one line, such as (0, 0), (1, 2), (2, 4): with k = 1 nothing is left of them.",
        "1. `x = vectors - vectors.mean(axis=0)`\n"
        "2. `_, _, directions = np.linalg.svd(x, full_matrices=False)`; `top = directions[:k]`\n"
        "3. `x - x @ top.T @ top`",
    ),
)

EXERCISES = [MEAN_POOL, PIECES, MIX, REMOVE_TOP]
