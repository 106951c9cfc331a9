"""LoRA: one training step with our corrections against one with peft's, and against none.

The same random LLaMA, rank, targets, batch and optimiser; only the injected layers differ. The
last row compares with training all weights: what a step with LoRA saves.

``python -m bench lora`` prints the table.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Row = dict[str, float | str]
TARGETS = ["q_proj", "v_proj"]
RANK, BATCH, LENGTH, REPEATS = 8, 4, 128, 7
SHAPE = {
    "vocab_size": 2048,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
UNIT = "steps/s"


def rows() -> list[Row]:
    """The table: our LoRA against peft's, and against full fine-tuning."""
    steps = {"ours": _step(_ours()), "peft": _step(_theirs()), "full": _step(_model())}
    for step in steps.values():  # warm up
        step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPEATS):  # in turns, so that a slow moment hits all
        for name, step in steps.items():
            taken[name].append(_seconds(step))
    speed = {name: 1 / statistics.median(times) for name, times in taken.items()}
    return [
        _row(f"LoRA step, r = {RANK}: peft", speed["ours"], speed["peft"]),
        _row(f"LoRA step, r = {RANK}: all weights", speed["ours"], speed["full"]),
    ]


def _model() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def _ours() -> Any:
    from course_utils.tuning import inject_lora

    return inject_lora(_model(), TARGETS, r=RANK)


def _theirs() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(_model(), LoraConfig(r=RANK, lora_alpha=16, target_modules=TARGETS))


def _step(model: Any) -> Callable[[], object]:
    import torch

    model.train()
    ids = torch.randint(SHAPE["vocab_size"], (BATCH, LENGTH))
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()

    return run


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _row(name: str, ours: float, other: float) -> Row:
    return {"name": name, "ours": ours, "other": other, "ratio": ours / other, "unit": UNIT}
