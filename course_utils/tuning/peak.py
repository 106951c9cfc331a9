"""Chapter 4 - Peak memory: what a training step really needs, each method in its own process.

``memory`` counts what training *keeps*. The peak also holds activations, temporary tensors and
the program itself, and it can only be measured in a process that does nothing else: memory that
an earlier step has touched is not given back at once. Used by lesson 04_llms/07.

    python -m course_utils.tuning.peak METHOD FOLDER ROWS LENGTH
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import course_utils
from course_utils.tuning.lora import inject_lora
from course_utils.tuning.nf4 import quantize_linears

METHODS = ("loaded only", "all weights", "LoRA", "QLoRA")
TARGETS = ("query", "value")


def peak_bytes(method: str, folder: Path, *, rows: int = 8, length: int = 128) -> int:
    """Largest resident memory of a fresh process that loads an encoder and takes one step.

    Args:
        method: ``"loaded only"`` (no step: the floor under all others), ``"all weights"``,
            ``"LoRA"`` or ``"QLoRA"``.
        folder: of an encoder that ``AutoModel`` loads, with layers ``query`` and ``value``.
        rows: texts in the batch. length: tokens of a text.

    Raises:
        ValueError: no such method.
        RuntimeError: the process failed; its last line says why.
    """
    if method not in METHODS:
        raise ValueError(f"expected one of {', '.join(METHODS)}; got {method!r}")
    command = [sys.executable, "-m", __name__, method, str(folder), str(rows), str(length)]
    root = str(Path(course_utils.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the process of {method!r} ended with {done.returncode}: {why}")
    return int(done.stdout.split()[-1])


def resident_peak() -> int:
    """Largest resident memory of this process since its program started, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would do, but on Linux it starts from the parent's peak
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def adapt(model: nn.Module, method: str) -> nn.Module:
    """The model as the method trains it."""
    if method == "QLoRA":
        quantize_linears(model)
    return inject_lora(model, TARGETS) if method in ("LoRA", "QLoRA") else model


def one_step(model: nn.Module, rows: int, length: int) -> None:
    """One step of AdamW on random ids."""
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad])
    ids = torch.randint(1000, (rows, length), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids).last_hidden_state.square().mean().backward()
    optimiser.step()


def main(method: str, folder: str, rows: str, length: str) -> None:
    """Print the peak of one method."""
    from transformers import AutoModel

    model = adapt(AutoModel.from_pretrained(folder, dtype=torch.float32), method)
    if method != "loaded only":
        one_step(model.train(), int(rows), int(length))
    print(resident_peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
