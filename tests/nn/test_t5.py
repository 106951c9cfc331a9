"""T5: transformers with copied weights as oracle, distance buckets by hand, cached decoding."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from course_utils.nn.generation import generate
from course_utils.nn.sight import RelativePositions
from course_utils.nn.t5 import T5

SIZES = {
    "vocab_size": 89,
    "d_model": 31,
    "d_kv": 13,  # the heads together are 39 wide, wider than the model: T5 allows that
    "d_ff": 53,
    "num_layers": 2,
    "num_decoder_layers": 5,
    "num_heads": 3,
    "decoder_start_token_id": 0,
}
TOLERANCE = {"rtol": 0, "atol": 1e-5}  # float32, seven layers, logits of size 1 (scaled output)


def pair(**changes) -> tuple[T5, T5ForConditionalGeneration]:
    torch.manual_seed(0)
    config = T5Config(**SIZES | changes)
    theirs = T5ForConditionalGeneration(config).eval()
    for name, weight in theirs.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.2)
    return T5.from_tensors(config.to_dict(), theirs.state_dict()), theirs


def ids_of(batch: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(2, 89, (batch, length), generator=torch.Generator().manual_seed(seed))


def agree(ours: T5, theirs: T5ForConditionalGeneration) -> None:
    source, target = ids_of(5, 11, 1), ids_of(5, 7, 2)
    mask = torch.ones_like(source)
    mask[0, 6:] = 0
    with torch.no_grad():
        got = ours(source, target, padding_mask=mask)
        expected = theirs(source, attention_mask=mask, decoder_input_ids=target).logits
    torch.testing.assert_close(got, expected, **TOLERANCE)


def test_logits_equal_transformers():
    agree(*pair())


def test_logits_of_version_1_1_equal_transformers():
    # a gate, an output matrix of its own, no factor before it
    _, theirs = pair(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    theirs.lm_head.weight = torch.nn.Parameter(0.1 * torch.randn(89, 31))
    weights = dict(theirs.state_dict())
    assert not torch.equal(weights["lm_head.weight"], weights["shared.weight"])
    ours = T5.from_tensors(theirs.config.to_dict(), weights)
    assert ours.head is not None
    agree(ours, theirs)
    published = theirs.config.to_dict() | {"tie_word_embeddings": False}
    del published["scale_decoder_outputs"]
    agree(T5.from_tensors(published, weights), theirs)


def test_long_sources_reach_the_shared_buckets():
    ours, theirs = pair()
    source, target = ids_of(2, 211, 1), ids_of(2, 167, 2)  # farther apart than 128
    with torch.no_grad():
        expected = theirs(source, decoder_input_ids=target).logits
        torch.testing.assert_close(ours(source, target), expected, **TOLERANCE)


def test_buckets_by_hand():
    both = RelativePositions(heads=1, causal=False)
    # up to 7 to the left one bucket each; to the right the same plus 16
    near = torch.tensor([0, -1, -7, 1, 7])
    assert both.bucket(near).tolist() == [0, 1, 7, 17, 23]
    # then 8 buckets for 8..127, growing by the factor 16^(1/8) = 1.414
    assert both.bucket(torch.tensor([-8, -11, -12, -127, -5000, 5000])).tolist() == [
        8, 8, 9, 15, 15, 31,
    ]  # fmt: skip
    left = RelativePositions(heads=1, causal=True)
    assert left.bucket(torch.tensor([3, 0, -1, -15, -16, -5000])).tolist() == [0, 0, 1, 15, 16, 31]


def test_greedy_text_equals_transformers_with_and_without_cache():
    ours, theirs = pair()
    source = ids_of(5, 11, 1)
    mask = torch.ones_like(source)
    mask[3, 4:] = 0
    # without its cache: transformers 5.23 sizes it by the encoder's depth, which differs here
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "use_cache": False}
    expected = theirs.generate(source, attention_mask=mask, max_new_tokens=13, **options)
    decoder = ours.given(source, padding_mask=mask)
    start = torch.zeros(5, 1, dtype=torch.long)
    assert torch.equal(generate(decoder, start, 13), expected)
    assert torch.equal(generate(decoder, start, 13, use_cache=False), expected)


def test_unknown_networks_are_refused():
    _, theirs = pair()
    config = T5Config(**SIZES).to_dict() | {"feed_forward_proj": "gated-tanh"}
    with pytest.raises(ValueError, match="gated-tanh"):
        T5.from_tensors(config, theirs.state_dict())


def test_weights_left_over_are_refused():
    _, theirs = pair()
    weights = theirs.state_dict() | {"decoder.block.5.layer.0.layer_norm.weight": torch.ones(31)}
    with pytest.raises(ValueError, match="1 tensors of the checkpoint are not used"):
        T5.from_tensors(T5Config(**SIZES).to_dict(), weights)
