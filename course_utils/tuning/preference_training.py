"""Chapter 4 - Preference training: the losses of ``preferences`` on rows of ids.

A row is what ``InstructionDatasetBuilder.encode`` gives: ``input_ids`` and ``labels`` with -100 on
the prompt. The reference never changes, so its log-probabilities are computed once, before the
first step: no second model is kept.

When only the upper blocks are trained (LoRA on some layers), what enters them never changes
either: :class:`UpperPart` keeps it, and a step costs only the upper blocks.

Letters: B rows, T length, C width, V vocabulary, N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.nn.families import Decoder
from course_utils.nn.fitting import by_length, fit
from course_utils.nn.sight import Sight, rotary_pair, visible
from course_utils.tuning.packing import collate
from course_utils.tuning.preferences import dpo_loss, preference_hits, sequence_log_probs

Row = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class LogProbs:
    """Of N pairs: summed log-probabilities in nats and lengths in tokens, each (N,)."""

    chosen: Tensor
    rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor

    def rows(self, part: Sequence[int]) -> LogProbs:
        """Those of some pairs."""
        index = torch.as_tensor(list(part))
        return LogProbs(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class PairSet:
    """Preference pairs as token rows, ready for any model of this course.

    Args:
        chosen, rejected: rows of equal number; the i-th ones answer the same prompt.
        pad_id: fills short rows on the right.
    """

    def __init__(self, chosen: Sequence[Row], rejected: Sequence[Row], pad_id: int = 0) -> None:
        if len(chosen) != len(rejected):
            raise ValueError(f"got {len(chosen)} chosen and {len(rejected)} rejected rows")
        self.chosen, self.rejected, self.pad_id = list(chosen), list(rejected), pad_id

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, part: Sequence[int]) -> dict[str, Tensor]:
        """Chosen, then rejected rows: ``input_ids``, ``attention_mask``, ``labels`` (2B, T)."""
        both = [self.chosen[i] for i in part] + [self.rejected[i] for i in part]
        return collate(both, self.pad_id)

    def log_probs(self, model: nn.Module, part: Sequence[int]) -> LogProbs:
        """Of some pairs under a model, with gradients."""
        batch = self.batch(part)
        # causal, and padding stands on the right: no mask is needed to hide it
        sums, lengths = sequence_log_probs(model(batch["input_ids"]), batch["labels"])
        return LogProbs(*sums.chunk(2), *lengths.chunk(2))

    @torch.no_grad()
    def all_log_probs(self, model: nn.Module, batch_size: int = 16) -> LogProbs:
        """Of all pairs, in their order, in evaluation mode: what a reference gives once."""
        model.eval()
        order = sorted(range(len(self)), key=lambda i: len(self.chosen[i]["input_ids"]))
        parts = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        found = [self.log_probs(model, part) for part in parts]
        back = torch.tensor(order).argsort()
        names = LogProbs.__dataclass_fields__
        return LogProbs(*(torch.cat([getattr(f, name) for f in found])[back] for name in names))


def train_on_pairs(
    model: nn.Module,
    pairs: PairSet,
    reference: LogProbs,
    *,
    kind: str = "sigmoid",
    steps: int = 24,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    kl_seen: float = 0.9,
    seed: int = 0,
    **options: float,
) -> list[float]:
    """Train what requires gradients in the model, in place; the loss of every step.

    Args:
        model: called as ``model(ids)`` -> logits (B, T, V).
        reference: of the same pairs, from ``pairs.all_log_probs`` before training.
        kind, options: of :func:`course_utils.tuning.preferences.dpo_loss`.
        kl_seen: KTO's reference point is a running mean over batches; the share kept of it.
    """
    make = torch.Generator().manual_seed(seed)
    batches: list[list[int]] = []
    lengths = [row["input_ids"] for row in pairs.chosen]
    while len(batches) < steps:
        batches += by_length(lengths, batch_size, make)
    running = 0.0

    def loss_of(step: int) -> Tensor:
        nonlocal running
        ours, known = pairs.log_probs(model, batches[step]), reference.rows(batches[step])
        running = kl_seen * running + (1 - kl_seen) * _reference_point(ours, known)
        return pair_loss(ours, known, kind=kind, kl=running, **options)

    return fit(model, loss_of, steps, learning_rate=learning_rate, weight_decay=weight_decay)


def pair_loss(ours: LogProbs, reference: LogProbs, **options) -> Tensor:
    """``dpo_loss`` of two sets of log-probabilities; options are its keywords."""
    return dpo_loss(
        ours.chosen,
        ours.rejected,
        reference.chosen,
        reference.rejected,
        chosen_lengths=ours.chosen_lengths,
        rejected_lengths=ours.rejected_lengths,
        **options,
    )


def _reference_point(ours: LogProbs, reference: LogProbs) -> float:
    """KTO's z: mean log-ratio of the batch, not below 0.

    Ethayarajh et al. 2024 pair each prompt with another prompt's reply for this. The batch's own
    replies stand in here, and save a third forward pass.
    """
    ratios = torch.cat([ours.chosen - reference.chosen, ours.rejected - reference.rejected])
    return max(0.0, float(ratios.detach().mean()))


def accuracy_hits(ours: LogProbs, reference: LogProbs | None = None) -> Tensor:
    """1 for every pair that is ranked right (N,).

    Args:
        reference: given, ranks by the implicit reward (log-ratio); without, by log-probability per
            token, which asks whether the model itself would rather write the chosen reply.
    """
    if reference is None:
        return preference_hits(
            ours.chosen / ours.chosen_lengths, ours.rejected / ours.rejected_lengths
        )
    return preference_hits(ours.chosen - reference.chosen, ours.rejected - reference.rejected)


class UpperPart(nn.Module):
    """The blocks of a decoder from one on, fed with hidden states instead of ids.

    Args:
        model: shared, not copied. start: number of blocks below, which must not be trained.
    """

    def __init__(self, model: Decoder, start: int) -> None:
        super().__init__()
        count = len(model.stack.blocks)
        if not 0 < start < count:
            raise ValueError(f"start must lie between 1 and {count - 1}, got {start}")
        self.model, self.start = model, start

    @torch.no_grad()
    def below(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> hidden states (B, T, C) that enter the upper blocks."""
        x = self.model.tokens(ids)
        if self.model.stack.places is not None:
            x = x + self.model.stack.places(torch.arange(ids.shape[1], device=ids.device))
        return self._through(x, self.model.stack.blocks[: self.start])

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states (B, T, C) from :meth:`below` -> last hidden states (B, T, C)."""
        x = self._through(states, self.model.stack.blocks[self.start :])
        norm = self.model.stack.norm
        return x if norm is None else norm(x)

    def _through(self, x: Tensor, blocks: Sequence[nn.Module]) -> Tensor:
        positions, mask = visible(x, None, None, None, causal=True)
        stack, rotary = self.model.stack, None
        if stack.recipe.positions == "rotary":
            rotary = rotary_pair(positions, stack.rotary_frequencies().to(x.device), x.dtype)
        for block in blocks:
            x = block(x, Sight(mask, rotary))
        return x


class CachedPairs(PairSet):
    """Pairs whose way through the lower blocks is computed once.

    Args:
        upper: see :class:`UpperPart`. chosen, rejected, pad_id: see :class:`PairSet`.
    """

    def __init__(
        self,
        upper: UpperPart,
        chosen: Sequence[Row],
        rejected: Sequence[Row],
        pad_id: int = 0,
        *,
        batch_size: int = 16,
    ) -> None:
        super().__init__(chosen, rejected, pad_id)
        self.upper = upper
        upper.eval()
        rows = [*self.chosen, *self.rejected]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
        self.states: list[Tensor] = [torch.empty(0)] * len(rows)
        for at in range(0, len(order), batch_size):
            part = order[at : at + batch_size]
            found = upper.below(collate([rows[i] for i in part], pad_id)["input_ids"])
            for i, states in zip(part, found, strict=True):
                self.states[i] = states[: len(rows[i]["input_ids"])].clone()

    def log_probs(self, model: nn.Module, part: Sequence[int]) -> LogProbs:
        """Of some pairs; ``model`` must be the one below :attr:`upper`."""
        if model is not self.upper.model:
            raise ValueError("these states were computed by another model")
        index = [*part, *(i + len(self) for i in part)]
        states = nn.utils.rnn.pad_sequence([self.states[i] for i in index], batch_first=True)
        labels = self.batch(part)["labels"]
        hidden = self.upper(states)
        learned = labels[:, 1:] != -100
        # only the replies meet the output matrix: it holds a fifth of all weights
        logits = self.upper.model.logits(hidden[:, :-1][learned])
        scores = -nn.functional.cross_entropy(
            logits.float(), labels[:, 1:][learned], reduction="none"
        )
        table = torch.zeros(learned.shape, dtype=scores.dtype)
        sums = table.masked_scatter(learned, scores).sum(dim=1)
        return LogProbs(*sums.chunk(2), *learned.sum(dim=1).chunk(2))
