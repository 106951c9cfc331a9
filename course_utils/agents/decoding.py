"""Chapter 4 - Several texts at once, each under a token mask of its own.

``prompting.structured.constrained`` continues a batch under one mask. Agents stand at different
steps and copy from different texts, so here each row brings its own. The beginning that all
prompts share, examples and tools, is read once and kept from step to step.

Letters: B batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from course_utils.nn import sampling
from course_utils.nn.cache import KVCache
from course_utils.prompting.automata import START
from course_utils.prompting.token_mask import TokenMask


@dataclass
class Written:
    """One text under a mask.

    Attributes:
        mask: of this row. room: tokens left. ids: tokens so far.
        chosen: for how many of them the model was asked.
        log_mass: for each question, log of the probability of all allowed tokens.
    """

    mask: TokenMask
    room: int
    ids: list[int] = field(default_factory=list)
    chosen: int = 0
    log_mass: list[float] = field(default_factory=list)
    state: int = START

    @property
    def done(self) -> bool:
        """Is the text complete? It ends as soon as it can."""
        return self.mask.may_end(self.state)

    @property
    def text(self) -> str:
        """What is written so far."""
        return self.mask.trie.text(self.ids).decode()

    def run_on(self) -> list[int]:
        """Append the span without a choice; the tokens for the model to read.

        A space at its end is left to the next choice: most words are one token with the space
        before them, and after a lone space a model writes digits ("token healing").
        """
        ids = self.mask.forced(self.state)
        while ids and self.mask.trie.spellings[ids[-1]] == b" ":
            ids = ids[:-1]
        return self._append(ids)

    def choose(
        self, scores: Tensor, temperature: float, generator: torch.Generator | None
    ) -> list[int]:
        """Take one allowed token by these scores (V,), and what it forces."""
        found = torch.from_numpy(self.mask.allowed(self.state, self.room))
        allowed = torch.zeros(len(scores), dtype=torch.bool)
        allowed[: len(found)] = found[: len(scores)]
        kept = scores.masked_fill(~allowed.to(scores.device), -math.inf)
        self.chosen += 1
        self.log_mass.append(float(kept.logsumexp(0) - scores.logsumexp(0)))
        if temperature == 0:
            token = int(kept.argmax())
        else:
            token = int(sampling.draw(kept[None] / temperature, generator))
        return self._append([token]) + self.run_on()

    def _append(self, ids: Sequence[int]) -> list[int]:
        self.state = self.mask.state_of(ids, self.state)
        self.ids += ids
        self.room -= len(ids)
        return list(ids)


class Decoder:
    """A model that continues texts under masks and remembers the beginning they share.

    Args:
        model: called as ``model(ids, *, padding_mask, cache)``, with ``new_cache(batch, length)``.
        prefix: token ids with which every prompt begins; may be empty.
    """

    def __init__(self, model: Any, prefix: Sequence[int] = ()) -> None:
        self.model, self.prefix = model, list(prefix)
        self._read: KVCache | None = None

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        masks: Sequence[TokenMask],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> list[Written]:
        """Continue each prompt (what follows the prefix) with a text of its mask's language.

        Raises:
            ValueError: numbers of prompts and masks differ, a prompt is empty, or a text is not
                sure to fit ``max_new_tokens``.
        """
        rows = [Written(mask, max_new_tokens) for mask in masks]
        if len(prompts) != len(rows) or not all(map(len, prompts)):
            raise ValueError(f"expected {len(rows)} prompts, none empty; got {list(prompts)}")
        least = max(int(mask.distance[START]) for mask in masks)
        if least > max_new_tokens:
            raise ValueError(f"max_new_tokens = {max_new_tokens} is too small, need {least}")
        blocks = [[*prompt, *row.run_on()] for prompt, row in zip(prompts, rows, strict=True)]
        active = [i for i, row in enumerate(rows) if not row.done]
        cache = self._start(len(rows), max(map(len, blocks)) + max_new_tokens)
        live, begun = list(range(len(rows))), False  # rows of the cache
        while active:
            if 2 * len(active) <= len(live):  # copying the cache costs more than a few idle rows
                cache = _rows_of(cache, [live.index(i) for i in active], cache.length, self.model)
                live = active
            # prompts at once; later a long forced span is read while other rows go on to write
            width = min(len(blocks[i]) for i in active) if begun else max(map(len, blocks))
            begun = True
            logits = self._scores(cache, [blocks[i][:width] or [0] for i in live])
            for i, scores in zip(live, logits, strict=True):
                blocks[i] = blocks[i][width:]
                if not blocks[i] and not rows[i].done:
                    blocks[i] = rows[i].choose(scores, temperature, generator)
            active = [i for i in active if not rows[i].done]
        return rows

    def next_scores(self, prompts: Sequence[Sequence[int]], batch: int = 24) -> Tensor:
        """Scores (B, V) of what may follow each prompt; nothing is written."""
        found = []
        for at in range(0, len(prompts), batch):
            some = prompts[at : at + batch]
            found.append(self._scores(self._start(len(some), max(map(len, some))), some))
        return torch.cat(found)

    def _start(self, rows: int, new: int) -> KVCache:
        """A cache for these rows in which the prefix has been read."""
        if not self.prefix:
            return self.model.new_cache(rows, new)
        if self._read is None:
            self._read = self.model.new_cache(1, len(self.prefix))
            self._scores(self._read, [self.prefix])
        return _rows_of(self._read, [0] * rows, len(self.prefix) + new, self.model)

    @torch.inference_mode()
    def _scores(self, cache: KVCache, blocks: Sequence[Sequence[int]]) -> Tensor:
        """Scores (B, V) after the last token of each block, blocks padded on the left."""
        width = max(map(len, blocks))
        ids = torch.zeros(len(blocks), width, dtype=torch.long)
        real = torch.zeros(len(blocks), width, dtype=torch.bool)
        for i, block in enumerate(blocks):
            ids[i, width - len(block) :] = torch.tensor(block)
            real[i, width - len(block) :] = True
        if cache.filled + width > cache.length:
            raise ValueError(f"{cache.filled + width} positions do not fit {cache.length}")
        device = cache.keys[0].device
        mask = None if bool(real.all()) else real.to(device)
        step = getattr(self.model, "next_logits", None)
        if step is not None:  # the scores after the last position alone
            return step(ids.to(device), padding_mask=mask, cache=cache).float()
        return self.model(ids.to(device), padding_mask=mask, cache=cache)[:, -1].float()


@torch.inference_mode()
def _rows_of(old: KVCache, rows: Sequence[int], length: int, model: Any) -> KVCache:
    """A cache whose row i is row ``rows[i]`` of another one."""
    new, end, rows = model.new_cache(len(rows), length), old.filled, list(rows)
    for ours, theirs in ((new.keys, old.keys), (new.values, old.values)):
        for target, source in zip(ours, theirs, strict=True):
            target[:, :, :end] = source[rows, :, :end]
    new.real[:, :end] = old.real[rows, :end]
    new.filled, new.padded = end, old.padded
    return new
