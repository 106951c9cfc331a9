"""Exercises of lesson 4.1, Attention: one query, masks, a broken mask, grouped heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.1.1 one query ---------------------------------------------------------------------------


def attend_one(
    query: Sequence[float], keys: Sequence[Sequence[float]], values: Sequence[Sequence[float]]
) -> list[float]:
    scale = 1 / math.sqrt(len(query))
    scores = [scale * sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    largest = max(scores)
    weights = [math.exp(score - largest) for score in scores]
    total = sum(weights)
    columns = zip(*values, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) / total for column in columns]


def attend_one_torch(query, keys, values):
    import torch

    q, k, v = (torch.as_tensor(x, dtype=torch.float64) for x in (query, keys, values))
    return torch.softmax(k @ q / len(q) ** 0.5, dim=0) @ v


def _one(query, keys, values, scale: float, shift: bool = True) -> list[float]:
    """``attend_one`` with another scale, or with an unprotected exponential."""
    scores = [scale * sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    largest = max(scores) if shift else 0
    weights = [math.exp(score - largest) for score in scores]
    columns = zip(*values, strict=True)
    return [
        sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights)
        for column in columns
    ]


def unscaled(query, keys, values):
    return _one(query, keys, values, 1.0)


def scaled_by_width(query, keys, values):
    return _one(query, keys, values, 1 / len(query))


def unprotected(query, keys, values):
    return _one(query, keys, values, 1 / math.sqrt(len(query)), shift=False)


def best_key_only(query, keys, values):
    scores = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    return list(values[scores.index(max(scores))])


def not_divided(query, keys, values):
    scale = 1 / math.sqrt(len(query))
    scores = [scale * sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    weights = [math.exp(score - max(scores)) for score in scores]
    columns = zip(*values, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) for column in columns]


def _vector(t: Trial, size: int, scale: float = 1.0) -> list[float]:
    return [round(scale * t.rng.uniform(-2, 2), 2) for _ in range(size)]


def check_attend_one(answer, t: Trial) -> None:
    for width, count in ((5, 3), (3, 7), (2, 1)):
        query = _vector(t, width)
        keys = [_vector(t, width) for _ in range(count)]
        values = [_vector(t, 4) for _ in range(count)]
        got = t.call(answer, query, keys, values)
        t.close(
            got,
            attend_one(query, keys, values),
            says="The weighted average is not the expected one.",
            mistakes=[
                (unscaled(query, keys, values), "The scores are not divided by sqrt(D)."),
                (
                    scaled_by_width(query, keys, values),
                    "Divide by the square root of D, not by D itself.",
                ),
                (
                    best_key_only(query, keys, values),
                    "That is the value of the best key alone; attention is an average.",
                ),
                (
                    not_divided(query, keys, values),
                    "The weights do not sum to one: divide by their total.",
                ),
            ],
        )
    t.passed("The average agrees for several widths and numbers of keys")
    query, keys = _vector(t, 2, 400), [_vector(t, 2, 400) for _ in range(3)]
    values = [_vector(t, 4) for _ in range(3)]
    keys[0] = list(query)  # a score of tens of thousands
    query[0] = keys[0][0] = 700.0
    got = t.call(
        answer,
        query,
        keys,
        values,
        says="Scores can be large: subtract the largest one before taking exponentials.",
    )
    t.close(
        got,
        attend_one(query, keys, values),
        says="Scores can be large: subtract the largest one before taking exponentials.",
    )
    t.passed("and large scores do not overflow")


ATTEND_ONE = Exercise(
    id="4.1.1",
    title="One query by hand",
    difficulty="easy",
    minutes=10,
    statement=r"""
Write attention for **one** query with plain Python numbers.

- `query` has D numbers, `keys` is a list of S keys with D numbers each, `values` a list of S
  values.
- Scores are dot products divided by $\sqrt D$, weights are their softmax, the answer is the
  weighted average of the values.
