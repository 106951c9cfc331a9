"""Exercises of lesson 4.4: dynamic padding, masked mean, learning-rate schedule, best span."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 4.4.1 a collator with dynamic padding -----------------------------------------------------


def collate(features: list[dict], pad_id: int) -> dict:
    longest = max(len(f["input_ids"]) for f in features)
    ids, mask = [], []
    for f in features:
        missing = longest - len(f["input_ids"])
        ids.append(list(f["input_ids"]) + [pad_id] * missing)
        mask.append([1] * len(f["input_ids"]) + [0] * missing)
    return {"input_ids": ids, "attention_mask": mask, "labels": [f["label"] for f in features]}


def collate_torch(features: list[dict], pad_id: int) -> dict:
    rows = [torch.tensor(f["input_ids"]) for f in features]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True, padding_value=pad_id),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
        "labels": torch.tensor([f["label"] for f in features]),
    }


def to_a_fixed_length(features: list[dict], pad_id: int) -> dict:
    return _collate_to(features, pad_id, 64)


def cut_to_the_shortest(features: list[dict], pad_id: int) -> dict:
    return _collate_to(features, pad_id, min(len(f["input_ids"]) for f in features))


def _collate_to(features: list[dict], pad_id: int, length: int) -> dict:
    cut = [f | {"input_ids": list(f["input_ids"])[:length]} for f in features]
    rows = [f["input_ids"] + [pad_id] * (length - len(f["input_ids"])) for f in cut]
    mask = [[1] * len(f["input_ids"]) + [0] * (length - len(f["input_ids"])) for f in cut]
    return {"input_ids": rows, "attention_mask": mask, "labels": [f["label"] for f in features]}


def mask_of_ones(features: list[dict], pad_id: int) -> dict:
    batch = collate(features, pad_id)
    return batch | {"attention_mask": [[1] * len(row) for row in batch["input_ids"]]}


def mask_from_the_ids(features: list[dict], pad_id: int) -> dict:
    batch = collate(features, pad_id)
    mask = [[int(i != pad_id) for i in row] for row in batch["input_ids"]]
    return batch | {"attention_mask": mask}


def padded_with_zero(features: list[dict], pad_id: int) -> dict:
    return collate(features, 0)


def padded_on_the_left(features: list[dict], pad_id: int) -> dict:
    turned = [f | {"input_ids": list(f["input_ids"])[::-1]} for f in features]
    batch = collate(turned, pad_id)
    flip = {name: [row[::-1] for row in batch[name]] for name in ("input_ids", "attention_mask")}
    return batch | flip


def check_collate(answer, t: Trial) -> None:
    for _ in range(3):
        lengths = t.rng.sample(range(2, 10), 4)
        pad_id = t.rng.randint(1, 9)
        features = [
            {"input_ids": [t.rng.randint(11, 99) for _ in range(n)], "label": t.rng.randint(0, 1)}
            for n in lengths
        ]
        _judge_batch(t, t.call(answer, features, pad_id), features, pad_id)
    t.passed("Every batch is as long as its longest text, with its mask and labels")
    # GPT-type models have no padding token: people use the end token, which is also a real one
    features = [{"input_ids": [21, 7], "label": 0}, {"input_ids": [22, 23, 24, 7], "label": 1}]
    got = t.call(answer, features, 7)
    right = collate(features, 7)
    t.that(isinstance(got, dict) or hasattr(got, "keys"), "Return a dict with three keys.")
    t.equal(
        got["attention_mask"],
        right["attention_mask"],
        says="Here the padding id also occurs as a real token at the end of each text. Take the "
        "mask from the lengths, not from the ids.",
    )
    t.passed("the mask is right even where the padding id is also a real token")


def _judge_batch(t: Trial, got, features: list[dict], pad_id: int) -> None:
    t.that(hasattr(got, "keys"), "Return a dict with input_ids, attention_mask and labels.")
    missing = {"input_ids", "attention_mask", "labels"} - set(got.keys())
    t.that(not missing, f"The batch needs the keys input_ids, attention_mask, labels: {missing}.")
    right = collate(features, pad_id)
    ids = "input_ids"
    t.equal(
        got[ids],
        right[ids],
        says="Each row is the ids of a text, then padding up to the longest text of this batch.",
        mistakes=[
            (to_a_fixed_length(features, pad_id)[ids], "Pad to the longest text of this batch."),
            (cut_to_the_shortest(features, pad_id)[ids], "Pad the short texts, cut none."),
            (padded_with_zero(features, pad_id)[ids], "Pad with `pad_id`, which is not always 0."),
            (padded_on_the_left(features, pad_id)[ids], "Put the padding behind the text."),
        ],
    )
    t.equal(
        got["attention_mask"],
        right["attention_mask"],
        says="The mask is 1 for a real token and 0 for padding.",
    )
    t.equal(got["labels"], right["labels"], says="`labels` holds the label of each text, in order.")


COLLATE = Exercise(
    id="4.4.1",
    title="A collator with dynamic padding",
    difficulty="easy",
    minutes=8,
    statement="""
