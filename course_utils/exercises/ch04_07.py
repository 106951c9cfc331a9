"""Exercises of lesson 4.7, Parameter-efficient tuning: budget, merge, four bits, DoRA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils.exercises import ch04_07b as dora
from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.7.1 what a correction costs -------------------------------------------------------------


def lora_budget(sizes: Sequence[tuple[int, int]], r: int) -> tuple[int, int]:
    per_rank = sum(c_in + c_out for c_in, c_out in sizes)
    full = sum(c_in * c_out for c_in, c_out in sizes)
    return r * per_rank, (full - 1) // per_rank


def lora_budget_by_search(sizes, r):
    def trained(rank):
        return sum(rank * c_in + c_out * rank for c_in, c_out in sizes)

    full = sum(c_in * c_out for c_in, c_out in sizes)
    largest = 0
    while trained(largest + 1) < full:
        largest += 1
    return trained(r), largest


def lora_budget_numpy(sizes, r):
    import numpy as np

    table = np.asarray(sizes)
    per_rank = table.sum()
    return np.array([r * per_rank, math.ceil(table.prod(axis=1).sum() / per_rank) - 1])


def only_a_counts(sizes, r):
    return r * sum(c_in for c_in, _ in sizes), lora_budget(sizes, r)[1]


def all_square(sizes, r):
    return r * sum(2 * c_in for c_in, _ in sizes), lora_budget(sizes, r)[1]


def product_counts(sizes, r):
    return r * sum(c_in * c_out for c_in, c_out in sizes), lora_budget(sizes, r)[1]


def equal_is_fewer(sizes, r):
    trained, _ = lora_budget(sizes, r)
    full = sum(c_in * c_out for c_in, c_out in sizes)
    return trained, full // sum(c_in + c_out for c_in, c_out in sizes)


def rank_of_the_matrix(sizes, r):
    return lora_budget(sizes, r)[0], min(min(pair) for pair in sizes)


TRAINED_MISTAKES = (
    (only_a_counts, "You counted A alone: B has r numbers for every output."),
    (all_square, "That takes every matrix for a square one: A has C_in columns, B has C_out rows."),
    (
        product_counts,
        "The product B A is as large as the matrix, but it is never stored: count the numbers of "
        "A and of B.",
    ),
)
LARGEST_MISTAKES = (
    (equal_is_fewer, "At that rank there are exactly as many numbers as before, not fewer."),
    (
        rank_of_the_matrix,
        "min(C_in, C_out) is where B A can be any matrix. It has cost more than the matrix long "
        "before that.",
    ),
)


def check_lora_budget(answer, t: Trial) -> None:
    cases = [[(t.rng.randint(5, 40), t.rng.randint(41, 90)) for _ in range(n)] for n in (1, 3)]
    # a square matrix of even width: half of it is the rank of equality
    cases += [[(2 * t.rng.randint(3, 9),) * 2], [(1, 1)]]
    for sizes in cases:
        r = t.rng.randint(2, 9)
        got = t.call(answer, sizes, r)
        t.has_shape(got, (2,), "Return two numbers: (trained, largest_rank).")
        trained, largest = lora_budget(sizes, r)
        t.equal(
            got[0],
            trained,
            says="The number of trained numbers is not the expected one.",
            mistakes=[(wrong(sizes, r)[0], sentence) for wrong, sentence in TRAINED_MISTAKES],
        )
        t.equal(
            got[1],
            largest,
            says="That is not the largest rank with fewer numbers than the matrices have.",
            mistakes=[(wrong(sizes, r)[1], sentence) for wrong, sentence in LARGEST_MISTAKES],
        )
    t.passed("Counts and break-even ranks agree for wide, square and single-number matrices")


LORA_BUDGET = Exercise(
    id="4.7.1",
    title="What a correction costs, and until when it pays",
    difficulty="easy",
    minutes=8,
    statement="""
