"""Chapter 4 - Pretraining: new models, and the two objectives that need no labels.

Causal (GPT): predict each token from those before it. Masked (BERT): hide some tokens, predict
them from both sides. Losses come as a sum and a count, because several small batches make the
gradient of one large batch only if their *sums* are added and divided once.

Letters: B rows, T tokens of a row, C width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.bert import MaskedWordHead
from course_utils.nn.blocks import Recipe
from course_utils.nn.families import Decoder, Encoder
from course_utils.nn.gpt import GPT2
from course_utils.nn.stream import cut_rows

IGNORED = -100  # no loss at this label: cross_entropy's own mark
LossOf = Callable[[nn.Module, Tensor, torch.Generator], tuple[Tensor, int]]


def new_gpt(
    vocab_size: int,
    hidden_size: int,
    layers: int,
    heads: int,
    context: int,
    *,
    positions: str = "learned",
    generator: torch.Generator | None = None,
) -> GPT2:
    """An untrained GPT-2 of any size.

    Args:
        vocab_size, hidden_size, layers, heads: V, C, blocks, H; the inner layer is 4 C wide.
        context: the longest text it will be trained on; a table of positions has this length.
        positions: "learned" as in GPT-2, or "rotary", which needs far less text to learn.
    """
    sizes = (vocab_size, hidden_size, layers, heads, 4 * hidden_size, context)
    return start_weights(GPT2(Recipe(*sizes, positions=positions)), generator)


class MaskedModel(nn.Module):
    """A small BERT with the head that fills in words: ids (B, T) to logits (B, T, V).

    Pre-norm and rotary, unlike BERT: post-norm needs a long warm-up, a table much text.

    Args: as for :func:`new_gpt`.

    Source: Devlin et al. 2019, section 3.1; Xiong et al. 2020 (pre-norm).
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        layers: int,
        heads: int,
        context: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (vocab_size, hidden_size, layers, heads, 4 * hidden_size, context)
        self.encoder = Encoder(Recipe(*sizes, causal=False, positions="rotary"))
        self.head = MaskedWordHead(self.encoder.tokens.weight)
        start_weights(self, generator)

    def forward(self, ids: Tensor, *, padding_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V)."""
        return self.head(self.encoder(ids, padding_mask=padding_mask))


def start_weights(model: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """First weights: normal with deviation ``0.7 / sqrt(C)``, biases 0, norms 1. In place.

    At GPT-2's width of 768 that is 0.025, near its published 0.02; a narrow model needs more, or
    its scores are too flat to learn from for hundreds of steps. The layers that write into the
    residual stream get ``1 / sqrt(2 L)`` of it, so that the sum of 2 L contributions does not
    grow with the depth L.

    Source: Radford et al. 2019, section 2.3 (depth); Glorot & Bengio 2010 (width).
    """
    weights = dict(model.named_parameters())
    blocks = sum(name.endswith("attention.out.weight") for name in weights)
    width = next(w.shape[1] for name, w in weights.items() if name.endswith("tokens.weight"))
    std = 0.7 / math.sqrt(width)
    for name, weight in weights.items():
        if weight.dim() > 1:
            writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            shrink = math.sqrt(2 * blocks) if writes else 1.0
            nn.init.normal_(weight, std=std / shrink, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    return model


def causal_loss(model: nn.Module, rows: Tensor, generator: object = None) -> tuple[Tensor, int]:
    """Next-token loss of rows (B, T + 1): the sum over B T predictions in nats, and B T.

    ``sum_t -log p(x_{t+1} | x_1 … x_t)``

    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
    equation 1.
    """
    logits = model(rows[:, :-1])
    targets = rows[:, 1:].flatten()
    # float32 also under autocast: a sum of exponentials over V needs the digits
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets, reduction="sum")
    return loss, targets.numel()


def corrupt(
    ids: Tensor,
    mask_id: int,
    words: int,
    *,
    share: float = 0.15,
    keep_ids: Sequence[int] = (),
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """BERT's corruption: choose ``share`` of the tokens; hide 80 %, replace 10 %, leave 10 %.

    Were all chosen tokens hidden, the model would never need a good vector for a token that it
    sees, and in use it sees all of them.

    Args:
        ids: (B, T), left as they are.
        mask_id: stands for a hidden token.
        words: random replacements are ids below this number.
        share: of the tokens that have to be predicted.
        keep_ids: never chosen (end of text, padding).

    Returns:
        inputs (B, T), and labels (B, T): the true id where chosen, -100 elsewhere.

    Source: Devlin et al. 2019, "BERT", section 3.1, task 1, and appendix A.1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    draw = {"generator": generator, "device": ids.device}
    chosen = torch.rand(ids.shape, **draw) < share
    for kept in keep_ids:
        chosen &= ids != kept
    fate = torch.rand(ids.shape, **draw)
    inputs = ids.masked_fill(chosen & (fate < 0.8), mask_id)
    randoms = torch.randint(words, ids.shape, **draw)
    inputs = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), randoms, inputs)
    return inputs, ids.masked_fill(~chosen, IGNORED)


def masked_loss(mask_id: int, words: int, *, share: float = 0.15, end_id: int) -> LossOf:
    """The masked objective as a loss for the training loop; arguments of :func:`corrupt`.

    The returned function gives the sum over the chosen tokens in nats, and their number. The head
    runs at chosen places only: the others have no loss.
    """

    def loss_of(model: MaskedModel, rows: Tensor, generator: torch.Generator):
        ids = rows[:, :-1]  # rows carry one token more than a causal model reads
        options = {"share": share, "keep_ids": (end_id,), "generator": generator}
        inputs, labels = corrupt(ids, mask_id, words, **options)
        places = labels != IGNORED
        logits = model.head(model.encoder(inputs)[places])  # (chosen, V)
        loss = F.cross_entropy(logits.float(), labels[places], reduction="sum")
        return loss, int(places.sum())

    return loss_of


@torch.no_grad()
def stream_loss(model: Decoder, stream: Tensor, length: int, batch_size: int = 32) -> float:
    """Mean next-token loss over a stream in nats per token, in rows without overlap: quick.

    Each row's first tokens have little context, so this is above what windows with overlap give
    (``evaluation.perplexity``); it is meant for following a run.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for rows in cut_rows(stream, length).split(batch_size):
        loss, tokens = causal_loss(model, rows.to(next(model.parameters()).device))
        total, count = total + loss.item(), count + tokens
    model.train(was_training)
    return total / count


def bits_per_byte(nats: float, size: int) -> float:
    """A loss summed over a text, as bits for each byte of it: comparable across tokenizers.

    ``nats / (log(2) · size)``

    Args:
        nats: the *sum* of the token losses. size: bytes of the text in UTF-8.

    Source: Gao et al. 2020, "The Pile", section 3.1.

    >>> round(bits_per_byte(3 * math.log(4), 8), 6)  # three tokens of 2 bits each, 8 bytes
    0.75
    """
    if size < 1:
        raise ValueError(f"a text needs at least one byte, got {size}")
    return nats / math.log(2) / size
