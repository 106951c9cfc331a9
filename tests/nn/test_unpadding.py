"""Unpadding: the padded encoder as oracle, texts that cannot see one another, shapes."""

import pytest
import torch
from transformers import BertConfig, BertModel

from course_utils import assets
from course_utils.nn.bert import Bert
from course_utils.nn.unpadding import (
    Packed,
    bucket_order,
    encode_packed,
    mean_pool,
    pack,
    repad,
    unpad,
)

# V=89, C=39 (H=3, D=13), F=53, L=2; texts of 5, 2, 11 and 7 tokens
CONFIG = BertConfig(
    vocab_size=89,
    hidden_size=39,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=53,
    max_position_embeddings=61,
)
TOLERANCE = {"rtol": 0, "atol": 1e-5}  # float32, two layers of sums of up to 53 products
LENGTHS = (5, 2, 11, 7)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    theirs = BertModel(CONFIG, add_pooling_layer=False).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, mean=0.1, std=0.2)
    return Bert.from_tensors(CONFIG.to_dict(), theirs.state_dict()).eval(), theirs


@pytest.fixture
def batch():
    ids = torch.randint(1, 89, (4, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(11)[None, :] < torch.tensor(LENGTHS)[:, None]
    return ids * mask, mask


def test_packing_by_hand():
    packed = pack([[7, 8, 9], [5], [6, 4]])
    assert packed.ids.tolist() == [7, 8, 9, 5, 6, 4]
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packed.owner.tolist() == [0, 0, 0, 1, 2, 2]
    assert packed.mask.sum().item() == 9 + 1 + 4


def test_unpad_finds_the_real_tokens_on_either_side():
    ids = torch.tensor([[0, 0, 3], [4, 5, 0]])
    packed = unpad(ids, torch.tensor([[0, 0, 1], [1, 1, 0]]))
    assert packed.ids.tolist() == [3, 4, 5]
    assert packed.lengths == (1, 2)


def test_hidden_states_equal_transformers_with_padding(models, batch):
    ours, theirs = models
    ids, mask = batch
    with torch.no_grad():
        got = encode_packed(ours, unpad(ids, mask))
        expected = theirs(ids, attention_mask=mask.long()).last_hidden_state
    assert got.shape == (25, 39)
    torch.testing.assert_close(got, expected[mask], **TOLERANCE)


def test_a_text_does_not_see_its_neighbours(models, batch):
    ours, _ = models
    packed = unpad(*batch)
    changed = Packed(packed.ids.clone(), packed.lengths)
    changed.ids[:5] = (changed.ids[:5] + 1) % 89
    with torch.no_grad():
        before, after = encode_packed(ours, packed), encode_packed(ours, changed)
    assert not torch.allclose(before[:5], after[:5])
    torch.testing.assert_close(before[5:], after[5:], rtol=0, atol=0)


def test_repad_and_mean_pool_by_hand(batch):
    ids, mask = batch
    values = torch.arange(25.0)[:, None].expand(25, 3)
    padded = repad(values, mask)
    assert padded.shape == (4, 11, 3)
    assert padded[1, :2, 0].tolist() == [5, 6]
    assert padded[1, 2:].abs().sum() == 0
    assert mean_pool(values, unpad(ids, mask))[:, 1].tolist() == [2, 5.5, 12, 21]


def test_the_bundled_model_gives_the_same_vectors():
    from transformers import AutoTokenizer

    path = assets.path("minilm-l6")
    tokenizer, model = AutoTokenizer.from_pretrained(path), Bert.from_pretrained(path).eval()
    texts = ["Short.", "A dull film that never wakes up.", "Charming, odd and very funny indeed."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        padded = model(batch["input_ids"], padding_mask=batch["attention_mask"])
        packed = encode_packed(model, unpad(batch["input_ids"], batch["attention_mask"]))
    # float32, six layers
    torch.testing.assert_close(packed, padded[batch["attention_mask"].bool()], rtol=0, atol=1e-4)


def test_wrong_input_is_refused(models):
    with pytest.raises(ValueError, match="the mask is"):
        unpad(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 5))
    with pytest.raises(ValueError, match="needs a token"):
        pack([[1, 2], []])
    with pytest.raises(ValueError, match="one row of 3"):
        Packed(torch.ones(5, dtype=torch.long), (3,))


def test_other_encoders_are_refused():
    from course_utils.nn.blocks import Recipe
    from course_utils.nn.families import Encoder

    pre_norm = Encoder(Recipe(29, 12, 1, 3, 17, context=31, causal=False))
    with pytest.raises(ValueError, match="post-norm"):
        encode_packed(pre_norm, pack([[1, 2]]))


def test_batches_hold_like_lengths_in_random_order():
    lengths = [(7 * i) % 83 + 1 for i in range(83)]  # each length from 1 to 83 once
    order = bucket_order(lengths, 5, seed=1)
    assert len(order) == 80
    assert len(set(order)) == 80
    batches = [[lengths[i] for i in order[k : k + 5]] for k in range(0, 80, 5)]
    assert all(max(batch) - min(batch) <= 4 + 3 for batch in batches)  # 3 rows are left out
    starts = [min(batch) for batch in batches]
    assert starts != sorted(starts)
    assert bucket_order(lengths, 5, seed=1) == order != bucket_order(lengths, 5, seed=2)


def test_too_few_rows_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        bucket_order([3, 5], 7)