A data loader hands your collator a list of examples, each a dict with `input_ids` (a list, any
length) and `label`. Return one dict that a model can be called with:

- `input_ids`: rows of equal length, filled up **on the right** with `pad_id` to the longest text
  **of this batch**;
- `attention_mask`: 1 for a real token, 0 for padding;
- `labels`: the labels in order.

Lists of lists are fine, and so are tensors. The padding id may also occur as a real token: think
about where the mask comes from.
""",
    stub='''
def collate(features: list[dict], pad_id: int) -> dict:
    """One batch: padded ids, attention mask, labels.

    >>> collate([{"input_ids": [5, 6], "label": 1}, {"input_ids": [7], "label": 0}], 0)["input_ids"]
    [[5, 6], [7, 0]]
    """
    raise NotImplementedError
''',
    name="collate",
    reference=collate,
    alternatives=(collate_torch,),
    wrong=(
        Wrong(to_a_fixed_length, "longest text of this batch"),
        Wrong(cut_to_the_shortest, "cut none"),
        Wrong(padded_with_zero, "not always 0"),
        Wrong(padded_on_the_left, "behind the text"),
        Wrong(mask_of_ones, "0 for padding"),
        Wrong(mask_from_the_ids, "not from the ids"),
    ),
    check=check_collate,
    hints=(
        "First find one number: the length of the longest text. Everything else follows from it.",
        "Lengths 2 and 1, `pad_id=0`: the ids are `[[5, 6], [7, 0]]`, the mask is "
        "`[[1, 1], [1, 0]]`.",
        '1. `longest = max(len(f["input_ids"]) for f in features)`\n'
        '2. for each text `missing = longest - len(f["input_ids"])`\n'
        "3. ids: the text + `[pad_id] * missing`; mask: ones for the text + `[0] * missing`\n"
        '4. labels: `[f["label"] for f in features]`',
    ),
)


# -- 4.4.2 masked mean pooling -----------------------------------------------------------------


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def by_loop(hidden: Tensor, mask: Tensor) -> Tensor:
    pairs = zip(hidden, mask.bool(), strict=True)
    return torch.stack([row[keep].mean(dim=0) for row, keep in pairs])


def by_product(hidden: Tensor, mask: Tensor) -> np.ndarray:
    share = mask.numpy() / mask.numpy().sum(axis=1, keepdims=True)
    return np.einsum("bt,btc->bc", share, hidden.numpy())


def plain_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.mean(dim=1)


def divided_by_all(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, :, None]).mean(dim=1)


def not_divided(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, :, None]).sum(dim=1)


def first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def over_the_batch(hidden: Tensor, mask: Tensor) -> Tensor:
    kept = hidden[mask.bool()]
    return kept.mean(dim=0).expand(len(hidden), -1)


def check_masked_mean(answer, t: Trial) -> None:
    for size, length, width in ((2, 5, 3), (3, 7, 2), (5, 4, 6)):
        hidden = torch.randn(size, length, width, generator=t.torch_generator())
        # at least one text with padding, one without, lengths otherwise random
        lengths = [length, t.rng.randint(1, length - 1)]
        lengths += [t.rng.randint(1, length) for _ in range(size - 2)]
        t.rng.shuffle(lengths)
        mask = (torch.arange(length)[None, :] < torch.tensor(lengths)[:, None]).long()
        shows = f"masked_mean(hidden {tuple(hidden.shape)}, mask = {mask.tolist()})"
        got = t.call(answer, hidden, mask, shows=shows)
        t.has_shape(got, (size, width), "One vector a text: (B, C).")
        _judge_mean(t, got, hidden, mask)
        _other_padding(t, answer, hidden, mask, shows)
    t.passed("The mean of the real tokens agrees for batches of 2, 3 and 5 texts")
    t.passed("whatever stands in the padding changes nothing")


def _judge_mean(t: Trial, got, hidden: Tensor, mask: Tensor) -> None:
    t.close(
        got,
        masked_mean(hidden, mask),
        tolerance=1e-5,  # float32 sums of up to 7 numbers
        says="Sum the vectors of the real tokens of each text, and divide by how many they are.",
        mistakes=[
            (plain_mean(hidden, mask), "The padding is in your mean: use the mask."),
            (divided_by_all(hidden, mask), "You divide by T. Divide by the number of real tokens."),
            (not_divided(hidden, mask), "This is the sum, not the mean."),
            (first_token(hidden, mask), "This is the vector of the first token, not the mean."),
            (over_the_batch(hidden, mask), "Each text needs its own mean, not that of the batch."),
        ],
    )


def _other_padding(t: Trial, answer, hidden: Tensor, mask: Tensor, shows: str) -> None:
    changed = hidden.masked_fill(mask[:, :, None] == 0, 1000.0)
    got = t.call(answer, changed, mask, shows=shows + " with 1000 in the padding")
    says = "Other numbers in the padding change your result."
    t.close(got, masked_mean(hidden, mask), tolerance=1e-4, says=says)


MASKED_MEAN = Exercise(
    id="4.4.2",
    title="Masked mean pooling",
    difficulty="medium",
    minutes=8,
    statement=r"""
