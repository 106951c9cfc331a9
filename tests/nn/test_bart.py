"""BART: transformers with copied weights as oracle, beams, and the offset of its positions."""

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, BartModel

from course_utils.nn.bart import Bart
from course_utils.nn.beams import beam_search
from course_utils.nn.generation import generate

CONFIG = BartConfig(
    vocab_size=89,
    d_model=39,
    encoder_layers=2,
    decoder_layers=5,
    encoder_attention_heads=3,
    decoder_attention_heads=3,
    encoder_ffn_dim=53,
    decoder_ffn_dim=47,
    max_position_embeddings=61,
    forced_eos_token_id=None,
    decoder_start_token_id=2,
)
TOLERANCE = {"rtol": 0, "atol": 2e-5}  # float32, seven layers, logits up to 20


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    theirs = BartForConditionalGeneration(CONFIG).eval()
    for name, weight in theirs.named_parameters():
        torch.nn.init.normal_(weight, mean=0.1 * float("norm" in name), std=0.2)
    torch.nn.init.normal_(theirs.final_logits_bias, std=0.5)
    return Bart.from_tensors(CONFIG.to_dict(), theirs.state_dict()), theirs


@pytest.fixture
def source():
    return torch.randint(3, 89, (5, 11), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask(source):
    mask = torch.ones_like(source)
    mask[3, 4:] = 0
    return mask


def test_logits_equal_transformers(models, source, mask):
    ours, theirs = models
    target = torch.randint(3, 89, (5, 7), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        got = ours(source, target, padding_mask=mask)
        expected = theirs(source, attention_mask=mask, decoder_input_ids=target).logits
    torch.testing.assert_close(got, expected, **TOLERANCE)


def test_embeddings_are_scaled_where_the_configuration_says_so(models, source):
    _, theirs = models
    scaled = BartConfig(**CONFIG.to_dict() | {"scale_embedding": True})
    other = BartForConditionalGeneration(scaled).eval()
    other.load_state_dict(theirs.state_dict())
    ours = Bart.from_tensors(scaled.to_dict(), other.state_dict())
    with torch.no_grad():
        expected = other(source, decoder_input_ids=source).logits
        torch.testing.assert_close(ours(source, source), expected, **TOLERANCE)


def test_a_file_without_output_bias_has_a_bias_of_zero(models, source):
    ours, theirs = models
    bare = BartModel(CONFIG)
    bare.load_state_dict(theirs.model.state_dict())
    again = Bart.from_tensors(CONFIG.to_dict(), bare.state_dict())
    with torch.no_grad():
        bias = ours(source, source) - again(source, source)
    torch.testing.assert_close(bias[0, 0], theirs.final_logits_bias[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_text_equals_transformers(models, source, mask, use_cache):
    ours, theirs = models
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 1}
    expected = theirs.generate(source, attention_mask=mask, max_new_tokens=13, **options)
    start = torch.full((5, 1), 2)
    decoder = ours.given(source, padding_mask=mask)
    assert torch.equal(generate(decoder, start, 13, use_cache=use_cache), expected)


def test_beams_share_their_source_and_equal_transformers(models, source, mask):
    ours, theirs = models
    expected = theirs.generate(
        source,
        attention_mask=mask,
        num_beams=3,
        num_return_sequences=2,
        max_new_tokens=13,
        eos_token_id=[17, 23],
        pad_token_id=1,
    )
    decoder = ours.given(source, padding_mask=mask)
    got = beam_search(
        decoder,
        torch.full((5, 1), 2),
        3,
        13,
        stop_ids=(17, 23),
        pad_id=1,
        num_return_sequences=2,
    )
    assert torch.equal(got, expected)


def test_target_rows_must_belong_to_source_rows(models, source):
    decoder = models[0].given(source)
    with pytest.raises(ValueError, match="7 target rows do not belong to 5 source rows"):
        decoder(torch.full((7, 1), 2))
