"""Chapter 1 – Contextual embeddings: a small ELMo.

A language model that reads left to right must pack into its state what the words so far
mean; one that reads right to left does the same for the words to come. Both states of a
word together are a vector of this word *in this sentence*.

Words come in as bytes, so that no word is unknown at the input. Each direction has its own
LSTM layers; the byte encoder and the softmax are shared (Peters et al., 2018, section 3.1).

Notation: B sentences, T words, W distinct words of a batch, L bytes a word, C width of one
direction, V words that can be predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PAD, WORD_START, WORD_END, SENTENCE_START, SENTENCE_END = 0, 257, 258, 259, 260
BYTES = 261  # padding, 256 bytes shifted by one, four marks
START, END, UNKNOWN = "<s>", "</s>", "<unk>"


def word_bytes(word: str, longest: int = 16) -> list[int]:
    """A word as numbers: start mark, UTF-8 bytes + 1, end mark; cut to ``longest`` numbers.

    >>> word_bytes("ab")
    [257, 98, 99, 258]
    """
    if word in (START, END):
        return [WORD_START, SENTENCE_START if word == START else SENTENCE_END, WORD_END]
    middle = [byte + 1 for byte in word.encode("utf-8")][: longest - 2]
    return [WORD_START, *middle, WORD_END]


class OutputVocabulary:
    """The words a language model can predict; all others count as ``<unk>``, number 0."""

    def __init__(self, sentences: Sequence[Sequence[str]], size: int) -> None:
        from collections import Counter

        counts = Counter(word for sentence in sentences for word in sentence)
        commonest = sorted(counts, key=lambda word: (-counts[word], word))
        self.words = (UNKNOWN, START, END, *commonest)[:size]
        self._index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, word: str) -> int:
        return self._index.get(word, 0)


@dataclass(frozen=True)
class Batch:
    """Sentences ready for the model, each between ``<s>`` and ``</s>``.

    Attributes:
        spellings: bytes of the W distinct words, (W, L).
        words: which of them stands where, (B, T); padding repeats word 0.
        lengths: words of each sentence with its two marks, (B,).
        targets: numbers in the output vocabulary, (B, T).
    """

    spellings: Tensor
    words: Tensor
    lengths: Tensor
    targets: Tensor

    @property
    def mask(self) -> Tensor:
        """True at real words and marks, (B, T)."""
        return torch.arange(self.words.shape[1]) < self.lengths[:, None]


def make_batch(sentences: Sequence[Sequence[str]], vocabulary: OutputVocabulary) -> Batch:
    """Pad sentences (lists of words) into one batch.

    Raises:
        ValueError: if there is no sentence.
    """
    if not sentences:
        raise ValueError("a batch needs at least one sentence")
    marked = [[START, *sentence, END] for sentence in sentences]
    distinct = {word: i for i, word in enumerate(dict.fromkeys(w for s in marked for w in s))}
    spellings = [torch.tensor(word_bytes(word)) for word in distinct]
    return Batch(
        nn.utils.rnn.pad_sequence(spellings, batch_first=True),
        _padded([[distinct[word] for word in sentence] for sentence in marked]),
        torch.tensor([len(sentence) for sentence in marked]),
        _padded([[vocabulary[word] for word in sentence] for sentence in marked]),
    )


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def reverse(values: Tensor, lengths: Tensor) -> Tensor:
    """Turn each row around within its own length; padding stays at the end.

    Args:
        values: (B, T) or (B, T, C). lengths: (B,).

    >>> reverse(torch.tensor([[1, 2, 3, 0]]), torch.tensor([3])).tolist()
    [[3, 2, 1, 0]]
    """
    steps = torch.arange(values.shape[1])
    order = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return values[torch.arange(len(values))[:, None], order]


class ByteEncoder(nn.Module):
    """A word's vector from its bytes: convolutions of several widths, maximum, highway.

    Source: Kim et al. (2016), "Character-Aware Neural Language Models", sections 2.2-2.3.
    """

    def __init__(self, width: int, filters: dict[int, int], byte_width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTES, byte_width, padding_idx=PAD)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(byte_width, count, size) for size, count in filters.items()
        )
        self._room = max(filters)
        total = sum(filters.values())
        self.gate = nn.Linear(total, total)
        self.change = nn.Linear(total, total)
        self.project = nn.Linear(total, width)
        self.norm = nn.LayerNorm(width)  # without it the vectors grow and saturate the LSTM
        nn.init.constant_(self.gate.bias, -1.0)  # at first, mostly carry the input through

    def forward(self, spellings: Tensor) -> Tensor:
        """(W, L) bytes -> (W, C)."""
        # padding on every word, also the longest: else its maximum would lack the value of an
        # empty place, and a word's vector would depend on its companions in the batch
        padded = nn.functional.pad(spellings, (0, self._room))
        signal = self.embedding(padded).transpose(1, 2)  # (W, byte width, L + room)
        found = torch.cat([conv(signal).amax(-1) for conv in self.convolutions], dim=-1).relu()
        gate = torch.sigmoid(self.gate(found))
        return self.norm(self.project(gate * self.change(found).relu() + (1 - gate) * found))


class ElmoLM(nn.Module):
    """Two language models, one for each direction, on shared word vectors.

    Args:
        vocabulary_size: V.
        width: C.
        layers: LSTM layers of each direction; from the second on with a residual connection.
        filters: convolution width -> number of filters of the byte encoder.
        dropout: between the layers, in training.

    Source: Peters et al. (2018), "Deep Contextualized Word Representations", section 3.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        width: int = 128,
        layers: int = 2,
        filters: dict[int, int] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = ByteEncoder(width, filters or {1: 16, 2: 32, 3: 64, 4: 64})
        self.right = nn.ModuleList(
            nn.LSTM(width, width, batch_first=True) for _ in range(layers)
        )  # reads left to right
        self.left = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        # exact, and several times cheaper than a plain softmax: the commonest words have
        # scores of their own, the others share one branch (Grave et al., 2017)
        cutoff = max(1, vocabulary_size // 8)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary_size, [cutoff], div_value=2)

    def forward(self, batch: Batch) -> Tensor:
        """All layers' vectors, forward and backward state side by side.

        Returns:
            (layers + 1, B, T, 2 C). Layer 0 is the byte encoder's vector, twice: it knows
            the word and not the sentence. Values at padding mean nothing.
        """
        words = self.encoder(batch.spellings)[batch.words]  # (B, T, C)
        right = self._run(self.right, words)
        turned = self._run(self.left, reverse(words, batch.lengths))
        left = [reverse(states, batch.lengths) for states in turned]
        return torch.stack([torch.cat(pair, dim=-1) for pair in zip(right, left, strict=True)])

    def _run(self, stack: nn.ModuleList, words: Tensor) -> list[Tensor]:
        states = [words]
        for i, lstm in enumerate(stack):
            made = lstm(self.dropout(states[-1]))[0]
            states.append(made + states[-1] if i else made)
        return states

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean negative log-likelihood in nats a word, (forward, backward).

        The forward model predicts the words after ``<s>``, the backward model those before
        ``</s>``.
        """
        right, left = self(batch)[-1].chunk(2, dim=-1)
        following = batch.mask[:, 1:]  # the last real place has no successor
        return (
            self._word_loss(right[:, :-1][following], batch.targets[:, 1:][following]),
            self._word_loss(left[:, 1:][following], batch.targets[:, :-1][following]),
        )

    def _word_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        return self.softmax(self.dropout(states), targets).loss


class LayerMix(nn.Module):
    """A task's own blend of the layers: ``gamma * sum of s_j h_j``, s = softmax(weights).

    Source: Peters et al. (2018), equation 1.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def shares(self) -> Tensor:
        """s, positive and summing to one, (layers,)."""
        return self.weights.softmax(0)

    def forward(self, states: Tensor) -> Tensor:
        """(layers, ..., C) -> (..., C)."""
        if len(states) != len(self.weights):
            raise ValueError(f"expected {len(self.weights)} layers, got {len(states)}")
        return self.gamma * torch.tensordot(self.shares, states, dims=1)


def train_elmo(
    model: ElmoLM,
    sentences: Sequence[Sequence[str]],
    vocabulary: OutputVocabulary,
    *,
    epochs: int = 1,
    batch_words: int = 800,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Train both directions with Adam, the rate falling in a straight line to a tenth.

    Args:
        batch_words: words in one step; sentences of similar length go together.

    Returns:
        loss in nats a word, mean of the two directions, one value a step.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = list(_length_buckets(sentences, batch_words))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * len(batches)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    losses: list[float] = []
    model.train()
    for _ in range(epochs):
        for i in torch.randperm(len(batches), generator=generator).tolist():
            loss = sum(model.loss(make_batch(batches[i], vocabulary))) / 2
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            decay.step()
            losses.append(loss.item())
    model.eval()
    return losses


def _length_buckets(
    sentences: Sequence[Sequence[str]], batch_words: int
) -> Iterator[list[Sequence[str]]]:
    """Batches of sentences of similar length; padding included, at most ``batch_words`` words."""
    batch: list[Sequence[str]] = []
    for sentence in sorted(sentences, key=len):
        if batch and (len(batch) + 1) * (len(sentence) + 2) > batch_words:
            yield batch
            batch = []
        batch.append(sentence)
    if batch:
        yield batch


@torch.no_grad()
def perplexity(
    model: ElmoLM, sentences: Sequence[Sequence[str]], vocabulary: OutputVocabulary
) -> tuple[float, float]:
    """exp of the mean loss a word, forward and backward, on held-out sentences."""
    model.eval()
    sums, words = torch.zeros(2), 0
    for batch in _length_buckets(sentences, 2000):
        made = make_batch(batch, vocabulary)
        count = int(made.mask[:, 1:].sum())
        sums += torch.stack(model.loss(made)) * count
        words += count
    forward, backward = (sums / words).exp().tolist()
    return forward, backward


@torch.no_grad()
def word_states(
    model: ElmoLM, sentences: Sequence[Sequence[str]], vocabulary: OutputVocabulary
) -> list[Tensor]:
    """Each sentence's vectors without those of its two marks: (layers + 1, words, 2 C)."""
    model.eval()
    found: list[Tensor] = []
    for start in range(0, len(sentences), 32):
        part = sentences[start : start + 32]
        states = model(make_batch(part, vocabulary))  # (layers + 1, B, T, 2 C)
        found += [states[:, i, 1 : 1 + len(sentence)] for i, sentence in enumerate(part)]
    return found
