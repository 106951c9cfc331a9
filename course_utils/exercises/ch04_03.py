"""Exercises of lesson 4.3, LLM architectures: sizes, grouped heads, top-p, left padding, cache."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from course_utils.exercises import ch04_03b as more
from course_utils.exercises.engine import Exercise, Trial, Wrong

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.3.1 counting parameters -----------------------------------------------------------------


def count_parameters(config: Mapping[str, int]) -> int:
    width, inner = config["hidden_size"], config["intermediate_size"]
    head_width = width // config["num_attention_heads"]
    kv_width = config["num_key_value_heads"] * head_width
    attention = 2 * width * width + 2 * width * kv_width  # q and output; k and v
    feed_forward = 3 * width * inner  # gate, up, down
    layer = attention + feed_forward + 2 * width  # two norms with C scales each
    tables = 1 if config["tie_word_embeddings"] else 2
    return tables * config["vocab_size"] * width + config["num_hidden_layers"] * layer + width


def count_by_shapes(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    kv_width = width * config["num_key_value_heads"] // config["num_attention_heads"]
    shapes = [(config["vocab_size"], width), (width,)]
    if not config["tie_word_embeddings"]:
        shapes.append((config["vocab_size"], width))
    for _ in range(config["num_hidden_layers"]):
        shapes += [(width, width), (width, width), (kv_width, width), (kv_width, width)]
        shapes += [(inner, width), (inner, width), (width, inner), (width,), (width,)]
    return sum(math.prod(shape) for shape in shapes)


def full_key_heads(config):
    return count_parameters({**config, "num_key_value_heads": config["num_attention_heads"]})


def two_matrices(config):
    gate = config["hidden_size"] * config["intermediate_size"]
    return count_parameters(config) - config["num_hidden_layers"] * gate


def head_always_counted(config):
    return count_parameters({**config, "tie_word_embeddings": False})


def head_never_counted(config):
    return count_parameters({**config, "tie_word_embeddings": True})


def no_norms(config):
    norms = 2 * config["num_hidden_layers"] + 1
    return count_parameters(config) - norms * config["hidden_size"]


def no_last_norm(config):
    return count_parameters(config) - config["hidden_size"]


def with_biases(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    kv_width = width * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = 2 * width + 2 * kv_width + 2 * inner + width
    return count_parameters(config) + config["num_hidden_layers"] * layer


COUNT_MISTAKES = (
    (
        full_key_heads,
        "Keys and values have fewer heads than queries: their matrices are C by H_kv·D.",
    ),
    (two_matrices, "A gated network has three matrices: gate, up and down."),
    (
        head_always_counted,
        "With tied embeddings the output matrix *is* the embedding table: count it once.",
    ),
    (
        head_never_counted,
        "Without tied embeddings the output matrix is a second table of V by C numbers.",
    ),
    (no_last_norm, "One more norm stands behind the last layer."),
    (no_norms, "Every RMSNorm has C scales: two in a layer, and one at the end."),
    (with_biases, "LLaMA's linear layers have no biases."),
)


def _llama_config(t: Trial, tied: bool) -> dict[str, int]:
    head_width, kv_heads = t.rng.choice((3, 5, 7)), t.rng.choice((2, 3))
    heads = kv_heads * t.rng.choice((2, 3))
    return {
        "vocab_size": t.rng.randint(50, 99),
        "hidden_size": heads * head_width,
        "intermediate_size": t.rng.choice((41, 53, 67)),
        "num_hidden_layers": t.rng.randint(2, 6),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "tie_word_embeddings": tied,
    }


def check_count_parameters(answer, t: Trial) -> None:
    for tied in (True, False, t.rng.random() < 0.5):
        config = _llama_config(t, tied)
        t.equal(
            t.call(answer, config),
            count_parameters(config),
            says="The number of parameters is not the expected one.",
            mistakes=[(wrong(config), sentence) for wrong, sentence in COUNT_MISTAKES],
        )
    t.passed("Tied and untied models with grouped heads are counted to the last number")
    t.equal(
        t.call(answer, SMOLLM2),
        134_515_008,
        says="For SmolLM2's own configuration the count differs from its file.",
    )
    t.passed("and SmolLM2 has the 134,515,008 that its file holds")


SMOLLM2 = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


COUNT_PARAMETERS = Exercise(
    id="4.3.1",
    title="Count the parameters of a LLaMA",
    difficulty="easy",
    minutes=15,
    statement="""