Each frozen matrix in `sizes` maps C_in numbers to C_out numbers and gets a correction of rank
`r`: A is (r, C_in), B is (C_out, r). Return two whole numbers:

1. how many numbers train, in all matrices together;
2. the **largest rank** (the same for all) at which that is still **fewer** than the matrices
   themselves hold. It may be 0.
""",
    stub='''
def lora_budget(sizes: list[tuple[int, int]], r: int) -> tuple[int, int]:
    """(numbers that train at rank r, largest rank that trains fewer than the matrices hold).

    >>> lora_budget([(384, 384)], 8)
    (6144, 191)
    """
    raise NotImplementedError
''',
    name="lora_budget",
    reference=lora_budget,
    alternatives=(lora_budget_by_search, lora_budget_numpy),
    wrong=(
        Wrong(only_a_counts, "You counted A alone"),
        Wrong(all_square, "takes every matrix for a square one"),
        Wrong(product_counts, "never stored"),
        Wrong(equal_is_fewer, "not fewer"),
        Wrong(rank_of_the_matrix, "has cost more than the matrix"),
    ),
    check=check_lora_budget,
    hints=(
        "Draw A and B for one matrix as rectangles and write their sides at them.",
        "One matrix of 4 to 4: rank 1 trains 4 + 4 = 8 of 16 numbers, rank 2 trains 16. The "
        "largest rank with *fewer* is 1.",
        "1. `per_rank = sum(C_in + C_out)`, so `trained = r * per_rank`\n"
        "2. `full = sum(C_in * C_out)`\n"
        "3. the largest r with `r * per_rank < full` is `(full - 1) // per_rank`",
    ),
)


# -- 4.7.2 beside the matrix, and inside it ----------------------------------------------------


def lora_both_ways(x: Tensor, w: Tensor, a: Tensor, b: Tensor, alpha: float) -> tuple:
    scale = alpha / a.shape[0]
    beside = x @ w.T + scale * (x @ a.T) @ b.T
    return beside, w + scale * (b @ a)


def lora_by_einsum(x, w, a, b, alpha):
    import torch

    narrow = torch.einsum("...i,ri->...r", x, a)
    wide = torch.einsum("...r,or->...o", narrow, b)
    plain = torch.einsum("...i,oi->...o", x, w)
    return plain + wide * alpha / len(a), w + torch.einsum("or,ri->oi", b, a) * alpha / len(a)


def lora_by_layer(x, w, a, b, alpha):
    import torch

    from course_utils.tuning.lora import LoRALinear

    base = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    base.weight.data = w.clone()
    layer = LoRALinear(base, r=a.shape[0], alpha=alpha)
    layer.lora_A.data, layer.lora_B.data = a, b
    with torch.no_grad():
        return layer(x), layer.merge().weight.detach()


def _both(x, w, a, b, scale: float):
    return x @ w.T + scale * x @ (b @ a).T, w + scale * (b @ a)


def alpha_alone(x, w, a, b, alpha):
    return _both(x, w, a, b, alpha)


def no_scale(x, w, a, b, alpha):
    return _both(x, w, a, b, 1.0)


def root_of_r(x, w, a, b, alpha):
    return _both(x, w, a, b, alpha / math.sqrt(a.shape[0]))


def scale_by_width(x, w, a, b, alpha):
    return _both(x, w, a, b, alpha / a.shape[1])


def merged_without_scale(x, w, a, b, alpha):
    return lora_both_ways(x, w, a, b, alpha)[0], w + b @ a


def correction_replaces(x, w, a, b, alpha):
    delta = alpha / a.shape[0] * (b @ a)
    return x @ delta.T, delta


def merged_in_place(x, w, a, b, alpha):
    beside, merged = lora_both_ways(x, w, a, b, alpha)
    return beside, w.copy_(merged)


def wrong_way_round(x, w, a, b, alpha):
    """Takes A for (C_in, r) and B for (r, C_out), as in half of the blog posts."""
    scale = alpha / a.shape[0]
    turned = scale * (a.T @ b.T)  # (C_in, C_out): fits a square matrix and is its transpose
    return x @ w.T + x @ turned.T, w + turned


SCALE_MISTAKES = (
    (alpha_alone, "The factor is alpha / r; you multiplied by alpha alone."),
    (no_scale, "The factor alpha / r is missing."),
    (root_of_r, "alpha / sqrt(r) is rsLoRA's factor; plain LoRA divides by r."),
    (scale_by_width, "Divide alpha by the rank, the number of *rows* of A, not by its width."),
    (
        correction_replaces,
        "That is the correction alone: it is added to what the frozen matrix gives.",
    ),
    (
        wrong_way_round,
        "The correction is transposed: it is B A, with A applied to x first. For a square matrix "
        "no shape tells you.",
    ),
)


def check_lora_both_ways(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    # square first: there a transposed correction has a legal shape
    for c_in, c_out, r in ((5, 5, 3), (7, 4, 2), (3, 6, 5)):
        x = torch.randn(2, 3, c_in, generator=make)
        w, a = torch.randn(c_out, c_in, generator=make), torch.randn(r, c_in, generator=make)
        b, alpha = torch.randn(c_out, r, generator=make), float(t.rng.randint(20, 30))
        shows = f"lora_both_ways(...) with C_in={c_in}, C_out={c_out}, r={r}, alpha={alpha:g}"
        got = t.call(answer, x, w, a, b, alpha, shows=shows)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two tensors: the output and the merged matrix.",
        )
        expected = lora_both_ways(x, w, a, b, alpha)
        others = SCALE_MISTAKES if c_in == c_out else SCALE_MISTAKES[:-1]
        wrong = [(fault(x, w, a, b, alpha), sentence) for fault, sentence in others]
        t.has_shape(got[0], (2, 3, c_out), "The output has the leading axes of x and C_out columns")
        t.close(
            got[0],
            expected[0],
            tolerance=1e-3,
            says="The output is not W x + (alpha / r) B A x.",
            mistakes=[(both[0], sentence) for both, sentence in wrong],
        )
        t.has_shape(got[1], (c_out, c_in), "The merged matrix has the shape of `w`.")
        t.close(
            got[1],
            expected[1],
            tolerance=1e-3,
            says="The merged matrix is not W + (alpha / r) B A.",
            mistakes=[
                (w + b @ a, "The factor alpha / r belongs into the merged matrix too."),
                *((both[1], sentence) for both, sentence in wrong),
            ],
        )
    t.passed(
        "Output and merged matrix agree for square, wide and narrow layers, and w is untouched"
    )


LORA_BOTH_WAYS = Exercise(
    id="4.7.2",
    title="Beside the matrix, and inside it",
    difficulty="medium",
    minutes=12,
    statement=r"""
