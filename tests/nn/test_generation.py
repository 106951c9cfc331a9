"""Sampling, the generation loop and beams: hand numbers, invariants, transformers as oracle."""

import itertools
import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from course_utils.nn import sampling
from course_utils.nn.beams import beam_search
from course_utils.nn.cache import KVCache
from course_utils.nn.generation import generate, stream, token_log_probs
from course_utils.nn.llama import Llama

V = 61
INF = math.inf


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=42,
        intermediate_size=29,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    theirs = LlamaForCausalLM(config).eval()
    for name, weight in theirs.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.3)
    return Llama.from_tensors(config.to_dict(), theirs.state_dict()), theirs


@pytest.fixture
def ids():
    return torch.randint(0, V, (5, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scores():
    return 3 * torch.randn(11, V, generator=torch.Generator().manual_seed(2))


class Chain:
    """A model that knows only the last token: row i of a table scores what follows token i."""

    def __init__(self, table):
        self.table = torch.as_tensor(table, dtype=torch.float32)
        self.widths = []

    def __call__(self, ids, *, padding_mask=None, positions=None, cache=None):
        self.widths.append(ids.shape[1])
        return self.table[ids]

    def new_cache(self, batch, length):
        return KVCache(1, batch, 1, length, 1)


def counting(size: int = 7) -> Chain:
    """After i comes i + 1, and after the last token the first."""
    return Chain(10 * torch.eye(size).roll(1, dims=1))


# sampling: numbers by hand ---------------------------------------------------------------------


def test_temperature_by_hand():
    logits = torch.tensor([[math.log(1.0), math.log(4.0)]])
    half = sampling.temperature_scaled(logits, 0.5).softmax(-1)
    torch.testing.assert_close(half, torch.tensor([[1 / 17, 16 / 17]]))  # odds 1:4 squared
    double = sampling.temperature_scaled(logits, 2.0).softmax(-1)
    torch.testing.assert_close(double, torch.tensor([[1 / 3, 2 / 3]]))  # odds 1:4, square root
    assert logits[0, 1] == math.log(4.0)  # the argument is not changed


def test_filters_by_hand():
    logits = torch.tensor([[0.4, 0.1, 0.3, 0.2]]).log()
    kept = {
        "k=2": sampling.top_k_filter(logits, 2),
        "k=9": sampling.top_k_filter(logits, 9),
        "p=.5": sampling.top_p_filter(logits, 0.5),  # 0.4 is not enough, 0.4 + 0.3 is
        "p=.71": sampling.top_p_filter(logits, 0.71),
        "p tiny": sampling.top_p_filter(logits, 1e-6),  # the best token always stays
        "p=1": sampling.top_p_filter(logits, 1.0),
        "m=.5": sampling.min_p_filter(logits, 0.49),  # at least 0.49 of 0.4
        "m=1": sampling.min_p_filter(logits, 1.0),
    }
    tokens = {name: row.isfinite()[0].nonzero().flatten().tolist() for name, row in kept.items()}
    assert tokens == {
        "k=2": [0, 2],
        "k=9": [0, 1, 2, 3],
        "p=.5": [0, 2],
        "p=.71": [0, 2, 3],
        "p tiny": [0],
        "p=1": [0, 1, 2, 3],
        "m=.5": [0, 2, 3],
        "m=1": [0],
    }


def test_repetition_penalty_by_hand():
    logits = torch.tensor([[2.0, -1.0, 3.0, -4.0]])
    history = torch.tensor([[0, 1, 0]])  # token 0 twice: penalised once
    got = sampling.repetition_penalised(logits, history, 2.0)
    assert got.tolist() == [[1.0, -2.0, 3.0, -4.0]]
    padded = torch.tensor([[2, 0, 2, 1]])
    real = torch.tensor([[False, True, False, True]])
    assert torch.equal(sampling.repetition_penalised(logits, padded, 2.0, real), got)
    both = torch.tensor([[False, True, True, True]])  # token 2: once padding, once real
    assert sampling.repetition_penalised(logits, padded, 2.0, both)[0, 2] == 1.5


def test_ngrams_by_hand():
    assert sampling.banned_by_ngrams([5, 6, 7, 5, 6], 3) == {7}
    assert sampling.banned_by_ngrams([5, 6, 7, 5, 8, 5], 2) == {6, 8}
    assert sampling.banned_by_ngrams([5, 6], 1) == {5, 6}
    assert sampling.banned_by_ngrams([5], 3) == set()
    padded, real = torch.tensor([[1, 1, 1]]), torch.tensor([[False, False, True]])
    free = sampling.without_repeated_ngrams(torch.zeros(1, 3), padded, 2, real)
    assert free.isfinite().all()  # two columns of padding are no bigram


def test_diversity_by_hand():
    assert sampling.distinct_n([[1, 2, 1, 2], [1, 2]], 2) == 2 / 4
    assert sampling.distinct_n([[1, 2, 3]], 1) == 1
    assert sampling.distinct_n([[1]], 2) == 1
    assert sampling.repeated_share([4, 4, 4, 4], 1) == 3 / 4
    assert sampling.repeated_share([1, 2, 3], 2) == 0


def test_log_probabilities_by_hand():
    model = Chain([[0.0, math.log(3.0)], [0.0, 0.0]])
    got = token_log_probs(model, torch.tensor([[0, 1, 0]]))
    torch.testing.assert_close(got, torch.tensor([[math.log(3 / 4), math.log(1 / 2)]]))


# sampling: transformers as oracle --------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda z: sampling.temperature_scaled(z, 0.7), TemperatureLogitsWarper(0.7)),
        (lambda z: sampling.top_k_filter(z, 13), TopKLogitsWarper(13)),
        (lambda z: sampling.top_k_filter(z, 997), TopKLogitsWarper(997)),
        (lambda z: sampling.top_p_filter(z, 0.83), TopPLogitsWarper(0.83)),
        (lambda z: sampling.top_p_filter(z, 0.02), TopPLogitsWarper(0.02)),
        (lambda z: sampling.min_p_filter(z, 0.07), MinPLogitsWarper(0.07)),
    ],
)
def test_filtered_scores_equal_transformers(ours, theirs, scores):
    assert torch.equal(ours(scores), theirs(None, scores.clone()))