- Scores may be large. $e^{1000}$ overflows, so use a form of the softmax that does not.
""",
    stub='''
def attend_one(
    query: list[float], keys: list[list[float]], values: list[list[float]]
) -> list[float]:
    """The average of the values, weighted by softmax(query . key / sqrt(D)).

    >>> attend_one([1.0, 0.0, 0.0, 0.0], [[0.0] * 4, [0.0] * 4], [[2.0], [4.0]])
    [3.0]
    """
    raise NotImplementedError
''',
    name="attend_one",
    reference=attend_one,
    alternatives=(attend_one_torch,),
    wrong=(
        Wrong(unscaled, "not divided by sqrt(D)"),
        Wrong(scaled_by_width, "not by D itself"),
        Wrong(unprotected, "subtract the largest one"),
        Wrong(best_key_only, "attention is an average"),
        Wrong(not_divided, "do not sum to one"),
    ),
    check=check_attend_one,
    hints=(
        "Three steps: S scores, S weights, one average. Write each as a list first.",
        "With `query = [2, 0, 0, 0]`, keys `[ln 3, 0, 0, 0]` and `[0, 0, 0, 0]` the scores are "
        "ln 3 and 0, so the weights are 3/4 and 1/4.",
        "1. `scores = [dot(query, key) / sqrt(D) for key in keys]`\n"
        "2. `weights = [exp(s - max(scores)) for s in scores]`, then divide by their sum: the "
        "shift cancels in the division\n"
        "3. for each column of the values, sum weight times number",
    ),
)


# -- 4.1.2 causal and padded -------------------------------------------------------------------


def may_attend(lengths: Sequence[int], max_length: int) -> list[list[list[bool]]]:
    return [
        [[s <= t and s < length for s in range(max_length)] for t in range(max_length)]
        for length in lengths
    ]


def may_attend_torch(lengths, max_length):
    import torch

    causal = torch.ones(max_length, max_length, dtype=torch.bool).tril()
    real = torch.arange(max_length) < torch.as_tensor(lengths)[:, None]  # (B, S)
    return causal & real[:, None, :]


def may_attend_numpy(lengths, max_length):
    import numpy as np

    places = np.arange(max_length)
    causal = places[None, :] <= places[:, None]
    return causal[None] & (places[None, None, :] < np.asarray(lengths)[:, None, None])


def _mask(lengths, max_length, rule) -> list[list[list[bool]]]:
    places = range(max_length)
    return [[[rule(t, s, length) for s in places] for t in places] for length in lengths]


def hidden_is_true(lengths, max_length):
    return _mask(lengths, max_length, lambda t, s, length: not (s <= t and s < length))


def queries_padded(lengths, max_length):
    return _mask(lengths, max_length, lambda t, s, length: s <= t and t < length)


def either_is_enough(lengths, max_length):
    return _mask(lengths, max_length, lambda t, s, length: s <= t or s < length)


def not_itself(lengths, max_length):
    return _mask(lengths, max_length, lambda t, s, length: s < t and s < length)


def looks_ahead(lengths, max_length):
    return _mask(lengths, max_length, lambda t, s, length: s >= t and s < length)


def check_may_attend(answer, t: Trial) -> None:
    for longest in (5, 3, 1):
        lengths = [longest, t.rng.randint(1, longest), t.rng.randint(0, longest - 1)]
        got = t.call(answer, lengths, longest)
        t.has_shape(
            got,
            (3, longest, longest),
            "One (T, S) table of booleans for each row of the batch: (B, T, S).",
        )
        mistakes = [
            (hidden_is_true, "Everything is the wrong way round: True means *may attend*."),
            (
                queries_padded,
                "You hid the rows of padded queries. Padding must not be *read*: it is keys "
                "that have to be hidden.",
            ),
            (either_is_enough, "A key must be in the past **and** real: combine with `and`."),
            (not_itself, "A position may attend to itself: the diagonal belongs to the past."),
            (looks_ahead, "This mask shows the future and hides the past."),
        ]
        t.equal(
            got,
            may_attend(lengths, longest),
            says="Some query sees a key that it must not see, or misses one that it may see.",
            mistakes=[(wrong(lengths, longest), sentence) for wrong, sentence in mistakes],
        )
    t.passed("No query sees the future or padding, and every query sees all the rest")


MAY_ATTEND = Exercise(
    id="4.1.2",
    title="Causal and padded at once",
    difficulty="easy",
    minutes=10,
    statement="""
