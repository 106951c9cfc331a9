"""SFT: packed = alone, kept states = all layers, only the chosen weights move."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import make_llama, make_ours
from transformers import AutoTokenizer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling as TrlCollator

from course_utils import assets, config
from course_utils.evaluation.perplexity import token_log_probabilities
from course_utils.tuning import sft
from course_utils.tuning.instructions import InstructionDatasetBuilder
from course_utils.tuning.packing import collate, collate_packed, next_token_loss, packed_logits

END = 2
ROUNDING = 2e-4  # float32 through three layers, logits of size about 20


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products in float32, whatever is fastest here: equalities are checked to rounding."""
    monkeypatch.setattr(config, "compute_dtype", lambda: torch.float32)


def rows_of(lengths=(7, 3, 11, 5, 2, 13), learned_from=1, seed=0):
    make = torch.Generator().manual_seed(seed)
    found = []
    for n in lengths:
        ids = torch.randint(3, 97, (n,), generator=make).tolist()
        found.append({"input_ids": ids, "labels": [-100] * learned_from + ids[learned_from:]})
    return found


# --------------------------------------------------------------------------- batches and losses


def test_batches_by_hand():
    rows = rows_of((2, 3, 2))
    first, second = sft.packed_batches(rows, 5, 1, END)
    assert first["segments"].tolist() == [[1, 1, 1, 2, 2]]
    assert second["segments"].tolist() == [[1, 1]]
    orders = {str(sft.packed_batches(rows_of(), 13, 1, END, seed=s)) for s in range(5)}
    assert len(orders) > 1
    assert str(sft.packed_batches(rows_of(), 13, 2, END, seed=3)) == str(
        sft.packed_batches(rows_of(), 13, 2, END, seed=3)
    )


def test_the_loss_equals_transformers_on_padded_rows():
    rows = rows_of(learned_from=2)
    theirs = make_llama()
    with torch.no_grad():
        expected = theirs(**collate(rows, END)).loss.item()
        (batch,) = sft.packed_batches(rows, 23, 11, END)
        assert sft.reply_loss(make_ours(), batch).item() == pytest.approx(expected, abs=ROUNDING)


def test_the_loss_equals_the_one_over_all_logits():
    model = make_ours()
    for batch in sft.packed_batches(rows_of(), 13, 2, END):
        with torch.no_grad():
            plain = next_token_loss(packed_logits(model, batch), batch["labels"])
            assert sft.reply_loss(model, batch).item() == pytest.approx(plain.item(), abs=1e-5)
    empty = collate_packed([{**batch_row(), "labels": [-100] * 3}], END)
    with pytest.raises(ValueError, match="no token of this batch"):
        sft.reply_loss(model, empty)


def batch_row():
    return {"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "position_ids": [0, 1, 2],
            "segments": [1, 1, 1]}  # fmt: skip


def test_each_row_loses_packed_what_it_loses_alone():
    model, rows = make_ours(), rows_of(learned_from=2, lengths=(7, 3, 11, 5, 13))
    packed = sft.row_losses(model, sft.packed_batches(rows, 17, 2, END))
    alone = [sft.row_losses(model, sft.packed_batches([row], 17, 2, END))[0] for row in rows]
    assert packed.shape == (5, 2)
    assert packed[:, 1].sum() == sum(len(r["input_ids"]) - 2 for r in rows)
    np.testing.assert_allclose(sorted(packed[:, 0]), sorted(np.array(alone)[:, 0]), atol=2e-3)
    assert sft.mean_loss(np.array([[3.0, 1], [1.0, 3]])) == 1.0


def test_text_scores_equal_those_of_the_evaluation_room():
    model, texts = make_ours(), [[5, 9, 11], [7, 3, 3, 8, 20]]
    theirs = [-token_log_probabilities(model, [1, *ids], window=29).sum() for ids in texts]
    rows = [{"input_ids": [1, *ids], "labels": [1, *ids]} for ids in texts]
    ours = sft.row_losses(model, sft.packed_batches(rows, 7, 1, END))
    assert sorted(ours[:, 0]) == pytest.approx(sorted(theirs), abs=1e-3)