How large is a model? Its `config.json` says it, if you know the parts. Count every trained number
of a LLaMA-like model from seven entries of that file:

| entry | letter | what it is |
|---|---|---|
| `vocab_size` | V | tokens |
| `hidden_size` | C | numbers that stand for one token |
| `intermediate_size` | F | width inside the feed-forward network |
| `num_hidden_layers` | L | layers |
| `num_attention_heads` | H | query heads; a head has D = C / H numbers |
| `num_key_value_heads` | H_kv | key heads, and as many value heads |
| `tie_word_embeddings` | | True: the output matrix is the embedding table |

- One table of embeddings, V by C. Untied models have a second one for the output.
- A layer has an attention (query, key, value and output matrix), a SwiGLU network (gate, up and
  down matrix) and two RMSNorms with C scales each. **No biases.** Rotary positions have no
  parameters.
- One more RMSNorm follows the last layer.
""",
    stub='''
def count_parameters(config: dict[str, int]) -> int:
    """The number of trained numbers in a LLaMA-like model.

    >>> count_parameters({"vocab_size": 10, "hidden_size": 4, "intermediate_size": 6,
    ...                   "num_hidden_layers": 1, "num_attention_heads": 2,
    ...                   "num_key_value_heads": 1, "tie_word_embeddings": True})
    172
    """
    raise NotImplementedError
''',
    name="count_parameters",
    reference=count_parameters,
    alternatives=(count_by_shapes,),
    wrong=(
        Wrong(full_key_heads, "fewer heads than queries"),
        Wrong(two_matrices, "three matrices"),
        Wrong(head_always_counted, "count it once"),
        Wrong(head_never_counted, "a second table"),
        Wrong(no_norms, "two in a layer"),
        Wrong(no_last_norm, "behind the last layer"),
        Wrong(with_biases, "have no biases"),
    ),
    check=check_count_parameters,
    hints=(
        "List the matrices of one layer with their two sizes. There are seven, and two vectors.",
        "In the example of the docstring: embeddings 10·4 = 40; query and output 4·4 each, key "
        "and value 4·2 each, together 48; network 3·4·6 = 72; norms 4 + 4, and 4 at the end.",
        "1. `D = C // H`\n2. attention: `2 * C * C + 2 * C * H_kv * D`\n"
        "3. network: `3 * C * F`; norms: `2 * C`\n"
        "4. L layers, plus `C` for the last norm, plus `V * C` once if tied, else twice",
    ),
)


# -- 4.3.2 grouped heads -----------------------------------------------------------------------


def repeat_heads(x: Tensor, num_heads: int) -> Tensor:
    kv_heads = x.shape[1]
    if num_heads % kv_heads:
        raise ValueError(f"{num_heads} query heads cannot share {kv_heads} key heads evenly")
    return x.repeat_interleave(num_heads // kv_heads, dim=1)


def repeat_by_loop(x, num_heads):
    import torch

    group, rest = divmod(num_heads, x.shape[1])
    if rest:
        raise ValueError("the number of query heads must be a multiple of the key heads")
    return torch.stack([x[:, head // group] for head in range(num_heads)], dim=1)


def repeat_by_expand(x, num_heads):
    batch, kv_heads, length, width = x.shape
    if num_heads % kv_heads:
        raise ValueError("the number of query heads must be a multiple of the key heads")
    groups = x[:, :, None].expand(batch, kv_heads, num_heads // kv_heads, length, width)
    return groups.reshape(batch, num_heads, length, width)


def repeated_in_turns(x, num_heads):
    return x.repeat(1, num_heads // x.shape[1], 1, 1)


def positions_repeated(x, num_heads):
    wide = x.repeat_interleave(num_heads // x.shape[1], dim=2)
    return wide.reshape(x.shape[0], num_heads, *x.shape[2:])


def rows_mixed(x, num_heads):
    tiled = x.repeat(num_heads // x.shape[1], 1, 1, 1)
    return tiled.reshape(x.shape[0], num_heads, *x.shape[2:])


def one_axis_too_late(x, num_heads):
    return x.repeat_interleave(num_heads // x.shape[1], dim=2)


def silent_about_a_rest(x, num_heads):
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)


REPEAT_MISTAKES = (
    (
        repeated_in_turns,
        "The heads come in turns, (a, b, a, b). Neighbours share a head: (a, a, b, b).",
    ),
    (
        positions_repeated,
        "You repeated positions, and the reshape hid it: the axis of the heads is 1.",
    ),
    (rows_mixed, "You repeated along the batch, and the reshape mixed two texts."),
)


def check_repeat_heads(answer, t: Trial) -> None:
    import torch

    make = t.torch_generator()
    for batch, kv_heads, group, length, width in (
        (2, 2, 3, 5, 7),
        (3, 3, 2, 2, 5),
        (2, 5, 1, 3, 2),
    ):
        x, heads = torch.randn(batch, kv_heads, length, width, generator=make), kv_heads * group
        shows = f"repeat_heads(x, {heads}) with x of shape {tuple(x.shape)}"
        got = t.call(answer, x, heads, shows=shows)
        t.has_shape(
            got,
            (batch, heads, length, width),
            "One key head for each query head, (B, H, S, D), and nothing else changes.",
        )
        t.equal(
            got,
            repeat_heads(x, heads),
            says="Query head h must meet key head h // (H / H_kv).",
            mistakes=[(wrong(x, heads), sentence) for wrong, sentence in REPEAT_MISTAKES],
        )
    t.passed("Every query head meets the key head of its group, for groups of 1, 2 and 3")
    t.raises(
        ValueError,
        answer,
        torch.randn(1, 3, 2, 2, generator=make),
        t.rng.choice((4, 5, 7, 8)),
        says="Heads that do not divide evenly must be refused, not cut to the nearest number.",
    )
    t.passed("and numbers of heads that do not divide are refused")


REPEAT_HEADS = Exercise(
    id="4.3.2",
    title="Which query shares which key",
    difficulty="medium",
    minutes=10,
    statement="""
