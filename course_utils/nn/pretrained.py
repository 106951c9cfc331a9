"""Chapter 4 - Your own models: keep what a lesson has trained, load it in another.

A model lies in the course's folder on your machine (``config.course_home() / "trained"``), as
four small files: weights, recipe, tokenizer, and a note on how it was made.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from course_utils import config
from course_utils.nn.blocks import Recipe
from course_utils.nn.families import Decoder
from course_utils.nn.gpt import GPT2
from course_utils.text.tokenization import BPETokenizer

END_OF_TEXT = "<|endoftext|>"
# which notebook makes which model, for the sentence that a missing one gets
MADE_BY = {"wikipedia-gpt": "notebooks/04_llms/05_pretraining.ipynb"}


@dataclass(frozen=True)
class Pretrained:
    """A model that was trained here, its tokenizer, and what is known about it."""

    model: Decoder
    tokenizer: BPETokenizer
    notes: dict[str, Any]

    @property
    def end_id(self) -> int:
        """The id that ends a text, and starts one."""
        return self.tokenizer.special_tokens[END_OF_TEXT]


def folder(name: str) -> Path:
    """Where a model of this name lies, or would lie.

    Raises:
        ValueError: a name with anything but letters, digits, ``-``, ``_`` and ``.``.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ValueError(f"a model's name has letters, digits, - _ . only; got {name!r}")
    return config.course_home() / "trained" / name


def save(
    name: str, model: Decoder, tokenizer: BPETokenizer, notes: Mapping[str, Any] | None = None
) -> Path:
    """Store a trained decoder with its tokenizer; a model of the same name is replaced.

    Args:
        model: a GPT-2 of ours; weights go to disk in float32.
        tokenizer: with the special token ``<|endoftext|>``.
        notes: what later users should know: data, tokens seen, loss (JSON values).

    Returns:
        the folder. It appears whole or not at all.
    """
    from safetensors.torch import save_file

    if END_OF_TEXT not in tokenizer.special_tokens:
        raise ValueError(f"the tokenizer has no special token {END_OF_TEXT}")
    target = folder(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=target.parent) as draft:
        place = Path(draft) / "new"
        place.mkdir()
        tensors = {k: v.detach().float().cpu() for k, v in model.state_dict().items()}
        save_file(tensors, place / "model.safetensors")
        tokenizer.save(place / "tokenizer.json")
        _write(place / "recipe.json", dataclasses.asdict(model.recipe))
        _write(place / "notes.json", dict(notes or {}))
        if target.exists():
            target.rename(Path(draft) / "old")
        place.rename(target)
    return target


def load(name: str) -> Pretrained:
    """A model that :func:`save` stored, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: it was never trained here; the sentence says what trains it.
    """
    from safetensors.torch import load_file

    place = folder(name)
    if not place.is_dir():
        maker = MADE_BY.get(name)
        advice = f": run {maker} once" if maker else ""
        known = ", ".join(names()) or "none"
        raise FileNotFoundError(
            f"no model called {name!r} was trained on this machine{advice}. There are: {known}."
        )
    recipe = Recipe(**json.loads((place / "recipe.json").read_text(encoding="utf-8")))
    with torch.device("meta"):
        model = GPT2(recipe)
    model.load_state_dict(load_file(place / "model.safetensors"), assign=True)
    notes = json.loads((place / "notes.json").read_text(encoding="utf-8"))
    return Pretrained(model.eval(), BPETokenizer.load(place / "tokenizer.json"), notes)


def names() -> list[str]:
    """The models on this machine."""
    root = config.course_home() / "trained"
    return sorted(p.name for p in root.glob("[!.]*") if (p / "recipe.json").is_file())


def forget(name: str) -> None:
    """Delete a model, if it is there."""
    shutil.rmtree(folder(name), ignore_errors=True)


def _write(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
