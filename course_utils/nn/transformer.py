"""Chapter 4 - Transformer: what stands around a stack of blocks.

``SimpleTransformer`` reads a text and classifies it; ``Transformer`` reads one sequence and
writes another. Letters: B batch, T target length, S source length, C model width,
V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_utils.nn.attention import (
    MultiHeadAttention,
    causal_mask,
    combine_masks,
    expand_padding_mask,
)
from course_utils.nn.layers import Dropout
from course_utils.nn.positions import LearnedPositions, SinusoidalPositions
from course_utils.nn.stacks import GPT2, LLAMA, PAPER, Decoder, Design, Encoder, TransformerBlock

POOLINGS = ("mean", "first", "cls")

__all__ = [
    "GPT2",
    "LLAMA",
    "PAPER",
    "Decoder",
    "Design",
    "Embeddings",
    "Encoder",
    "SimpleTransformer",
    "Transformer",
    "TransformerBlock",
    "pool",
    "record_attention",
]


class Embeddings(nn.Module):
    """Token vectors, plus position vectors if the design adds them, plus dropout.

    ``x = E[ids] * sqrt(C) + P[positions]``: rows of E have length about 1, so that E can also
    serve as the output layer, and the factor brings them up to the positions' size.

    Args:
        vocab_size: V.
        hidden_size: C.
        max_length: longest sequence.
        positions: "sinusoidal", "learned", "rotary" or "none" (the last two add nothing).
        dropout: on the sum, in training.
        pad_id: its vector is zero at the start, and no lookup trains it.

    Source: Vaswani et al. 2017, sections 3.4, 3.5 and 5.4.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        max_length: int,
        positions: str = "sinusoidal",
        dropout: float = 0.1,
        pad_id: int | None = 0,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, hidden_size, padding_idx=pad_id)
        self.max_length = max_length
        kinds = {"sinusoidal": SinusoidalPositions, "learned": LearnedPositions}
        self.positions = None
        if positions in kinds:
            self.positions = kinds[positions](max_length, hidden_size)
        self.dropout = Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=hidden_size**-0.5)
        if pad_id is not None:
            nn.init.zeros_(self.tokens.weight[pad_id])

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Ids (B, T) and their positions, (T,) or (B, T), -> (B, T, C)."""
        if ids.dim() != 2 or ids.shape[1] > self.max_length:
            raise ValueError(
                f"expected ids of shape (B, T) with T at most {self.max_length}, got "
                f"{tuple(ids.shape)}: truncate the input or build the model for a longer one"
            )
        x = self.tokens(ids) * math.sqrt(self.tokens.embedding_dim)
        if self.positions is not None:
            if positions is None:
                positions = torch.arange(ids.shape[1], device=ids.device)
            x = x + self.positions(positions)
        return self.dropout(x)


class SimpleTransformer(nn.Module):
    """A text classifier: embeddings, encoder, one vector for the text, one linear layer.

    Padding never changes the logits: no token attends to it, no position number counts it
    and the pooled vector leaves it out.

    Args:
        vocab_size: V.
        hidden_size: C.
        num_heads: H.
        num_layers: blocks; their feed-forward width is 4 C.
        max_seq_len: longest input in tokens.
        num_classes: logits per text.
        dropout: in training.
        pad_id: the id that is padding when no mask is given.
        pooling: "mean" over the real tokens, their "first" one, or a learned "cls" vector
            put before them (BERT's [CLS]).
        design: pre-norm, GELU and learned positions by default.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_heads: int,
        num_layers: int,
        max_seq_len: int,
        num_classes: int,
        *,
        dropout: float = 0.1,
        pad_id: int = 0,
        pooling: str = "mean",
        design: Design = GPT2,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}")
        self.pad_id = pad_id
        self.pooling = pooling
        self.embeddings = Embeddings(
            vocab_size, hidden_size, max_seq_len, design.positions, dropout, pad_id
        )
        self.cls = nn.Parameter(torch.zeros(hidden_size)) if pooling == "cls" else None
        self.encoder = Encoder(
            num_layers, hidden_size, num_heads, 4 * hidden_size, dropout, design=design
        )
        self.classifier = nn.Linear(hidden_size, num_classes)

    def forward(self, input_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> logits (B, num_classes).

        Args:
            padding_mask: (B, T), True or 1 = real token, as tokenizers return it; without
                one, every ``pad_id`` is padding.

        Raises:
            ValueError: T is longer than ``max_seq_len``, or the mask has another shape.
        """
        real = input_ids != self.pad_id if padding_mask is None else padding_mask.bool()
        if real.shape != input_ids.shape:
            raise ValueError(
                f"padding_mask must be (B, T) = {tuple(input_ids.shape)}, got {tuple(real.shape)}"
            )
        positions = (real.cumsum(dim=1) - 1).clamp(min=0)  # padding on the left counts nothing
        x = self.embeddings(input_ids, positions)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + T, C)
            real = nn.functional.pad(real, (1, 0), value=True)
            positions = nn.functional.pad(positions + 1, (1, 0))
        x = self.encoder(x, expand_padding_mask(real), positions)
        return self.classifier(pool(x, real, self.pooling))


def pool(x: Tensor, real: Tensor, kind: str = "mean") -> Tensor:
    """One vector for each row: the mean of the real positions, or the first of them.

    Args:
        x: (B, T, C). real: (B, T), True = real token.
        kind: "mean", or "first" / "cls".

    Returns:
        (B, C); the mean of a row without real tokens is zero.
    """
    if kind == "mean":
        weights = real.to(x.dtype)[..., None]  # (B, T, 1)
        return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    first = real.to(torch.uint8).argmax(dim=1)  # (B,)
    return x[torch.arange(len(x), device=x.device), first]


class Transformer(nn.Module):
    """The encoder-decoder of 2017: reads one sequence, writes another.

    Args:
        source_vocab, target_vocab: numbers of ids.
        hidden_size, num_heads, num_layers: C, H and the blocks of each half.
        ff_size: 4 C by default.
        max_length: longest source and longest target.
        dropout: in training.
        pad_id: the id of padding in both sequences.
        design: the paper's by default.
        tied: the output layer is the target embedding (section 3.4 of the paper).

    Source: Vaswani et al. 2017, figure 1.
    """

    def __init__(
        self,
        source_vocab: int,
        target_vocab: int,
        hidden_size: int,
        num_heads: int,
        num_layers: int,
        *,
        ff_size: int | None = None,
        max_length: int = 512,
        dropout: float = 0.1,
        pad_id: int = 0,
        design: Design = PAPER,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.pad_id = pad_id
        sizes = (num_layers, hidden_size, num_heads, ff_size or 4 * hidden_size, dropout)
        rest = (hidden_size, max_length, design.positions, dropout, pad_id)
        self.source_embeddings = Embeddings(source_vocab, *rest)
        self.target_embeddings = Embeddings(target_vocab, *rest)
        self.encoder = Encoder(*sizes, design=design)
        self.decoder = Decoder(*sizes, design=design)
        self.output = nn.Linear(hidden_size, target_vocab, bias=False)
        if tied:
            self.output.weight = self.target_embeddings.tokens.weight

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the token after each target position (teacher forcing).

        Args:
            source: ids (B, S), padded with ``pad_id`` on the right.
            target: ids (B, T), shifted right: it begins with the start id.

        Returns:
            (B, T, target_vocab).
        """
        memory, memory_mask = self.encode(source)
        return self.decode(target, memory, memory_mask)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Source ids (B, S) -> memory (B, S, C) and its mask (B, 1, S)."""
        mask = expand_padding_mask(source != self.pad_id)
        return self.encoder(self.source_embeddings(source), mask), mask

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Target ids (B, T) -> logits (B, T, target_vocab); no position sees a later one."""
        mask = combine_masks(
            causal_mask(target.shape[1], device=target.device),
            expand_padding_mask(target != self.pad_id),
        )
        x = self.decoder(self.target_embeddings(target), memory, mask, memory_mask)
        return self.output(x)

    @torch.no_grad()
    def greedy(self, source: Tensor, start_id: int, stop_id: int, max_new_tokens: int) -> Tensor:
        """Write the likeliest token until every row has written ``stop_id``.

        Returns:
            ids (B, n), n <= max_new_tokens, without the start id; padded after the stop id.
        """
        memory, memory_mask = self.encode(source)
        target = torch.full_like(source[:, :1], start_id)
        finished = torch.zeros_like(target, dtype=torch.bool)
        for _ in range(max_new_tokens):
            token = self.decode(target, memory, memory_mask)[:, -1:].argmax(dim=-1)
            token = token.masked_fill(finished, self.pad_id)
            target = torch.cat([target, token], dim=1)
            finished = finished | (token == stop_id)
            if finished.all():
                break
        return target[:, 1:]


@contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the weights (B, H, T, S) of every attention that runs inside the block.

    Yields:
        a dictionary from the module's name to its latest weights.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):

            def keep(_module, _inputs, result, name=name):
                maps[name] = result[1].detach()

            ask = module.register_forward_pre_hook(
                lambda _module, args, kwargs: (args, kwargs | {"need_weights": True}),
                with_kwargs=True,
            )
            handles += [ask, module.register_forward_hook(keep)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
