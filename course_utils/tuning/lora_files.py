"""Chapter 4 - LoRA files: store and load corrections in the form that peft reads and writes.

A folder with ``adapter_config.json`` (rank, alpha, which layers) and
``adapter_model.safetensors`` (every A and B): a few megabytes for a model of any size. One base
model can carry many such folders and change between them while it runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.tuning.lora import LoRALinear, LoRASettings, inject_lora, lora_layers
from course_utils.tuning.surgery import check_same

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's two wrappers around the model
# what peft can do beyond this module: a file that uses any of it is refused, not half read
UNKNOWN = (
    *("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"),
    *("exclude_modules", "lora_bias", "target_parameters", "trainable_token_indices"),
    *("megatron_config", "layer_replication", "alora_invocation_tokens", "use_qalora"),
)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of every A and B under peft's names (``….lora_A.weight``)."""
    return {name: w.detach().clone() for name, w in _weights(model).items()}


def load_lora_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write corrections into a model that has LoRA layers: how adapters are switched.

    Raises:
        ValueError: names or shapes are not exactly those of the model's LoRA layers, or the
            corrections that it has now are merged.
    """
    weights = _weights(model)
    check_same(weights, state)
    if any(layer.merged for layer in lora_layers(model).values()):
        raise ValueError("the present corrections are merged into the matrices; unmerge them first")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state[name])


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    other = [n for n, layer in lora_layers(model).items() if not layer.stored_as_lora]
    if other:
        raise ValueError(f"{other[0]} is more than its A and B: store it with trainable_state")
    return {
        f"{PREFIX}{name}.lora_{part}.weight": getattr(layer, f"lora_{part}")
        for name, layer in lora_layers(model).items()
        for part in "AB"
    }


def save_lora(
    model: nn.Module, folder: str | Path, *, base_name: str = "", task: str | None = "CAUSAL_LM"
) -> Path:
    """Store the corrections of a model in peft's format.

    Args:
        model: with LoRA layers from :func:`inject_lora`.
        folder: made if it is not there.
        base_name: which model they belong to, written into the configuration.
        task: peft's name of the task; None for a module that is no transformers model.

    Returns:
        the folder.

    Raises:
        ValueError: the model has no LoRA layers.
    """
    from safetensors.torch import save

    if not lora_layers(model) or not hasattr(model, "lora_settings"):
        raise ValueError("this model has no LoRA layers from inject_lora")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = _peft_config(model, base_name, task)
    tensors = {name: t.cpu().contiguous() for name, t in lora_state(model).items()}
    _write_whole(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    _write_whole(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    return folder


def load_lora(model: nn.Module, folder: str | Path, *, trainable: bool = False) -> nn.Module:
    """Put stored corrections onto a model, ours or peft's.

    Args:
        model: the base model, without LoRA layers; changed in place.
        folder: with adapter_config.json and adapter_model.safetensors.
        trainable: whether A and B train on; by default they are frozen and dropout is 0.

    Returns:
        the same model.

    Raises:
        ValueError: the file is for another method or another model.
    """
    from safetensors.torch import load_file

    settings = read_settings(folder)
    options = {"r": settings.r, "alpha": settings.alpha, "dropout": settings.dropout}
    inject_lora(model, settings.targets, rank_stabilised=settings.rank_stabilised, **options)
    load_lora_state(model, load_file(Path(folder) / WEIGHTS))
    for layer in lora_layers(model).values():
        _set_trainable(layer, trainable)
    return model


def read_settings(folder: str | Path) -> LoRASettings:
    """What an ``adapter_config.json`` asks for.

    Raises:
        ValueError: it is not LoRA, or uses a part of peft that is not built here.
    """
    config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA":
        raise ValueError(f"expected a LoRA adapter, the file holds {config.get('peft_type')!r}")
    extra = [name for name in UNKNOWN if config.get(name)]
    if config.get("bias", "none") != "none":
        extra.append("bias")
    if extra:
        raise ValueError(f"the adapter uses {', '.join(extra)}, which is not built here")
    return LoRASettings(
        config["target_modules"],
        config["r"],
        config["lora_alpha"],
        config.get("lora_dropout", 0.0),
        config.get("use_rslora", False),
    )


def _peft_config(model: nn.Module, base_name: str, task: str | None) -> dict:
    settings = model.lora_settings
    targets = settings.targets
    transposed = any(type(y.base).__name__ == "Conv1D" for y in lora_layers(model).values())
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base_name or None,
        "r": settings.r,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rank_stabilised,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
    }


def _set_trainable(layer: LoRALinear, trainable: bool) -> None:
    layer.lora_A.requires_grad_(trainable)
    layer.lora_B.requires_grad_(trainable)
    if not trainable:
        layer.dropout.p = 0.0


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
