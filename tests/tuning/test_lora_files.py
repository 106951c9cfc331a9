"""LoRA files: ours load in peft, peft's load in ours, adapters are switched."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny_models import logits_of, make_gpt2, make_ids, make_llama, make_ours

from course_utils.tuning import inject_lora, lora_layers, lora_state, merge_lora, save_lora
from course_utils.tuning.lora_files import load_lora, load_lora_state, read_settings

TARGETS = ["q_proj", "v_proj", "mlp.down_proj"]


def adapted(make=make_llama, targets=TARGETS, seed=3, **options):
    model = inject_lora(make(), targets, **{"r": 5, "alpha": 7} | options)
    generator = torch.Generator().manual_seed(seed)
    for layer in lora_layers(model).values():
        layer.lora_B.data = torch.randn(layer.lora_B.shape, generator=generator) * 0.1
    return model


@pytest.mark.parametrize(
    ("make", "targets", "options"),
    [
        (make_llama, TARGETS, {}),
        (make_llama, r".*\.[qk]_proj", {"rank_stabilised": True}),
        (make_llama, "all-linear", {}),
        (make_gpt2, ["c_attn"], {}),
    ],
    ids=["endings", "expression", "all-linear", "gpt2"],
)
def test_ours_load_in_peft(tmp_path, make, targets, options):
    model, ids = adapted(make, targets, **options), make_ids()
    save_lora(model, tmp_path / "new" / "folder", base_name="tiny")
    theirs = PeftModel.from_pretrained(make(), tmp_path / "new" / "folder")
    torch.testing.assert_close(logits_of(theirs, ids), logits_of(model, ids), rtol=0, atol=1e-6)


@pytest.mark.parametrize("targets", [TARGETS, r".*\.[qk]_proj"], ids=["endings", "expression"])
def test_pefts_load_in_ours(tmp_path, targets):
    ids = make_ids()
    config = LoraConfig(r=5, lora_alpha=7, target_modules=targets, lora_dropout=0.3)
    theirs = get_peft_model(make_llama(), config).eval()
    for name, weight in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    theirs.save_pretrained(tmp_path)
    ours = load_lora(make_llama(), tmp_path).train()  # frozen adapters: dropout is off
    torch.testing.assert_close(logits_of(ours, ids), logits_of(theirs, ids), rtol=0, atol=1e-6)
    assert not any(weight.requires_grad for weight in ours.parameters())
    assert read_settings(tmp_path).dropout == 0.3


def test_there_and_back(tmp_path):
    model, ids = adapted(make_ours, ["attention.qkv"]), make_ids()
    save_lora(model, tmp_path, task=None)
    again = load_lora(make_ours(), tmp_path, trainable=True)
    assert torch.equal(logits_of(again, ids), logits_of(model, ids))
    assert again.lora_settings == model.lora_settings
    trained = {n.rpartition(".")[2] for n, w in again.named_parameters() if w.requires_grad}
    assert trained == {"lora_A", "lora_B"}


def test_the_files_hold_only_the_corrections(tmp_path):
    save_lora(adapted(), tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 3 * 3 * 2
    name = "base_model.model.model.layers.2.mlp.down_proj.lora_A.weight"
    assert tensors[name].shape == (5, 37)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_adapters_are_switched_on_one_model():
    ids, model = make_ids(), adapted(seed=1)
    one, one_says = lora_state(model), logits_of(model, ids)
    other = adapted(seed=2)
    load_lora_state(model, lora_state(other))
    assert torch.equal(logits_of(model, ids), logits_of(other, ids))
    load_lora_state(model, one)
    assert torch.equal(logits_of(model, ids), one_says)
    merge_lora(model, keep=True)
    with pytest.raises(ValueError, match="merged"):
        load_lora_state(model, one)


def test_wrong_files_are_refused(tmp_path):
    save_lora(adapted(), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for change, words in (
        ({"peft_type": "IA3"}, "IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"r": 3}, "18 weights do not fit"),
        ({"target_modules": ["q_proj"]}, "12 weights do not fit"),
        ({"target_modules": ["attention.qkv"]}, "no linear layer"),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=words):
            load_lora(make_llama(), tmp_path)
    with pytest.raises(ValueError, match="no LoRA layers"):
        save_lora(make_llama(), tmp_path)
