"""Chapter 4 - Perplexity done right: each token once, sums over documents, bits per byte.

Four ways to get it wrong, each in published numbers: averaging the documents' perplexities instead
of their sums, losing the first token of every chunk, giving the tokens at the start of a chunk no
context, and comparing tokens of different tokenizers. A byte is a byte for every model.

The model is any callable from ids (B, T) to logits (B, T, V): our decoders as they are, a
transformers model as ``lambda ids: model(ids).logits``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

LogitsOf = Callable[["Tensor"], "Tensor"]


class Window(NamedTuple):
    """The model reads ids[start:stop] and is scored on its guesses of ids[first], …, ids[stop]."""

    start: int
    stop: int
    first: int


def windows(length: int, window: int, stride: int) -> list[Window]:
    """Cut a text of ``length`` ids so that ids 1 … length - 1 are each guessed once.

    Every window ends ``stride`` ids after the one before and reaches back as far as it may, so
    that (but for the start of the text) each guess sees at least window - stride + 1 ids. A small
    stride costs more and is nearer to what the model can do: length / stride calls.

    >>> windows(7, window=4, stride=2)
    [Window(start=0, stop=4, first=1), Window(start=2, stop=6, first=5)]

    Args:
        length: ids of the text, the first one only being read.
        window: most ids the model reads at once.
        stride: ids guessed by each window but the first, 1 to ``window``.

    Raises:
        ValueError: if the stride is outside 1 to window.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be from 1 to the window {window}, got {stride}")
    found: list[Window] = []
    stop = 0
    while stop < length - 1:
        first = stop + 1
        stop = min(stop + (stride if found else window), length - 1)
        found.append(Window(max(0, stop - window), stop, first))
    return found


def token_log_probabilities(
    model: LogitsOf,
    ids: Sequence[int],
    *,
    window: int,
    stride: int | None = None,
    batch: int = 1,
    device: str = "cpu",
) -> np.ndarray:
    """log P(ids[t] | the ids before it in its window) in nats for t = 1 … T - 1, (T - 1,).

    Args:
        model: from ids (B, T) to logits (B, T, V).
        ids: the text, T; the first id is context only, so put a start mark there.
        window, stride: see :func:`windows`; the stride is half the window by default.
        batch: windows read at once.
        device: where the ids go.

    Raises:
        ValueError: if there are fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"nothing to guess in {len(ids)} ids: the first one is only context")
    plan = windows(len(ids), window, max(1, window // 2) if stride is None else stride)
    parts: list[np.ndarray] = []
    for _, alike in itertools.groupby(plan, key=lambda w: (w.stop - w.start, w.first - w.start)):
        same = list(alike)
        for i in range(0, len(same), batch):
            parts.append(_read(model, ids, same[i : i + batch], device))
    return np.concatenate(parts)


def _read(model: LogitsOf, ids: Sequence[int], group: Sequence[Window], device: str) -> np.ndarray:
    """The log-probabilities that windows of one shape are scored on, in the order of the text."""
    import torch

    read = torch.tensor([ids[w.start : w.stop] for w in group], device=device)  # (B, T)
    targets = torch.tensor([ids[w.first : w.stop + 1] for w in group], device=device)
    with torch.inference_mode():
        logits = model(read)[:, -targets.shape[1] :].float()  # (B, scored, V)
        chosen = logits.gather(2, targets[..., None])[..., 0]
        return (chosen - logits.logsumexp(-1)).cpu().double().numpy().reshape(-1)


@dataclass(frozen=True)
class TextScore:
    """How surprised a model was by a text; scores of documents add up.

    Attributes:
        nats: sum over the tokens of -log P.
        tokens: tokens that were guessed.
        bytes: length of the text in UTF-8.
    """

    nats: float
    tokens: int
    bytes: int

    def __add__(self, other: TextScore) -> TextScore:
        return TextScore(
            self.nats + other.nats, self.tokens + other.tokens, self.bytes + other.bytes
        )

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); compares only between models of one tokenizer."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_token(self) -> float:
        """nats / (tokens · log 2)."""
        return self.nats / self.tokens / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """nats / (bytes · log 2): what an ideal compressor with this model would need.

        Source: Gao et al. 2020, "The Pile", section 3.1.
        """
        return self.nats / self.bytes / math.log(2)


def score_texts(
    model: LogitsOf,
    encode: Callable[[str], Sequence[int]],
    texts: Iterable[str],
    *,
    start: int,
    end: int | None = None,
    **options: int,
) -> list[TextScore]:
    """Score each document on its own; no document is the context of the next.

    ``sum_scores(...)`` of the list gives the corpus, and the list itself an interval (documents,
    not tokens, are the independent items).

    Args:
        model: from ids (B, T) to logits (B, T, V).
        encode: from text to ids, without special marks.
        texts: the documents; empty ones are refused.
        start: id put in front, so that the first token is guessed as well.
        end: id to be guessed after the last one, if the model was trained with such a mark.
        options: ``window``, ``stride``, ``batch`` and ``device`` of
            :func:`token_log_probabilities`.

    Raises:
        ValueError: if a text has no token.
    """
    found = []
    for number, text in enumerate(texts):
        ids = list(encode(text))
        if not ids:
            raise ValueError(f"text {number} has no token: {text[:40]!r}")
        whole = [start, *ids] if end is None else [start, *ids, end]
        values = token_log_probabilities(model, whole, **options)
        found.append(TextScore(float(-values.sum()), len(values), len(text.encode())))
    return found


def sum_scores(scores: Iterable[TextScore]) -> TextScore:
    """The corpus: nats, tokens and bytes summed, so that long documents count more."""
    return sum(scores, TextScore(0.0, 0, 0))