Compute a LoRA layer in both of its lives. `x` is (..., C_in), `w` is (C_out, C_in) as in
`nn.Linear`, `a` is (r, C_in), `b` is (C_out, r).

- First the **output** $Wx+\tfrac{\alpha}{r}BAx$, (..., C_out). In training this runs at every
  step, so go through the narrow middle: never build the C_out × C_in product there.
- Then the **merged matrix** $W+\tfrac{\alpha}{r}BA$, which gives the same output with one
  product. `w` belongs to the base model: leave it as it is.
""",
    stub='''
from torch import Tensor


def lora_both_ways(
    x: Tensor, w: Tensor, a: Tensor, b: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """(output of the adapted layer, merged matrix).

    >>> one = torch.ones(1, 1)
    >>> lora_both_ways(2 * one, one, one, one, alpha=3.0)
    (tensor([[8.]]), tensor([[4.]]))
    """
    raise NotImplementedError
''',
    name="lora_both_ways",
    reference=lora_both_ways,
    alternatives=(lora_by_einsum, lora_by_layer),
    wrong=(
        Wrong(alpha_alone, "multiplied by alpha alone"),
        Wrong(no_scale, "alpha / r is missing"),
        Wrong(root_of_r, "rsLoRA's factor"),
        Wrong(scale_by_width, "Divide alpha by the rank"),
        Wrong(merged_without_scale, "belongs into the merged matrix too"),
        Wrong(correction_replaces, "the correction alone"),
        Wrong(merged_in_place, "changed its input `w`"),
        Wrong(wrong_way_round, "The correction is transposed"),
    ),
    check=check_lora_both_ways,
    hints=(
        "Follow one vector: C_in numbers go into A and r come out, r go into B and C_out come "
        "out. With rows of `x` as vectors every product is `x @ matrix.T`.",
        "With w = a = b = 1 (one by one), x = 2 and alpha = 3 the factor is 3 / 1, the output "
        "2 + 3 * 2 = 8, the merged matrix 1 + 3 = 4.",
        "1. `scale = alpha / a.shape[0]`\n"
        "2. `x @ w.T + scale * (x @ a.T) @ b.T`\n"
        "3. `w + scale * (b @ a)`: a new tensor, no `+=`",
    ),
)


# -- 4.7.3 one block in four bits --------------------------------------------------------------

# the 16 levels of NF4, rounded to six digits
LEVELS = [
    *(-1.0, -0.696193, -0.525073, -0.394917, -0.284441, -0.184773, -0.09105, 0.0),
    *(0.07958, 0.16093, 0.246112, 0.337915, 0.44071, 0.562617, 0.722957, 1.0),
]


def quantize_block(
    values: Sequence[float], levels: Sequence[float]
) -> tuple[list[int], float, list[float]]:
    scale = max(abs(x) for x in values)
    codes = []
    for x in values:
        unit = x / scale if scale > 0 else 0.0
        codes.append(min(range(len(levels)), key=lambda i: abs(levels[i] - unit)))
    return codes, scale, [levels[code] * scale for code in codes]


def quantize_block_torch(values, levels):
    import torch

    x = torch.as_tensor(values, dtype=torch.float64)
    table = torch.as_tensor(levels, dtype=torch.float64)
    scale = x.abs().max()
    unit = x / scale.clamp(min=1e-30)
    codes = (unit[:, None] - table).abs().argmin(dim=1)
    return codes, scale, table[codes] * scale


def quantize_block_by_borders(values, levels):
    import bisect
    import itertools

    borders = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    scale = max(map(abs, values))
    codes = [bisect.bisect_left(borders, x / (scale or 1.0)) for x in values]
    return codes, scale, [scale * levels[code] for code in codes]


def _with_scale(values, levels, scale: float):
    codes = [
        min(range(len(levels)), key=lambda i: abs(levels[i] - x / (scale or 1.0))) for x in values
    ]
    return codes, scale, [levels[code] * scale for code in codes]


def largest_without_sign(values, levels):
    return _with_scale(values, levels, max(values))


def scale_of_spread(values, levels):
    return _with_scale(values, levels, math.sqrt(sum(x * x for x in values) / len(values)))


def not_divided_by_scale(values, levels):
    codes = _with_scale(values, levels, 1.0)[0]
    scale = max(map(abs, values))
    return codes, scale, [levels[code] * scale for code in codes]


def evenly_spaced(values, levels):
    scale, top = max(map(abs, values)), len(levels) - 1
    codes = [round((x / (scale or 1.0) + 1) / 2 * top) for x in values]
    return codes, scale, [levels[code] * scale for code in codes]


def level_below(values, levels):
    scale = max(map(abs, values))
    codes = [
        max(i for i, level in enumerate(levels) if level <= x / (scale or 1.0) + 1e-12)
        for x in values
    ]
    return codes, scale, [levels[code] * scale for code in codes]


def left_in_units(values, levels):
    codes, scale, _ = quantize_block(values, levels)
    return codes, scale, [levels[code] for code in codes]


def divided_by_zero(values, levels):
    scale = max(abs(x) for x in values)
    codes = [min(range(len(levels)), key=lambda i: abs(levels[i] - x / scale)) for x in values]
    return codes, scale, [levels[code] * scale for code in codes]


CODE_MISTAKES = (
    (
        not_divided_by_scale,
        "Divide each weight by the scale before you look for its level: the levels run from -1 "
        "to 1, the weights do not.",
    ),
    (evenly_spaced, "That treats the levels as evenly spaced. Compare with each level's value."),
    (level_below, "That is the level *below*. Take the nearest, which may lie above."),
)
SCALE_OF_BLOCK_MISTAKES = (
    (
        largest_without_sign,
        "The scale is the largest *absolute* value; the outlier of this block is negative.",
    ),
    (
        scale_of_spread,
        "That is the block's typical size. With it large weights lie beyond the last level: take "
        "the largest absolute value.",
    ),
)


def check_quantize_block(answer, t: Trial) -> None:
    steps = sorted(t.rng.uniform(-0.9, 0.9) for _ in range(5))
    for levels, size in ((LEVELS, 64), (LEVELS, 7), ([-1.0, *steps, 0.95, 1.0], 11)):
        values = [round(t.rng.gauss(0, 0.05), 4) for _ in range(size)]
        values[0] = -0.2  # beyond all others, and negative
        shows = f"quantize_block(...) with {size} weights and {len(levels)} levels"
        got = t.call(answer, values, levels, shows=shows)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 3,
            "Return three things: codes, scale and restored weights.",
        )
        codes, scale, restored = quantize_block(values, levels)
        t.close(
            float(got[1]),
            scale,
            tolerance=1e-6,
            says="The scale is not the largest absolute value of the block.",
            mistakes=[(f(values, levels)[1], s) for f, s in SCALE_OF_BLOCK_MISTAKES],
        )
        t.equal(
            [int(code) for code in got[0]],
            codes,
            says="A weight did not get the number of its nearest level.",
            mistakes=[(f(values, levels)[0], s) for f, s in CODE_MISTAKES],
        )
        t.close(
            [float(x) for x in got[2]],
            restored,
            tolerance=1e-6,
            says="The restored weights are not levels[code] * scale.",
            mistakes=[
                (
                    left_in_units(values, levels)[2],
                    "The restored weights lie between -1 and 1: multiply by the scale again.",
                )
            ],
        )
    t.passed("Scale, codes and restored weights agree for NF4 and for other levels")
    zeros = "A block of zeros has the scale 0. Its codes must be those of level 0, without NaN."
    got = t.call(answer, [0.0] * 5, LEVELS, says=zeros)
    t.equal([int(code) for code in got[0]], [7] * 5, says=zeros)
    t.close([float(x) for x in got[2]], [0.0] * 5, says=zeros)
    t.passed("and a block of zeros stays zeros")


QUANTIZE_BLOCK = Exercise(
    id="4.7.3",
    title="One block in four bits",
    difficulty="medium",
    minutes=15,
    statement="""
