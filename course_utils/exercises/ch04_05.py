"""Exercises of lesson 4.5, Pretraining: the fair currency, rows of a stream, AdamW, masking."""

from __future__ import annotations

import math
from collections.abc import Sequence

from course_utils.exercises import ch04_05b as masking
from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 4.5.1 bits per byte -------------------------------------------------------------------------


def corpus_bits(log_probabilities: Sequence[Sequence[float]], texts: Sequence[str]) -> float:
    nats = -sum(sum(row) for row in log_probabilities)
    size = sum(len(text.encode("utf-8")) for text in texts)
    return nats / math.log(2) / size


def corpus_bits_numpy(log_probabilities, texts):
    import numpy as np

    bits = -np.concatenate([np.asarray(row) for row in log_probabilities]) / np.log(2)
    return bits.sum() / np.sum([len(bytes(text, "utf-8")) for text in texts])


def mean_of_ratios(log_probabilities, texts):
    pairs = zip(log_probabilities, texts, strict=True)
    return sum(corpus_bits([row], [text]) for row, text in pairs) / len(texts)


def left_in_nats(log_probabilities, texts):
    return corpus_bits(log_probabilities, texts) * math.log(2)


def per_character(log_probabilities, texts):
    nats = -sum(sum(row) for row in log_probabilities)
    return nats / math.log(2) / sum(map(len, texts))


def per_token(log_probabilities, texts):
    values = [x for row in log_probabilities for x in row]
    return -sum(values) / len(values) / math.log(2)


def sign_forgotten(log_probabilities, texts):
    return -corpus_bits(log_probabilities, texts)


BITS_MISTAKES = (
    (
        mean_of_ratios,
        "That is the mean of the documents' values. Sum bits and bytes first, or a "
        "document of ten bytes counts as much as one of ten thousand.",
    ),
    (left_in_nats, "Those are nats per byte: divide by log 2 for bits."),
    (per_character, "You divided by characters. An é is one character and two bytes in UTF-8."),
    (per_token, "That is bits per *token*, which changes with the tokenizer. Divide by bytes."),
    (sign_forgotten, "A number of bits cannot be negative: a surprise is *minus* the log."),
)


def check_corpus_bits(answer, t: Trial) -> None:
    pool = ["naïve", "café", "the", "a", "of", "Zürich", "rose", "猫"]
    for _ in range(3):
        texts = [" ".join(t.rng.choices(pool, k=k)) + " é" for k in (2, t.rng.randint(20, 40))]
        rows = [
            [math.log(t.rng.uniform(0.01, 0.9)) for _ in range(t.rng.randint(2, 4) * (i * 9 + 1))]
            for i, _ in enumerate(texts)
        ]
        got = t.call(answer, rows, texts, shows="corpus_bits(...) for a short and a long text")
        t.close(
            float(got),
            corpus_bits(rows, texts),
            tolerance=1e-6,
            says="The value is not (sum of the surprises in bits) / (sum of the bytes).",
            mistakes=[(wrong(rows, texts), sentence) for wrong, sentence in BITS_MISTAKES],
        )
    t.passed("Short and long texts, with letters of one, two and three bytes")