Load LLaMA's weights into code that repeats its key heads in the wrong order, and nothing crashes:
all shapes are right, and the model writes nonsense. Write the repetition in the right order.

- `x` holds the keys (or values) of a batch: (B, H_kv, S, D). Return (B, H, S, D), so that head h
  of the result is what query head h looks at.
- H is a multiple of H_kv, and **neighbouring** query heads share a key head: with H = 6 and
  H_kv = 2, query heads 0, 1, 2 use key head 0, and 3, 4, 5 use key head 1.
- If H is not a multiple of H_kv, raise a `ValueError`.
""",
    stub='''
import torch
from torch import Tensor


def repeat_heads(x: Tensor, num_heads: int) -> Tensor:
    """Keys or values (B, H_kv, S, D), repeated so that every query head has one: (B, H, S, D).

    >>> repeat_heads(torch.tensor([[[[1.0]], [[2.0]]]]), 4).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    raise NotImplementedError
''',
    name="repeat_heads",
    reference=repeat_heads,
    alternatives=(repeat_by_loop, repeat_by_expand),
    wrong=(
        Wrong(repeated_in_turns, "(a, a, b, b)"),
        Wrong(positions_repeated, "the axis of the heads is 1"),
        Wrong(rows_mixed, "mixed two texts"),
        Wrong(one_axis_too_late, "nothing else changes"),
        Wrong(silent_about_a_rest, "must be refused"),
    ),
    check=check_repeat_heads,
    hints=(
        "torch has two functions that repeat: one repeats the whole tensor, the other each entry. "
        "Try both on `torch.tensor([1, 2])`.",
        "Key heads a, b and H = 6 give a, a, a, b, b, b. A whole repeated tensor would give a, b, "
        "a, b, a, b.",
        "1. `group, rest = divmod(num_heads, x.shape[1])`; a rest is a `ValueError`\n"
        "2. `x.repeat_interleave(group, dim=1)`, or stack `x[:, h // group]` for every h",
    ),
)


# -- 4.3.3 top-p -------------------------------------------------------------------------------


def top_p_filter(logits: Sequence[float], p: float) -> list[float]:
    largest = max(logits)
    weights = [math.exp(z - largest) for z in logits]
    total = sum(weights)
    best_first = sorted(range(len(logits)), key=lambda i: weights[i], reverse=True)
    kept, held = set(), 0.0
    for i in best_first:
        kept.add(i)  # before the test: the token that reaches p belongs to the nucleus
        held += weights[i] / total
        if held >= p:
            break
    return [z if i in kept else -math.inf for i, z in enumerate(logits)]


def top_p_numpy(logits, p):
    import numpy as np

    z = np.asarray(logits, dtype=float)
    order = np.argsort(-z)
    shares = np.exp(z[order] - z.max())
    shares /= shares.sum()
    before = np.cumsum(shares) - shares  # what better tokens hold together
    return np.where(before[np.argsort(order)] < p, z, -np.inf)


def top_p_torch(logits, p):
    import torch

    from course_utils.nn.sampling import top_p_filter as library

    return library(torch.as_tensor(logits, dtype=torch.float64), p)


def _shares(logits: Sequence[float]) -> list[float]:
    weights = [math.exp(z - max(logits)) for z in logits]
    return [w / sum(weights) for w in weights]


def _kept(logits: Sequence[float], keep: Sequence[bool], fill: float = -math.inf) -> list[float]:
    return [z if k else fill for z, k in zip(logits, keep, strict=True)]


def _held_before(logits: Sequence[float], worst_first: bool = False) -> list[float]:
    """For each token, the probability of all tokens that stand before it in the order."""
    shares = _shares(logits)
    sign = 1 if worst_first else -1
    order = sorted(range(len(logits)), key=lambda i: sign * shares[i])
    return [sum(shares[j] for j in order[: order.index(i)]) for i in range(len(logits))]


def last_one_dropped(logits, p):
    before, shares = _held_before(logits), _shares(logits)
    return _kept(logits, [b + s <= p for b, s in zip(before, shares, strict=True)])


def worst_tokens_kept(logits, p):
    return _kept(logits, [b < p for b in _held_before(logits, worst_first=True)])


def each_alone_above_p(logits, p):
    return _kept(logits, [s >= p for s in _shares(logits)])


def min_p_instead(logits, p):
    shares = _shares(logits)
    return _kept(logits, [s >= p * max(shares) for s in shares])


def zero_for_dropped(logits, p):
    return _kept(logits, [b < p for b in _held_before(logits)], fill=0.0)


def sorted_result(logits, p):
    return sorted(top_p_filter(logits, p), reverse=True)


def mask_in_sorted_order(logits, p):
    before = sorted(_held_before(logits))
    return _kept(logits, [b < p for b in before])


def probabilities_returned(logits, p):
    shares = _shares([z for z in top_p_filter(logits, p) if z > -math.inf])
    left = iter(shares)
    return [next(left) if z > -math.inf else 0.0 for z in top_p_filter(logits, p)]


def given_order_summed(logits, p):
    shares = _shares(logits)
    return _kept(logits, [sum(shares[:i]) < p for i in range(len(logits))])


TOP_P_MISTAKES = (
    (last_one_dropped, "The token with which the sum reaches p belongs to the nucleus: keep it."),
    (worst_tokens_kept, "You kept the worst tokens: add up from the best one down."),
    (each_alone_above_p, "It is the *sum* that must reach p, not each token's probability."),
    (min_p_instead, "That is min-p: it compares each token with the best one, and adds nothing."),
    (zero_for_dropped, "A logit of 0 is still possible. A token that may not be drawn gets -inf."),
    (sorted_result, "The result is sorted. Each logit must stay at its own place."),
    (
        mask_in_sorted_order,
        "The decision was made in sorted order and applied in the given order: bring it back to "
        "the tokens it belongs to.",
    ),
    (given_order_summed, "Sort before you add up: the best tokens come first."),
    (probabilities_returned, "Return logits, not probabilities: the sampler takes the softmax."),
)


def _top_p_case(t: Trial, size: int, low: float, high: float) -> tuple[list[float], float]:
    """Random logits and a p which no sum of probabilities comes near, mistakes all different."""
    while True:
        logits = [round(t.rng.uniform(-3, 3), 2) for _ in range(size)]
        p = round(t.rng.uniform(low, high), 2)
        results = [str(wrong(logits, p)) for wrong, _ in TOP_P_MISTAKES]
        results.append(str(top_p_filter(logits, p)))
        clear = all(abs(before - p) > 1e-3 for before in _held_before(logits))
        if clear and len(set(results)) == len(results):
            return logits, p


def check_top_p_filter(answer, t: Trial) -> None:
    for size in (7, 11, 9):
        logits, p = _top_p_case(t, size, 0.45, 0.85)
        got = t.call(answer, logits, p)
        t.has_shape(got, (size,), "One number for each logit; dropped tokens keep their place.")
        t.close(
            got,
            top_p_filter(logits, p),
            says="The nucleus is not the expected one.",
            mistakes=[(wrong(logits, p), sentence) for wrong, sentence in TOP_P_MISTAKES],
        )
    t.passed("The fewest best tokens that hold p together are kept, at their places")
    best = t.rng.randrange(5)
    logits = [round(t.rng.uniform(-1, 1), 2) for _ in range(5)]
    logits[best] = 6.0  # holds 97 % or more alone
    t.close(
        t.call(answer, logits, 0.5),
        [6.0 if i == best else -math.inf for i in range(5)],
        says="A model that is sure leaves one token, and at least the best one must stay.",
    )
    t.passed("and where the model is sure, the best token stays alone")
    logits = [z + 900 for z in logits]
    t.close(
        t.call(answer, logits, 1.0, says="Logits can be large: subtract the largest first."),
        logits,
        says="With p = 1 every token stays, large logits included.",
    )
    t.passed("p = 1 drops nothing")


TOP_P_FILTER = Exercise(
    id="4.3.3",
    title="The nucleus of a distribution",
    difficulty="medium",
    minutes=15,
    statement="""
Top-p sampling draws only from the *nucleus*: the fewest best tokens whose probabilities add up to
at least p. Where the model is sure that is one token, where it is not it may be hundreds.

Write the filter for one vector of logits.

- Probabilities are the softmax of the logits. Logits may be as large as 900, where a plain
  exponential overflows.
- Go from the best token down until the sum **reaches** p. The token with which it does is kept.
- Kept logits stay as they are and where they are. All others become `-inf`, which the softmax
  turns into probability 0.
""",
    stub='''