An encoder gives one vector per token; a sentence needs one vector in all. MiniLM was trained with
the mean of the token vectors, and padding must not take part:

$$v_b = \frac{\sum_t m_{bt}\, h_{bt}}{\sum_t m_{bt}}$$

`hidden` is a tensor (B, T, C), `mask` is (B, T) with 1 for real tokens and 0 for padding; every
text has at least one real token. Return (B, C).
""",
    stub='''
def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean vector of the real tokens of each text: (B, T, C), (B, T) -> (B, C).

    >>> masked_mean(torch.tensor([[[2.0], [4.0], [99.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    raise NotImplementedError
''',
    name="masked_mean",
    reference=masked_mean,
    alternatives=(by_loop, by_product),
    wrong=(
        Wrong(plain_mean, "padding is in your mean"),
        Wrong(divided_by_all, "Divide by the number of real tokens"),
        Wrong(not_divided, "the sum, not the mean"),
        Wrong(first_token, "the first token"),
        Wrong(over_the_batch, "its own mean"),
    ),
    check=check_masked_mean,
    hints=(
        "Multiply by the mask and the padding becomes zero. What is left to divide by?",
        "Vectors 2, 4 and 99 with the mask 1, 1, 0: the result is (2 + 4) / 2 = 3.",
        "1. `weights = mask[:, :, None]` has the shape (B, T, 1)\n"
        "2. `(hidden * weights).sum(dim=1)` is (B, C)\n"
        "3. divide by `weights.sum(dim=1)`, which is (B, 1)",
    ),
)


# -- 4.4.3 the learning rate of a step ---------------------------------------------------------


def learning_rate(step: int, total: int, warmup: float, peak: float) -> float:
    rising = math.ceil(warmup * total) if warmup < 1 else int(warmup)
    if step < rising:
        return peak * step / rising
    return peak * max(0, total - step) / max(1, total - rising)


def as_a_minimum(step: int, total: int, warmup: float, peak: float) -> float:
    rising = -int(-(warmup * total) // 1) if warmup < 1 else int(warmup)
    up = step / rising if rising else 1.0
    down = (total - step) / (total - rising) if total > rising else 1.0
    return float(peak * np.clip(up if step < rising else down, 0, 1))


def fraction_as_steps(step: int, total: int, warmup: float, peak: float) -> float:
    return learning_rate(step, total, int(warmup), peak)


def one_step_ahead(step: int, total: int, warmup: float, peak: float) -> float:
    return learning_rate(step + 1, total, warmup, peak)


def no_decay(step: int, total: int, warmup: float, peak: float) -> float:
    rising = math.ceil(warmup * total) if warmup < 1 else int(warmup)
    return peak * step / rising if step < rising else peak


def decay_from_the_start(step: int, total: int, warmup: float, peak: float) -> float:
    rising = math.ceil(warmup * total) if warmup < 1 else int(warmup)
    return peak * step / rising if step < rising else peak * (total - step) / total


def warmup_cut_to_the_run(step: int, total: int, warmup: float, peak: float) -> float:
    return learning_rate(step, total, min(warmup, total - 1), peak)


def check_learning_rate(answer, t: Trial) -> None:
    for fraction in (0.1, 0.25, 0.0):
        total = 20 * t.rng.randint(2, 9) + 3  # no round number of warm-up steps
        _judge_rates(t, answer, total, fraction)
    t.passed("A warm-up given as a fraction agrees on the whole run")
    total = t.rng.randint(40, 90)
    _judge_rates(t, answer, total, t.rng.randint(5, 30))
    t.passed("and so does one given in steps")
    total, warmup = t.rng.randint(3, 6), t.rng.choice([100, 500])
    for step in range(1, total):
        got = t.call(answer, step, total, warmup, 1.0)
        t.close(
            got,
            step / warmup,
            tolerance=1e-9,
            says="A warm-up longer than the run is not shortened: the rate just never gets there.",
        )
    t.passed("a warm-up longer than the run never reaches the peak")


def _judge_rates(t: Trial, answer, total: int, warmup: float) -> None:
    peak = t.rng.choice([1.0, 2.0, 5.0])
    rising = math.ceil(warmup * total) if warmup < 1 else warmup
    middle = (rising + total) // 2
    # first the steps at which two mistakes never give the same number
    for step in (1, middle, total - 1, max(0, rising - 1), rising, 0, total):
        got = t.call(answer, step, total, warmup, peak)
        arguments = (step, total, warmup, peak)
        t.close(
            got,
            learning_rate(*arguments),
            tolerance=1e-9,
            says="Rise from 0 to the peak in the warm-up, then fall to 0 at the last step.",
            mistakes=[
                (one_step_ahead(*arguments), "You are one step ahead: step 0 has the rate 0."),
                (no_decay(*arguments), "After the warm-up the rate falls in a line to 0."),
                (
                    decay_from_the_start(*arguments),
                    "The fall begins at the peak, where the warm-up ends: divide by "
                    "`total - rising`.",
                ),
                (
                    fraction_as_steps(*arguments),
                    "A warm-up below 1 is a fraction of the run: `ceil(warmup * total)` steps.",
                ),
            ],
        )


LEARNING_RATE = Exercise(
    id="4.4.3",
    title="The learning rate of a step",
    difficulty="medium",
    minutes=10,
    statement=r"""
