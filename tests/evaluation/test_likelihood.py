"""Perplexity and multiple choice: tables whose numbers are known, every token once, the harness."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from course_utils.evaluation.choices import (
    ChoiceScores,
    Question,
    correct_by_rule,
    encode_pair,
    log_likelihoods,
    score_question,
)
from course_utils.evaluation.perplexity import (
    TextScore,
    score_texts,
    sum_scores,
    token_log_probabilities,
    windows,
)
from course_utils.nn.blocks import Recipe
from course_utils.nn.llama import Llama

FLOAT32 = {"abs": 2e-5}  # sums of up to 19 log-probabilities, each rounded to about 1e-6

# P(next | token) for tokens 0 = start, 1, 2
TABLE = torch.tensor([[0.0, 0.25, 0.75], [0.0, 0.5, 0.5], [0.5, 0.25, 0.25]]).log()
ONE_OF = {"a": 1, "b": 2}


def bigram(ids: torch.Tensor) -> torch.Tensor:
    return TABLE[ids]


def spell(text: str) -> list[int]:
    return [ONE_OF[letter] for letter in text]


@pytest.fixture(scope="module")
def llama():
    """A random decoder: V=53, C=28, L=2, H=2 of D=14, F=37."""
    torch.manual_seed(0)
    model = Llama(Recipe(53, 28, 2, 2, 37, positions="rotary", norm="rms", gated=True, bias=False))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval().requires_grad_(False)


# -- perplexity ----------------------------------------------------------------------------------


def test_perplexity_by_hand():
    # "ab": P(a | start) P(b | a) = 1/4 · 1/2; "b": 3/4
    scores = score_texts(bigram, spell, ["ab", "b"], start=0, window=5)
    assert scores[0].nats == pytest.approx(math.log(8), **FLOAT32)
    assert scores[0].perplexity == pytest.approx(math.sqrt(8), rel=1e-6)
    corpus = sum_scores(scores)
    assert corpus.perplexity == pytest.approx((8 * 4 / 3) ** (1 / 3), rel=1e-6)
    assert corpus.bits_per_token == pytest.approx(math.log2(32 / 3) / 3, rel=1e-6)
    mean = (scores[0].perplexity + scores[1].perplexity) / 2
    assert abs(mean - corpus.perplexity) > 0.05  # the mean of perplexities is another number
    with_end = score_texts(bigram, spell, ["ab"], start=0, end=0, window=5)[0]
    assert with_end.nats == pytest.approx(math.log(16), **FLOAT32)  # P(end | b) = 1/2
    assert with_end.tokens == 3


def test_bits_per_byte_counts_bytes_and_not_tokens():
    score = score_texts(bigram, lambda text: [1], ["é"], start=0, window=3)[0]
    assert (score.tokens, score.bytes) == (1, 2)
    assert score.bits_per_byte == pytest.approx(2 / 2)  # 1/4 is two bits, é two bytes
    assert score + TextScore(1.0, 2, 3) == TextScore(score.nats + 1.0, 3, 5)


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 23), st.integers(1, 23))
def test_each_token_is_guessed_once_with_its_context(length, window, stride):
    if stride > window:
        return
    plan = windows(length, window, stride)
    guessed = [t for w in plan for t in range(w.first, w.stop + 1)]
    assert guessed == list(range(1, length))
    for w in plan:
        assert w.stop - w.start <= window
        for t in range(w.first, w.stop + 1):
            assert t - w.start >= min(t, window - stride + 1)  # ids it sees


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 23), st.integers(1, 23))
def test_windows_equal_the_harness(length, window, stride):
    if stride > window:
        return
    ids = list(range(100, 100 + length))
    theirs = get_rolling_token_windows(
        ids, prefix_token=7, max_seq_len=window, context_len=window - stride + 1
    )
    theirs = [make_disjoint_window(pair) for pair in theirs]
    whole = [7, *ids]
    ours = [
        (whole[w.start : w.first], whole[w.first : w.stop + 1])
        for w in windows(length + 1, window, stride)
    ]
    assert ours == theirs


def test_windows_of_a_real_decoder(llama):
    ids = torch.randint(0, 53, (19,), generator=torch.Generator().manual_seed(1)).tolist()
    whole = token_log_probabilities(llama, ids, window=50)
    logits = llama(torch.tensor([ids[:-1]]))[0]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    np.testing.assert_allclose(whole, -loss.numpy(), atol=2e-5)
    by_one = token_log_probabilities(llama, ids, window=5, stride=1, batch=3)
    for t in range(1, 19):  # every guess from the five ids before it, and no others
        before = torch.tensor([ids[max(0, t - 5) : t]])
        expected = llama(before)[0, -1].log_softmax(-1)[ids[t]]
        assert by_one[t - 1] == pytest.approx(float(expected), **FLOAT32)
    for stride in (2, 5):
        alone = token_log_probabilities(llama, ids, window=5, stride=stride)
        batched = token_log_probabilities(llama, ids, window=5, stride=stride, batch=7)
        np.testing.assert_allclose(alone, batched, atol=2e-5)
    default = token_log_probabilities(llama, ids, window=5)
    np.testing.assert_array_equal(default, token_log_probabilities(llama, ids, window=5, stride=2))


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    def uniform(ids):
        return torch.zeros(*ids.shape, 17)

    for stride in (1, 3):
        score = score_texts(uniform, spell, ["abab" * 5], start=0, window=3, stride=stride)[0]
        assert score.perplexity == pytest.approx(17, rel=1e-6)


def test_perplexity_refuses():
    with pytest.raises(ValueError, match="stride must be"):
        windows(9, 4, 5)
    with pytest.raises(ValueError, match="stride must be"):
        windows(9, 4, 0)
    with pytest.raises(ValueError, match="nothing to guess"):
        token_log_probabilities(bigram, [1], window=3)
    with pytest.raises(ValueError, match="text 1 has no token"):
        score_texts(bigram, spell, ["a", ""], start=0, window=3)


# -- multiple choice -----------------------------------------------------------------------------


def test_choices_by_hand():
    question = Question("a", ("a", "bb"), 1)
    scores = score_question(bigram, spell, question, neutral="b")
    np.testing.assert_allclose(scores.conditional, np.log([1 / 2, 1 / 8]), rtol=1e-6)
    np.testing.assert_allclose(scores.unconditional, np.log([1 / 4, 1 / 16]), rtol=1e-6)
    np.testing.assert_allclose(scores.under("token"), np.log([1 / 2, math.sqrt(1 / 8)]))
    np.testing.assert_allclose(scores.under("unconditional"), np.log([2, 2]), rtol=1e-6)
    np.testing.assert_allclose(scores.probabilities("sum"), [0.8, 0.2], rtol=1e-6)


def test_each_rule_can_pick_another_choice():
    scores = ChoiceScores(
        (" ééé", " abcd", " abcdefghij k"),
        np.array([-2.0, -2.2, -4.8]),
        np.array([1, 2, 3]),
        np.array([-1.0, -6.0, -4.0]),
    )
    picks = {rule: scores.pick(rule) for rule in ("sum", "token", "character", "unconditional")}
    assert picks == {"sum": 0, "token": 1, "character": 2, "unconditional": 1}
    np.testing.assert_allclose(scores.under("byte"), [-2 / 6, -2.2 / 4, -4.8 / 12])
    found = correct_by_rule([Question("p", scores.choices, 1)], [scores])
    assert {rule: value.tolist() for rule, value in found.items()} == {
        "sum": [0], "token": [1], "character": [0], "byte": [1 * (scores.pick("byte") == 1)],
        "unconditional": [1],
    }  # fmt: skip
    with pytest.raises(ValueError, match="rule must be one of"):
        scores.under("length")


def test_batched_choices_equal_one_by_one(llama):
    def encode(text):
        return [ord(c) % 53 for c in text]

    texts = ["xyz", "q", "a longer answer"]
    together = log_likelihoods(llama, encode, "the prompt:", texts, start=3)
    for text, values in zip(texts, together, strict=True):
        ids = [3, *encode("the prompt:" + text)]
        expected = token_log_probabilities(llama, ids, window=99)[-len(text) :]
        np.testing.assert_allclose(values, expected, atol=2e-5)


def test_pairs_are_cut_at_the_border():
    def by_two(text):  # pieces of two characters, so that a piece can span the border
        return [text[i : i + 2] for i in range(0, len(text), 2)]

    assert encode_pair(by_two, "abcd", "ef") == (["ab", "cd"], ["ef"])
    assert encode_pair(by_two, "abc", "de") == (["ab"], ["cd", "e"])
    assert encode_pair(by_two, "ab  ", "c") == (["ab"], ["  ", "c"])
    with pytest.raises(ValueError, match="adds no token"):
        encode_pair(lambda text: [1], "a", "b")


def test_choices_refuse():
    with pytest.raises(ValueError, match="start id"):
        log_likelihoods(bigram, spell, "", ["a"])
    assert log_likelihoods(bigram, spell, "", ["a"], start=0)[0] == pytest.approx(math.log(0.25))
    with pytest.raises(ValueError, match="no index of 2"):
        Question("p", ("a", "b"), 2)
    with pytest.raises(ValueError, match="must hold text"):
        Question("p", ("a", ""), 0)
