"""Prompt tuning: a prompt made of tokens is that text, only it trains, peft as oracle."""

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from tiny_models import logits_of, make_ids, make_llama, make_ours
from torch import nn

from course_utils.nn.counting import count_parameters
from course_utils.nn.generation import generate
from course_utils.tuning.prompt_tuning import (
    PromptTuned,
    SoftPrompt,
    embedding_table,
    nearest_tokens,
)

WORDS = [3, 17, 59, 5, 83, 41, 2]  # P = 7
models = pytest.mark.parametrize("make", [make_ours, make_llama], ids=["ours", "llama"])
# float32 through three layers, logits of size about 20
CLOSE = {"rtol": 0, "atol": 2e-4}


def in_front(ids):
    """The same ids with WORDS before each row."""
    return torch.cat([torch.tensor(WORDS).expand(len(ids), -1), ids], dim=1)


def test_vectors_stand_in_front_by_hand():
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    prompt = SoftPrompt.from_tokens(table, [2, 0])
    assert prompt(torch.tensor([[[9.0, 9.0]]])).tolist() == [[[5.0, 6.0], [1.0, 2.0], [9.0, 9.0]]]


@models
def test_a_prompt_of_tokens_is_that_text(make):
    ids, model = make_ids(), make()
    expected = logits_of(model, in_front(ids))[:, len(WORDS) :]
    tuned = PromptTuned(model, WORDS)
    torch.testing.assert_close(logits_of(tuned, ids), expected, **CLOSE)


@models
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(make, side):
    ids, tuned = make_ids(2, 11), PromptTuned(make(), WORDS)
    alone = logits_of(tuned, ids[:1, :6])
    mask = torch.ones(2, 11, dtype=torch.long)
    if side == "left":
        ids[0, 5:], ids[0, :5] = ids[0, :6].clone(), 0
        mask[0, :5], seen = 0, slice(5, 11)
    else:
        mask[0, 6:], seen = 0, slice(0, 6)
    with torch.no_grad():
        padded = tuned(ids, padding_mask=mask)
    torch.testing.assert_close(padded[:1, seen], alone, **CLOSE)


@models
def test_only_the_prompt_trains(make):
    ids, model = make_ids(), make()
    frozen = {n: w.clone() for n, w in model.named_parameters()}
    tuned = PromptTuned(model, 5)
    assert count_parameters(tuned, trainable=True) == 5 * 84
    optimiser = torch.optim.AdamW([w for w in tuned.parameters() if w.requires_grad], lr=0.3)
    losses = []
    for _ in range(10):
        logits = tuned(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    assert all(torch.equal(w, frozen[n]) for n, w in model.named_parameters())


def test_logits_and_gradients_equal_peft():
    ids, model = make_ids(), make_llama()
    tuned = PromptTuned(make_llama(), WORDS)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(WORDS))
    theirs = get_peft_model(model, config)
    vectors = theirs.prompt_encoder["default"].embedding.weight
    assert vectors.shape == tuned.prompt.vectors.shape
    assert theirs.get_nb_trainable_parameters()[0] == count_parameters(tuned, trainable=True)
    vectors.data = tuned.prompt.vectors.detach().clone()
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    mine = tuned(ids, padding_mask=mask)
    other = theirs(input_ids=ids, attention_mask=mask).logits[:, len(WORDS) :]
    real = mask.bool()
    torch.testing.assert_close(mine[real], other[real], rtol=0, atol=1e-5)
    for logits in (mine, other):
        logits[real].square().mean().backward()
    torch.testing.assert_close(tuned.prompt.vectors.grad, vectors.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cached", [True, False])
def test_generation_continues_prompt_and_text(cached):
    ids, model = make_ids(3, 5), make_ours()
    expected = generate(model, in_front(ids), 6)[:, len(WORDS) :]
    assert torch.equal(generate(PromptTuned(model, WORDS), ids, 6, use_cache=cached), expected)


def test_random_first_values_are_rows_of_the_table():
    table = embedding_table(make_llama())
    prompt = SoftPrompt.from_vocabulary(table, 11, torch.Generator().manual_seed(0))
    again = SoftPrompt.from_vocabulary(table, 11, torch.Generator().manual_seed(0))
    assert torch.equal(prompt.vectors, again.vectors)
    nearest = [near[0] for near in nearest_tokens(prompt, table, 2)]
    assert torch.equal(table[nearest], prompt.vectors)
    assert len(set(nearest)) > 7


def test_faults_are_refused(ours):
    with pytest.raises(ValueError, match="P >= 1"):
        SoftPrompt(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="3 wide, the model 84"):
        PromptTuned(ours, SoftPrompt(torch.zeros(2, 3)))
    with pytest.raises(TypeError, match="Linear"):
        PromptTuned(nn.Linear(2, 3), 2)
    with pytest.raises(ValueError, match="positions"):
        PromptTuned(ours, 2)(make_ids(), positions=torch.arange(11))
