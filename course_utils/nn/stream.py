"""Chapter 4 - Token stream: documents one after the other, cut into rows for training.

Nothing is padded: a row may end in the middle of one document and hold the start of the next,
with an end-of-text id between them, so that the model can learn where a text ends.

Letters: N tokens of the stream, B rows of a batch, T tokens that a row predicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def pack_stream(documents: Iterable[Sequence[int]], end_id: int | None) -> Tensor:
    """All documents as one stream (N,), each followed by the end-of-text id.

    Args:
        documents: token ids of each; empty ones are left out.
        end_id: the separator; None joins without one (to see what is lost by that).

    Raises:
        ValueError: there is no token, or a document holds the separator already.

    >>> pack_stream([[5, 6], [7]], end_id=0).tolist()
    [5, 6, 0, 7, 0]
    """
    end = [] if end_id is None else [end_id]
    ids: list[int] = []
    for number, document in enumerate(documents):
        if end_id in document:
            raise ValueError(
                f"document {number} holds the separator {end_id}: encode text with special=False"
            )
        ids += [*document, *end] if len(document) else []
    if not ids:
        raise ValueError("there is no token to pack")
    return torch.tensor(ids, dtype=torch.long)


def cut_rows(stream: Tensor, length: int, offset: int = 0) -> Tensor:
    """Rows (R, T + 1) of a stream: T inputs, and the same places one further on as targets.

    Neighbouring rows share one token, which is the last target of one and the first input of the
    next, so every token (but the stream's first) is a target exactly once. A tail shorter than T
    is left over; another offset puts it elsewhere.

    Args:
        stream: (N,). length: T. offset: tokens to skip at the start.

    Raises:
        ValueError: the stream is too short for one row.
    """
    if len(stream) - offset < length + 1:
        raise ValueError(
            f"a row needs {length + 1} tokens, the stream has {len(stream) - offset} of them"
        )
    return stream[offset:].unfold(0, length + 1, length)


class Batches:
    """Endless batches (B, T + 1) of a stream in random order, from a position that can be stored.

    Each epoch cuts the stream at another offset and shuffles the rows; both depend on seed and
    epoch only. So two numbers say where we are, and a run that was cut off goes on with exactly
    the batch that it would have seen.

    Args:
        stream: (N,). length: T. batch_size: B. seed: of the order.

    Raises:
        ValueError: an epoch would hold no full batch.
    """

    def __init__(self, stream: Tensor, length: int, batch_size: int, seed: int = 0) -> None:
        self.stream, self.length = stream, length
        self.batch_size, self.seed = batch_size, seed
        # one row is kept in hand: an offset may cost one
        self.per_epoch = max(1, (len(stream) - length) // length) // batch_size
        if not self.per_epoch or len(stream) < 2 * length:
            raise ValueError(
                f"{len(stream)} tokens give no batch of {batch_size} rows of {length} tokens"
            )
        self.epoch, self.position = 0, 0
        self._shuffle()

    def _shuffle(self) -> None:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        offset = int(torch.randint(self.length, (), generator=generator))
        rows = cut_rows(self.stream, self.length, offset)
        self._rows, self._order = rows, torch.randperm(len(rows), generator=generator)

    def next(self) -> Tensor:
        """The next batch (B, T + 1)."""
        if self.position == self.per_epoch:
            self.epoch, self.position = self.epoch + 1, 0
            self._shuffle()
        start = self.position * self.batch_size
        self.position += 1
        return self._rows[self._order[start : start + self.batch_size]]

    def state_dict(self) -> dict[str, int]:
        """Where we are."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to where another one was.

        Raises:
            ValueError: it shuffled with another seed, so its position means nothing here.
        """
        if state["seed"] != self.seed:
            raise ValueError(f"the checkpoint's data has seed {state['seed']}, not {self.seed}")
        self.epoch, self.position = state["epoch"], state["position"]
        self._shuffle()


class MixedBatches:
    """Batches with a fixed number of rows from each of several sources: old text beside new.

    Args:
        sources: each gives its own share of the rows, by its own batch size.
    """

    def __init__(self, sources: Sequence[Batches]) -> None:
        self.sources = list(sources)

    def next(self) -> Tensor:
        """The next batch (B_1 + B_2 + …, T + 1)."""
        return torch.cat([source.next() for source in self.sources])

    def state_dict(self) -> dict[str, list]:
        """Where all of them are."""
        return {"sources": [source.state_dict() for source in self.sources]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Go to where they were."""
        for source, own in zip(self.sources, state["sources"], strict=True):
            source.load_state_dict(own)
