"""Chapter 4 - Training: the loop that every language model of this course goes through.

One update: sum the losses of a few small batches, one gradient, clip it, set the learning rate,
step. Around it, what a run of hours needs: mixed precision where it pays, a bar with loss and
tokens per second, validation, and checkpoints from which a run goes on bit for bit as if it had
never stopped.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.nn.optimizers import AdamW, clip_gradients, decay_groups
from course_utils.nn.pretraining import LossOf, causal_loss
from course_utils.nn.schedules import warm_up_cosine


class Source(Protocol):
    """Where batches come from: ``nn.stream.Batches`` or anything with these three."""

    def next(self) -> Tensor:
        """A batch."""

    def state_dict(self) -> dict:
        """Its position."""

    def load_state_dict(self, state: dict) -> None:
        """Back to a position."""


@dataclass(frozen=True)
class Plan:
    """The settings of a run.

    Args:
        steps: updates of the weights.
        learning_rate: the highest; the schedule is ``schedules.warm_up_cosine``.
        warm_up: share (0-1) of the steps during which the rate rises.
        floor: last rate, as a share of the highest.
        weight_decay: of the matrices. betas: of AdamW.
        clip: longest gradient.
        accumulation: small batches that make one update.
        precision: torch.bfloat16 computes products in 16 bits under autocast; weights,
            gradients and optimizer stay float32. ``config.compute_dtype()`` says where it pays.
        seed: of the loop's own randomness (masks).
    """

    steps: int
    learning_rate: float = 3e-3
    warm_up: float = 0.1
    floor: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    accumulation: int = 1
    precision: torch.dtype = torch.float32
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        rise = min(int(self.warm_up * self.steps), self.steps - 1)
        return self.learning_rate * warm_up_cosine(step, self.steps, rise, self.floor)


class Update(NamedTuple):
    """What one update was: its number, tokens learned from so far, loss, rate, gradient norm."""

    step: int
    tokens: int
    loss: float
    rate: float
    norm: float


@dataclass
class Trainer:
    """A model, its data and its optimizer, on their way through a plan.

    Args:
        model: its weights are float32.
        batches: see :class:`Source`.
        plan: the settings.
        loss_of: (model, batch, generator) -> (sum of losses, number of predictions).
        validate: called with the model, gives a number to follow; None follows nothing.
        every: updates between two validations (and one after the last).
        label: what the bar says; None shows no bar.
        optimizer: by default our AdamW with the plan's settings.
    """

    model: nn.Module
    batches: Source
    plan: Plan
    loss_of: LossOf = causal_loss
    validate: Callable[[nn.Module], float] | None = None
    every: int = 50
    label: str | None = None
    optimizer: torch.optim.Optimizer | None = None
    history: list[Update] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        wrong = {w.dtype for w in self.model.parameters() if w.requires_grad} - {torch.float32}
        if wrong:
            raise TypeError(
                f"trained weights must be float32, not {wrong}: an update smaller than half a "
                "step of a 16-bit number is lost. Set Plan(precision=torch.bfloat16) instead"
            )
        self.device = next(self.model.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(self.plan.seed)
        if self.optimizer is None:
            groups = decay_groups(self.model, self.plan.weight_decay)
            self.optimizer = AdamW(groups, lr=self.plan.learning_rate, betas=self.plan.betas)

    @property
    def step(self) -> int:
        """Updates made so far."""
        return len(self.history)

    def run(
        self, until: int | None = None, *, checkpoint: Path | None = None, save_every: int = 200
    ) -> list[Update]:
        """Train until a step (by default the plan's last).

        Args:
            checkpoint: a file; if it exists the run goes on from it, and it is written every
                ``save_every`` updates and at the end.

        Returns:
            the history, one :class:`Update` for each step.

        Raises:
            FloatingPointError: the loss is not a finite number any more.
        """
        if checkpoint is not None and Path(checkpoint).exists():
            self.load(checkpoint)
        until = self.plan.steps if until is None else until
        self.model.train()
        with _bar(self.label, self.step, until) as show:
            while self.step < until:
                self.history.append(self.update())
                show(self.history[-1])
                last = self.step == until
                if self.validate and (self.step % self.every == 0 or last):
                    self.validations.append((self.history[-1].tokens, self.validate(self.model)))
                if checkpoint is not None and (self.step % save_every == 0 or last):
                    self.save(checkpoint)
        return self.history

    def update(self) -> Update:
        """One update of the weights, from ``plan.accumulation`` batches."""
        self.optimizer.zero_grad(set_to_none=True)
        total, count = 0.0, 0
        for _ in range(self.plan.accumulation):
            loss, predictions = self._loss(self.batches.next().to(self.device))
            loss.backward()
            total, count = total + loss.item(), count + predictions
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss is {total} at step {self.step}: lower the rate")
        weights = [w for w in self.model.parameters() if w.grad is not None]
        # sums were added; divided once, they are the mean over all predictions of the update
        torch._foreach_div_([w.grad for w in weights], count)
        norm = clip_gradients(weights, self.plan.clip)
        rate = self.plan.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        seen = self.history[-1].tokens if self.history else 0
        return Update(self.step, seen + count, total / count, rate, norm)

    def _loss(self, batch: Tensor) -> tuple[Tensor, int]:
        low = self.plan.precision != torch.float32
        kind = self.device.type
        with torch.autocast(kind, self.plan.precision) if low else contextlib.nullcontext():
            return self.loss_of(self.model, batch, self.generator)

    def state_dict(self) -> dict:
        """All that the next step depends on."""
        return {
            "plan": {**vars(self.plan), "precision": str(self.plan.precision)},
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "generator": self.generator.get_state(),
            "random": random_state(),
            "history": [tuple(update) for update in self.history],
            "validations": list(self.validations),
        }

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: beside its place, then renamed, so that it is whole or not there."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            torch.save(self.state_dict(), part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def load(self, path: str | Path) -> None:
        """Go back to a checkpoint, random generators included.

        Raises:
            ValueError: it comes from another plan, so that its schedule would not fit.
        """
        state = torch.load(path, weights_only=True, map_location=self.device)
        plan = {**vars(self.plan), "precision": str(self.plan.precision)}
        different = sorted(key for key in plan if state["plan"].get(key) != plan[key])
        if different:
            raise ValueError(f"the checkpoint {Path(path).name} has another {', '.join(different)}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.generator.set_state(state["generator"].cpu())
        self.history[:] = [Update(*update) for update in state["history"]]
        self.validations[:] = [tuple(pair) for pair in state["validations"]]
        set_random_state(state["random"])


def random_state() -> dict:
    """The states of Python's, NumPy's and torch's global generators, as plain data."""
    kind, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "python": (version, list(words), gauss),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Undo all draws since :func:`random_state`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


@contextlib.contextmanager
def _bar(label: str | None, start: int, until: int):
    """A bar with loss and tokens per second on standard output; none in builds and tests."""
    from tqdm.std import tqdm

    off = label is None or os.environ.get("COURSE_NO_PROGRESS") == "1"
    began, first = time.perf_counter(), []
    options = {"initial": start, "disable": off, "mininterval": 1.0, "unit": "step"}
    with tqdm(total=until, desc=label, file=sys.stdout, **options) as bar:

        def show(update: Update) -> None:
            first.append(update.tokens) if not first else None
            speed = (update.tokens - first[0]) / max(time.perf_counter() - began, 1e-9)
            text = {"loss": f"{update.loss:.3f}", "tokens/s": f"{speed:,.0f}"}
            bar.set_postfix(text, refresh=False)
            bar.update()

        yield show


def train(
    model: nn.Module,
    batches: Source,
    plan: Plan,
    *,
    loss_of: LossOf = causal_loss,
    label: str | None = None,
) -> list[Update]:
    """Train a model through a plan without more ado; the history."""
    return Trainer(model, batches, plan, loss_of=loss_of, label=label).run()
