"""Exercises of lesson 4.2, Transformer: rotary positions, a norm, teacher forcing, pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.2.1 rotary positions --------------------------------------------------------------------


def rotate(x: Sequence[float], position: int, base: float = 10_000.0) -> list[float]:
    half = len(x) // 2
    angles = [position * base ** (-2 * i / len(x)) for i in range(half)]
    first = [
        x[i] * math.cos(angle) - x[i + half] * math.sin(angle) for i, angle in enumerate(angles)
    ]
    second = [
        x[i] * math.sin(angle) + x[i + half] * math.cos(angle) for i, angle in enumerate(angles)
    ]
    return first + second


def rotate_complex(x, position, base=10_000.0):
    half = len(x) // 2
    turned = [
        complex(x[i], x[i + half])
        * complex(
            math.cos(position * base ** (-i / half)), math.sin(position * base ** (-i / half))
        )
        for i in range(half)
    ]
    return [z.real for z in turned] + [z.imag for z in turned]


def rotate_numpy(x, position, base=10_000.0):
    import numpy as np

    a, b = np.split(np.asarray(x, dtype=float), 2)
    angle = position / base ** (np.arange(len(a)) * 2 / len(x))
    return np.concatenate(
        [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)]
    )


def _rotate(x, position, base, exponent: float = 2.0, sign: float = 1.0, flipped: bool = False):
    half = len(x) // 2
    first, second = [], []
    for i in range(half):
        angle = sign * position * base ** (-exponent * i / len(x))
        a, b = x[i], x[i + half]
        first.append(a * math.cos(angle) - b * math.sin(angle))
        last = a * math.sin(angle) + b * math.cos(angle)
        second.append(-last if flipped else last)
    return first + second


def neighbours_paired(x, position, base=10_000.0):
    half = len(x) // 2
    turned = rotate(
        [x[2 * i] for i in range(half)] + [x[2 * i + 1] for i in range(half)], position, base
    )
    return [turned[i // 2 + half * (i % 2)] for i in range(len(x))]


def turned_back(x, position, base=10_000.0):
    return _rotate(x, position, base, sign=-1.0)


def half_the_exponent(x, position, base=10_000.0):
    return _rotate(x, position, base, exponent=1.0)


def same_angle_for_all(x, position, base=10_000.0):
    return _rotate(x, position, base, exponent=0.0)


def mirrored(x, position, base=10_000.0):
    return _rotate(x, position, base, flipped=True)


ROTATE_MISTAKES = (
    (
        neighbours_paired,
        "You paired neighbours (2i and 2i + 1), the layout of the paper. Here i and i + D/2 are "
        "partners.",
    ),
    (turned_back, "You turned the other way: check the sign of the sines."),
    (half_the_exponent, "The exponent is -2i/D, with i counting pairs: the last is near -1."),
    (same_angle_for_all, "All pairs turned by the same angle; pair i turns by base^(-2i/D)."),
    (mirrored, "That is a reflection: the second number is a sin + b cos, with a plus."),
)


def check_rotate(answer, t: Trial) -> None:
    for width, base in ((4, 100.0), (6, 10_000.0), (8, 500.0)):
        x = [round(t.rng.uniform(1, 3) * t.rng.choice((-1, 1)), 2) for _ in range(width)]
        position = t.rng.randint(2, 9)
        got = t.call(answer, x, position, base)
        t.close(
            got,
            rotate(x, position, base),
            says="The turned vector is not the expected one.",
            mistakes=[(wrong(x, position, base), sentence) for wrong, sentence in ROTATE_MISTAKES],
        )
    t.passed("Vectors of 4, 6 and 8 numbers are turned pair by pair")
    q, k = ([round(t.rng.uniform(-2, 2), 2) for _ in range(6)] for _ in range(2))
    products = []
    for shift in (0, 31):
        turned = [t.call(answer, q, 5 + shift), t.call(answer, k, 2 + shift)]
        products.append(sum(float(a) * float(b) for a, b in zip(*turned, strict=True)))
    t.close(
        products[1],
        products[0],
        tolerance=1e-5,
        says="Moving query and key together must not change their product.",
    )
    t.passed("and the product of a query and a key depends on their distance only")


ROTATE = Exercise(
    id="4.2.1",
    title="Turn a query",
    difficulty="medium",
    minutes=15,
    statement=r"""