Quantise one block of weights as QLoRA does.

- The **scale** is the largest absolute value in the block.
- The **code** of a weight is the index of the level nearest to *weight / scale*. `levels` rises
  from -1 to 1; NF4 has 16 of them, not evenly spaced, and your function gets them as they come.
- The **restored** weight is its level times the scale.

A block of zeros (pruned weights, padding) must come back as zeros.
""",
    stub='''
def quantize_block(
    values: list[float], levels: list[float]
) -> tuple[list[int], float, list[float]]:
    """(codes, scale, restored weights) of one block.

    >>> quantize_block([0.5, -2.0, 0.1], [-1.0, -0.5, 0.0, 0.3, 1.0])
    ([3, 0, 2], 2.0, [0.6, -2.0, 0.0])
    """
    raise NotImplementedError
''',
    name="quantize_block",
    reference=quantize_block,
    alternatives=(quantize_block_torch, quantize_block_by_borders),
    wrong=(
        Wrong(largest_without_sign, "the largest *absolute* value"),
        Wrong(scale_of_spread, "the block's typical size"),
        Wrong(not_divided_by_scale, "Divide each weight by the scale"),
        Wrong(evenly_spaced, "evenly spaced"),
        Wrong(level_below, "the level *below*"),
        Wrong(left_in_units, "multiply by the scale again"),
        Wrong(divided_by_zero, "A block of zeros"),
    ),
    check=check_quantize_block,
    hints=(
        "Three lines for three results. Which of them needs the weights between -1 and 1?",
        "`[0.5, -2.0, 0.1]` has scale 2, so it becomes `[0.25, -1.0, 0.05]`; with the levels "
        "-1, -0.5, 0, 0.3, 1 the nearest are numbers 3, 0 and 2.",
        "1. `scale = max(abs(x) for x in values)`\n"
        "2. `code = argmin over i of abs(levels[i] - x / scale)`, with `x / scale` replaced by 0 "
        "where the scale is 0\n"
        "3. `levels[code] * scale`",
    ),
)


# -- 4.7.4 DoRA: answers and check in ch04_07b ---------------------------------------------------


DORA_FORWARD = Exercise(
    id="4.7.4",
    title="DoRA: directions and lengths apart",
    difficulty="hard",
    minutes=20,
    statement=r"""