import math


def top_p_filter(logits: list[float], p: float) -> list[float]:
    """The logits, with -inf for all tokens outside the nucleus of probability p.

    >>> top_p_filter([math.log(0.2), math.log(0.5), math.log(0.3)], 0.7)[0]  # 0.5 + 0.3 >= 0.7
    -inf
    """
    raise NotImplementedError
''',
    name="top_p_filter",
    reference=top_p_filter,
    alternatives=(top_p_numpy, top_p_torch),
    wrong=(
        Wrong(last_one_dropped, "belongs to the nucleus"),
        Wrong(worst_tokens_kept, "You kept the worst"),
        Wrong(each_alone_above_p, "the *sum* that must reach p"),
        Wrong(min_p_instead, "That is min-p"),
        Wrong(zero_for_dropped, "gets -inf"),
        Wrong(sorted_result, "at its own place"),
        Wrong(mask_in_sorted_order, "applied in the given order"),
        Wrong(given_order_summed, "Sort before you add up"),
        Wrong(probabilities_returned, "not probabilities"),
    ),
    check=check_top_p_filter,
    hints=(
        "Work with indices: sort the *numbers of the tokens* by probability, so that you know "
        "later which ones to keep.",
        "Probabilities 0.2, 0.5, 0.3 and p = 0.7: tokens 1 and 2 stay (0.8 >= 0.7). With p = 0.4 "
        "token 1 stays alone: its 0.5 is enough.",
        "1. softmax, with the largest logit subtracted first\n"
        "2. `order = sorted(range(V), key=lambda i: probability[i], reverse=True)`\n"
        "3. go through `order`: keep the token, add its probability, stop when the sum is >= p\n"
        "4. build the answer in the old order, -inf where a token was not kept",
    ),
)


# -- 4.3.4 left padding, 4.3.5 the cache: answers and checks in ch04_03b ------------------------


POSITIONS_AND_MASK = Exercise(
    id="4.3.4",
    title="Repair batched generation",
    difficulty="hard",
    minutes=25,
    statement="""
A colleague's `generate` is right for one prompt at a time. For several prompts of different
lengths, padded on the left, it writes other texts; and with a cache it writes nonsense. The fault
is in this function:

```python
def positions_and_mask(real, new):
    B, S = real.shape
    positions = torch.arange(S - new, S).expand(B, new)
    mask = torch.ones(new, S).tril().bool().expand(B, new, S)
    return positions, mask
```

`real` is (B, S) with 1 = real token, 0 = padding: **all** columns so far, cached ones included.
The last `new` = T columns are fed to the model now: the whole prompt in the first call (T = S),
later one token (T = 1). Return

- `positions` (B, T): the number of real tokens before each new one, so that padding on the left
  changes nothing. Positions of padding may be any number from 0 to S - 1.
- `mask` (B, T, S), True = may attend: a new token sees itself and the real tokens before it. What
  a padded query sees does not matter, since its output is thrown away.

There are three faults. Find them with a row of padding and T = 1 before you write anything.
""",
    stub='''
