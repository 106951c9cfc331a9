"""Decoding: tokens per second of our LLaMA, of the libraries a user would pick, and the limit.

Every step reads every weight once, whatever the batch, so the limit is memory bandwidth divided
by the bytes of the weights, times the rows that share a step; it is measured in the same run, and
its ratio is the share that we reach. Keys, values and arithmetic are not in it, so a large batch
stays far below. All times include reading the prompt, for ours as for the others.

``python -m bench decode`` prints the table, ``python -m bench.decode 24`` a quick one with 24 new
tokens; ``rows()`` returns it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from course_utils import assets
from course_utils.nn import int4
from course_utils.nn.generation import generate
from course_utils.nn.lean import LeanDecoder
from course_utils.nn.llama import Llama

MODEL, FILE = "smollm2-135m-instruct", "smollm2-135m-gguf"
PROMPT, NEW, REPEATS = 64, 256, 3
UNIT = "tokens/s"


def rows(
    *, new: int = NEW, repeats: int = REPEATS, batches: tuple[int, ...] = (1, 8)
) -> list[dict]:
    """The table, one dictionary per line: name, ours, other, ratio, unit.

    Args:
        new: new tokens per row behind a prompt of 64.
        repeats: interleaved measurements of each; the median is reported.
        batches: rows decoded at a time.
    """
    table: list[dict] = []
    bandwidth = read_bandwidth()
    for dtype in (torch.float32, torch.bfloat16):
        for batch in batches:
            table += _against_transformers(dtype, batch, new, repeats, bandwidth)
    table += _int4(new, repeats, bandwidth)
    return table


def read_bandwidth(megabytes: int = 512, repeats: int = 5) -> float:
    """Bytes per second at which this machine reads memory (a sum over a large array)."""
    data = torch.ones(megabytes * 2**20 // 4)
    return data.numel() * 4 / min(_seconds(data.sum) for _ in range(repeats))


def _against_transformers(
    dtype: torch.dtype, batch: int, new: int, repeats: int, bandwidth: float
) -> list[dict]:
    from transformers import AutoModelForCausalLM

    path = assets.path(MODEL)
    ours = int4.pack(Llama.from_pretrained(path, dtype=dtype, pack=False), rows=batch)
    theirs = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    ids = _prompt(batch)
    options: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}

    def run_theirs() -> None:
        theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, **options)

    a, b = _interleaved(lambda: generate(ours, ids, new), run_theirs, repeats)
    name = f"{str(dtype).removeprefix('torch.')}, batch {batch}"
    weights = sum(p.numel() for p in theirs.parameters()) * dtype.itemsize
    mine = batch * new / a
    return [
        _row(f"decode {name}: transformers", mine, batch * new / b),
        _row(f"decode {name}: bandwidth limit", mine, batch * bandwidth / weights),
    ]


def _int4(new: int, repeats: int, bandwidth: float) -> list[dict]:
    """Four-bit weights against llama.cpp on the file they come from, where it is installed."""
    if not int4.int4_works():
        return [_row("decode int4, batch 1: llama.cpp Q4_1", None, None)]
    model = Llama.from_pretrained(assets.path(MODEL), dtype=torch.bfloat16, pack=False)
    lean = LeanDecoder(int4.quantize(model))
    ids = _prompt(1)
    other = llama_cpp(ids[0].tolist(), new)
    a, b = _interleaved(lambda: generate(lean, ids, new), other, repeats)
    again, plain = _interleaved(
        lambda: generate(lean, ids, new), lambda: generate(model, ids, new), repeats
    )
    read = sum(m.nbytes for m in model.modules() if isinstance(m, int4.Int4Linear))
    read += model.tokens.weight.numel() * 9 // 16  # the 4-bit copy that ranks the vocabulary
    ours = new / a
    return [
        _row("decode int4, batch 1: llama.cpp Q4_1", ours, None if b is None else new / b),
        _row("decode int4, batch 1: the same without lean.py", new / again, new / plain),
        _row("decode int4, batch 1: bandwidth limit", ours, bandwidth / read),
    ]


def llama_cpp(prompt: list[int], new: int) -> Callable[[], object] | None:
    """A call that decodes the same number of tokens with llama.cpp, or None without it."""
    try:
        from llama_cpp import Llama as LlamaCpp
    except ImportError:
        return None
    threads = torch.get_num_threads()
    file = next(assets.path(FILE).glob("*.gguf"))
    model = LlamaCpp(
        str(file), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def run() -> None:
        model.reset()
        tokens = model.generate(prompt, top_k=1, temp=0.0)
        for _ in range(new):
            next(tokens)

    return run


def _prompt(batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(100, 40_000, (batch, PROMPT), generator=generator)


def _interleaved(
    ours: Callable[[], object], other: Callable[[], object] | None, repeats: int
) -> tuple[float, float | None]:
    """Median seconds of both, taken in turn, so that a slow minute of the machine hits both."""
    a, b = [], []
    for _ in range(repeats):
        a.append(_seconds(ours))
        if other is not None:
            b.append(_seconds(other))
    return statistics.median(a), statistics.median(b) if b else None


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _row(name: str, ours: float | None, other: float | None) -> dict:
    ratio = ours / other if ours and other else None
    return {"name": name, "ours": ours, "other": other, "ratio": ratio, "unit": UNIT}


def main(new: int = NEW) -> None:
    """Print the table."""
    print(f"{torch.get_num_threads()} threads, prompt {PROMPT}, {new} new tokens, medians")
    for row in rows(new=new):
        numbers = [
            f"{row[k]:8.1f}" if row[k] is not None else "       -" for k in ("ours", "other")
        ]
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{row['name']:44} {numbers[0]} {numbers[1]} {ratio:>6}  {row['unit']}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
