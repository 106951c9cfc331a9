"""Chapter 4 - Beam search: keep the best few beginnings instead of one.

Greedy decoding takes the best next token and may miss a better sentence that starts with a worse
one. Beam search carries ``num_beams`` beginnings, extends each by every token, and keeps the best
by total log probability.

Letters: B batch, T prompt length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.nn.generation import DecoderModel, Text, _stop_ids


@dataclass
class Search:
    """What one prompt has found so far.

    Args:
        size: how many finished continuations are kept.
        finished: pairs (score per length^penalty, new ids), best first.
        closed: True once no running beam can overtake the worst one kept.
    """

    size: int
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    closed: bool = False

    def finish(self, score: float, ids: list[int]) -> None:
        """Keep a continuation that has ended, if it is among the best."""
        if not self.closed:
            self.finished = sorted([*self.finished, (score, ids)], key=lambda f: -f[0])
            del self.finished[self.size :]

    def close_if_beaten(self, best_running: float) -> None:
        """Stop when the list is full and the best running beam is below its last entry."""
        full = len(self.finished) == self.size
        self.closed = self.closed or (full and best_running <= self.finished[-1][0])


def beam_search(
    model: DecoderModel,
    input_ids: Tensor,
    num_beams: int,
    max_new_tokens: int,
    *,
    length_penalty: float = 1.0,
    stop_ids: int | Iterable[int] = (),
    attention_mask: Tensor | None = None,
    pad_id: int | None = None,
    num_return_sequences: int = 1,
) -> Tensor:
    """The continuations of highest score ``log p(new tokens) / length^length_penalty`` found.

    Args:
        model, input_ids, stop_ids, attention_mask, pad_id: see ``generation.generate``.
        num_beams: beginnings that are carried along; 1 is greedy search.
        max_new_tokens: longest continuation.
        length_penalty: 0 compares plain log probabilities (short texts win), 1 compares them
            per token.
        num_return_sequences: how many per prompt, at most num_beams, best first.

    Returns:
        (B * num_return_sequences, T + n) ids, prompt included, filled up with pad_id.

    Source: Graves 2012, "Sequence Transduction with Recurrent Neural Networks", algorithm 1;
    the length penalty is the transformers library's, which divides by a power of the length.
    """
    _check(num_beams, num_return_sequences, max_new_tokens)
    stops = _stop_ids(stop_ids)
    pad_id = pad_id if pad_id is not None else next(iter(stops), 0)
    text = Text(model, input_ids, max_new_tokens, attention_mask)
    searches = [Search(num_beams) for _ in input_ids]
    scores = torch.zeros(len(input_ids), 1, device=input_ids.device)  # (B, beams)
    prompt = input_ids.shape[1]
    for length in range(1, max_new_tokens + 1):
        # so many candidates that num_beams remain even if every stop id is among them
        best, parents, tokens = _candidates(text, scores, (1 + max(1, len(stops))) * num_beams)
        last = length == max_new_tokens
        ending = torch.isin(tokens, torch.tensor(stops, device=tokens.device)) | last
        _collect(searches, text, best, parents, tokens, ending, prompt, length**length_penalty)
        if last or all(search.closed for search in searches):
            break
        scores, rows, chosen = _survivors(best, parents, tokens, ending, num_beams)
        if length == 1:  # the prompt was read once; now every beam gets its copy
            text.repeat(num_beams)
            rows = torch.arange(len(rows), device=rows.device)
        text.select(rows)
        text.add(chosen)
        for search, row in zip(searches, scores.tolist(), strict=True):
            search.close_if_beaten(row[0] / length**length_penalty)
        if all(search.closed for search in searches):
            break
    return _joined(input_ids, searches, num_return_sequences, pad_id)


@torch.inference_mode()
def _candidates(text: Text, scores: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations by one token: scores, parent beams and tokens, each (B, keep)."""
    log_probs = text.logits().float().log_softmax(dim=-1)  # (B * beams, V)
    words = log_probs.shape[-1]
    total = (scores.reshape(-1, 1) + log_probs).view(len(scores), -1)  # (B, beams * V)
    # more beams than words: the rest are dead candidates, which no score can revive
    total = F.pad(total, (0, max(0, keep - total.shape[1])), value=-torch.inf)
    best, index = total.topk(keep, dim=-1)
    return best, (index // words).clamp(max=scores.shape[1] - 1), index % words


def _collect(
    searches: list[Search],
    text: Text,
    best: Tensor,
    parents: Tensor,
    tokens: Tensor,
    ending: Tensor,
    prompt: int,
    divisor: float,
) -> None:
    """Put continuations that end here on their prompt's list."""
    beams = len(text.ids) // len(searches)
    for row, rank in ending.nonzero().tolist():
        # a candidate below the first num_beams would not have survived, finished or not
        if rank < searches[row].size and bool(best[row, rank].isfinite()):
            new = text.ids[row * beams + int(parents[row, rank]), prompt:].tolist()
            searches[row].finish(float(best[row, rank]) / divisor, [*new, int(tokens[row, rank])])


def _survivors(
    best: Tensor, parents: Tensor, tokens: Tensor, ending: Tensor, num_beams: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best beams that go on: scores (B, beams), their old rows and tokens (B * beams,)."""
    scores, order = best.masked_fill(ending, -torch.inf).topk(num_beams, dim=-1)
    first_row = torch.arange(len(best), device=best.device)[:, None] * num_beams
    rows = (parents.gather(1, order) + first_row).flatten()
    return scores, rows, tokens.gather(1, order).flatten()


def _joined(input_ids: Tensor, searches: list[Search], wanted: int, pad_id: int) -> Tensor:
    """Prompts and their best continuations as one rectangle."""
    found = [ids for search in searches for _, ids in search.finished[:wanted]]
    longest = max((len(ids) for ids in found), default=0)
    filled = [ids + [pad_id] * (longest - len(ids)) for ids in found]
    new = torch.tensor(filled, dtype=input_ids.dtype, device=input_ids.device)
    return torch.cat([input_ids.repeat_interleave(wanted, dim=0), new], dim=1)


def _check(num_beams: int, wanted: int, max_new_tokens: int) -> None:
    if num_beams < 1 or not 1 <= wanted <= num_beams:
        raise ValueError(
            "need num_beams >= num_return_sequences >= 1, got "
            f"{num_beams} beams and {wanted} sequences"
        )
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