@pytest.mark.parametrize("first", [1, 2])
def test_kept_states_give_the_same_loss_and_gradients(first):
    model = sft.choose(make_ours(), "layers", first=first)
    other = copy.deepcopy(model)
    batches = sft.packed_batches(rows_of(), 13, 2, END)
    for batch, kept in zip(batches, sft.with_states(model, batches, first), strict=True):
        assert kept["states"].shape == (*batch["input_ids"].shape, 84)
        one, two = sft.reply_loss(model, batch), sft.reply_loss(other, kept)
        assert one.item() == pytest.approx(two.item(), abs=1e-5)
        one.backward()
        two.backward()
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None) == (f"blocks.{first}" not in name and
                                                        "blocks.2" not in name)  # fmt: skip
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


def test_trl_flattens_rows_to_our_labels_and_positions():
    rows = rows_of()
    theirs = TrlCollator(pad_token_id=END, padding_free=True)([dict(r) for r in rows])
    (ours,) = sft.packed_batches(rows, 41, 1, END)  # longest first: bring theirs into that order
    longest = sorted(rows, key=lambda r: -len(r["input_ids"]))
    theirs = TrlCollator(pad_token_id=END, padding_free=True)(longest)
    for name in ("input_ids", "labels", "position_ids"):
        assert torch.equal(ours[name], theirs[name]), name
    assert torch.equal(ours["segments"], theirs["seq_idx"] + 1)


# --------------------------------------------------------------------------- what trains


@pytest.mark.parametrize(
    ("method", "first", "pattern"),
    [
        ("full", 0, r"."),
        ("layers", 2, r"blocks\.2\."),
        ("LoRA", 1, r"blocks\.[12]\..*lora_[AB]$"),
        ("adapters", 1, r"blocks\.[12]\..*\.adapter\.(down|up)\.(weight|bias)$"),
    ],
)
def test_only_the_chosen_weights_move(method, first, pattern):
    import re

    model = sft.choose(make_ours(), method, first=first, r=3, bottleneck=5)
    before = {n: w.detach().clone() for n, w in model.named_parameters()}
    batches = sft.packed_batches(rows_of(), 13, 2, END)
    losses = sft.train(model, batches, steps=5, learning_rate=1e-2)
    moved = {n for n, w in model.named_parameters() if not torch.equal(w, before[n])}
    trained = {n for n in before if re.search(pattern, n)}
    assert moved == trained and trained
    assert len(losses) == 5 and not model.training


def test_a_copy_shares_what_lies_below():
    model = make_ours()
    before = {n: w.detach().clone() for n, w in model.named_parameters()}
    other = sft.choose(sft.copy_above(model, 2), "layers", first=2)
    sft.train(other, sft.packed_batches(rows_of(), 13, 2, END), steps=2, learning_rate=1e-2)
    shared = {n for n, w in other.named_parameters() if w is model.get_parameter(n)}
    assert {n for n in before if "blocks.2." in n or n == "stack.norm.weight"} == before.keys() - (
        shared
    )
    assert all(torch.equal(w, before[n]) for n, w in model.named_parameters())


def test_lora_and_adapters_change_nothing_at_first_and_are_repeatable():
    batches = sft.packed_batches(rows_of(), 13, 2, END)
    plain = sft.row_losses(make_ours(), batches)
    for method in ("LoRA", "adapters"):
        seeded = [torch.Generator().manual_seed(7) for _ in range(2)]
        one, two = (sft.choose(make_ours(), method, generator=g) for g in seeded)
        np.testing.assert_allclose(sft.row_losses(one, batches), plain, atol=1e-4)
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_faults_are_refused():
    model = make_ours()
    with pytest.raises(ValueError, match="method must be one of full, layers"):
        sft.choose(model, "head")
    with pytest.raises(ValueError, match="layers cannot begin at layer 3 of 3"):
        sft.choose(model, "layers", first=3)
    with pytest.raises(ValueError, match="full cannot begin at layer 1"):
        sft.choose(model, "full", first=1)
    batches = sft.packed_batches(rows_of(), 13, 2, END)
    half = sft.choose(make_ours().to(torch.bfloat16), "full")
    for wrong in (half, model.requires_grad_(False)):
        with pytest.raises(ValueError, match="must be float32"):
            sft.train(wrong, batches, steps=1, learning_rate=0.1)