import torch
from torch import Tensor


def positions_and_mask(real: Tensor, new: int) -> tuple[Tensor, Tensor]:
    """Positions (B, T) and mask (B, T, S) of the last T = new columns of a left-padded batch.

    >>> positions, mask = positions_and_mask(torch.tensor([[0, 0, 1, 1, 1]]), new=1)
    >>> positions.tolist(), mask.tolist()
    ([[2]], [[[False, False, True, True, True]]])
    """
    raise NotImplementedError
''',
    name="positions_and_mask",
    reference=more.positions_and_mask,
    alternatives=(more.positions_and_mask_by_loop, more.positions_and_mask_by_lengths),
    wrong=(
        Wrong(more.as_in_the_statement, "You numbered the columns"),
        Wrong(more.columns_as_positions, "Padding is no token"),
        Wrong(more.positions_start_again, "go on behind the cached tokens"),
        Wrong(more.positions_from_one, "count from 0"),
        Wrong(more.negative_positions, "clamp it"),
        Wrong(more.triangle_in_the_corner, "shift it by the number of cached columns"),
        Wrong(more.padding_is_seen, "hide its columns (keys)"),
        Wrong(more.future_is_seen, "must be causal too"),
        Wrong(more.queries_hidden, "rows of padded queries does not help"),
        Wrong(more.padded_on_the_right, "as if padding stood on the right"),
        Wrong(more.hidden_means_true, "the wrong way round"),
    ),
    check=more.check_positions_and_mask,
    hints=(
        "Take the two results apart. For the positions, count real tokens along a row. For the "
        "mask, write the condition for one (query column, key column) in words.",
        "Row `[0, 0, 1, 1, 1]` has positions 0, 1, 2 at its real tokens. With new = 1 the broken "
        "code says position 4, and a mask that is True in the first column only: it sees "
        "nothing but padding.",
        "1. `real.cumsum(dim=1) - 1`, clamped at 0, then the last `new` columns\n"
        "2. causal: `places <= places[S - new:, None]` with `places = torch.arange(S)`, "
        "which is (T, S)\n"
        "3. join it by `&` with `real.bool()[:, None, :]`, which hides padded *keys*",
    ),
)


CACHE_PLAN = Exercise(
    id="4.3.5",
    title="How many conversations fit",
    difficulty="medium",
    minutes=15,
    statement="""
A server keeps keys and values of every running text. That, not the weights, is what fills its
memory first. Work out how many texts it can decode at once.

- `config` has `num_hidden_layers` (L), `hidden_size` (C), `num_attention_heads` (H) and
  `num_key_value_heads` (H_kv). A head has D = C / H numbers.
- For every token, every layer keeps a key and a value of D numbers in each of its H_kv heads.
- A text has `prompt` + `new` tokens, and the memory for all of them is reserved in advance.
- `memory` bytes hold the weights (`weights` bytes) and all caches. Nothing else counts here.

Return two whole numbers: the bytes that one text needs, and the largest batch that fits (0 if none
does).
""",
    stub='''