CORPUS_BITS = Exercise(
    id="4.5.1",
    title="One currency for all models",
    difficulty="easy",
    minutes=8,
    statement="""
A model gave every token of some documents a log-probability (natural logarithm).
`log_probabilities[i]` holds those of the tokens of `texts[i]`. Return the **bits per byte** of
the whole collection: all surprises in bits, divided by all bytes in UTF-8.
""",
    stub='''
def corpus_bits(log_probabilities: list[list[float]], texts: list[str]) -> float:
    """Bits per byte of all texts together.

    >>> half = math.log(0.5)
    >>> corpus_bits([[half, half], [half]], ["abc", "é"])   # 3 bits, 5 bytes
    0.6
    """
    raise NotImplementedError
''',
    name="corpus_bits",
    reference=corpus_bits,
    alternatives=(corpus_bits_numpy,),
    wrong=(
        Wrong(mean_of_ratios, "mean of the documents' values"),
        Wrong(left_in_nats, "nats per byte"),
        Wrong(per_character, "divided by characters"),
        Wrong(per_token, "bits per *token*"),
        Wrong(sign_forgotten, "cannot be negative"),
    ),
    check=check_corpus_bits,
    hints=(
        "Two sums and one division. Which unit has each sum?",
        'Three tokens of probability 1/2 are 3 bits; "abc" and "é" are 3 + 2 bytes: 0.6.',
        "1. `nats = -sum(sum(row) for row in log_probabilities)`\n"
        "2. `size = sum(len(text.encode()) for text in texts)`\n"
        "3. `nats / math.log(2) / size`",
    ),
)


# -- 4.5.2 rows of a stream ----------------------------------------------------------------------


def stream_rows(
    documents: Sequence[Sequence[int]], end_id: int, length: int
) -> list[tuple[list[int], list[int]]]:
    stream = [token for document in documents for token in [*document, end_id]]
    starts = range(0, len(stream) - length, length)
    return [(stream[i : i + length], stream[i + 1 : i + length + 1]) for i in starts]


def stream_rows_torch(documents, end_id, length):
    import torch

    parts = [torch.tensor([*document, end_id]) for document in documents]
    rows = torch.cat(parts).unfold(0, length + 1, length)
    return [(row[:-1].tolist(), row[1:].tolist()) for row in rows]


def _rows(stream, length, step, shift=1):
    starts = range(0, len(stream) - length, step)
    return [(stream[i : i + length], stream[i + shift : i + length + shift]) for i in starts]


def no_separator(documents, end_id, length):
    return _rows([t for d in documents for t in d], length, length)


def separator_in_front(documents, end_id, length):
    return _rows([t for d in documents for t in [end_id, *d]], length, length)


def separator_between(documents, end_id, length):
    stream = [t for d in documents for t in [*d, end_id]][:-1]
    return _rows(stream, length, length)


def targets_not_shifted(documents, end_id, length):
    return [(inputs, inputs) for inputs, _ in stream_rows(documents, end_id, length)]


def rows_without_overlap(documents, end_id, length):
    stream = [t for d in documents for t in [*d, end_id]]
    return _rows(stream, length, length + 1)


def rows_at_every_token(documents, end_id, length):
    stream = [t for d in documents for t in [*d, end_id]]
    return _rows(stream, length, 1)


ROWS_MISTAKES = (
    (no_separator, "The end-of-text id is missing: where one document stops and the next begins, "
     "the model would learn a continuation that nobody wrote."),
    (separator_in_front, "The end-of-text id stands *after* each document: a model that never "
     "predicts it behind a last word never learns to stop."),
    (separator_between, "The last document needs its end-of-text id too."),
    (targets_not_shifted, "The targets equal the inputs, so the task is to copy. Target t is the "
     "token *after* input t."),
    (rows_without_overlap, "You step by length + 1, so the first token of each row is never a "
     "target. Step by length: the last target of a row is the first input of the next."),
    (rows_at_every_token, "A row starts at every token, so each token is a target many times. "
     "Step by `length`."),
)  # fmt: skip


def check_stream_rows(answer, t: Trial) -> None:
    for case in range(4):
        length, end_id = t.rng.randint(3, 5), 0
        documents = [[t.rng.randint(1, 99) for _ in range(t.rng.randint(2, 9))] for _ in range(7)]
        if case:  # the last row must end exactly with the stream: its end mark counts
            total = sum(len(d) + 1 for d in documents)
            documents[-1] += [t.rng.randint(1, 99) for _ in range((1 - total) % length)]
        got = t.call(answer, documents, end_id, length)
        expected = stream_rows(documents, end_id, length)
        plain = [([int(x) for x in a], [int(x) for x in b]) for a, b in got]
        t.equal(
            plain,
            expected,
            says="These are not the rows of the stream.",
            mistakes=[(w(documents, end_id, length), s) for w, s in ROWS_MISTAKES],
        )
    t.passed("Rows, targets and ends agree, with and without a tail that is left over")