# --------------------------------------------------------------------------- the loop


def test_training_learns_and_equals_a_loop_by_hand():
    batches = sft.packed_batches(rows_of(), 13, 5, END)[:1]
    model = sft.choose(make_ours(), "full")
    losses = sft.train(model, batches, steps=7, learning_rate=3e-3, warm_up=0.3)
    assert losses[-1] < losses[0] - 1
    other = sft.choose(make_ours(), "full")
    optimiser = torch.optim.AdamW(other.parameters(), weight_decay=0.0)
    # warm-up over round(0.3 * 7) = 2 steps, then 5 steps from 5/5 down to 1/5
    for share, expected in zip((0.5, 1, 1, 0.8, 0.6, 0.4, 0.2), losses, strict=True):
        optimiser.param_groups[0]["lr"] = 3e-3 * share
        optimiser.zero_grad()
        loss = next_token_loss(packed_logits(other, batches[0]), batches[0]["labels"])
        assert loss.item() == pytest.approx(expected, abs=5e-3)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimiser.step()


def test_the_rate_rises_and_falls():
    rates = [sft.rate_at(i, 11, 0.3) for i in range(11)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1]) and rates[-1] == pytest.approx(1 / 8)
    assert sft.rate_at(0, 1, 0.1) == 1


def test_rounding_to_bfloat16_loses_small_updates():
    batches = sft.packed_batches(rows_of(), 13, 5, END)
    kept, rounded = (sft.choose(make_ours(), "full") for _ in range(2))
    with torch.no_grad():  # both start from numbers that bfloat16 can hold
        for weight in (*kept.parameters(), *rounded.parameters()):
            weight.copy_(weight.bfloat16())
    start = [w.detach().clone() for w in kept.parameters()]
    sft.train(kept, batches, steps=1, learning_rate=1e-5)
    sft.train(rounded, batches, steps=1, learning_rate=1e-5, stored_as=torch.bfloat16)
    shares = [
        np.mean(
            [(a != b).float().mean().item() for a, b in zip(m.parameters(), start, strict=True)]
        )
        for m in (kept, rounded)
    ]
    assert shares[0] > 0.8 and shares[1] < 0.2
    assert all(torch.equal(w, w.bfloat16().float()) for w in rounded.parameters())


# --------------------------------------------------------------------------- replies


class Scripted:
    """A model that continues each prompt with fixed ids, whatever the padding."""

    def __init__(self, script):
        self.script, self.tokens = script, torch.nn.Embedding(97, 5)

    def new_cache(self, batch, length):
        return None

    def __call__(self, ids, *, padding_mask=None, positions=None, cache=None):
        logits = torch.zeros(*ids.shape, 97)
        for i, row in enumerate(ids.tolist()):
            key = next(k for k in self.script if k in row)
            said = len(row) - 1 - row.index(key)
            logits[i, -1, self.script[key][said]] = 1
        return logits


def test_replies_keep_their_order_and_know_whether_they_ended():
    class Builder:
        class tokenizer:
            eos_token_id = END

            @staticmethod
            def decode(ids, **options):
                return " ".join(map(str, ids))

    script = {50: [7, 8, END, END], 60: [9, END, END, END], 70: [5, 5, 5, 5]}
    prompts = [[4, 4, 4, 50], [60], [4, 70]]
    got = sft.replies(Scripted(script), Builder(), prompts, 4, batch_size=2, use_cache=False)
    assert got == [sft.Reply("7 8", True), sft.Reply("9", True), sft.Reply("5 5 5 5", False)]


def test_smollm2_answers_in_a_batch_as_it_does_alone():
    from course_utils.nn.llama import Llama

    folder = assets.path("smollm2-135m-instruct")
    builder = InstructionDatasetBuilder(AutoTokenizer.from_pretrained(folder))
    model = Llama.from_pretrained(folder, pack=False)
    asked = ["What is the capital of France?", "Say hello."]
    prompts = [builder.prompt_ids([{"role": "user", "content": text}]) for text in asked]
    together = sft.replies(model, builder, prompts, 7)
    alone = [sft.replies(model, builder, [prompt], 7)[0] for prompt in prompts]
    assert together == alone and "Paris" in together[0].text