A language model is trained on a batch of texts of different lengths, padded on the right. Make
its mask: entry (b, t, s) is **True if query t of row b may attend to key s**.

- No query sees a later position.
- No query sees padding: row b has `lengths[b]` real tokens, the rest is padding.
- Queries that are padding themselves need no special treatment (their output is thrown away).
""",
    stub='''
import torch


def may_attend(lengths: list[int], max_length: int) -> list | torch.Tensor:
    """Booleans of shape (B, T, S), T = S = max_length; a tensor, an array or nested lists.

    >>> may_attend([2], 3)
    [[[True, False, False], [True, True, False], [True, True, False]]]
    """
    raise NotImplementedError
''',
    name="may_attend",
    reference=may_attend,
    alternatives=(may_attend_torch, may_attend_numpy),
    wrong=(
        Wrong(hidden_is_true, "the wrong way round"),
        Wrong(queries_padded, "it is keys that have to be hidden"),
        Wrong(either_is_enough, "combine with `and`"),
        Wrong(not_itself, "the diagonal belongs to the past"),
        Wrong(looks_ahead, "shows the future"),
    ),
    check=check_may_attend,
    hints=(
        "Write the condition for one (t, s) in words first: when may query t look at key s?",
        "For `lengths = [2]` and `max_length = 3` the last row is `[True, True, False]`: query 2 "
        "is padding, but it may still look at the two real keys before it.",
        "`s <= t and s < lengths[b]`, for every b, t and s; or with tensors: a lower triangle "
        "(T, S) and a padding mask (B, 1, S), joined with `&`.",
    ),
)


# -- 4.1.3 repair a masked attention -----------------------------------------------------------


def attend_padded(query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
    import torch

    allowed = real.bool()[:, None, None, :]  # (B, 1, 1, S): the same for all heads and queries
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1).masked_fill(~allowed, 0.0)
    return weights @ value


def attend_padded_fused(query, key, value, real):
    from torch.nn.functional import scaled_dot_product_attention

    mask = (real != 0)[:, None, None, :]
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def attend_padded_ours(query, key, value, real):
    from course_utils.nn.attention import expand_padding_mask, scaled_dot_product_attention

    return scaled_dot_product_attention(query, key, value, expand_padding_mask(real))[0]


def _masked(query, key, value, hidden, fill: float):
    """Attention with a fill value, as it stands in many tutorials."""
    import torch

    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores.masked_fill(hidden, fill), dim=-1) @ value


def mask_on_the_wrong_axis(query, key, value, real):
    return _masked(query, key, value, real == 0, -1e9)


def overflowing_fill(query, key, value, real):
    weights = _masked(query, key, value, (real == 0)[:, None, None, :], -1e9)
    return weights * (real.sum(-1) > 0)[:, None, None, None]


def infinite_fill(query, key, value, real):
    return _masked(query, key, value, (real == 0)[:, None, None, :], -math.inf)


def uniform_over_padding(query, key, value, real):
    import torch

    lowest = torch.finfo(query.dtype).min
    return _masked(query, key, value, (real == 0)[:, None, None, :], lowest)


def padding_only(query, key, value, real):
    return attend_padded(query, key, value, 1 - real)


def _batch(t: Trial, sizes: tuple[int, int, int, int, int], dtype=None) -> tuple[Tensor, ...]:
    """Random query, key, value and a 0/1 padding mask with 1 to S real keys in each row."""
    import torch

    batch, heads, length, keys, width = sizes
    make = t.torch_generator()
    query = torch.randn(batch, heads, length, width, generator=make)
    key = torch.randn(batch, heads, keys, width, generator=make)
    value = torch.randn(batch, heads, keys, width, generator=make)
    real = torch.zeros(batch, keys, dtype=torch.long)
    for row in range(batch):
        real[row, : t.rng.randint(1, keys - 1)] = 1
    return *(x.to(dtype or torch.float32) for x in (query, key, value)), real


def check_attend_padded(answer, t: Trial) -> None:
    import torch

    # B == T: a (B, S) mask broadcasts as (T, S) and nothing complains
    for sizes in ((3, 2, 3, 5, 7), (2, 3, 5, 7, 4), (1, 2, 1, 3, 5)):
        inputs = _batch(t, sizes)
        says = "The mask has shape (B, S) and the scores (B, H, T, S): give the mask its axes."
        got = t.call(answer, *inputs, shows=_shows(sizes), says=says)
        t.that(
            isinstance(got, torch.Tensor) and got.shape == inputs[0].shape,
            "Return the output (B, H, T, D) alone.",
        )
        t.close(
            got,
            attend_padded(*inputs),
            tolerance=1e-4,
            says=says,
            mistakes=[
                (padding_only(*inputs), "You kept the padding and hid the real tokens: 1 = real.")
            ],
        )
    t.passed("Padding is hidden, also where the batch is as large as the query is long")
    sizes = (2, 3, 4, 5, 7)
    query, key, value, real = _batch(t, sizes)
    real[1] = 0
    got = t.call(answer, query, key, value, real, shows=_shows(sizes, "row 1 all padding"))
    t.that(not got.isnan().any(), "A row without any real key became NaN. It must be zeros.")
    t.that(
        (got[1] == 0).all(),
        "A row without any real key is an average of padding. Its output must be zeros.",
    )
    t.close(got[0], attend_padded(query, key, value, real)[0], tolerance=1e-4)
    t.passed("a row of padding alone gives zeros")
    inputs = _batch(t, sizes, torch.float16)
    got = t.call(
        answer,
        *inputs,
        shows=_shows(sizes, "float16"),
        says="In float16 the largest number is 65,504, so -1e9 does not exist there.",
    )
    t.close(
        got.float(),
        attend_padded(*(x.float() for x in inputs)),
        tolerance=2e-2,
        says="In float16 the result differs from float32 by more than rounding.",
    )
    t.passed("and float16 works")


def _shows(sizes: tuple[int, ...], note: str = "") -> str:
    batch, heads, length, keys, width = sizes
    text = f"attend_padded(...) with B={batch}, H={heads}, T={length}, S={keys}, D={width}"
    return f"{text}, {note}" if note else text


ATTEND_PADDED = Exercise(
    id="4.1.3",
    title="Repair a broken mask",
    difficulty="medium",
    minutes=20,
    statement="""
