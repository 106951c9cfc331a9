"""Packing: masks by hand, each conversation computed as if alone, transformers as oracle."""

import pytest
import torch
from tiny_models import logits_of, make_gpt2, make_llama, make_ours
from transformers import DataCollatorForSeq2Seq

from course_utils.nn.gpt import GPT2
from course_utils.tuning import inject_lora
from course_utils.tuning.packing import (
    block_mask,
    collate,
    collate_packed,
    filled_share,
    next_token_loss,
    pack,
    packed_logits,
)

END = 2


def row(ids, learned_from=1):
    """Ids with labels from a place on."""
    return {"input_ids": ids, "labels": [-100] * learned_from + ids[learned_from:]}


def random_rows(lengths=(7, 3, 11, 5, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [row(torch.randint(0, 97, (n,), generator=generator).tolist()) for n in lengths]


def make_our_gpt():
    theirs = make_gpt2()
    return GPT2.from_tensors(theirs.config.to_dict(), theirs.state_dict())


# --------------------------------------------------------------------------- padding


def test_padding_is_masked_and_the_end_token_is_not():
    batch = collate([row([5, 6, END]), row([7, END, 8, 9, END])], pad_id=END)
    assert batch["input_ids"].tolist() == [[5, 6, END, END, END], [7, END, 8, 9, END]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[-100, 6, END, -100, -100], [-100, END, 8, 9, END]]


def test_padding_equals_the_collator_of_transformers():
    class Tokenizer:
        padding_side = "right"

        def pad(self, features, **options):
            longest = max(len(f["input_ids"]) for f in features)
            rows = [f["input_ids"] + [END] * (longest - len(f["input_ids"])) for f in features]
            return {"input_ids": torch.tensor(rows)}

    rows = random_rows()
    theirs = DataCollatorForSeq2Seq(Tokenizer())([dict(r) for r in rows])
    ours = collate(rows, END)
    assert torch.equal(ours["labels"], torch.as_tensor(theirs["labels"]))
    assert torch.equal(ours["input_ids"], theirs["input_ids"])


# --------------------------------------------------------------------------- packing


def test_rows_are_packed_by_hand():
    packed = pack([row([1, 2]), row([3, 4, 5]), row([6, 7], learned_from=0)], 5)
    # longest first: 3 + 2 fill a row of 5, the other 2 begin a new one
    assert packed[0] == {
        "input_ids": [3, 4, 5, 1, 2],
        "labels": [-100, 4, 5, -100, 2],
        "position_ids": [0, 1, 2, 0, 1],
        "segments": [1, 1, 1, 2, 2],
    }
    assert packed[1]["labels"] == [-100, 7]  # the first token is never a label
    batch = collate_packed(packed, END)
    assert batch["segments"].tolist() == [[1, 1, 1, 2, 2], [1, 1, 0, 0, 0]]
    assert filled_share(packed, 5) == 0.7


def test_nothing_is_lost_and_no_row_is_too_long():
    rows = random_rows([1 + i * 7 % 29 for i in range(61)])
    packed = pack(rows, 31)
    assert all(len(r["input_ids"]) <= 31 for r in packed)
    parts = []
    for r in packed:
        starts = [t for t, place in enumerate(r["position_ids"]) if place == 0]
        ends = [*starts[1:], len(r["input_ids"])]
        parts += [tuple(r["input_ids"][a:b]) for a, b in zip(starts, ends, strict=True)]
    assert sorted(parts) == sorted(tuple(r["input_ids"]) for r in rows)
    assert filled_share(packed, 31) > 0.9
    with pytest.raises(ValueError, match="29 tokens does not fit into 28"):
        pack(rows, 28)


def test_the_mask_by_hand():
    mask = block_mask(torch.tensor([[1, 1, 2, 2, 0]]))
    assert mask.shape == (1, 1, 5, 5)
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


MODELS = {
    "ours": make_ours,
    "ours with LoRA": lambda: inject_lora(make_ours(), ["qkv"]),
    "our GPT": make_our_gpt,
    "llama": make_llama,
    "llama, eager": lambda: make_llama(attn_implementation="eager"),
    "gpt2": make_gpt2,
}


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_each_conversation_gets_the_logits_it_gets_alone(make):
    model, rows = make(), random_rows()
    packed = pack(rows, 13)
    assert max(max(r["segments"]) for r in packed) > 1
    batch = collate_packed(packed, END)
    with torch.no_grad():
        logits = packed_logits(model, batch)
    for i, r in enumerate(packed):
        for number in range(1, max(r["segments"]) + 1):
            places = [t for t, s in enumerate(r["segments"]) if s == number]
            alone = logits_of(model, batch["input_ids"][i : i + 1, places])
            # float32 through three layers, logits of size about 20
            torch.testing.assert_close(logits[i, places], alone[0], rtol=0, atol=2e-4)


def test_packed_and_padded_batches_have_the_same_loss():
    model, rows = make_ours(), random_rows()
    padded, packed = collate(rows, END), collate_packed(pack(rows, 13), END)
    with torch.no_grad():
        one = next_token_loss(model(padded["input_ids"]), padded["labels"])
        other = next_token_loss(packed_logits(model, packed), packed["labels"])
        plain = next_token_loss(model(packed["input_ids"]), packed["labels"])
    assert one.item() == pytest.approx(other.item(), abs=1e-4)
    assert abs(one.item() - plain.item()) > 0.01  # without mask and positions: cross-talk


# --------------------------------------------------------------------------- loss


def test_the_loss_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]])
    labels = torch.tensor([[0, -100, 1]])
    # only the token at place 2 is learned, from the scores (1, 0) at place 1
    expected = -torch.log(1 / (1 + torch.e ** torch.tensor(1.0)))
    assert next_token_loss(logits, labels).item() == pytest.approx(expected.item(), abs=1e-6)
    with pytest.raises(ValueError, match="no token"):
        next_token_loss(logits, torch.full((1, 3), -100))


def test_the_loss_equals_transformers(llama):
    batch = collate(random_rows(), END)
    with torch.no_grad():
        theirs = llama(**batch)
    ours = next_token_loss(theirs.logits, batch["labels"])
    assert ours.item() == pytest.approx(theirs.loss.item(), abs=1e-5)
