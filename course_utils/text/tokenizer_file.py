"""Chapter 1 – The ``tokenizer.json`` format: how byte-level BPE tokenizers are exchanged.

Byte strings are spelled in GPT-2's printable alphabet (a space is ``Ġ``), merges as pairs of
spellings, and the pre-tokenization as a small tree. What would change the ids and is not
understood here is refused, since a tokenizer that is nearly right ruins a model silently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from course_utils.text.bpe_training import ALPHABET, Pair
from course_utils.text.pretokenization import BYTE_LEVEL_PLAIN, PreTokenizer

_TO_BYTE = {character: byte for byte, character in enumerate(ALPHABET)}
# options that change the ids and are not implemented here
_MODEL_REFUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
_TOKEN_REFUSED = ("single_word", "lstrip", "rstrip")


def to_printable(spelling: bytes) -> str:
    """A byte string in GPT-2's alphabet.

    >>> to_printable(" né".encode())
    'ĠnÃ©'
    """
    return "".join(ALPHABET[byte] for byte in spelling)


def from_printable(text: str) -> bytes:
    """The byte string behind a spelling in GPT-2's alphabet; other characters become UTF-8."""
    if all(character in _TO_BYTE for character in text):
        return bytes(_TO_BYTE[character] for character in text)
    return text.encode()


def write_dict(
    tokens: Mapping[int, bytes],
    merges: Sequence[Pair],
    special_tokens: Mapping[str, int],
    pre_tokenizer: dict,
    unknown: tuple[int, bool] | None,
    whole_pieces: bool,
) -> dict:
    """The content of a ``tokenizer.json``; arguments as for ``BPETokenizer``."""
    vocabulary = {to_printable(tokens[i]): i for i in sorted(tokens)} | dict(special_tokens)
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None if unknown is None else _name_of(vocabulary, unknown[0]),
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unknown is not None and unknown[1],
        "byte_fallback": False,
        "ignore_merges": whole_pieces,
        "vocab": vocabulary,
        "merges": [[to_printable(tokens[a]), to_printable(tokens[b])] for a, b in merges],
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(text, i) for text, i in special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": dict(BYTE_LEVEL_PLAIN),
        "model": model,
    }


def read_parts(path: Path) -> dict:
    """Read a byte-level BPE file into the arguments of ``BPETokenizer``.

    Raises:
        ValueError: if the file is something else, or needs what is not understood here.
    """
    path = path / "tokenizer.json" if path.is_dir() else path
    content = _parse(path)
    model = content["model"]
    _refuse_unknown(path, content, model)
    added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or ()}
    vocabulary = model["vocab"]
    tokens = {i: from_printable(text) for text, i in vocabulary.items() if text not in added}
    return {
        "tokens": tokens,
        "merges": [_merge_ids(entry, vocabulary) for entry in model["merges"]],
        "special_tokens": added,
        "pre_tokenizer": PreTokenizer(content.get("pre_tokenizer")),
        "unknown": _unknown(model, vocabulary),
        "whole_pieces": bool(model.get("ignore_merges")),
    }


def _parse(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a tokenizer file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError(f"{path.name} is not a tokenizer file: it has no model")
    return content


def _refuse_unknown(path: Path, content: dict, model: dict) -> None:
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise ValueError(f"{path.name} holds a {model.get('type')} model, expected BPE with merges")
    if content.get("normalizer") is not None:
        kind = content["normalizer"].get("type")
        raise ValueError(f"{path.name} normalises text ({kind}); byte-level BPE here does not")
    used = [option for option in _MODEL_REFUSED if model.get(option)]
    if used:
        raise ValueError(f"{path.name} sets {', '.join(used)}, which is not implemented here")
    for entry in content.get("added_tokens") or ():
        if odd := [option for option in _TOKEN_REFUSED if entry.get(option)]:
            raise ValueError(f"added token {entry['content']!r} sets {odd}, not implemented here")


def _merge_ids(entry: str | list[str], vocabulary: Mapping[str, int]) -> Pair:
    """A merge is ``"a b"`` in older files and ``["a", "b"]`` in newer ones."""
    left, right = entry.split(" ") if isinstance(entry, str) else entry
    try:
        return vocabulary[left], vocabulary[right]
    except KeyError as error:
        raise ValueError(f"merge {entry!r} uses a token outside the vocabulary") from error


def _unknown(model: dict, vocabulary: Mapping[str, int]) -> tuple[int, bool] | None:
    name = model.get("unk_token")
    return None if name is None else (vocabulary[name], bool(model.get("fuse_unk")))


def _name_of(vocabulary: Mapping[str, int], number: int) -> str:
    return next(text for text, i in vocabulary.items() if i == number)


def _added(text: str, number: int) -> dict:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text} | flags | {"special": True}