This code stands, nearly letter for letter, in many tutorials. `real` is a tokenizer's
`attention_mask`: shape (B, S), 1 = real token, 0 = padding.

```python
def attend_padded(query, key, value, real):              # (B, H, T, D), twice (B, H, S, D)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])   # (B, H, T, S)
    scores = scores.masked_fill(real == 0, -1e9)
    return torch.softmax(scores, dim=-1) @ value
```

It has three faults. It crashes for most shapes, and for some it silently hides the wrong
positions. A row with nothing but padding becomes an average of padding. And it cannot run in
float16. Write a version without them: **a row without any real key must give zeros**.
""",
    stub='''
import math

import torch
from torch import Tensor


def attend_padded(query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
    """Attention (B, H, T, D) in which no query sees padding; zeros where all is padding.

    >>> q, real = torch.zeros(1, 1, 1, 2), torch.tensor([[1, 0]])
    >>> attend_padded(q, torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [9.0, 9.0]]]]), real)
    tensor([[[[1., 2.]]]])
    """
    raise NotImplementedError
''',
    name="attend_padded",
    reference=attend_padded,
    alternatives=(attend_padded_fused, attend_padded_ours),
    wrong=(
        Wrong(mask_on_the_wrong_axis, "give the mask its axes"),
        Wrong(infinite_fill, "became NaN"),
        Wrong(uniform_over_padding, "an average of padding"),
        Wrong(overflowing_fill, "-1e9 does not exist there"),
        Wrong(padding_only, "1 = real"),
    ),
    check=check_attend_padded,
    hints=(
        "Take the faults one at a time. Which shape must the mask have so that it broadcasts to "
        "(B, H, T, S) in one way only?",
        "Try B = T = 3: the broken code runs and hides key s from *query* b, in all texts. Then "
        "try a row of `real` that is all 0.",
        "1. `allowed = real.bool()[:, None, None, :]`\n"
        "2. fill hidden scores with `torch.finfo(scores.dtype).min`, which every dtype has\n"
        "3. after the softmax, set hidden weights to 0: rows that were all hidden become zeros",
    ),
)


# -- 4.1.4 grouped heads -----------------------------------------------------------------------


def grouped_heads(
    x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, num_heads: int, num_kv_heads: int
) -> Tensor:
    import torch

    length, width = x.shape[0], wq.shape[1] // num_heads
    q = (x @ wq).reshape(length, num_heads, width).transpose(0, 1)  # (H, T, D)
    k = (x @ wk).reshape(length, num_kv_heads, width).transpose(0, 1)  # (H_kv, T, D)
    v = (x @ wv).reshape(length, num_kv_heads, width).transpose(0, 1)
    group = num_heads // num_kv_heads
    k, v = k.repeat_interleave(group, dim=0), v.repeat_interleave(group, dim=0)
    weights = torch.softmax(q @ k.transpose(1, 2) / width**0.5, dim=-1)  # (H, T, T)
    return (weights @ v).transpose(0, 1).reshape(length, num_heads * width)


def grouped_by_loop(x, wq, wk, wv, num_heads, num_kv_heads):
    import torch

    width, group = wq.shape[1] // num_heads, num_heads // num_kv_heads
    outputs = []
    for head in range(num_heads):
        own = slice(head * width, (head + 1) * width)
        shared = slice(head // group * width, (head // group + 1) * width)
        scores = (x @ wq[:, own]) @ (x @ wk[:, shared]).T / width**0.5
        outputs.append(torch.softmax(scores, dim=-1) @ (x @ wv[:, shared]))
    return torch.cat(outputs, dim=1)


def _grouped(x, wq, wk, wv, num_heads, num_kv_heads, fault: str):
    """``grouped_heads`` with one fault."""
    import torch

    length, width = x.shape[0], wq.shape[1] // num_heads

    def split(y, heads):
        if fault == "view":
            return y.reshape(heads, length, width)
        return y.reshape(length, heads, width).transpose(0, 1)

    q, k, v = split(x @ wq, num_heads), split(x @ wk, num_kv_heads), split(x @ wv, num_kv_heads)
    group = num_heads // num_kv_heads
    if fault == "order":
        k, v = k.repeat(group, 1, 1), v.repeat(group, 1, 1)
    else:
        k, v = k.repeat_interleave(group, dim=0), v.repeat_interleave(group, dim=0)
    scale = x.shape[1] if fault == "scale" else width
    mixed = torch.softmax(q @ k.transpose(1, 2) / scale**0.5, dim=-1) @ v
    if fault == "merge":
        return mixed.reshape(length, num_heads * width)
    return mixed.transpose(0, 1).reshape(length, num_heads * width)


def split_by_view(*args):
    return _grouped(*args, "view")


def groups_in_turns(*args):
    return _grouped(*args, "order")


def scaled_by_model_width(*args):
    return _grouped(*args, "scale")


def merged_without_transpose(*args):
    return _grouped(*args, "merge")


def check_grouped_heads(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for length, width, heads, kv_heads in ((5, 3, 4, 2), (7, 2, 6, 3), (3, 5, 3, 1), (4, 3, 2, 2)):
        size = heads * width
        x, wq = torch.randn(length, size, generator=make), torch.randn(size, size, generator=make)
        wk, wv = (torch.randn(size, kv_heads * width, generator=make) for _ in range(2))
        inputs = (x, wq, wk, wv, heads, kv_heads)
        shows = f"grouped_heads(...) with T={length}, D={width}, H={heads}, H_kv={kv_heads}"
        got = t.call(answer, *inputs, shows=shows)
        t.has_shape(got, (length, size), "The output has T rows and H * D columns.")
        t.close(
            got,
            grouped_heads(*inputs),
            tolerance=1e-4,
            says="Shapes are right, numbers are not: compare one head with a loop over heads.",
            mistakes=[
                (
                    split_by_view(*inputs),
                    "The split mixes positions and heads: reshape to (T, H, D) first, then "
                    "transpose.",
                ),
                (
                    merged_without_transpose(*inputs),
                    "The merge mixes positions and heads: transpose back to (T, H, D) before "
                    "the last reshape.",
                ),
                (
                    groups_in_turns(*inputs),
                    "Neighbouring query heads share a key head: (a, b) becomes (a, a, b, b), "
                    "not (a, b, a, b).",
                ),
                (
                    scaled_by_model_width(*inputs),
                    "Divide by the square root of the head's width D, not of the model's.",
                ),
            ],
        )
    t.passed("Full, grouped and single key heads agree with a loop over heads")


GROUPED_HEADS = Exercise(
    id="4.1.4",
    title="Grouped heads, without mixing them up",
    difficulty="medium",
    minutes=20,
    statement="""