def cache_plan(
    config: dict[str, int],
    prompt: int,
    new: int,
    bytes_per_number: int,
    memory: int,
    weights: int,
) -> tuple[int, int]:
    """Bytes of one text's cache, and the largest batch that fits.

    >>> smollm2 = {"num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9,
    ...            "num_key_value_heads": 3}
    >>> cache_plan(smollm2, 64, 256, bytes_per_number=2, memory=10**9, weights=269_030_016)
    (7372800, 99)
    """
    raise NotImplementedError
''',
    name="cache_plan",
    reference=more.cache_plan,
    alternatives=(more.cache_plan_by_trial, more.cache_plan_measured),
    wrong=(
        Wrong(more.keys_only, "Keys *and* values"),
        Wrong(more.query_heads_cached, "Queries are not cached"),
        Wrong(more.one_layer_only, "Every layer"),
        Wrong(more.prompt_only, "New tokens are cached too"),
        Wrong(more.numbers_not_bytes, "That counts numbers"),
        Wrong(more.weights_forgotten, "take their bytes away"),
        Wrong(more.rounded_up, "round down"),
        Wrong(more.below_zero, "not a negative number"),
    ),
    check=more.check_cache_plan,
    hints=(
        "Count what one token adds in one layer, then multiply your way up: layers, tokens, bytes.",
        "SmolLM2 (L = 30, H_kv = 3, D = 64) keeps 2·30·3·64 = 11,520 numbers a token, 23,040 bytes "
        "in 16 bits. With all 9 heads cached it would be 69,120.",
        "1. `sequence = 2 * L * H_kv * D * bytes_per_number * (prompt + new)`\n"
        "2. `batch = (memory - weights) // sequence`, but at least 0",
    ),
)


EXERCISES = [COUNT_PARAMETERS, REPEAT_HEADS, TOP_P_FILTER, POSITIONS_AND_MASK, CACHE_PLAN]
