"""GPT-2: transformers with copied weights as oracle, positions, padding, the layout of its file."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from course_utils.nn.generation import generate
from course_utils.nn.gpt import GPT2

# V=89, T<=61, C=39 (H=3, D=13), F=53, L=2
CONFIG = GPT2Config(
    vocab_size=89, n_positions=61, n_embd=39, n_layer=2, n_head=3, n_inner=53, bos_token_id=1
)
TOLERANCE = {"rtol": 0, "atol": 1e-5}  # float32, two layers of sums of up to 53 products


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Random norms and biases too, so that none of them can be left out unnoticed."""
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=0.1, std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def models():
    theirs = randomise(GPT2LMHeadModel(CONFIG))
    return GPT2.from_tensors(CONFIG.to_dict(), theirs.state_dict()), theirs


@pytest.fixture
def ids():
    return torch.randint(0, 89, (5, 11), generator=torch.Generator().manual_seed(1))


def test_logits_equal_transformers(models, ids):
    ours, theirs = models
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, **TOLERANCE)


def test_the_file_of_the_bare_model_gives_the_same(models, ids):
    ours, theirs = models
    bare = GPT2Model(CONFIG)
    bare.load_state_dict(theirs.transformer.state_dict())
    again = GPT2.from_tensors(CONFIG.to_dict(), bare.state_dict())
    with torch.no_grad():
        assert torch.equal(again(ids), ours(ids))


def test_old_files_with_a_stored_causal_triangle_load(models, ids):
    ours, theirs = models
    weights = dict(theirs.state_dict()) | {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 61, 61),
        "transformer.h.1.attn.masked_bias": torch.tensor(-1e4),
    }
    with torch.no_grad():
        assert torch.equal(GPT2.from_tensors(CONFIG.to_dict(), weights)(ids), ours(ids))


def test_left_padding_changes_nothing(models, ids):
    ours, theirs = models
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # what generate() gives the library's model
    with torch.no_grad():
        got, alone = ours(ids, padding_mask=mask), ours(ids[:1, 4:])
        expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(got[:1, 4:], alone, **TOLERANCE)
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], **TOLERANCE)


def test_greedy_text_equals_transformers_with_and_without_cache(models, ids):
    ours, theirs = models
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=17, **options
    )
    assert torch.equal(generate(ours, ids, 17), expected)
    assert torch.equal(generate(ours, ids, 17, use_cache=False), expected)


def test_text_beyond_the_position_table_is_refused(models):
    with pytest.raises(ValueError, match=r"0\.\.60.*longer than max_length = 61"):
        models[0](torch.zeros(1, 62, dtype=torch.long))


def test_next_logits_are_the_last_of_all_logits(models, ids):
    ours, _ = models
    with torch.no_grad():
        torch.testing.assert_close(ours.next_logits(ids), ours(ids)[:, -1], **TOLERANCE)
