"""Answers and checks of exercises 4.3.4 (left padding) and 4.3.5 (the size of a cache)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from course_utils.exercises.engine import Trial

if TYPE_CHECKING:
    from torch import Tensor


# -- 4.3.4 left padding ------------------------------------------------------------------------


def positions_and_mask(real: Tensor, new: int) -> tuple[Tensor, Tensor]:
    import torch

    columns = real.shape[1]
    real = real.bool()
    positions = (real.long().cumsum(dim=1) - 1).clamp(min=0)  # real tokens before this one
    places = torch.arange(columns)
    causal = places <= places[columns - new :, None]  # (T, S): the new tokens stand at the end
    return positions[:, columns - new :], causal & real[:, None, :]


def positions_and_mask_by_loop(real, new):
    columns = len(real[0])
    queries = range(columns - new, columns)
    rows = [[bool(x) for x in row] for row in real]
    positions = [[max(sum(row[: t + 1]) - 1, 0) for t in queries] for row in rows]
    mask = [[[s <= t and row[s] for s in range(columns)] for t in queries] for row in rows]
    return positions, mask


def positions_and_mask_by_lengths(real, new):
    import torch

    columns = real.shape[1]
    padding = columns - real.sum(dim=1, keepdim=True)  # (B, 1), all on the left
    places = torch.arange(columns)
    positions = (places - padding).clamp(min=0)[:, -new:]
    causal = torch.ones(columns, columns, dtype=torch.bool).tril()[-new:]
    return positions, causal[None] & (places >= padding)[:, None]


def _sight(real, new, fault: str):
    """``positions_and_mask`` with one fault."""
    import torch

    batch, columns = real.shape
    places = torch.arange(columns)
    start = columns - new
    positions, mask = positions_and_mask(real, new)
    causal = (places <= places[start:, None]).expand(batch, new, columns)
    if fault == "columns":
        positions = places[start:].expand(batch, new)
    if fault == "from zero":
        positions = torch.arange(new).expand(batch, new)
    if fault == "one":
        positions = real.long().cumsum(dim=1)[:, start:]
    if fault == "negative":
        positions = (real.long().cumsum(dim=1) - 1)[:, start:]
    if fault == "padding seen":
        mask = causal
    if fault == "future seen":
        mask = real.bool()[:, None].expand(batch, new, columns)
    if fault == "corner":
        corner = torch.ones(new, columns, dtype=torch.bool).tril()
        mask = corner & real.bool()[:, None]
    if fault == "queries":
        mask = causal & real.bool()[:, start:, None]
    if fault == "right":
        mask = causal & (places < real.sum(dim=1, keepdim=True))[:, None]
    if fault == "inverted":
        mask = ~mask
    return positions, mask


def as_in_the_statement(real, new):
    import torch

    batch, columns = real.shape
    positions = torch.arange(columns - new, columns).expand(batch, new)
    return positions, torch.ones(new, columns).tril().bool().expand(batch, new, columns)


def columns_as_positions(real, new):
    return _sight(real, new, "columns")


def positions_start_again(real, new):
    return _sight(real, new, "from zero")


def positions_from_one(real, new):
    return _sight(real, new, "one")


def negative_positions(real, new):
    return _sight(real, new, "negative")


def padding_is_seen(real, new):
    return _sight(real, new, "padding seen")


def future_is_seen(real, new):
    return _sight(real, new, "future seen")


def triangle_in_the_corner(real, new):
    return _sight(real, new, "corner")


def queries_hidden(real, new):
    return _sight(real, new, "queries")


def padded_on_the_right(real, new):
    return _sight(real, new, "right")


def hidden_means_true(real, new):
    return _sight(real, new, "inverted")


POSITION_MISTAKES = (
    (
        columns_as_positions,
        "You numbered the columns. Padding is no token: the first *real* token of each row has "
        "position 0.",
    ),
    (positions_start_again, "In a later step the positions go on behind the cached tokens."),
    (positions_from_one, "Positions count from 0: the number of real tokens *before* this one."),
)
MASK_MISTAKES = (
    (
        triangle_in_the_corner,
        "`tril` starts its triangle in the first column, but the new tokens stand in the last "
        "ones: shift it by the number of cached columns.",
    ),
    (
        padding_is_seen,
        "Padding is read like real tokens: hide its columns (keys) from every query. Hiding the "
        "rows of padded queries does not help.",
    ),
    (future_is_seen, "A query sees tokens behind itself: the mask must be causal too."),
    (
        padded_on_the_right,
        "You hid the last columns, as if padding stood on the right. Here it stands on the left.",
    ),
    (hidden_means_true, "The mask is the wrong way round: True means *may attend*."),
)


def check_positions_and_mask(answer, t: Trial) -> None:
    for rows, columns, new in ((3, 8, 1), (3, 7, 7), (4, 9, 3)):
        real = _left_padded(t, rows, columns, new)
        got = t.call(answer, real, new)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two things: positions and mask.",
        )
        t.has_shape(got[0], (rows, new), "Positions are (B, T): one for each new token.")
        t.has_shape(
            got[1], (rows, new, columns), "The mask is (B, T, S): new tokens by all columns."
        )
        _judge_left_padding(got, real, new, t)
    t.passed("Whole prompts, single steps and three tokens at once get the right positions")
    t.passed("and no real token sees padding or what stands behind it")


def _left_padded(t: Trial, rows: int, columns: int, new: int) -> Tensor:
    """0/1 (B, S), padding on the left, never the same count twice; row 0 has none."""
    import torch

    # one row in which padding reaches the new tokens, where there are several
    widest = columns - 2 if new > 1 else columns - new - 1
    padding = [0, widest, *t.rng.sample(range(1, widest), rows - 2)]
    return (torch.arange(columns) >= torch.tensor(padding)[:, None]).long()


def _judge_left_padding(got, real: Tensor, new: int, t: Trial) -> None:
    """Compare where the new token is real; what a padded query does is thrown away."""
    import torch

    chosen = real[:, -new:].bool()
    expected = positions_and_mask(real, new)
    positions, mask = (torch.as_tensor(part) for part in got)
    t.that(
        bool(((mask == 0) | (mask == 1)).all()),
        "The mask must be boolean: True = may attend, False = hidden.",
    )
    t.equal(
        positions[chosen],
        expected[0][chosen],
        says="A real token has the wrong position.",
        mistakes=[(wrong(real, new)[0][chosen], text) for wrong, text in POSITION_MISTAKES],
    )
    t.equal(
        mask.bool()[chosen],
        expected[1][chosen],
        says="A real token sees a column that it must not see, or misses one that it may see.",
        mistakes=[(wrong(real, new)[1][chosen], text) for wrong, text in MASK_MISTAKES],
    )
    t.that(
        bool(((positions >= 0) & (positions < real.shape[1])).all()),
        "A position of padding lies outside 0..S-1. Nobody reads its result, but a table of "
        "positions has no row for it: clamp it.",
    )


# -- 4.3.5 the cache's memory ------------------------------------------------------------------


def cache_plan(
    config: Mapping[str, int],
    prompt: int,
    new: int,
    bytes_per_number: int,
    memory: int,
    weights: int,
) -> tuple[int, int]:
    head_width = config["hidden_size"] // config["num_attention_heads"]
    numbers = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_width
    sequence = numbers * bytes_per_number * (prompt + new)
    return sequence, max(0, (memory - weights) // sequence)


def cache_plan_by_trial(config, prompt, new, bytes_per_number, memory, weights):
    width = config["hidden_size"] // config["num_attention_heads"]
    one_layer = 2 * config["num_key_value_heads"] * width * (prompt + new) * bytes_per_number
    sequence = sum(one_layer for _ in range(config["num_hidden_layers"]))
    batch = 0
    while weights + (batch + 1) * sequence <= memory:
        batch += 1
    return sequence, batch


def cache_plan_measured(config, prompt, new, bytes_per_number, memory, weights):
    import torch

    from course_utils.nn.cache import KVCache

    cache = KVCache(
        config["num_hidden_layers"],
        1,
        config["num_key_value_heads"],
        prompt + new,
        config["hidden_size"] // config["num_attention_heads"],
        dtype={1: torch.int8, 2: torch.bfloat16, 4: torch.float32}[bytes_per_number],
    )
    return cache.nbytes, max(0, (memory - weights) // cache.nbytes)


def keys_only(config, *sizes):
    return cache_plan({**config, "num_hidden_layers": config["num_hidden_layers"] / 2}, *sizes)


def query_heads_cached(config, *sizes):
    return cache_plan({**config, "num_key_value_heads": config["num_attention_heads"]}, *sizes)


def one_layer_only(config, *sizes):
    return cache_plan({**config, "num_hidden_layers": 1}, *sizes)


def prompt_only(config, prompt, new, *sizes):
    return cache_plan(config, prompt, 0, *sizes)


def numbers_not_bytes(config, prompt, new, bytes_per_number, *sizes):
    return cache_plan(config, prompt, new, 1, *sizes)


def weights_forgotten(config, prompt, new, bytes_per_number, memory, weights):
    return cache_plan(config, prompt, new, bytes_per_number, memory, 0)


def rounded_up(config, prompt, new, bytes_per_number, memory, weights):
    sequence, batch = cache_plan(config, prompt, new, bytes_per_number, memory, weights)
    return sequence, batch + 1


def below_zero(config, prompt, new, bytes_per_number, memory, weights):
    sequence, _ = cache_plan(config, prompt, new, bytes_per_number, memory, weights)
    return sequence, (memory - weights) // sequence


CACHE_MISTAKES = (
    (keys_only, "Keys *and* values are kept: two numbers for each one that you counted."),
    (query_heads_cached, "Queries are not cached. Count key heads, H_kv, which are fewer."),
    (one_layer_only, "Every layer keeps its own keys and values."),
    (prompt_only, "New tokens are cached too: the length is prompt + new."),
    (numbers_not_bytes, "That counts numbers. Each of them has `bytes_per_number` bytes."),
    (weights_forgotten, "The weights lie in the same memory: take their bytes away first."),
    (rounded_up, "A sequence that fits in part does not fit: round down."),
)


def _cache_case(t: Trial) -> tuple[dict[str, int], int, int]:
    """A model and the lengths of prompt and new text; primes, so that no two mistakes agree."""
    kv_heads = t.rng.choice((2, 3))
    heads = kv_heads * t.rng.choice((2, 3))
    config = {
        "num_hidden_layers": t.rng.choice((3, 5, 7)),
        "hidden_size": heads * t.rng.choice((3, 5, 7)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }
    return config, t.rng.choice((11, 13, 17, 19)), t.rng.choice((53, 59, 61, 67))


def check_cache_plan(answer, t: Trial) -> None:
    # 4 first: with 2 bytes, "keys only" and "numbers, not bytes" are both half of the answer
    for bytes_per_number in (4, 2):
        config, prompt, new = _cache_case(t)
        sequence, _ = cache_plan(config, prompt, new, bytes_per_number, 0, 0)
        weights = int(sequence * t.rng.uniform(2, 9))
        memory = weights + int(sequence * (t.rng.randint(3, 9) + t.rng.uniform(0.2, 0.8)))
        sizes = (config, prompt, new, bytes_per_number, memory, weights)
        t.equal(
            t.call(answer, *sizes),
            cache_plan(*sizes),
            says="Bytes of one sequence, or the largest batch, are not the expected ones.",
            mistakes=[(wrong(*sizes), sentence) for wrong, sentence in CACHE_MISTAKES],
        )
    t.passed("Bytes and batch agree for two models and two number formats")
    room = t.rng.randint(2, 9)
    sequence = cache_plan(config, prompt, new, 2, 0, 0)[0]
    got = t.call(answer, config, prompt, new, 2, weights + room * sequence, weights)
    t.equal(got, (sequence, room), says="A batch that fills the memory to the last byte fits.")
    t.passed("an exact fit is used")
    got = t.call(answer, config, prompt, new, 2, weights - 1, weights)
    t.equal(
        got,
        (sequence, 0),
        says="Where the weights alone do not fit, the largest batch is 0, not a negative number.",
    )
    t.passed("and without room for the weights the batch is 0")