Write the schedule that `Trainer` uses by default. In a run of `total` steps with $w$ warm-up steps
and the peak $p$, step $s$ (counted from 0) has the rate

$$\eta(s) = \begin{cases} p \cdot s / w & s < w \\
p \cdot (\text{total} - s) / (\text{total} - w) & s \ge w \end{cases}$$

- `warmup` below 1 is a fraction: $w = \lceil \text{warmup} \cdot \text{total} \rceil$. From 1 on it
  is a number of steps.
- The rate never falls below 0.
- With `warmup=0` the run starts at the peak. A warm-up longer than the run is allowed.
""",
    stub='''
def learning_rate(step: int, total: int, warmup: float, peak: float) -> float:
    """Learning rate of a step: linear warm-up, then linear decay to 0.

    >>> [learning_rate(s, total=4, warmup=0.5, peak=1.0) for s in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    raise NotImplementedError
''',
    name="learning_rate",
    reference=learning_rate,
    alternatives=(as_a_minimum,),
    wrong=(
        Wrong(fraction_as_steps, "a fraction of the run"),
        Wrong(one_step_ahead, "one step ahead"),
        Wrong(no_decay, "falls in a line to 0"),
        Wrong(decay_from_the_start, "begins at the peak"),
        Wrong(warmup_cut_to_the_run, "never gets there"),
    ),
    check=check_learning_rate,
    hints=(
        "Compute the number of warm-up steps first. Then there are two cases, both straight lines.",
        "`total=4, warmup=0.5, peak=1`: two warm-up steps, so the rates of the steps 0 to 4 are "
        "0, 0.5, 1, 0.5, 0.",
        "1. `rising = ceil(warmup * total)` if `warmup < 1`, else `warmup`\n"
        "2. if `step < rising`: `peak * step / rising`\n"
        "3. else `peak * (total - step) / (total - rising)`, not below 0, without dividing by 0",
    ),
)


# -- 4.4.4 the best answer span ----------------------------------------------------------------


def best_span(
    start: Sequence[float], end: Sequence[float], allowed: Sequence[bool], max_tokens: int
) -> tuple[int, int]:
    pairs = [
        (i, j)
        for i in range(len(start))
        for j in range(i, min(i + max_tokens, len(end)))
        if allowed[i] and allowed[j]
    ]
    return max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])


def span_matrix(start, end, allowed, max_tokens):
    scores = np.add.outer(np.asarray(start, float), np.asarray(end, float))
    keep = np.outer(allowed, allowed).astype(bool)
    keep = np.tril(np.triu(keep), max_tokens - 1)
    return np.unravel_index(np.where(keep, scores, -np.inf).argmax(), scores.shape)


def two_argmaxes(start, end, allowed, max_tokens):
    return int(np.argmax(start)), int(np.argmax(end))


def two_allowed_argmaxes(start, end, allowed, max_tokens):
    hide = [0.0 if ok else -math.inf for ok in allowed]
    return int(np.add(start, hide).argmax()), int(np.add(end, hide).argmax())


def end_after_the_best_start(start, end, allowed, max_tokens):
    first = two_allowed_argmaxes(start, end, allowed, max_tokens)[0]
    last = [j for j in range(first, min(first + max_tokens, len(end))) if allowed[j]]
    return first, max(last, key=lambda j: end[j])


def question_included(start, end, allowed, max_tokens):
    return best_span(start, end, [True] * len(start), max_tokens)


def any_length(start, end, allowed, max_tokens):
    return best_span(start, end, allowed, len(start))


def one_token_too_long(start, end, allowed, max_tokens):
    return best_span(start, end, allowed, max_tokens + 1)


SPAN_SAYS = "Of all allowed pairs start <= end, take the one with the highest sum of scores."
# (start scores, end scores): tokens 0 and 1 are the question, 2 to 7 the context
TRAPS = (
    # the best start stands behind the best end
    (((0, 0, 0, 0, 1, 0, 9, 0), (0, 0, 0, 0, 8, 0, 0, 3)), "The end may not stand before"),
    # the question has the highest scores
    (((9, 0, 0, 0, 3, 0, 0, 0), (0, 9, 0, 0, 0, 4, 0, 0)), "lies in the question"),
    # the best pair is longer than allowed
    (((0, 0, 7, 0, 0, 5, 0, 0), (0, 0, 0, 1, 0, 0, 2, 7)), "longer than `max_tokens`"),
    # one token longer than allowed
    (((0, 0, 6, 0, 0, 0, 2, 0), (0, 0, 0, 1, 2, 6, 0, 0)), "longer than `max_tokens`"),
    # the best start has only weak ends behind it
    (((0, 0, 0, 5, 0, 0, 0, 6), (0, 0, 0, 0, 7, 0, 0, 1)), "best pair"),
)


def check_best_span(answer, t: Trial) -> None:
    allowed = [False, False] + [True] * 6
    for (start, end), sentence in TRAPS:
        start = [round(s + t.rng.uniform(0, 0.3), 2) for s in start]
        end = [round(s + t.rng.uniform(0, 0.3), 2) for s in end]
        got = t.call(answer, start, end, allowed, 3)
        _judge_span(t, got, (start, end, allowed, 3), sentence)
    t.passed("Order, question and length are respected, and the best pair is found")
    for _ in range(6):
        size = t.rng.randint(6, 12)
        start = [round(t.rng.uniform(-4, 4), 3) for _ in range(size)]
        end = [round(t.rng.uniform(-4, 4), 3) for _ in range(size)]
        allowed = [i >= 2 for i in range(size)]
        arguments = (start, end, allowed, t.rng.randint(1, 4))
        _judge_span(t, t.call(answer, *arguments), arguments, "")
    t.passed("as an exhaustive search finds on random scores")


def _judge_span(t: Trial, got, arguments: tuple, sentence: str) -> None:
    start, end, allowed, max_tokens = arguments
    try:
        i, j = (int(place) for place in got)
    except (TypeError, ValueError):
        t.that(False, "Return two whole numbers: the first and the last token of the answer.")
    t.that(0 <= i < len(start) and 0 <= j < len(end), "A token of the answer does not exist.")
    t.that(i <= j, "The end may not stand before the start of the answer.")
    t.that(allowed[i] and allowed[j], "Your answer lies in the question, where `allowed` is False.")
    t.that(j - i < max_tokens, "Your answer is longer than `max_tokens`, both ends counted.")
    right = best_span(*arguments)
    t.close(
        start[i] + end[j],
        start[right[0]] + end[right[1]],
        says=f"Not the best pair: {right} has a higher sum. Choosing the best start first, or the "
        "best end first, can miss it.",
    )


BEST_SPAN = Exercise(
    id="4.4.4",
    title="Decode the best answer span",
    difficulty="hard",
    minutes=15,
    statement="""
A question-answering model gives every token a score for being the first token of the answer and a
score for being the last. Return the pair `(i, j)` with the highest `start[i] + end[j]`, such that

- `i <= j`: an answer does not end before it starts;
- `allowed[i]` and `allowed[j]`: the answer lies in the context, not in the question;
- the answer has at most `max_tokens` tokens, both ends counted.

At least one token is allowed.
""",
    stub='''
def best_span(
    start: list[float], end: list[float], allowed: list[bool], max_tokens: int
) -> tuple[int, int]:
    """First and last token of the best answer.

    >>> best_span([0.0, 1.0, 9.0], [0.0, 8.0, 2.0], [True, True, True], max_tokens=3)
    (2, 2)
    """
    raise NotImplementedError
''',
    name="best_span",
    reference=best_span,
    alternatives=(span_matrix,),
    wrong=(
        Wrong(two_argmaxes, "may not stand before"),
        Wrong(two_allowed_argmaxes, "may not stand before"),
        Wrong(end_after_the_best_start, "Not the best pair"),
        Wrong(question_included, "lies in the question"),
        Wrong(any_length, "longer than `max_tokens`"),
        Wrong(one_token_too_long, "longer than `max_tokens`"),
    ),
    check=check_best_span,
    hints=(
        "Do not choose start and end one after the other. List every pair that is allowed, then "
        "take the best of the list.",
        "In the example the best start is token 2 and the best end is token 1, which is not "
        "allowed. (1, 1) has the sum 9, (2, 2) has 11, and (1, 2) has 3.",
        "1. for every `i`, and every `j` from `i` to `i + max_tokens - 1` inside the text\n"
        "2. keep the pair if both are allowed\n"
        "3. return the kept pair with the largest `start[i] + end[j]`",
    ),
)

EXERCISES = [COLLATE, MASKED_MEAN, LEARNING_RATE, BEST_SPAN]
