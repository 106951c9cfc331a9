"""GGUF to a transformers folder: names, row order, dtype, tokenizer, and the real model."""

import json

import numpy as np
import pytest

from course_utils import assets
from course_utils.assets import smollm2
from course_utils.assets.errors import AssetError

LAYERS, HEADS, KV_HEADS, HEAD_WIDTH, FF = 2, 6, 3, 10, 37
WIDTH = HEADS * HEAD_WIDTH
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def llama_cpp_order(weight, heads):
    """The permutation of llama.cpp's convert_hf_to_gguf.py (LlamaModel.permute)."""
    rows = weight.shape[0]
    split = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


def test_unpermute_by_hand():
    """One head of width 4: the file holds rows 0, 2, 1, 3."""
    stored = np.array([[0], [2], [1], [3]])
    assert smollm2.unpermute(stored, heads=1).ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("heads", [HEADS, KV_HEADS])
def test_unpermute_undoes_llama_cpp(heads):
    weight = np.random.default_rng(0).normal(size=(heads * HEAD_WIDTH, 7))
    stored = llama_cpp_order(weight, heads)
    assert not np.array_equal(stored, weight)
    assert np.array_equal(smollm2.unpermute(stored, heads), weight)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.11.ffn_norm.weight", "model.layers.11.post_attention_layernorm.weight"),
        ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"),
    ],
)
def test_names(name, expected):
    assert smollm2.hf_name(name) == expected


@pytest.mark.parametrize("name", ["blk.0.attn_sinks.weight", "rope_freqs.weight", "blk.x.attn_q"])
def test_unknown_tensor_is_refused(name):
    with pytest.raises(ValueError, match="no LLaMA weight"):
        smollm2.hf_name(name)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    """A random LLaMA of 2 layers with a byte-level vocabulary, as llama.cpp would write it."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), "he", "ĊĊ"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    w = GGUFWriter(path, "llama")
    w.add_block_count(LAYERS)
    w.add_context_length(101)
    w.add_embedding_length(WIDTH)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_rope_freq_base(10_007.0)
    w.add_rope_dimension_count(HEAD_WIDTH)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    w.add_token_merges(["h e", "Ċ Ċ"])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_pad_token_id(2)
    w.add_chat_template(TEMPLATE)
    for name, array in weights(len(tokens)).items():
        w.add_tensor(name, array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def weights(vocabulary):
    rng = np.random.default_rng(5)
    kv = KV_HEADS * HEAD_WIDTH
    shapes = {"token_embd": (vocabulary, WIDTH), "output_norm": (WIDTH,)}
    block = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (kv, WIDTH),
        "attn_v": (kv, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (FF, WIDTH),
        "ffn_up": (FF, WIDTH),
        "ffn_down": (WIDTH, FF),
    }
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return {f"{n}.weight": rng.normal(size=s).astype(np.float32) * 0.3 for n, s in shapes.items()}


@pytest.fixture(scope="module")
def converted(gguf_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "model"
    smollm2.convert(gguf_file, folder)
    return folder


def test_conversion_equals_transformers_own_gguf_loader(gguf_file, converted):
    """Outside oracle: the same weights bit for bit after rounding, hence the same logits."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    oracle = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32
    )
    theirs = {n: t.to(torch.bfloat16) for n, t in oracle.state_dict().items()}
    theirs.pop("lm_head.weight")  # tied to the embedding
    ours = load_file(converted / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    model = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.float32)
    oracle.load_state_dict(model.state_dict())
    ids = torch.tensor([[1, 17, 5, 11, 3]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, oracle(ids).logits)


def test_config_of_the_tiny_model(converted):
    found = json.loads((converted / "config.json").read_text())
    assert found["num_key_value_heads"] == KV_HEADS
    assert found["head_dim"] == HEAD_WIDTH
    assert found["rms_norm_eps"] == 1e-5  # 9.999999747e-06 in the file's float32
    assert found["rope_theta"] == 10_007.0
    assert found["tie_word_embeddings"] is True


def test_tokenizer_splits_digits_which_transformers_gguf_loader_does_not(gguf_file, converted):
    from transformers import AutoTokenizer

    ours = AutoTokenizer.from_pretrained(converted)
    theirs = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    assert ours.tokenize("he\n\n20") == ["he", "ĊĊ", "2", "0"]
    assert theirs.tokenize("he\n\n20") == ["he", "Ċ", "Ċ", "2", "0"]
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.chat_template == theirs.chat_template == TEMPLATE
    assert ours.decode(ours("hé 7")["input_ids"]) == "hé 7"
    assert ours("<|im_end|>")["input_ids"] == [2]


def test_absent_gguf_package_is_one_sentence(gguf_file, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(AssetError, match="pip install gguf"):
        smollm2.convert(gguf_file, tmp_path / "x")


def test_missing_field_is_named(gguf_file):
    from gguf import GGUFReader

    with pytest.raises(ValueError, match=r"'llama\.colour'"):
        smollm2._field(GGUFReader(gguf_file), "llama.colour")


def test_full_disk_while_writing_weights_is_an_os_error(gguf_file, monkeypatch, tmp_path):
    """safetensors reports it as its own error, which store.ensure could not tell."""
    import errno

    import safetensors.torch
    from gguf import GGUFReader
    from safetensors import SafetensorError

    reader = GGUFReader(gguf_file)
    config = smollm2.model_config(reader)
    for text, number in (("Os { code: 28, kind: StorageFull }", errno.ENOSPC), ("?", errno.EIO)):

        def fail(*args, text=text, **options):
            raise SafetensorError(f"Error while serializing: IoError({text})")

        monkeypatch.setattr(safetensors.torch, "save_file", fail)
        with pytest.raises(OSError) as caught:
            smollm2._write_weights(reader, config, tmp_path / "w")
        assert caught.value.errno == number


# The real model in the cache.


@pytest.fixture(scope="module")
def folder():
    return assets.path("smollm2-135m-instruct")


def test_real_settings(folder):
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (30, 576)
    assert config["rope_theta"] == 100_000.0
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (2, 2)
    assert (assets.path("smollm2-135m-gguf") / smollm2.GGUF_FILE).stat().st_size == 98_362_432


def test_real_tokenizer(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("a\n\n2024") == ["a", "ĊĊ", "2", "0", "2", "4"]
    messages = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_real_weights_went_through_four_bits(folder):
    """At most 16 values in each block of 32: what every quantisation lesson must know."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        weight = file.get_tensor("model.layers.3.mlp.up_proj.weight").float()
        assert len(list(file.keys())) == 272
    blocks = weight.reshape(-1, 32)[:997]
    assert max(len(block.unique()) for block in blocks) <= 16


def test_real_model_knows_the_capital_of_france(folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**prompt, max_new_tokens=13, do_sample=False)
    answer = out[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
