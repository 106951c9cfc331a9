"""Chapter 4 - Known answer: tasks whose right output is known for every input.

A model that writes a sequence backwards must know positions, look across the whole sequence
and stop in time; one that copies the letter two places back must know distances. When it
fails, the failure can be read off. That makes such tasks a test bench for the parts of a
transformer.

Ids: 0 padding, 1 start, 2 stop, then the letters. Letters: B batch, T length, C model width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.nn.fitting import fit
from course_utils.nn.stacks import Encoder
from course_utils.nn.transformer import Design, Embeddings, Transformer

PAD, START, STOP, FIRST_LETTER = 0, 1, 2, 3
LETTERS = 20
VOCAB_SIZE = FIRST_LETTER + LETTERS
NOTHING = PAD  # the label of a position for which the task has no answer


# --- encoder-decoder: write the sequence backwards -------------------------------------------


def reversal_batch(
    batch: int, generator: torch.Generator, *, longest: int = 10, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Random letters, and the same backwards.

    Args:
        longest: rows have 1 to ``longest`` letters.
        length: of every row instead.

    Returns:
        source (B, S), padded; target (B, S + 1): the source backwards, stop id, padding.
    """
    width = length or longest
    source = random_letters(batch, width, generator)
    if length is None:
        lengths = torch.randint(1, longest + 1, (batch, 1), generator=generator)
        source = source.masked_fill(torch.arange(width) >= lengths, PAD)
    return source, reverse(source)


def random_letters(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Ids (B, T), all letters alike."""
    return torch.randint(FIRST_LETTER, VOCAB_SIZE, (batch, length), generator=generator)


def reverse(source: Tensor) -> Tensor:
    """The right answer: (B, S) padded ids -> (B, S + 1), backwards, with the stop id.

    >>> reverse(torch.tensor([[5, 6, 7], [8, 0, 0]])).tolist()
    [[7, 6, 5, 2], [8, 2, 0, 0]]
    """
    lengths = (source != PAD).sum(dim=1, keepdim=True)
    places = torch.arange(source.shape[1] + 1)
    mirrored = (lengths - 1 - places).clamp(min=0)  # (B, S + 1)
    backwards = source.gather(1, mirrored).masked_fill(places >= lengths, PAD)
    return backwards.masked_fill(places == lengths, STOP)


def shift_right(target: Tensor) -> Tensor:
    """What the decoder reads while it writes ``target``: the start id, then all but the last."""
    start = target.new_full((len(target), 1), START)
    return torch.cat([start, target[:, :-1]], dim=1)


def reversal_loss(model: Transformer, source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in nats per token, stop ids counted, padding not (teacher forcing)."""
    logits = model(source, shift_right(target))  # (B, S + 1, V)
    return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def exact_match(model: Transformer, source: Tensor, target: Tensor) -> float:
    """Share (0-1) of rows that the model writes without one mistake, greedily."""
    model.eval()
    written = model.greedy(source, START, STOP, max_new_tokens=target.shape[1])
    missing = target.shape[1] - written.shape[1]
    written = nn.functional.pad(written, (0, missing), value=PAD)
    return (written == target).all(dim=1).float().mean().item()


# --- encoder alone: one label for each position ----------------------------------------------


class Tagger(nn.Module):
    """Embeddings, encoder, and the same linear layer at every position.

    Args:
        num_layers: blocks.
        design: see :class:`course_utils.nn.stacks.Design`.
        hidden_size, num_heads: C and H.
        max_length: longest sequence, also at test time.
    """

    def __init__(
        self,
        num_layers: int,
        design: Design,
        *,
        hidden_size: int = 32,
        num_heads: int = 2,
        max_length: int = 64,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(VOCAB_SIZE, hidden_size, max_length, design.positions, 0.0)
        self.encoder = Encoder(
            num_layers, hidden_size, num_heads, 4 * hidden_size, 0.0, design=design
        )
        self.labels = nn.Linear(hidden_size, VOCAB_SIZE)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) without padding -> logits (B, T, V)."""
        return self.labels(self.encoder(self.embeddings(ids)))


def backwards(ids: Tensor) -> Tensor:
    """Each position's label is the letter at the mirrored position: absolute positions."""
    return ids.flip(1)


def two_back(ids: Tensor) -> Tensor:
    """Each position's label is the letter two places earlier: a distance.

    >>> two_back(torch.tensor([[7, 8, 9]])).tolist()
    [[0, 0, 7]]
    """
    return nn.functional.pad(ids[:, :-2], (2, 0), value=NOTHING)


def train_tagger(
    design: Design,
    answer: Callable[[Tensor], Tensor],
    *,
    num_layers: int = 2,
    shortest: int = 8,
    longest: int = 8,
    steps: int = 150,
    learning_rate: float = 1e-2,
    batch: int = 64,
    seed: int = 0,
) -> tuple[Tagger, list[float]]:
    """Train a tagger on random letters; its loss, in nats per position, at every step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Tagger(num_layers, design)

    def loss_of(_step: int) -> Tensor:
        length = int(torch.randint(shortest, longest + 1, (), generator=generator))
        ids = random_letters(batch, length, generator)
        return nn.functional.cross_entropy(model(ids).flatten(0, 1), answer(ids).flatten())

    return model, fit(model, loss_of, steps, learning_rate=learning_rate)


@torch.no_grad()
def tagging_accuracy(
    model: Tagger, answer: Callable[[Tensor], Tensor], length: int, *, batch: int = 500
) -> float:
    """Share (0-1) of positions labelled right, on letters the model has not seen."""
    model.eval()
    ids = random_letters(batch, length, torch.Generator().manual_seed(10_007))
    return (model(ids).argmax(dim=-1) == answer(ids)).float().mean().item()
