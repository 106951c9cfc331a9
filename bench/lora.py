"""LoRA: one training step with our corrections against one with peft's, and against none.

The same random LLaMA, rank, targets, batch and optimiser; only the injected layers differ. The
last row compares with training all weights: what a step with LoRA saves.

``python -m bench lora`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench._turns import Row, in_turns, row

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
    speed = dict(
        zip(steps, (1 / t for t in in_turns(*steps.values(), repeats=REPEATS)), strict=True)
    )
    return [
        row(f"LoRA step, r = {RANK}: peft", speed["ours"], speed["peft"], UNIT),
        row(f"LoRA step, r = {RANK}: all weights", speed["ours"], speed["full"], UNIT),
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