def test_ties_are_kept_like_transformers():
    logits = torch.tensor([[1.0, 3.0, 1.0, 1.0, 2.0]])
    for k in range(1, 6):
        assert torch.equal(sampling.top_k_filter(logits, k), TopKLogitsWarper(k)(None, logits))


def test_penalties_equal_transformers(scores):
    history = torch.randint(0, 5, (11, 17), generator=torch.Generator().manual_seed(5))
    ours = sampling.repetition_penalised(scores, history, 1.3)
    assert torch.equal(ours, RepetitionPenaltyLogitsProcessor(1.3)(history, scores.clone()))
    for n in (1, 2, 3):
        ours = sampling.without_repeated_ngrams(scores, history, n)
        assert torch.equal(ours, NoRepeatNGramLogitsProcessor(n)(history, scores.clone()))


def test_all_filters_together_equal_transformers(scores):
    expected = scores.clone()
    for warper in (
        TemperatureLogitsWarper(1.7),
        TopKLogitsWarper(31),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.05),
    ):
        expected = warper(None, expected)
    got = sampling.filtered(scores, temperature=1.7, top_k=31, top_p=0.9, min_p=0.05)
    assert torch.equal(got, expected)


def test_draws_follow_the_distribution():
    weights = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.5])
    n = 20_000
    drawn = sampling.draw(
        weights.log().expand(n, 5), generator=torch.Generator().manual_seed(0)
    ).bincount(minlength=5)
    chi_square = float(((drawn - n * weights) ** 2 / (n * weights)).sum())
    assert chi_square < 18.5  # 4 degrees of freedom: passed by a fair draw in 999 of 1000 seeds


@pytest.mark.parametrize(
    "call",
    [
        lambda z: sampling.temperature_scaled(z, 0),
        lambda z: sampling.top_k_filter(z, 0),
        lambda z: sampling.top_p_filter(z, 0.0),
        lambda z: sampling.top_p_filter(z, 1.1),
        lambda z: sampling.min_p_filter(z, -0.1),
        lambda z: sampling.repetition_penalised(z, torch.zeros(11, 1).long(), 0),
        lambda z: sampling.banned_by_ngrams([1], 0),
    ],
)
def test_parameters_out_of_range_are_refused(call, scores):
    with pytest.raises(ValueError, match="must"):
        call(scores)


# the loop --------------------------------------------------------------------------------------