DoRA lets LoRA turn the rows of a matrix, and trains their lengths by themselves. With
$V=W+\tfrac{\alpha}{r}BA$ output $i$ is

$$y_i = m_i\,\frac{V_i\cdot x}{\lVert V_i\rVert}$$

where $V_i$ is row $i$ (one per output) and $m$ is trained, C_out numbers. Shapes are those of
the exercise before. One condition comes from the paper (section 4.3): in the backward pass the
lengths $\lVert V_i\rVert$ **count as constants**, which saves memory and hardly
changes the result. A, B and m must all get gradients.
""",
    stub='''
import torch
from torch import Tensor


def dora_forward(
    x: Tensor, w: Tensor, a: Tensor, b: Tensor, magnitude: Tensor, alpha: float
) -> Tensor:
    """The output (..., C_out) of a DoRA layer.

    >>> w, zero = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    >>> dora_forward(torch.ones(1, 2), w, zero, torch.zeros(1, 1), torch.tensor([10.0]), 1.0)
    tensor([[14.]])
    """
    raise NotImplementedError
''',
    name="dora_forward",
    reference=dora.dora_forward,
    alternatives=(dora.dora_by_matrix, dora.dora_by_rows),
    wrong=(
        Wrong(dora.lengths_of_columns, "the lengths of columns"),
        Wrong(dora.lengths_of_the_base, "not of W alone"),
        Wrong(dora.length_of_the_whole, "One length for the whole matrix"),
        Wrong(dora.not_normalised, "never divided by their length"),
        Wrong(dora.correction_not_stretched, "add first, then normalise"),
        Wrong(dora.gradient_through_lengths, "must count as constants"),
    ),
    check=dora.check_dora_forward,
    hints=(
        "Build V, divide each row by its length, multiply it by m. Get the numbers right first, "
        "the gradient afterwards.",
        "W = [[3, 4]] has the length 5. With B = 0, m = 10 and x = (1, 1) the output is "
        "10 * 7 / 5 = 14. In the backward pass the 5 is a plain number.",
        "1. `V = w + alpha / r * (b @ a)`\n"
        "2. `lengths = V.detach().norm(dim=1)`, one per row\n"
        "3. `x @ V.T * (magnitude / lengths)`: the last axis is C_out, so this broadcasts",
    ),
)


EXERCISES = [LORA_BUDGET, LORA_BOTH_WAYS, QUANTIZE_BLOCK, DORA_FORWARD]