Write rotary positions for one vector, in the layout that SmolLM2 uses: numbers i and i + D/2 are
partners. Pair i at position t turns by the angle $\theta = t\cdot\text{base}^{-2i/D}$:

$$(a, b)\;\to\;(a\cos\theta-b\sin\theta,\;\;a\sin\theta+b\cos\theta)$$

The check also moves a query and a key together: their product must not change.
""",
    stub='''
import math


def rotate(x: list[float], position: int, base: float = 10_000.0) -> list[float]:
    """x, with the pair (x[i], x[i + D/2]) turned by position * base^(-2i/D).

    >>> [round(v, 3) for v in rotate([1.0, 0.0], 1)]
    [0.54, 0.841]
    """
    raise NotImplementedError
''',
    name="rotate",
    reference=rotate,
    alternatives=(rotate_complex, rotate_numpy),
    wrong=(
        Wrong(neighbours_paired, "You paired neighbours"),
        Wrong(turned_back, "the other way"),
        Wrong(half_the_exponent, "The exponent is -2i/D"),
        Wrong(same_angle_for_all, "the same angle"),
        Wrong(mirrored, "a reflection"),
    ),
    check=check_rotate,
    hints=(
        "How many pairs are there, and which two numbers form pair 0?",
        "For D = 4 and base = 100 the angles per position are 1 and 1/10: pair 0 is x[0] with "
        "x[2], pair 1 is x[1] with x[3].",
        "1. `half = len(x) // 2`\n2. for i in range(half): `angle = position * base ** (-2 * i / "
        "len(x))`\n3. collect the first results in one list, the second in another, and join them",
    ),
)


# -- 4.2.2 layer norm --------------------------------------------------------------------------


def layer_norm(
    rows: Sequence[Sequence[float]], weight: Sequence[float], bias: Sequence[float], eps: float
) -> list[list[float]]:
    result = []
    for row in rows:
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        scale = 1 / math.sqrt(variance + eps)
        result.append(
            [w * (x - mean) * scale + b for x, w, b in zip(row, weight, bias, strict=True)]
        )
    return result


def layer_norm_numpy(rows, weight, bias, eps):
    import numpy as np

    x = np.asarray(rows, dtype=float)
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(weight) * centred / np.sqrt(x.var(axis=1, keepdims=True) + eps) + bias


def layer_norm_torch(rows, weight, bias, eps):
    import torch

    x, w, b = (torch.as_tensor(y, dtype=torch.float64) for y in (rows, weight, bias))
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b, eps)


def _norm(rows, weight, bias, eps, fault: str):
    import numpy as np

    x = np.asarray(rows, dtype=float)
    axis = 0 if fault == "axis" else 1
    mean = 0 if fault == "shift" else x.mean(axis=axis, keepdims=True)
    centred = x - mean
    count = x.shape[axis] - (1 if fault == "sample" else 0)
    variance = (centred**2).sum(axis=axis, keepdims=True) / count
    below = np.sqrt(variance) + eps if fault == "eps" else np.sqrt(variance + eps)
    if fault == "variance":
        below = variance + eps
    return (np.asarray(weight) * centred / below + bias).tolist()


def sample_variance(rows, weight, bias, eps):
    return _norm(rows, weight, bias, eps, "sample")


def eps_outside(rows, weight, bias, eps):
    return _norm(rows, weight, bias, eps, "eps")


def over_the_rows(rows, weight, bias, eps):
    return _norm(rows, weight, bias, eps, "axis")


def without_shift(rows, weight, bias, eps):
    return _norm(rows, weight, bias, eps, "shift")


def divided_by_variance(rows, weight, bias, eps):
    return _norm(rows, weight, bias, eps, "variance")


NORM_MISTAKES = (
    (sample_variance, "Divide the squares by C, not by C - 1: layer norm uses the plain mean."),
    (eps_outside, "eps belongs under the root, beside the variance."),
    (over_the_rows, "You normalised over the rows. Each row is normalised by its own numbers."),
    (without_shift, "The mean was not subtracted: that is RMSNorm."),
    (divided_by_variance, "Divide by the root of the variance, not by the variance."),
)


def check_layer_norm(answer, t: Trial) -> None:
    for count, width, eps in ((3, 5, 0.3), (4, 2, 0.1), (2, 7, 0.5)):
        rows = [[round(t.rng.uniform(-3, 5), 2) for _ in range(width)] for _ in range(count)]
        weight = [round(t.rng.uniform(0.5, 2), 2) for _ in range(width)]
        bias = [round(t.rng.uniform(-1, 1), 2) for _ in range(width)]
        got = t.call(answer, rows, weight, bias, eps)
        t.close(
            got,
            layer_norm(rows, weight, bias, eps),
            says="The normalised rows are not the expected ones.",
            mistakes=[
                (wrong(rows, weight, bias, eps), sentence) for wrong, sentence in NORM_MISTAKES
            ],
        )
    t.passed("Rows of 2, 5 and 7 numbers are normalised each by itself")
    row = [4.0] * 3
    got = t.call(answer, [row], [1.0] * 3, [0.5] * 3, 1e-5)
    t.close(got, [[0.5] * 3], says="A row of equal numbers has variance 0; only the bias is left.")
    t.passed("and a constant row does not divide by zero")


LAYER_NORM = Exercise(
    id="4.2.2",
    title="Layer norm by hand",
    difficulty="easy",
    minutes=10,
    statement=r"""