def test_the_chain_counts_and_the_cache_feeds_one_token_at_a_time():
    model = counting()
    assert generate(model, torch.tensor([[2, 3]]), 4).tolist() == [[2, 3, 4, 5, 6, 0]]
    assert model.widths == [2, 1, 1, 1]
    model = counting()
    generate(model, torch.tensor([[2, 3]]), 4, use_cache=False)
    assert model.widths == [2, 3, 4, 5]


def test_rows_stop_on_their_own_and_are_filled_up():
    prompts = torch.tensor([[0], [3], [5]])
    got = generate(counting(), prompts, 9, stop_ids=(4, 6))
    # row 0: 1 2 3 4 | row 1: 4 | row 2: 6; filled with the first stop id; three steps saved
    assert got.tolist() == [[0, 1, 2, 3, 4], [3, 4, 4, 4, 4], [5, 6, 4, 4, 4]]
    assert generate(counting(), prompts, 2, stop_ids=4, pad_id=0).tolist() == [
        [0, 1, 2],
        [3, 4, 0],
        [5, 6, 0],
    ]
    assert generate(counting(), prompts, 0).tolist() == prompts.tolist()


def test_a_stop_id_inside_the_prompt_stops_nothing():
    assert generate(counting(), torch.tensor([[4, 4, 1]]), 3, stop_ids=4).tolist() == [
        [4, 4, 1, 2, 3, 4]
    ]


def test_greedy_equals_transformers_and_uncached(models, ids):
    ours, theirs = models
    options = {"do_sample": False, "eos_token_id": [3, 5, 7, 11], "pad_token_id": 1}
    mask = torch.ones_like(ids)
    expected = theirs.generate(ids, attention_mask=mask, max_new_tokens=23, **options)
    got = generate(ours, ids, 23, stop_ids=(3, 5, 7, 11), pad_id=1)
    assert torch.equal(got, expected)
    again = generate(ours, ids, 23, stop_ids=(3, 5, 7, 11), pad_id=1, use_cache=False)
    assert torch.equal(again, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3},
    ],
)
def test_penalised_greedy_equals_transformers(models, ids, options):
    ours, theirs = models
    mask = torch.ones_like(ids)
    expected = theirs.generate(
        ids, attention_mask=mask, max_new_tokens=23, do_sample=False, eos_token_id=None, **options
    )
    assert torch.equal(generate(ours, ids, 23, **options), expected)


def test_sampling_is_repeatable_and_the_cache_does_not_change_it(models, ids):
    ours, _ = models
    options = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "min_p": 0.01}

    def run(seed, **more):
        return generate(
            ours, ids, 19, generator=torch.Generator().manual_seed(seed), **options, **more
        )

    assert torch.equal(run(0), run(0))
    assert torch.equal(run(0), run(0, use_cache=False))
    assert not torch.equal(run(0), run(1))
    cold = generate(ours, ids, 19, temperature=1e-4, generator=torch.Generator())
    assert torch.equal(cold, generate(ours, ids, 19))  # towards 0, sampling becomes greedy


def test_sampled_tokens_follow_the_filtered_distribution(models, ids):
    ours, _ = models
    prompt = ids[:1].expand(4000, -1)
    drawn = generate(
        ours, prompt, 1, temperature=1.5, top_k=7, generator=torch.Generator().manual_seed(0)
    )[:, -1].bincount(minlength=V)
    with torch.no_grad():
        wanted = sampling.filtered(ours(ids[:1])[0, -1], temperature=1.5, top_k=7).softmax(-1)
    allowed = wanted > 0
    assert int(drawn[~allowed].sum()) == 0
    expected = 4000 * wanted[allowed]
    assert float(((drawn[allowed] - expected) ** 2 / expected).sum()) < 22.5  # 6 df, 1 in 1000


def test_padded_rows_equal_the_same_rows_alone(models, ids):
    ours, _ = models
    lengths = [7, 2, 5, 1, 3]
    mask = torch.arange(7) >= 7 - torch.tensor(lengths)[:, None]
    padded = ids.masked_fill(~mask, 17)
    assert bool((ids[:, -1] != 17).all())
    options = {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3}
    got = generate(ours, padded, 13, attention_mask=mask.long(), **options)
    for row, length in enumerate(lengths):
        alone = generate(ours, ids[row : row + 1, 7 - length :], 13, **options)
        assert torch.equal(got[row, 7 - length :], alone[0])


