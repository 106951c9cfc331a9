"""Training: tokens per second of our loop against torch's parts and the matrix-multiply limit.

One token costs about 6 N floating-point operations for N weights (2 forward, 4 backward; attention
left out), so the limit is the speed of a large float32 matrix product divided by 6 N. The last row
is the share of it that the loop reaches on the GPT of lesson 04_llms/05_pretraining.

``python -m bench training`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable

from bench._turns import Row, in_turns, row

VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 2048, 128, 5, 4, 128, 8
STEPS, REPEATS, SIZE = 6, 5, 2048
UNIT = "tokens/s"


def rows() -> list[Row]:
    """The table: our loop, the same with torch's AdamW and clipping, and the limit."""
    import torch

    ours, count = _ours()
    theirs = _theirs()
    ours(), theirs()  # warm up
    square = torch.ones(SIZE, SIZE)
    mine, other, product = in_turns(ours, theirs, lambda: square @ square, repeats=REPEATS)
    tokens, peak = STEPS * BATCH * CONTEXT, 2 * SIZE**3 / product
    return [
        row("training a GPT: the loop with torch's AdamW", tokens / mine, tokens / other, UNIT),
        row("training a GPT: matrix-multiply limit", tokens / mine, peak / (6 * count), UNIT),
    ]


def _model():
    import torch

    from course_utils.nn.pretraining import new_gpt

    sizes = (VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT)
    return new_gpt(*sizes, positions="rotary", generator=torch.Generator().manual_seed(0))


def _batches():
    import torch

    from course_utils.nn.stream import Batches

    stream = torch.randint(VOCABULARY, (100_000,), generator=torch.Generator().manual_seed(1))
    return Batches(stream, CONTEXT, BATCH)


def _ours() -> tuple[Callable[[], object], int]:
    from course_utils.nn.training import Plan, Trainer

    trainer = Trainer(_model(), _batches(), Plan(10_000))

    def run() -> None:
        trainer.run(until=trainer.step + STEPS)

    return run, sum(w.numel() for w in trainer.model.parameters())


def _theirs() -> Callable[[], object]:
    import torch
    import torch.nn.functional as F

    model, batches = _model(), _batches()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)

    def run() -> None:
        for _ in range(STEPS):
            ids = batches.next()
            logits = model(ids[:, :-1]).flatten(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(logits, ids[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return run