Normalise each row by its own mean and variance, then scale and shift:
$y_i = w_i\,\dfrac{x_i-\mu}{\sqrt{\sigma^2+\varepsilon}}+b_i$. The variance is the mean of the
squared distances, divided by the number of entries C. Each row is one token; rows know nothing
of one another. The check uses a large `eps`, so its place matters.
""",
    stub='''
def layer_norm(
    rows: list[list[float]], weight: list[float], bias: list[float], eps: float
) -> list[list[float]]:
    """Every row normalised by itself, scaled by weight, shifted by bias.

    >>> layer_norm([[1.0, 3.0]], [1.0, 1.0], [0.0, 10.0], eps=0.0)
    [[-1.0, 11.0]]
    """
    raise NotImplementedError
''',
    name="layer_norm",
    reference=layer_norm,
    alternatives=(layer_norm_numpy, layer_norm_torch),
    wrong=(
        Wrong(sample_variance, "not by C - 1"),
        Wrong(eps_outside, "under the root"),
        Wrong(over_the_rows, "You normalised over the rows"),
        Wrong(without_shift, "that is RMSNorm"),
        Wrong(divided_by_variance, "not by the variance"),
    ),
    check=check_layer_norm,
    hints=(
        "One row at a time: mean, then variance, then every entry.",
        "The row 1, 3 has mean 2 and variance ((-1)² + 1²) / 2 = 1. With eps = 3 its entries "
        "become -1/2 and 1/2.",
        "1. `mean = sum(row) / C`\n2. `variance = sum((x - mean) ** 2) / C`\n"
        "3. `w * (x - mean) / sqrt(variance + eps) + b` for every entry",
    ),
)


# -- 4.2.3 teacher forcing ---------------------------------------------------------------------


def teacher_forcing(
    targets: Sequence[Sequence[int]], start: int, stop: int, pad: int
) -> tuple[list[list[int]], list[list[int]]]:
    length = max(len(row) for row in targets) + 1
    inputs, labels = [], []
    for row in targets:
        missing = length - len(row) - 1
        inputs.append([start, *row] + [pad] * missing)
        labels.append([*row, stop] + [-100] * missing)
    return inputs, labels


def teacher_forcing_torch(targets, start, stop, pad):
    import torch

    length = max(map(len, targets)) + 1
    inputs = torch.full((len(targets), length), pad)
    labels = torch.full((len(targets), length), -100)
    inputs[:, 0] = start
    for b, row in enumerate(targets):
        ids = torch.tensor(list(row), dtype=torch.long)
        inputs[b, 1 : len(row) + 1] = ids
        labels[b, : len(row)] = ids
        labels[b, len(row)] = stop
    return inputs, labels


def _forced(targets, start, stop, pad, fault: str):
    inputs, labels = teacher_forcing(targets, start, stop, pad)
    length = len(inputs[0])
    if fault == "leak":
        inputs = [[pad if x == -100 else x for x in row] for row in labels]
    if fault == "pad":
        labels = [[pad if x == -100 else x for x in row] for row in labels]
    if fault == "stop":
        labels = [[-100 if x == stop else x for x in row] for row in labels]
    if fault == "late":
        labels = [[*row, *[-100] * (length - len(row) - 1), stop] for row in map(list, targets)]
    if fault == "start":
        labels = [[start, *row, *[-100] * (length - len(row) - 1)] for row in map(list, targets)]
    return inputs, labels


def answer_in_the_input(targets, start, stop, pad):
    return _forced(targets, start, stop, pad, "leak")


def padding_is_trained(targets, start, stop, pad):
    return _forced(targets, start, stop, pad, "pad")


def never_stops(targets, start, stop, pad):
    return _forced(targets, start, stop, pad, "stop")


def stops_after_padding(targets, start, stop, pad):
    return _forced(targets, start, stop, pad, "late")


def labels_not_shifted(targets, start, stop, pad):
    return _forced(targets, start, stop, pad, "start")


FORCING_MISTAKES = (
    (
        answer_in_the_input,
        "The input at each position is the very token to be predicted: shift it right, behind the "
        "start id.",
    ),
    (padding_is_trained, "The model would be trained to write padding: use the label -100 there."),
    (never_stops, "No label is the stop id, so the model never learns to stop."),
    (stops_after_padding, "The stop id belongs right behind the last token, not behind padding."),
    (
        labels_not_shifted,
        "Each label equals its own input: the label of a position is the *next* token.",
    ),
)


def check_teacher_forcing(answer, t: Trial) -> None:
    for _ in range(3):
        sizes = t.rng.sample(range(1, 7), 3)
        targets = [[t.rng.randint(10, 99) for _ in range(size)] for size in sizes]
        start, stop, pad = t.rng.sample(range(10), 3)
        got = t.call(answer, targets, start, stop, pad)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two things: inputs and labels.",
        )
        expected = teacher_forcing(targets, start, stop, pad)
        shape = (3, max(sizes) + 1)
        for part in got:
            t.has_shape(part, shape, "Both are (B, T) with T = the longest row + 1.")
        t.equal(
            got,
            expected,
            says="Inputs or labels are not the expected ones.",
            mistakes=[
                (wrong(targets, start, stop, pad), sentence) for wrong, sentence in FORCING_MISTAKES
            ],
        )
    t.passed("Inputs are shifted right, labels end in the stop id, and padding is not trained")


TEACHER_FORCING = Exercise(
    id="4.2.3",
    title="What the decoder reads and what it must say",
    difficulty="medium",
    minutes=15,
    statement="""