def test_the_stream_is_the_new_part_of_generate(models, ids):
    ours, _ = models
    whole = generate(ours, ids[:1], 17)[0, 7:].tolist()
    assert list(stream(ours, ids[0], 17)) == whole
    stop = whole[5]
    first = whole.index(stop)
    assert list(stream(ours, ids[:1], 17, stop_ids=(stop,))) == whole[:first]
    tokens = stream(ours, ids[:1], 17)
    next(tokens)
    assert not torch.is_inference_mode_enabled()  # between tokens the caller's mode is his own
    with pytest.raises(ValueError, match="one prompt, got 5"):
        next(stream(ours, ids, 3))


def test_generated_ids_can_be_trained_on(models, ids):
    ours, _ = models
    got = generate(ours, ids, 3)
    assert not got.is_inference()
    ours(got).sum().backward()


def test_prompts_that_do_not_fit_are_refused(models, ids):
    ours, _ = models
    right = torch.ones_like(ids)
    right[0, 5:] = 0
    with pytest.raises(ValueError, match="pad on the left"):
        generate(ours, ids, 3, attention_mask=right)
    with pytest.raises(ValueError, match=r"shape of input_ids, \(5, 7\); got \(5, 6\)"):
        generate(ours, ids, 3, attention_mask=right[:, :6])
    for wrong in (ids[0], ids[:, :0], ids.float()):
        with pytest.raises(ValueError, match="input_ids must be"):
            generate(ours, wrong, 3)
    with pytest.raises(ValueError, match="max_new_tokens must not be negative"):
        generate(ours, ids, -1)
    with pytest.raises(ValueError, match="temperature must not be negative"):
        generate(ours, ids, 1, temperature=-0.5)


def test_the_cache_forgets_and_reorders(models, ids):
    ours, _ = models
    with torch.no_grad():
        cache = ours.new_cache(5, 11)
        ours(ids, cache=cache)
        cache.truncate(3)
        rest = ours(ids[:, 3:], cache=cache)
        torch.testing.assert_close(rest, ours(ids)[:, 3:], rtol=0, atol=1e-5)
        rows = torch.tensor([4, 4, 0, 1, 2])
        cache.select(rows)
        token = torch.full((5, 1), 9)
        got = ours(token, cache=cache)
        expected = ours(torch.cat([ids[rows], token], 1))[:, -1:]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"0\.\.8, got 9"):
        cache.truncate(9)


# beams -----------------------------------------------------------------------------------------


def test_one_beam_is_greedy(models, ids):
    ours, _ = models
    assert torch.equal(beam_search(ours, ids, 1, 11), generate(ours, ids, 11))


def test_beams_find_what_greedy_misses():
    # greedy takes 1 (0.6) and then at best 0.4: 0.24. The other beginning gives 0.4 * 0.9 = 0.36.
    table = torch.tensor([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.05, 0.05, 0.9]]).log()
    start = torch.tensor([[0]])
    assert generate(Chain(table), start, 2).tolist() == [[0, 1, 0]]
    assert beam_search(Chain(table), start, 2, 2).tolist() == [[0, 2, 2]]


def test_enough_beams_find_the_best_of_all_texts():
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(7)).log_softmax(-1)
    texts = [[0, *text] for text in itertools.product(range(5), repeat=3)]
    best = max(texts, key=lambda t: sum(table[a, b] for a, b in itertools.pairwise(t)))
    assert beam_search(Chain(table), torch.tensor([[0]]), 25, 3).tolist() == [best]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("stops", [[3], [5, 11, 13]])
def test_beams_equal_transformers(models, ids, penalty, stops):
    ours, theirs = models
    expected = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        num_beams=4,
        num_return_sequences=3,
        max_new_tokens=13,
        length_penalty=penalty,
        eos_token_id=stops,
        pad_token_id=1,
        do_sample=False,
    )
    options = {"length_penalty": penalty, "stop_ids": stops, "pad_id": 1}
    assert torch.equal(beam_search(ours, ids, 4, 13, num_return_sequences=3, **options), expected)


def test_padded_beams_equal_the_same_rows_alone(models, ids):
    ours, _ = models
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    got = beam_search(ours, ids, 3, 9, attention_mask=mask)
    assert torch.equal(got[1:2, 4:], beam_search(ours, ids[1:2, 4:], 3, 9))


def test_beam_counts_out_of_range_are_refused(models, ids):
    for beams, wanted, new in ((0, 1, 3), (2, 3, 3), (2, 0, 3), (2, 1, 0)):
        with pytest.raises(ValueError, match=r"num_beams|max_new_tokens"):
            beam_search(models[0], ids, beams, new, num_return_sequences=wanted)
