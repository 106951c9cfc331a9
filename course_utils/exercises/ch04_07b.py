"""Answers and check of exercise 4.7.4 (DoRA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_utils.exercises.engine import Trial

if TYPE_CHECKING:
    from torch import Tensor


def dora_forward(
    x: Tensor, w: Tensor, a: Tensor, b: Tensor, magnitude: Tensor, alpha: float
) -> Tensor:
    scale = alpha / a.shape[0]
    lengths = (w + scale * (b @ a)).detach().norm(dim=1)  # (C_out,), constants going back
    straight = x @ w.T + scale * (x @ a.T) @ b.T
    return straight * (magnitude / lengths)


def dora_by_matrix(x, w, a, b, magnitude, alpha):
    import torch

    turned = w + alpha / len(a) * b @ a
    with torch.no_grad():
        lengths = turned.square().sum(1, keepdim=True).sqrt()
    return x @ (magnitude[:, None] * turned / lengths).T


def dora_by_rows(x, w, a, b, magnitude, alpha):
    import torch

    columns = []
    for i in range(len(w)):
        row = w[i] + alpha / len(a) * (b[i] @ a)
        columns.append((x @ row) * magnitude[i] / row.norm().item())
    return torch.stack(columns, dim=-1)


def _dora(x, w, a, b, magnitude, alpha, fault: str):
    scale = alpha / a.shape[0]
    turned = w + scale * (b @ a)
    if fault == "gradient":
        lengths = turned.norm(dim=1)
    elif fault == "base":
        lengths = w.norm(dim=1)
    elif fault == "whole":
        lengths = turned.detach().norm()
    elif fault == "inputs":
        return x / turned.detach().norm(dim=0) @ turned.T * magnitude
    elif fault == "none":
        lengths = 1.0
    return x @ turned.T * magnitude / lengths


def lengths_of_columns(*args):
    return _dora(*args, "inputs")


def lengths_of_the_base(*args):
    return _dora(*args, "base")


def length_of_the_whole(*args):
    return _dora(*args, "whole")


def not_normalised(*args):
    return _dora(*args, "none")


def gradient_through_lengths(*args):
    return _dora(*args, "gradient")


def correction_not_stretched(x, w, a, b, magnitude, alpha):
    lengths = w.norm(dim=1)
    return x @ w.T * (magnitude / lengths) + alpha / a.shape[0] * (x @ a.T) @ b.T


DORA_MISTAKES = (
    (
        lengths_of_columns,
        "You divided by the lengths of columns, one per input. Here every *row* of the matrix, "
        "one per output, has its length.",
    ),
    (
        lengths_of_the_base,
        "The divisor is the length of the row of W + (alpha / r) B A, not of W alone. Else the "
        "correction changes lengths, which was to be the magnitude's work.",
    ),
    (length_of_the_whole, "One length for the whole matrix: each row has a length of its own."),
    (not_normalised, "The rows are multiplied by the magnitude and never divided by their length."),
    (
        correction_not_stretched,
        "Only W was stretched. The correction belongs inside: add first, then normalise the sum.",
    ),
)


def check_dora_forward(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for c_in, c_out, r in ((5, 3, 2), (4, 4, 3)):
        x = torch.randn(2, 3, c_in, generator=make)
        w, a = torch.randn(c_out, c_in, generator=make), torch.randn(r, c_in, generator=make)
        b, m = torch.randn(c_out, r, generator=make), torch.rand(c_out, generator=make) + 0.5
        alpha = float(t.rng.randint(4, 9))
        shows = f"dora_forward(...) with C_in={c_in}, C_out={c_out}, r={r}, alpha={alpha:g}"
        got = t.call(answer, x, w, a, b, m, alpha, shows=shows)
        t.has_shape(got, (2, 3, c_out), "The output has the leading axes of x and C_out columns.")
        t.close(
            got,
            dora_forward(x, w, a, b, m, alpha),
            tolerance=1e-4,
            says="The output is not m (W + s B A) x / |W + s B A|, row by row.",
            mistakes=[(f(x, w, a, b, m, alpha), s) for f, s in DORA_MISTAKES],
        )
    t.passed("The output agrees for square and other layers")
    start = t.call(answer, x, w, a, torch.zeros_like(b), w.norm(dim=1), alpha, shows="with B = 0")
    t.close(start, x @ w.T, tolerance=1e-4, says="With B = 0 and m = |W| it must be the old layer.")
    t.passed("with B = 0 it is the old layer")
    slopes = [_slopes(f, t, x, w, a, b, m, alpha) for f in (answer, dora_forward)]
    for name, got, expected in zip(("a", "b", "magnitude"), *slopes, strict=True):
        t.that(got is not None, f"No gradient reaches `{name}`: it must train.")
        t.close(
            got,
            expected,
            tolerance=1e-3,
            says=f"The gradient of `{name}` is another: the lengths must count as constants "
            "(detach them), and nothing else.",
        )
    t.passed("and the lengths count as constants in the backward pass")


def _slopes(forward, t: Trial, x, w, a, b, m, alpha) -> list:
    leaves = [tensor.clone().requires_grad_() for tensor in (a, b, m)]
    output = t.call(forward, x, w, *leaves, alpha, shows="dora_forward(...) with gradients")
    t.that(output.requires_grad, "No gradient flows through the output: A, B and m must train.")
    output.square().sum().backward()
    return [leaf.grad for leaf in leaves]