STREAM_ROWS = Exercise(
    id="4.5.2",
    title="From documents to rows",
    difficulty="medium",
    minutes=12,
    statement="""
Put an end-of-text id behind **every** document, join all documents to one stream, and cut it
into rows for training: pairs `(inputs, targets)`, each of `length` tokens, where target t is
the token after input t. Every token of the stream, but the very first and a tail too short for
a row, is a target **exactly once**.
""",
    stub='''
def stream_rows(
    documents: list[list[int]], end_id: int, length: int
) -> list[tuple[list[int], list[int]]]:
    """(inputs, targets) of each row.

    >>> stream_rows([[5, 6], [7, 8, 9]], end_id=0, length=2)   # stream 5 6 0 7 8 9 0
    [([5, 6], [6, 0]), ([0, 7], [7, 8]), ([8, 9], [9, 0])]
    """
    raise NotImplementedError
''',
    name="stream_rows",
    reference=stream_rows,
    alternatives=(stream_rows_torch,),
    wrong=(
        Wrong(no_separator, "end-of-text id is missing"),
        Wrong(separator_in_front, "stands *after* each document"),
        Wrong(separator_between, "The last document needs"),
        Wrong(targets_not_shifted, "the task is to copy"),
        Wrong(rows_without_overlap, "You step by length + 1"),
        Wrong(rows_at_every_token, "a target many times"),
    ),
    check=check_stream_rows,
    hints=(
        "Build the stream first and look at it. A row then needs length + 1 neighbours of it.",
        "The stream 5 6 0 7 8 9 0 with length 2 has rows that start at 0, 2 and 4.",
        "1. `stream = [t for d in documents for t in [*d, end_id]]`\n"
        "2. `starts = range(0, len(stream) - length, length)`\n"
        "3. for each start i: `(stream[i : i + length], stream[i + 1 : i + length + 1])`",
    ),
)


# -- 4.5.3 one step of AdamW ---------------------------------------------------------------------


def adamw_step(
    w: float, g: float, m: float, v: float, t: int, lr: float, decay: float
) -> tuple[float, float, float]:
    m = 0.9 * m + 0.1 * g
    v = 0.95 * v + 0.05 * g * g
    step = (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.95**t)) + 1e-8)
    return w - lr * decay * w - lr * step, m, v


def adamw_step_torch(w, g, m, v, t, lr, decay):
    import torch

    mean = torch.lerp(torch.tensor(m, dtype=torch.float64), torch.tensor(g).double(), 0.1)
    square = 0.95 * torch.tensor(v, dtype=torch.float64) + 0.05 * g**2
    size = (square / (1 - 0.95**t)).sqrt() + 1e-8
    new = torch.tensor(w, dtype=torch.float64) * (1 - lr * decay)
    return (new - lr * mean / (1 - 0.9**t) / size).item(), mean.item(), square.item()


def _means(g, m, v):
    return 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g


def no_correction(w, g, m, v, t, lr, decay):
    m, v = _means(g, m, v)
    return w * (1 - lr * decay) - lr * m / (math.sqrt(v) + 1e-8), m, v


def decay_in_the_gradient(w, g, m, v, t, lr, decay):
    return adamw_step(w, g + decay * w, m, v, t, lr, 0.0)


def decay_without_rate(w, g, m, v, t, lr, decay):
    new, m, v = adamw_step(w, g, m, v, t, lr, 0.0)
    return new - decay * w, m, v


def decay_forgotten(w, g, m, v, t, lr, decay):
    return adamw_step(w, g, m, v, t, lr, 0.0)