A decoder is trained on all positions at once: at each one it reads the target so far and must say
the next token. Make its inputs and labels from rows of ids of different lengths.

- Inputs: the start id, then the row; padded with `pad`.
- Labels: the row, then the stop id; padded with **-100**, which PyTorch's cross-entropy ignores.
- Both have T = longest row + 1 columns. Return `(inputs, labels)`.

This is where copied code most often *cheats*: if input and label are the same token, the loss falls
to nothing and the model can do nothing.
""",
    stub='''
def teacher_forcing(
    targets: list[list[int]], start: int, stop: int, pad: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Decoder inputs and labels (B, T).

    >>> teacher_forcing([[7, 8], [9]], start=1, stop=2, pad=0)
    ([[1, 7, 8], [1, 9, 0]], [[7, 8, 2], [9, 2, -100]])
    """
    raise NotImplementedError
''',
    name="teacher_forcing",
    reference=teacher_forcing,
    alternatives=(teacher_forcing_torch,),
    wrong=(
        Wrong(answer_in_the_input, "shift it right"),
        Wrong(padding_is_trained, "to write padding"),
        Wrong(never_stops, "never learns to stop"),
        Wrong(stops_after_padding, "not behind padding"),
        Wrong(labels_not_shifted, "the *next* token"),
    ),
    check=check_teacher_forcing,
    hints=(
        "Write the two rows under each other for `[7, 8]`. Under each input stands the token that "
        "follows it.",
        "For `[[7, 8], [9]]` with start 1, stop 2, pad 0, the second row is `[1, 9, 0]` over "
        "`[9, 2, -100]`.",
        "1. `length = longest + 1`\n2. `missing = length - len(row) - 1`\n"
        "3. inputs: `[start, *row] + [pad] * missing`; labels: `[*row, stop] + [-100] * missing`",
    ),
)


# -- 4.2.4 padding in a pooled vector ----------------------------------------------------------


def mean_of_real(x: Tensor, real: Tensor) -> Tensor:
    weights = real.to(x.dtype)[..., None]  # (B, T, 1)
    return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def mean_by_loop(x, real):
    import torch

    rows = [row[keep.bool()] for row, keep in zip(x, real, strict=True)]
    return torch.stack([r.mean(dim=0) if len(r) else x.new_zeros(x.shape[-1]) for r in rows])


def mean_by_einsum(x, real):
    import torch

    counts = real.sum(dim=1, keepdim=True)
    weights = torch.where(counts > 0, real / counts.clamp(min=1), 0.0).to(x.dtype)
    return torch.einsum("bt,btc->bc", weights, x)


def mean_of_everything(x, real):
    return x.mean(dim=1)


def divided_by_the_width(x, real):
    return (x * real[..., None]).sum(dim=1) / x.shape[1]


def padding_still_summed(x, real):
    return x.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)


def empty_row_is_nan(x, real):
    return (x * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


def first_positions(x, real):
    import torch

    return torch.stack([row[: int(n)].mean(0) for row, n in zip(x, real.sum(1), strict=True)])


def check_mean_of_real(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for batch, length, width in ((3, 5, 7), (2, 7, 3)):
        x = torch.randn(batch, length, width, generator=make) + 2
        lengths = [t.rng.randint(1, length - 1) for _ in range(batch)]
        for side in ("right", "left"):
            real = torch.zeros(batch, length, dtype=torch.long)
            for row, n in enumerate(lengths):
                real[row, slice(0, n) if side == "right" else slice(length - n, length)] = 1
            shows = f"mean_of_real(x, real) with B={batch}, T={length}, padding on the {side}"
            got = t.call(answer, x, real, shows=shows)
            t.has_shape(got, (batch, width), "One vector of C numbers for each text: (B, C).")
            t.close(
                got,
                mean_of_real(x, real),
                tolerance=1e-5,
                says="The mean is not that of the real tokens.",
                mistakes=[
                    (mean_of_everything(x, real), "Padding is averaged like real tokens."),
                    (
                        divided_by_the_width(x, real),
                        "You divide by T. Divide by the number of real tokens of each row.",
                    ),
                    (
                        padding_still_summed(x, real),
                        "The count is right, but the sum still holds the padding's vectors.",
                    ),
                    (
                        first_positions(x, real),
                        "Padding may stand on the left: use the mask, not the first positions.",
                    ),
                ],
            )
    t.passed("Padding on either side leaves the mean unchanged")
    x, real = torch.ones(2, 3, 4), torch.tensor([[1, 1, 0], [0, 0, 0]])
    got = t.call(answer, x, real, shows="mean_of_real(x, real), row 1 all padding")
    t.that(
        bool((got[1] == 0).all()),
        "A row without real tokens must give zeros; yours divides zero by zero.",
    )
    t.passed("and a row of padding alone gives zeros")


MEAN_OF_REAL = Exercise(
    id="4.2.4",
    title="A classifier that sees padding",
    difficulty="easy",
    minutes=10,
    statement="""
A colleague's classifier gives other answers when the same text is padded. The attention is masked,
so that is not it. Its last lines are:

```python
x = self.encoder(x, mask)        # (B, T, C)
return self.classifier(x.mean(dim=1))
```

Write the mean that it needs. `real` is (B, T) with 1 = real token, 0 = padding, and padding may
stand **on either side**. A row without any real token gives zeros.
""",
    stub='''
