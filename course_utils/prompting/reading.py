"""Chapter 4 - Reading prompts: a batch that shares its beginning, and rows that come and go.

Few-shot prompts of one task begin with the same instructions and examples. That part is read
once; its keys and values are copied to all rows. Behind it the rows differ in length and are
padded on the left of their own part, so the padding stands in the middle. Positions count real
tokens only, hence nothing changes for the model.

Letters: B batch, P shared tokens, T prompt length, n new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from course_utils.nn import sampling as rules
from course_utils.nn.cache import KVCache
from course_utils.nn.generation import DecoderModel, Text
from course_utils.prompting.protocol import Sampling

SHORTEST = 16  # shared tokens from which on reading them apart pays


def shared_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """What all prompts begin with, at most all but the last token of the shortest.

    >>> shared_prefix([[7, 8, 9, 1], [7, 8, 5]])
    [7, 8]
    """
    shortest, longest = min(prompts), max(prompts)  # in alphabetical order: the farthest apart
    length = min(map(len, prompts)) - 1
    pairs = enumerate(zip(shortest[:length], longest[:length], strict=True))
    return list(shortest[: next((i for i, (a, b) in pairs if a != b), length)])


@torch.inference_mode()
def read_prefix(model: DecoderModel, ids: Sequence[int], device: str = "cpu") -> KVCache:
    """Keys and values of a beginning, for :class:`PromptBatch` to copy."""
    cache = model.new_cache(1, len(ids))
    inputs = torch.tensor([list(ids)], device=device)
    skip = getattr(model, "next_logits", None)  # scores are not needed: at most the last ones
    skip(inputs, cache=cache) if skip else model(inputs, cache=cache)
    return cache


class PromptBatch(Text):
    """Prompts of different lengths as one batch of texts that grow.

    Args:
        model: as ``generate`` needs it.
        prompts: B lists of ids; all begin with the P ids of ``prefix``.
        room: new tokens to reserve memory for.
        pad_id: written where nothing stands; the mask says where.
        prefix: from :func:`read_prefix`, or None.
    """

    def __init__(
        self,
        model: DecoderModel,
        prompts: Sequence[Sequence[int]],
        room: int,
        *,
        pad_id: int = 0,
        prefix: KVCache | None = None,
        device: str = "cpu",
    ) -> None:
        shared = 0 if prefix is None else prefix.filled
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), pad_id, device=device)
        real = torch.zeros_like(ids, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            own = len(prompt) - shared
            ids[row, :shared] = torch.tensor(prompt[:shared], dtype=ids.dtype)
            ids[row, width - own :] = torch.tensor(prompt[shared:], dtype=ids.dtype)
            real[row, :shared] = real[row, width - own :] = True
        super().__init__(model, ids, room, real)
        if prefix is not None:
            self._copy(prefix)

    def _copy(self, prefix: KVCache) -> None:
        self.cache.reserve(len(self.ids), prefix.filled, None)
        for ours, theirs in ((self.cache.keys, prefix.keys), (self.cache.values, prefix.values)):
            for new, old in zip(ours, theirs, strict=True):
                new[:, :, : prefix.filled] = old[:, :, : prefix.filled]
        self.cache.advance(prefix.filled)
        self.seen = prefix.filled

    def take(self, rows: Tensor) -> None:
        """Row i becomes the old row ``rows[i]``; the batch may grow or shrink by it."""
        self._ids, self._real = self._ids[rows], self._real[rows]
        for store in (self.cache.keys, self.cache.values):
            store[:] = [old.index_select(0, rows) for old in store]
        self.cache.real = self.cache.real.index_select(0, rows)

    @torch.inference_mode()
    def continuation_log_probs(self, first: Tensor, continuations: Sequence[Sequence[int]]):
        """log P of each row's continuation, token by token; call it after ``logits``.

        Args:
            first: (B, V) scores of the next token.
            continuations: B lists of ids, not empty.

        Returns:
            B tensors, one value in nats for each token.
        """
        width = max(map(len, continuations)) - 1
        logits = first[:, None]  # (B, 1, V)
        if width:
            ids = torch.zeros(len(first), width, dtype=torch.long, device=first.device)
            real = torch.zeros_like(ids, dtype=torch.bool)
            for row, after in enumerate(continuations):
                ids[row, : len(after) - 1] = torch.tensor(after[:-1], dtype=torch.long)
                real[row, : len(after) - 1] = True
            later = self.model(ids, padding_mask=real, cache=self.cache)
            logits = torch.cat([logits, later], dim=1)  # (B, width + 1, V)
        found = []
        for row, after in zip(logits, continuations, strict=True):
            logs = row[: len(after)].float().log_softmax(-1)
            chosen = torch.tensor(after, device=row.device)[:, None]
            found.append(logs.gather(1, chosen)[:, 0])
        return found


class RowSampler:
    """Picks the next token of each row with that row's own random numbers.

    One generator a row makes an answer independent of which other rows stand in the batch.

    Args:
        sampling: B options that differ in their seeds only.
    """

    def __init__(self, sampling: Sequence[Sampling], device: str = "cpu") -> None:
        self.rule = sampling[0]
        self.generators: list[torch.Generator] = []
        if self.rule.temperature == 0:
            return  # nothing is drawn
        fresh = torch.randint(2**31, (len(sampling),)).tolist()
        for own, other in zip(sampling, fresh, strict=True):
            seed = other if own.seed is None else own.seed
            self.generators.append(torch.Generator(device).manual_seed(seed))

    def take(self, rows: Tensor) -> None:
        """Keep the generators of these rows."""
        if self.generators:
            self.generators = [self.generators[i] for i in rows.tolist()]

    def __call__(self, logits: Tensor, history: Tensor, real: Tensor) -> Tensor:
        """Logits (B, V), history and real (B, T) -> ids (B,)."""
        rule = self.rule
        if rule.repetition_penalty != 1.0:
            penalty = rule.repetition_penalty
            logits = rules.repetition_penalised(logits, history, penalty, real)
        temperature = 1.0 if rule.temperature is None else rule.temperature
        if temperature == 0:
            return logits.argmax(dim=-1)
        filters = {"top_k": rule.top_k, "top_p": rule.top_p, "min_p": rule.min_p}
        kept = rules.filtered(logits.float(), temperature=temperature, **filters)
        rows = zip(kept, self.generators, strict=True)
        return torch.cat([rules.draw(row[None], generator) for row, generator in rows])
