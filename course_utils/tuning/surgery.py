"""Chapter 4 - Surgery: find layers of a model by name, exchange them, choose what trains.

LoRA, adapters and 4-bit weights all do the same three things to a finished model: pick layers by
their names, put something else in their place, and freeze the rest.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

ALL_LINEAR = "all-linear"
Targets = str | Sequence[str]


def is_matrix(layer: nn.Module) -> bool:
    """Whether a layer multiplies by one matrix: ``nn.Linear`` or GPT-2's transposed ``Conv1D``."""
    return isinstance(layer, nn.Linear) or type(layer).__name__ in {"Conv1D", "NF4Linear"}


def find_layers(model: nn.Module, targets: Targets) -> dict[str, nn.Module]:
    """The matrix layers that a pattern names, under their full names, in the model's order.

    Args:
        model: any module.
        targets: a list of name endings, cut at dots as in peft (``["q_proj", "mlp.down_proj"]``);
            or one regular expression that fits the whole name; or ``"all-linear"``: every matrix
            but the output layer.

    Raises:
        ValueError: nothing, or one ending of the list, fits no layer; similar names are listed.
    """
    layers = {name: layer for name, layer in model.named_modules() if name and is_matrix(layer)}
    if not isinstance(targets, str):
        return _by_endings(model, layers, list(targets))
    if targets == ALL_LINEAR:
        found = {name: layer for name, layer in layers.items() if layer is not _output(model)}
    else:
        found = {name: layer for name, layer in layers.items() if re.fullmatch(targets, name)}
    if not found:
        advice = f"; for a name's ending write a list: [{targets!r}]"
        raise ValueError(_no_match(model, layers, targets) + advice)
    return found


def _by_endings(
    model: nn.Module, layers: dict[str, nn.Module], endings: list[str]
) -> dict[str, nn.Module]:
    for ending in endings:
        if not any(_ends(name, ending) for name in layers):
            raise ValueError(_no_match(model, layers, ending))
    if not endings:
        raise ValueError("targets is an empty list: name at least one layer")
    return {n: layer for n, layer in layers.items() if any(_ends(n, e) for e in endings)}


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith("." + ending)


def _output(model: nn.Module) -> nn.Module | None:
    """The layer that gives the logits: a published model says which, ours call it ``head``."""
    get = getattr(model, "get_output_embeddings", None)
    return get() if callable(get) else getattr(model, "head", None)


def _no_match(model: nn.Module, layers: Mapping[str, nn.Module], target: str) -> str:
    packed = {type(m).__name__ for m in model.modules()} & {"StripLinear", "PackedLinear"}
    if packed:
        return f"no layer fits {target!r}: the layers are packed; load with pack=False"
    last = sorted({name.rpartition(".")[2] for name in layers})
    near = difflib.get_close_matches(target.rpartition(".")[2], last, n=5, cutoff=0.3) or last[:8]
    return f"no linear layer fits {target!r}; near names: {', '.join(near) or 'none at all'}"


def replace_layer(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a layer in the place of the one with this full name."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)


def layer_sizes(layer: nn.Module) -> tuple[int, int]:
    """(C_in, C_out) of a matrix layer, whichever way its matrix is stored."""
    if hasattr(layer, "in_features"):
        return layer.in_features, layer.out_features
    return tuple(layer.weight.shape)  # Conv1D keeps (in, out)


def freeze(model: nn.Module) -> None:
    """No weight of the model trains."""
    for weight in model.parameters():
        weight.requires_grad_(False)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """(trainable, all) numbers in the model's weights; a tied matrix counts once.

    A matrix in 4 bits (ours or bitsandbytes') counts with as many numbers as it stands for.
    """
    weights = list(model.parameters())
    trainable = sum(w.numel() for w in weights if w.requires_grad)
    packed = [layer for layer in model.modules() if type(layer).__name__ == "NF4Linear"]
    stored = sum(layer.in_features * layer.out_features for layer in packed)
    return trainable, stored + sum(_numbers(weight) for weight in weights)


def _numbers(weight: nn.Parameter) -> int:
    shape = getattr(getattr(weight, "quant_state", None), "shape", weight.shape)
    return torch.Size(shape).numel()


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights that train, under their names: what there is to store."""
    return {n: w.detach().clone() for n, w in model.named_parameters() if w.requires_grad}


def load_trainable_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write stored weights into those that train.

    Raises:
        ValueError: names or shapes are not exactly those of the weights that train.
    """
    weights = {name: w for name, w in model.named_parameters() if w.requires_grad}
    check_same(weights, state)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state[name])


def check_same(model: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names or shapes differ: weights left out give a wrong model silently.

    Raises:
        ValueError: the first differences, named.
    """
    ours = {name: tuple(t.shape) for name, t in model.items()}
    theirs = {name: tuple(t.shape) for name, t in stored.items()}
    wrong = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    if wrong:
        lines = [f"{n}: model {ours.get(n)}, stored {theirs.get(n)}" for n in wrong[:4]]
        raise ValueError(f"{len(wrong)} weights do not fit: " + "; ".join(lines))


def shared_weights(model: nn.Module, layers: Iterable[nn.Module]) -> list[str]:
    """Names of layers among these whose matrix another module uses too (tied embeddings)."""
    users: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        weight = module._parameters.get("weight")
        if weight is not None:
            users.setdefault(id(weight), []).append(name)
    weights = [getattr(layer, "weight", None) for layer in layers]
    return [names[0] for w in weights if len(names := users.get(id(w), [])) > 1]