Split, attend, merge: three reshapes, and two of the wrong ways to do them give a legal shape.
Write the attention of SmolLM2 for one text, without mask, bias and output projection.

- `x` is (T, C); `wq` is (C, H·D), `wk` and `wv` are (C, H_kv·D). Projections are `x @ w`.
- Head h owns columns h·D to (h+1)·D. With fewer key heads, **neighbouring** query heads share
  one: with H = 4 and H_kv = 2, query heads 0 and 1 use key head 0.
- Return the heads' outputs side by side, (T, H·D).
""",
    stub='''
import torch
from torch import Tensor


def grouped_heads(
    x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, num_heads: int, num_kv_heads: int
) -> Tensor:
    """Attention with H query heads over H_kv key heads, merged to (T, H * D).

    >>> x, one = torch.tensor([[2.0]]), torch.ones(1, 1)
    >>> grouped_heads(x, one, one, 3 * one, 1, 1)
    tensor([[6.]])
    """
    raise NotImplementedError
''',
    name="grouped_heads",
    reference=grouped_heads,
    alternatives=(grouped_by_loop,),
    wrong=(
        Wrong(split_by_view, "The split mixes positions and heads"),
        Wrong(merged_without_transpose, "The merge mixes positions and heads"),
        Wrong(groups_in_turns, "(a, a, b, b)"),
        Wrong(scaled_by_model_width, "the head's width D"),
    ),
    check=check_grouped_heads,
    hints=(
        "Start with a loop over the heads that slices columns. It is slow and obviously right; "
        "then make the reshape version agree with it.",
        "With T = 2, H = 2, D = 1 the row `[[a, b], [c, d]]` must split into head 0 = `[a, c]` and "
        "head 1 = `[b, d]`. A bare `reshape(H, T, D)` gives `[a, b]` and `[c, d]`.",
        "1. `(x @ wq).reshape(T, H, D).transpose(0, 1)`, the same for keys and values with H_kv\n"
        "2. `repeat_interleave(H // H_kv, dim=0)` on keys and values\n"
        "3. softmax of the scores over sqrt(D), times values\n"
        "4. `transpose(0, 1).reshape(T, H * D)`",
    ),
)


EXERCISES = [ATTEND_ONE, MAY_ATTEND, ATTEND_PADDED, GROUPED_HEADS]
