"""Objectives, corruption, first weights, scaling laws, own models: hand, statistics, oracles."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

from course_utils import config
from course_utils.nn import pretrained
from course_utils.nn.pretraining import (
    IGNORED,
    MaskedModel,
    bits_per_byte,
    causal_loss,
    corrupt,
    masked_loss,
    new_gpt,
    stream_loss,
)
from course_utils.nn.scaling import bootstrap_power_law, fit_power_law
from course_utils.text.tokenization import BPETokenizer


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def test_causal_loss_is_the_sum_over_shifted_targets():
    def model(ids):  # always sure that the next token is id + 1, with probability 3/4
        logits = torch.zeros(*ids.shape, 7)
        return logits.scatter(2, (ids[..., None] + 1) % 7, math.log(18.0))  # 18 / (18 + 6)

    loss, count = causal_loss(model, torch.tensor([[1, 2, 3, 5]]))
    assert count == 3
    assert loss.item() == pytest.approx(-2 * math.log(3 / 4) - math.log(1 / 24), rel=1e-6)


def test_a_new_model_knows_nothing_and_its_weights_have_their_sizes():
    model = new_gpt(53, 24, 3, 2, 13, generator=seeded())
    rows = torch.randint(53, (5, 14), generator=seeded(1))
    loss, count = causal_loss(model, rows)
    assert loss.item() / count == pytest.approx(math.log(53), abs=0.35)
    deviations = {n: w.std().item() for n, w in model.named_parameters() if w.dim() > 1}
    for name, value in deviations.items():
        writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
        expected = 0.7 / math.sqrt(24 * (6 if writes else 1))
        assert value == pytest.approx(expected, rel=0.15), name
    assert all((w == 0).all() for n, w in model.named_parameters() if n.endswith("bias"))


def test_corruption_has_bert_s_shares():
    ids = torch.randint(5, 97, (211, 101), generator=seeded(1))
    inputs, labels = corrupt(ids, 3, 97, share=0.15, generator=seeded(2))
    chosen = labels != IGNORED
    n = ids.numel()
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=4 * math.sqrt(0.1275 / n))
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    k = int(chosen.sum())
    hidden = (inputs[chosen] == 3).float().mean().item()
    kept = (inputs[chosen] == ids[chosen]).float().mean().item()
    # a random word is the old one (or the mask's id) once in 97: 0.1 / 97
    assert hidden == pytest.approx(0.8 + 0.1 / 97, abs=4 * math.sqrt(0.16 / k))
    assert kept == pytest.approx(0.1 + 0.1 / 97, abs=4 * math.sqrt(0.09 / k))


def test_corruption_has_the_same_shares_as_transformers(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(92))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3, seed=1)
    ids = torch.randint(5, 97, (151, 103), generator=seeded(1))
    batch = collator([{"input_ids": row.tolist()} for row in ids])
    ours = corrupt(ids, 4, 97, share=0.3, generator=seeded(2))

    def shares(inputs, labels):
        chosen = labels != -100
        hidden, kept = (inputs == 4)[chosen], (inputs == ids)[chosen]
        return torch.stack([chosen.float().mean(), hidden.float().mean(), kept.float().mean()])

    # 4,700 chosen tokens: a share of 0.8 has a deviation of 0.006, the difference one of 0.008
    torch.testing.assert_close(
        shares(*ours), shares(batch["input_ids"], batch["labels"]), rtol=0, atol=0.03
    )


def test_kept_ids_are_never_chosen_and_input_is_untouched():
    ids = torch.tensor([[7, 0, 8, 0, 9]]).repeat(300, 1)
    before = ids.clone()
    inputs, labels = corrupt(ids, 3, 11, share=1.0, keep_ids=(0,), generator=seeded())
    assert torch.equal(ids, before)
    assert (inputs[:, [1, 3]] == 0).all()
    assert (labels[:, [1, 3]] == IGNORED).all()
    assert (labels[:, [0, 2, 4]] != IGNORED).all()
    with pytest.raises(ValueError, match="share"):
        corrupt(ids, 3, 11, share=0.0)


def test_masked_loss_is_cross_entropy_at_the_chosen_places():
    model = MaskedModel(37, 12, 2, 3, 17, generator=seeded())
    rows = torch.randint(1, 35, (5, 18), generator=seeded(1))
    loss, count = masked_loss(36, 35, share=0.4, end_id=0)(model, rows, seeded(2))
    inputs, labels = corrupt(rows[:, :-1], 36, 35, share=0.4, keep_ids=(0,), generator=seeded(2))
    whole = F.cross_entropy(model(inputs).flatten(0, 1), labels.flatten(), reduction="sum")
    assert count == int((labels != IGNORED).sum())
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)  # other order of sums


def test_the_masked_model_sees_both_sides_and_the_gpt_only_the_left():
    ids = torch.randint(1, 35, (1, 13), generator=seeded(1))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 35
    both = MaskedModel(37, 12, 2, 3, 17, generator=seeded())
    left = new_gpt(37, 12, 2, 3, 17, generator=seeded())
    with torch.no_grad():
        assert not torch.equal(both(ids)[0, 3], both(other)[0, 3])
        assert torch.equal(left(ids)[0, :-1], left(other)[0, :-1])


def test_stream_loss_is_the_mean_over_all_rows_and_keeps_the_mode():
    model = new_gpt(29, 12, 1, 3, 7, generator=seeded())
    stream = torch.randint(29, (101,), generator=seeded(1))
    rows = stream[: 14 * 7 + 1].unfold(0, 8, 7)
    loss, count = causal_loss(model, rows)
    model.train()
    value = stream_loss(model, stream, 7, batch_size=3)
    assert value == pytest.approx(loss.item() / count, rel=1e-6)
    assert model.training


def test_bits_per_byte_by_hand():
    assert bits_per_byte(8 * math.log(2), 4) == pytest.approx(2)  # 8 bits over 4 bytes
    with pytest.raises(ValueError, match="at least one byte"):
        bits_per_byte(1.0, 0)


def test_power_law_is_found_again():
    sizes = np.array([3.0, 11.0, 47.0, 211.0])
    losses = 1.5 + (7.0 / sizes) ** 0.3
    law = fit_power_law(sizes, losses, floor=1.5)
    assert law.exponent == pytest.approx(0.3, rel=1e-9)
    assert law.scale == pytest.approx(7.0, rel=1e-9)
    assert law(1000.0) == pytest.approx(1.5 + 0.007**0.3, rel=1e-9)
    assert fit_power_law(sizes, losses).exponent < 0.3  # a floor ignored flattens the line


@pytest.mark.parametrize(
    ("sizes", "losses", "floor", "message"),
    [([2, 2], [1, 1], 0, "two sizes"), ([2, 3], [1, 2], 1, "at or below the floor")],
)
def test_power_law_refuses_what_it_cannot_fit(sizes, losses, floor, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(sizes, losses, floor=floor)


def test_bootstrap_covers_the_true_exponent_and_widens_with_noise():
    rng = np.random.default_rng(1)
    sizes, weights = np.array([3.0, 11.0, 47.0, 211.0]), rng.integers(50, 150, 23)
    true = (7.0 / sizes) ** 0.2

    def spread(noise):
        losses = true[:, None, None] * weights * (1 + noise * rng.normal(size=(4, 2, 23)))
        laws = bootstrap_power_law(sizes, losses, weights, resamples=200)
        return np.quantile([law.exponent for law in laws], [0.025, 0.975])

    low, high = spread(0.02)
    assert low < 0.2 < high
    wide = spread(0.1)
    assert wide[1] - wide[0] > high - low


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    assert config.course_home() == tmp_path
    return tmp_path


@pytest.fixture
def tokenizer():
    return BPETokenizer.train(["a rose is a rose"], 263, [pretrained.END_OF_TEXT])


def test_an_own_model_comes_back_as_it_was(home, tokenizer):
    model = new_gpt(tokenizer.vocab_size, 12, 2, 3, 7, generator=seeded())
    pretrained.save("my-gpt", model, tokenizer, {"tokens": 41})
    found = pretrained.load("my-gpt")
    ids = torch.tensor([tokenizer.encode("a rose")])
    with torch.no_grad():
        assert torch.equal(found.model(ids), model(ids))
    assert found.tokenizer.encode("a rose") == ids[0].tolist()
    assert found.end_id == tokenizer.special_tokens[pretrained.END_OF_TEXT]
    assert found.notes == {"tokens": 41}
    assert not found.model.training
    assert pretrained.names() == ["my-gpt"]


def test_a_model_of_the_same_name_is_replaced_without_leftovers(home, tokenizer):
    for tokens in (1, 2):
        model = new_gpt(tokenizer.vocab_size, 12, 1, 3, 7)
        place = pretrained.save("my-gpt", model, tokenizer, {"tokens": tokens})
    assert pretrained.load("my-gpt").notes == {"tokens": 2}
    assert list(place.parent.iterdir()) == [place]
    pretrained.forget("my-gpt")
    assert pretrained.names() == []


def test_a_missing_model_says_what_makes_it(home):
    with pytest.raises(FileNotFoundError, match=r"run notebooks/04_llms/05_pretraining\.ipynb"):
        pretrained.load("wikipedia-gpt")
    with pytest.raises(ValueError, match="letters, digits"):
        pretrained.folder("../elsewhere")


def test_a_tokenizer_without_an_end_is_refused(home):
    plain = BPETokenizer.train(["a rose"], 258)
    with pytest.raises(ValueError, match="no special token"):
        pretrained.save("my-gpt", new_gpt(258, 12, 1, 3, 7), plain)