import torch
from torch import Tensor


def mean_of_real(x: Tensor, real: Tensor) -> Tensor:
    """The mean (B, C) of the real positions of x (B, T, C).

    >>> x = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> mean_of_real(x, torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    raise NotImplementedError
''',
    name="mean_of_real",
    reference=mean_of_real,
    alternatives=(mean_by_loop, mean_by_einsum),
    wrong=(
        Wrong(mean_of_everything, "averaged like real tokens"),
        Wrong(divided_by_the_width, "You divide by T"),
        Wrong(padding_still_summed, "the sum still holds"),
        Wrong(empty_row_is_nan, "divides zero by zero"),
        Wrong(first_positions, "on the left"),
    ),
    check=check_mean_of_real,
    hints=(
        "A mean has a sum and a count. Padding must be absent from both.",
        "For x = 1, 3, 100 and real = 1, 1, 0 the answer is 2. A plain mean gives 34.67, the right "
        "sum over T gives 1.33.",
        "1. `weights = real[..., None]`, so that it multiplies (B, T, C)\n"
        "2. `(x * weights).sum(1)` over `weights.sum(1)`\n"
        "3. `clamp(min=1)` on the count, for rows of padding alone",
    ),
)


EXERCISES = [ROTATE, LAYER_NORM, TEACHER_FORCING, MEAN_OF_REAL]