def root_forgotten(w, g, m, v, t, lr, decay):
    m, v = _means(g, m, v)
    step = (m / (1 - 0.9**t)) / (v / (1 - 0.95**t) + 1e-8)
    return w * (1 - lr * decay) - lr * step, m, v


def corrected_means_kept(w, g, m, v, t, lr, decay):
    new, m, v = adamw_step(w, g, m, v, t, lr, decay)
    return new, m / (1 - 0.9**t), v / (1 - 0.95**t)


def uphill(w, g, m, v, t, lr, decay):
    new, m, v = adamw_step(w, g, m, v, t, lr, decay)
    return 2 * w * (1 - lr * decay) - new, m, v


STEP_MISTAKES = (
    (no_correction, "The means start at zero, so early ones are too small: divide m by 1 - 0.9^t "
     "and v by 1 - 0.95^t before you use them."),
    (decay_in_the_gradient, "You added decay · w to the gradient (Adam with L2). There the "
     "division by sqrt(v) undoes it; AdamW takes lr · decay · w away beside the step."),
    (decay_without_rate, "The decay is multiplied by the learning rate too: w - lr · decay · w."),
    (decay_forgotten, "The weight decay is missing."),
    (root_forgotten, "Divide by the *square root* of the corrected v: v has the unit of g²."),
    (uphill, "You move up the gradient. Subtract the step."),
)  # fmt: skip
MEANS_SENTENCE = (
    "The means that go on to the next step are the uncorrected ones: the correction is for this "
    "step's use only."
)


def check_adamw_step(answer, t: Trial) -> None:
    # not t = 1 first: there L2 in the gradient and no decay at all give the same step
    for step in (2, 1, t.rng.randint(20, 60)):
        w, g = t.rng.uniform(1, 3), t.rng.choice([-1, 1]) * t.rng.uniform(0.5, 4)
        m = 0.0 if step == 1 else t.rng.uniform(-1, 1)
        v = 0.0 if step == 1 else t.rng.uniform(0.2, 2)
        values = (w, g, m, v, step, t.rng.uniform(0.05, 0.2), t.rng.uniform(0.2, 0.6))
        got = t.call(answer, *values)
        t.has_shape(got, (3,), "Return three numbers: w, m, v.")
        expected = adamw_step(*values)
        t.close(
            float(got[0]),
            expected[0],
            tolerance=1e-6,
            says="The new weight is not that of AdamW.",
            mistakes=[(wrong(*values)[0], sentence) for wrong, sentence in STEP_MISTAKES],
        )
        t.close(
            [float(x) for x in got[1:]],
            list(expected[1:]),
            tolerance=1e-6,
            says="The running means are not 0.9 m + 0.1 g and 0.95 v + 0.05 g².",
            mistakes=[(list(corrected_means_kept(*values)[1:]), MEANS_SENTENCE)],
        )
    t.passed("Weights and running means agree at the first, the second and a late step")


