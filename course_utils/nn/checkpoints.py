"""Chapter 4 - Checkpoints: published weights into our own modules.

A checkpoint is a folder with ``config.json`` (sizes) and ``model.safetensors`` (named tensors).
Loading one is a table of names: ours on the left, theirs on the right. Where we fuse matrices
(query, key and value) several of theirs are stacked into one of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rule:
    """One line of a name table.

    Args:
        ours: name of our weight; ``{i}`` stands for the number of each layer.
        theirs: names of the published tensors; several are stacked along their first axis.
        transpose: the published matrix is stored (in, out), as GPT-2's ``Conv1D`` does.
    """

    ours: str
    theirs: tuple[str, ...]
    transpose: bool = False

    def make(self, tensors: Mapping[str, Tensor], layer: int) -> tuple[str, Tensor, list[str]]:
        """Our name, our tensor, and the published names that went into it."""
        names = [name.format(i=layer) for name in self.theirs]
        parts = [tensors[name].T if self.transpose else tensors[name] for name in names]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=0)
        return self.ours.format(i=layer), joined, names


def read_config(path: str | Path) -> dict:
    """The sizes of a checkpoint, from ``config.json`` in its folder.

    Raises:
        FileNotFoundError: the folder holds no such file.
    """
    file = Path(path) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"a checkpoint is a folder with config.json; there is none in {path}"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, from one safetensors file or several with an index.

    The files are memory-mapped: a tensor's bytes are read when it is first used.

    Raises:
        FileNotFoundError: the folder holds neither form.
    """
    from safetensors.torch import load_file

    folder = Path(path)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return load_file(single)
    if not index.is_file():
        raise FileNotFoundError(f"expected model.safetensors (or its index) in {path}")
    places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        tensors |= load_file(folder / name)
    return tensors


def without_prefix(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Tensors under their bare names: published files may or may not say ``bert.`` in front."""
    pattern = re.compile("|".join(f"^{re.escape(prefix)}" for prefix in prefixes))
    return {pattern.sub("", name): tensor for name, tensor in tensors.items()}


def translate(
    tensors: Mapping[str, Tensor], rules: Iterable[Rule], layers: int, ignore: str = r"(?!)"
) -> dict[str, Tensor]:
    """Published tensors under our names.

    Args:
        tensors: published names and tensors.
        rules: the table; a rule with ``{i}`` is used once for each of ``layers``.
        ignore: regular expression for published names that we do not need.

    Raises:
        ValueError: a tensor of the table is missing, or one of theirs was not used: weights that
            are left out silently give a model that runs and is wrong.
    """
    made: dict[str, Tensor] = {}
    used: set[str] = set()
    try:
        for rule in rules:
            for layer in range(layers if "{i}" in rule.ours else 1):
                name, tensor, sources = rule.make(tensors, layer)
                made[name] = tensor
                used.update(sources)
    except KeyError as error:
        some = ", ".join(sorted(tensors)[:5])
        raise ValueError(f"the checkpoint has no tensor {error}; it begins with {some}") from None
    left = sorted(name for name in tensors if name not in used and not re.search(ignore, name))
    if left:
        raise ValueError(f"{len(left)} tensors of the checkpoint are not used: {left[:5]}")
    return made


def fill(model: nn.Module, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Put translated weights into a model built on the meta device, in evaluation mode.

    Float32 matrices that widen their input are stored column by column. Their shape and values
    stay the same, but a product with one row (a decoding step) then runs along the memory, about
    twice as fast as across it.

    Raises:
        ValueError: names or shapes do not fit the model; every difference is listed.
    """
    expected = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    got = {name: tuple(w.shape) for name, w in weights.items()}
    wrong = sorted(n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n))
    if wrong:
        lines = [f"{n}: model {expected.get(n)}, file {got.get(n)}" for n in wrong[:5]]
        raise ValueError(f"{len(wrong)} weights do not fit: " + "; ".join(lines))
    laid_out = {name: _own(tensor, dtype) for name, tensor in weights.items()}
    model.load_state_dict(laid_out, assign=True)
    model.eval()


def _own(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in this dtype, laid out for decoding, in memory that nobody else writes to."""
    weight = tensor.detach().to(dtype)
    widens = weight.dim() == 2 and weight.shape[0] > weight.shape[1]
    if widens and dtype == torch.float32 and weight.device.type == "cpu":
        return weight.t().contiguous().t()  # same (out, in) matrix, columns adjacent in memory
    weight = weight.contiguous()
    return weight.clone() if weight.data_ptr() == tensor.data_ptr() else weight
