"""Fine-tuners: the documents' usage on a tiny model that really trains, stores and loads."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from course_utils import assets
from course_utils.tuning.lora_finetuner import LoRAFineTuner, QLoRAFineTuner
from course_utils.tuning.packing import collate

TUNERS = [LoRAFineTuner, QLoRAFineTuner]
tuners = pytest.mark.parametrize("kind", TUNERS)
# as the documents write them, with their role names
CONVERSATIONS = [
    [
        {"role": "human", "content": "What is machine learning?"},
        {"role": "assistant", "content": "It learns from data."},
    ],
    [
        {"role": "human", "content": "How do neural networks work?"},
        {"role": "assistant", "content": "By layers of sums."},
    ],
]
# float32, two layers, logits of size about 5; the merged product is summed in another order
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module", autouse=True)
def one_tokenizer():
    """Each tuner loads its tokenizer, half a second each time; here they share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoTokenizer, "from_pretrained", cache(AutoTokenizer.from_pretrained))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random LLaMA with SmolLM2's tokenizer; 96 is no multiple of NF4's blocks of 64."""
    path = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=TUNERS, ids=["LoRA", "QLoRA"])
def trained(request, folder, tmp_path_factory):
    """(kind, tuner, data, losses, folder of the adapter): trained once for several tests."""
    tuner = request.param(folder)
    tuner.setup_lora_model()
    data = tuner.prepare_dataset(CONVERSATIONS)
    before = tuner.evaluate(data)
    out = tmp_path_factory.mktemp("adapter")
    losses = tuner.fine_tune(data, out, epochs=8, learning_rate=2e-2, batch_size=2)
    return request.param, tuner, data, before, losses, out


def logits(tuner, data):
    batch = collate([data[0], data[1]], tuner.pad_id)
    with torch.no_grad():
        return tuner.model.eval()(**batch).logits


def test_training_lowers_the_loss(trained):
    _, tuner, data, before, losses, _ = trained
    assert len(losses) == 8
    assert losses[0] == pytest.approx(before["loss"], rel=0.05)  # dropout 0.05 apart
    after = tuner.evaluate(data)
    assert after["loss"] < 0.9 * before["loss"]
    assert after["perplexity"] == pytest.approx(torch.tensor(after["loss"]).exp().item(), rel=1e-5)


def test_the_adapter_loads_again_with_the_same_logits(trained, folder):
    kind, tuner, data, _, _, out = trained
    again = kind(folder)
    again.load_adapter(out)
    assert torch.equal(logits(again, data), logits(tuner, data))
    names = {path.name for path in out.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names


def test_merging_keeps_the_logits_and_leaves_a_plain_model(trained, folder):
    kind, tuner, data, _, _, out = trained
    again = kind(folder)
    again.load_adapter(out)
    merged = again.merge()
    assert type(merged) is LlamaForCausalLM
    torch.testing.assert_close(logits(again, data), logits(tuner, data), **CLOSE)
    plain = {type(m) for m in merged.modules() if "Linear" in type(m).__name__}
    assert plain == {torch.nn.Linear}


def test_a_response_is_new_text_only(trained):
    _, tuner, _, _, _, _ = trained
    question = "What is machine learning?"
    said = tuner.generate_response(question, 5)
    assert question not in said and "assistant" not in said
    assert len(tuner.generate_response(question, 2)) < len(tuner.generate_response(question, 4))
    assert said == tuner.generate_response(f"Human: {question}\nAssistant:", 5)
    assert said == tuner.generate_response([{"role": "user", "content": question}], 5)
    sampled = tuner.generate_response(question, 5, temperature=5.0)
    assert sampled == tuner.generate_response(question, 5, temperature=5.0)


def test_the_reply_is_learned_with_its_end(folder, tmp_path):
    tuner = LoRAFineTuner(folder)
    tuner.setup_lora_model(
        LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
    )
    data = tuner.prepare_dataset(CONVERSATIONS[:1])
    tuner.fine_tune(data, tmp_path, max_steps=25, learning_rate=3e-2)
    assert tuner.generate_response("What is machine learning?", 30) == "It learns from data."


@tuners
def test_gradients_reach_the_first_layer_after_an_evaluation(folder, kind):
    """bitsandbytes repacks 4-bit weights when they answer; packed ones have no backward pass."""
    tuner = kind(folder)
    tuner.setup_lora_model()
    data = tuner.prepare_dataset(CONVERSATIONS)
    first = tuner.evaluate(data)
    tuner.model.train()
    tuner.model(**collate([data[0]], tuner.pad_id)).loss.backward()
    gradients = {n: w.grad for n, w in tuner.model.named_parameters() if "layers.0" in n}
    assert all(gradients[n].abs().max() > 0 for n in gradients if "lora_B" in n)
    assert tuner.evaluate(data) == first


def test_default_targets_and_counts(folder):
    lora, qlora = LoRAFineTuner(folder), QLoRAFineTuner(folder)
    lora.setup_lora_model()
    qlora.setup_quantized_model()
    # queries 64 -> 64, values 64 -> 32, rank 8, two layers
    assert lora.parameter_counts()[0] == 2 * 8 * (64 + 64 + 64 + 32)
    # and keys, output, gate, up (64 -> 96), down
    every = 2 * 8 * ((64 + 64) * 2 + (64 + 32) * 2 + (64 + 96) * 3)
    assert qlora.parameter_counts()[0] == every
    whole = sum(w.numel() for w in LlamaForCausalLM.from_pretrained(folder).parameters())
    assert lora.parameter_counts()[1] == whole + lora.parameter_counts()[0]
    assert qlora.parameter_counts()[1] == whole + every
    assert {w.dtype for w in qlora.model.parameters() if w.requires_grad} == {torch.float32}


def test_the_quantised_layers_are_nf4_with_double_quantisation(folder):
    tuner = QLoRAFineTuner(folder)
    model = tuner.setup_quantized_model()
    states = [w.quant_state for w in model.parameters() if type(w).__name__ == "Params4bit"]
    assert len(states) == 2 * 7
    assert all(state.quant_type == "nf4" and state.nested for state in states)


def test_checkpointing_changes_no_gradient(folder):
    gradients = []
    for checkpointing in (False, True):
        tuner = QLoRAFineTuner(folder, checkpointing=checkpointing)
        config = LoraConfig(task_type="CAUSAL_LM", r=3, target_modules=["q_proj"])
        model = tuner.setup_quantized_model(config).train()
        data = tuner.prepare_dataset(CONVERSATIONS)
        model(**collate([data[0]], tuner.pad_id)).loss.backward()
        gradients.append([w.grad for w in model.parameters() if w.requires_grad])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_labels_are_the_replies_only(folder):
    tuner = LoRAFineTuner(folder)
    data = tuner.prepare_dataset(CONVERSATIONS)
    assert isinstance(data, Dataset) and len(data) == 2
    learned = [[label for label in row if label != -100] for row in data["labels"]]
    assert tuner.tokenizer.batch_decode(learned) == [
        "It learns from data.<|im_end|>",
        "By layers of sums.<|im_end|>",
    ]


def test_faults_are_refused(folder):
    tuner = LoRAFineTuner(folder)
    with pytest.raises(RuntimeError, match="setup_lora_model"):
        tuner.generate_response("Hi")
    with pytest.raises(ValueError, match="'tutor'"):
        tuner.prepare_dataset([[{"role": "tutor", "content": "Hi"}]])
    model = SimpleNamespace(config=SimpleNamespace(model_type="unheard-of"))
    with pytest.raises(ValueError, match="no default targets for 'unheard-of'"):
        tuner.default_config(model)