ADAMW_STEP = Exercise(
    id="4.5.3",
    title="One step of AdamW",
    difficulty="medium",
    minutes=12,
    statement=r"""
Move one weight `w` with gradient `g`. `m` and `v` are the running means from the step before
(0 at the start), `t` counts steps from 1. With $\beta_1=0.9$, $\beta_2=0.95$,
$\epsilon=10^{-8}$:

$$m\leftarrow\beta_1m+(1-\beta_1)g\qquad v\leftarrow\beta_2v+(1-\beta_2)g^2\qquad
w\leftarrow w-\text{lr}\cdot\text{decay}\cdot w-
\text{lr}\,\frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)}+\epsilon}$$

The decay uses the **old** w. Return the new w, m and v.
""",
    stub='''
def adamw_step(
    w: float, g: float, m: float, v: float, t: int, lr: float, decay: float
) -> tuple[float, float, float]:
    """(new w, new m, new v).

    >>> adamw_step(w=2.0, g=4.0, m=0.0, v=0.0, t=1, lr=0.1, decay=0.5)  # 2 - 0.1 - 0.1
    (1.8, 0.4, 0.8)
    """
    raise NotImplementedError
''',
    name="adamw_step",
    reference=adamw_step,
    alternatives=(adamw_step_torch,),
    wrong=(
        Wrong(no_correction, "early ones are too small"),
        Wrong(decay_in_the_gradient, "Adam with L2"),
        Wrong(decay_without_rate, "multiplied by the learning rate too"),
        Wrong(decay_forgotten, "weight decay is missing"),
        Wrong(root_forgotten, "*square root*"),
        Wrong(uphill, "Subtract the step"),
        Wrong(corrected_means_kept, "the uncorrected ones"),
    ),
    check=check_adamw_step,
    hints=(
        "Update m and v first, then correct copies of them, then move w.",
        "At t = 1 the corrected m is g and the corrected v is g², so the step is lr · sign(g): "
        "with w = 2, lr = 0.1 and decay = 0.5 that gives 2 - 0.1 · 0.5 · 2 - 0.1 = 1.8.",
        "1. `m = 0.9 * m + 0.1 * g`, `v = 0.95 * v + 0.05 * g * g`\n"
        "2. `step = (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.95**t)) + 1e-8)`\n"
        "3. `w - lr * decay * w - lr * step, m, v`",
    ),
)


# -- 4.5.4 masking: answers and check in ch04_05b ------------------------------------------------


MASK_TOKENS = Exercise(
    id="4.5.4",
    title="Hide, replace, leave",
    difficulty="medium",
    minutes=15,
    statement="""
Corrupt a sentence as BERT does. The dice are thrown already, one of each kind for every place:

- place i is **chosen** if `choice[i] < 0.15` and its token is not the end-of-text id `end_id`;
- a chosen token becomes `mask_id` if `fate[i] < 0.8`, the random word `words[i]` if
  `0.8 <= fate[i] < 0.9`, and otherwise stays;
- the label is the **true** id at chosen places, also where the token stayed, and -100 elsewhere.

Return (inputs, labels) and leave `ids` as it is.
""",
    stub='''
def mask_tokens(
    ids: list[int],
    choice: list[float],
    fate: list[float],
    words: list[int],
    mask_id: int,
    end_id: int,
) -> tuple[list[int], list[int]]:
    """(inputs, labels) of one sentence.

    >>> mask_tokens([5, 6, 7], [0.1, 0.9, 0.1], [0.3, 0.3, 0.95], [8, 8, 8], mask_id=1, end_id=0)
    ([1, 6, 7], [5, -100, 7])
    """
    raise NotImplementedError
''',
    name="mask_tokens",
    reference=masking.mask_tokens,
    alternatives=(masking.mask_tokens_torch,),
    wrong=(
        Wrong(masking.labels_where_changed, "also where the token stayed"),
        Wrong(masking.labels_everywhere, "-100 at places that were not chosen"),
        Wrong(masking.all_hidden, "every chosen token became the mask"),
        Wrong(masking.end_chosen, "The end-of-text id must never be chosen"),
        Wrong(masking.labels_of_inputs, "after the corruption"),
        Wrong(masking.in_place, "changed its input"),
    ),
    check=masking.check_mask_tokens,
    hints=(
        "Decide for each place first whether it is chosen. What happens to the token and what "
        "stands in the label are two separate questions.",
        "choice 0.1 and fate 0.95: chosen, stays as it is, and its label is its own id: the "
        "model cannot know that it was not touched.",
        "For each place: `chosen = choice[i] < 0.15 and ids[i] != end_id`. Label: `ids[i] if "
        "chosen else -100`. Input: `ids[i]` if not chosen or `fate[i] >= 0.9`, else `mask_id` if "
        "`fate[i] < 0.8`, else `words[i]`.",
    ),
)


EXERCISES = [CORPUS_BITS, STREAM_ROWS, ADAMW_STEP, MASK_TOKENS]
