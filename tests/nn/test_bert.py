"""BERT: transformers with copied weights as oracle, both sides seen, padding, fill-in head."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM

from course_utils import assets
from course_utils.nn.bert import Bert, MaskedWordHead
from course_utils.nn.checkpoints import read_tensors

# V=89, T<=61, C=39 (H=3, D=13), F=53, L=2
CONFIG = BertConfig(
    vocab_size=89,
    hidden_size=39,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=53,
    max_position_embeddings=61,
)
TOLERANCE = {"rtol": 0, "atol": 1e-5}  # float32, two layers of sums of up to 53 products


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    theirs = BertForMaskedLM(CONFIG).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, mean=0.1, std=0.2)
    return Bert.from_tensors(CONFIG.to_dict(), theirs.state_dict()), theirs


@pytest.fixture
def ids():
    return torch.randint(0, 89, (5, 11), generator=torch.Generator().manual_seed(1))


def test_hidden_states_equal_transformers_with_padding_and_segments(models, ids):
    ours, theirs = models
    mask, kinds = torch.ones_like(ids), torch.zeros_like(ids)
    mask[0, 7:] = 0
    kinds[:, 5:] = 1
    with torch.no_grad():
        got = ours(ids, padding_mask=mask, token_types=kinds)
        expected = theirs.bert(ids, attention_mask=mask, token_type_ids=kinds).last_hidden_state
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], **TOLERANCE)


def test_padding_on_the_right_changes_nothing(models, ids):
    ours, _ = models
    mask = torch.ones_like(ids)
    mask[:, 7:] = 0
    with torch.no_grad():
        padded, alone = ours(ids, padding_mask=mask)[:, :7], ours(ids[:, :7])
    torch.testing.assert_close(padded, alone, **TOLERANCE)


def test_a_later_token_changes_what_stands_before_it(models, ids):
    ours, _ = models
    changed = ids.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 89
    with torch.no_grad():
        difference = (ours(ids) - ours(changed)).abs().amax(-1)
    assert float(difference[:, :7].min()) > 1e-4  # the opposite of a decoder


def test_an_encoder_has_nothing_to_cache(models, ids):
    with pytest.raises(ValueError, match="sees both sides"):
        models[0](ids, cache=object())


def test_the_fill_in_head_equals_transformers(models, ids):
    ours, theirs = models
    head = MaskedWordHead.from_tensors(ours, theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(head(ours(ids)), theirs(ids).logits, rtol=0, atol=5e-5)
    # dense (C, C) + C, norm 2 C, bias V: the embeddings are not counted a second time
    assert sum(p.numel() for p in head.parameters()) == 39 * 39 + 39 + 2 * 39 + 89


def test_names_of_files_converted_from_tensorflow_load(models, ids):
    ours, theirs = models
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): v
        for k, v in theirs.state_dict().items()
    }
    with torch.no_grad():
        assert torch.equal(Bert.from_tensors(CONFIG.to_dict(), old)(ids), ours(ids))


def test_other_kinds_of_positions_are_refused(models):
    _, theirs = models
    config = CONFIG.to_dict() | {"position_embedding_type": "relative_key"}
    with pytest.raises(ValueError, match="relative_key"):
        Bert.from_tensors(config, theirs.state_dict())


def test_minilm_equals_transformers_and_has_no_fill_in_head():
    path = assets.path("minilm-l6")
    ours, theirs = Bert.from_pretrained(path), AutoModel.from_pretrained(path)
    texts = [
        "The capital of France is Paris.",
        "A cat.",
        "Seven words stand in this sentence here.",
    ]
    batch = AutoTokenizer.from_pretrained(path)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        got = ours(batch.input_ids, padding_mask=batch.attention_mask)
        expected = theirs(**batch).last_hidden_state
    real = batch.attention_mask.bool()
    assert float((got - expected)[real].abs().max()) < 1e-5
    with pytest.raises(ValueError, match="no masked-word head"):
        MaskedWordHead.from_tensors(ours, read_tensors(path))
