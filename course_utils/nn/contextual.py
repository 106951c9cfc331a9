"""Chapter 1 – Contextual embeddings: vectors of words in their sentences, and of sentences.

A BERT-type encoder gives a vector to every piece of a word in every layer. Here the pieces
become words (or marked spans) again, and the words become sentences.

Notation: B texts, T pieces of a text, C width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from course_utils.nn.transformer import pool

Span = tuple[int, int]
BATCH = 32


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of some texts.

    Attributes:
        states: vectors of every layer, layer 0 being what enters the first one,
            (layers + 1, B, T, C).
        real: True where there is a piece and no padding, (B, T).
        offsets: where each piece stands in its text, characters [start, end), (B, T, 2);
            start = end for the marks ``[CLS]`` and ``[SEP]`` and for padding.
        pooler: the model's ``pooler_output``, (B, C).
    """

    states: Tensor
    real: Tensor
    offsets: Tensor
    pooler: Tensor


class ContextualEncoder:
    """A BERT-type model and its tokenizer.

    Args:
        model, tokenizer: from transformers, the tokenizer a fast one.
    """

    def __init__(self, model, tokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def from_pretrained(cls, path: str | Path) -> ContextualEncoder:
        """Load a folder such as ``assets.path("minilm-l6")``, in float32."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(path, dtype=torch.float32)
        return cls(model, AutoTokenizer.from_pretrained(path))

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Encoded:
        """All layers of one batch of texts; padded to the longest, cut at the model's limit."""
        batch = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding=True,
            truncation=True,
            return_offsets_mapping=True,
        )
        offsets = batch.pop("offset_mapping")
        batch = batch.to(self.model.device)
        output = self.model(**batch, output_hidden_states=True)
        states = torch.stack(output.hidden_states).cpu()
        real = batch["attention_mask"].bool().cpu()
        return Encoded(states, real, offsets, output.pooler_output.cpu())

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Tensor]:
        """Vectors of marked places: the mean of the pieces that overlap each of them.

        Args:
            spans: for each text, character ranges [start, end).

        Returns:
            for each text (layers + 1, number of its spans, C).

        Raises:
            ValueError: if a span holds no piece, for example beyond the model's length.
        """
        if len(texts) != len(spans):
            raise ValueError(f"{len(texts)} texts came with {len(spans)} lists of spans")
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            encoded = self.encode([texts[i] for i in rows])
            for place, i in enumerate(rows):
                shares = _shares(encoded.offsets[place], spans[i])  # (spans, T)
                found[i] = shares @ encoded.states[:, place]
        return found

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Tensor]:
        """Vectors of sentences that are split into words already.

        Returns:
            for each sentence (layers + 1, words, C).
        """
        texts = [" ".join(sentence) for sentence in sentences]
        return self.spans(texts, [word_spans(sentence) for sentence in sentences])

    def sentences(self, texts: Sequence[str], layer: int = -1) -> dict[str, Tensor]:
        """Each text as one vector, in four ways: see :func:`poolings`; (texts, C) each."""
        parts: list[dict[str, Tensor]] = []
        for start in range(0, len(texts), BATCH):
            encoded = self.encode(texts[start : start + BATCH])
            parts.append(poolings(encoded, layer))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def word_spans(words: Sequence[str]) -> list[Span]:
    """Character ranges of words joined by single spaces.

    >>> word_spans(["a", "cat"])
    [(0, 1), (2, 5)]
    """
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return spans


def _shares(offsets: Tensor, spans: Sequence[Span]) -> Tensor:
    """How much each piece counts in each span's mean, (spans, T); rows sum to one."""
    wanted = torch.tensor(spans).reshape(-1, 2)
    start, end = offsets[:, 0], offsets[:, 1]
    inside = (start < wanted[:, 1:]) & (end > wanted[:, :1]) & (start < end)
    counts = inside.sum(dim=1, keepdim=True)
    if (counts == 0).any():
        lost = spans[int((counts == 0).nonzero()[0, 0])]
        raise ValueError(f"no piece of the text lies in the characters {lost}")
    return inside / counts


def poolings(encoded: Encoded, layer: int = -1) -> dict[str, Tensor]:
    """Four ways to make one vector of a text, each (B, C).

    ``mean`` of the real pieces, marks included, as sentence-transformers does; ``max`` of
    them in each coordinate; ``cls``, the first piece; ``pooler``, the model's
    ``pooler_output`` = tanh(W cls + b), which was trained for another task.
    """
    states, real = encoded.states[layer], encoded.real
    return {
        "mean": pool(states, real),
        "max": states.masked_fill(~real[..., None], -torch.inf).amax(dim=1),
        "cls": pool(states, real, "cls"),
        "pooler": encoded.pooler,
    }
