"""Chapter 4 - Span decoding: from two scores per token to the best answer inside a text.

An extractive reader gives every token a score for "the answer starts here" and one for "it ends
here". The best start and the best end, taken apart, may contradict each other; the best *pair*
that is allowed may not.

Letters: T tokens of question and context together, W windows of a long context.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Span:
    """An answer: tokens ``start`` to ``end``, both included, and start plus end score (logits)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Answer:
    """An answer as text, and the characters ``start:end`` of the context it was cut from."""

    text: str
    start: int
    end: int
    score: float


def best_spans(
    start: Tensor, end: Tensor, allowed: Tensor, *, max_tokens: int = 30, k: int = 1
) -> list[Span]:
    """The k best spans, best first: ``argmax start_i + end_j, i <= j < i + max_tokens``.

    Args:
        start, end: scores (T,).
        allowed: (T,), True where an answer may lie: tokens of the context, not of the question.
        max_tokens: longest answer.
        k: how many; fewer come back if fewer are allowed.

    Raises:
        ValueError: shapes that differ, or no allowed token.

    Source: Devlin et al. 2019, "BERT", section 4.2.
    """
    if not start.shape == end.shape == allowed.shape or start.ndim != 1:
        shapes = [tuple(x.shape) for x in (start, end, allowed)]
        raise ValueError(f"start, end and allowed must be three rows of one length, got {shapes}")
    if not allowed.any():
        raise ValueError("no token is allowed, so there is nothing to choose from")
    size = len(start)
    scores = start.double()[:, None] + end.double()[None, :]  # (T, T): row = start, column = end
    scores = scores.masked_fill(~_pairs(allowed.bool(), max_tokens), -torch.inf)
    values, places = scores.flatten().topk(min(k, size * size))
    found = zip(values.tolist(), places.tolist(), strict=True)
    return [Span(*divmod(place, size), value) for value, place in found if value > -torch.inf]


def _pairs(allowed: Tensor, max_tokens: int) -> Tensor:
    """(T, T), True for a pair that may be an answer: both allowed, in order, not too long."""
    both = allowed[:, None] & allowed[None, :]
    return both.triu(0).tril(max_tokens - 1)


def null_score(start: Tensor, end: Tensor) -> float:
    """Score of "there is no answer": start plus end score of the first token, [CLS].

    Source: Devlin et al. 2019, section 4.3; the answer is given if it beats this by a threshold.
    """
    return float(start[0] + end[0])


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    context: str,
    *,
    max_tokens: int = 30,
    window: int = 384,
    stride: int = 128,
    k: int = 1,
) -> list[Answer]:
    """What the question-answering pipeline did: cut windows, score, decode, map back to text.

    Args:
        model: with a question-answering head (``AutoModelForQuestionAnswering``).
        tokenizer: a fast one, which knows the characters of its tokens.
        window, stride: tokens of a window, and tokens that two neighbours share.
        k: how many answers, best first, each text once.

    Raises:
        ValueError: an empty question or context.
    """
    if not question.strip() or not context.strip():
        raise ValueError("question and context must both hold text")
    batch = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=window,
        stride=stride,
        padding=True,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    starts, ends = _scores(model, batch)
    found = []
    for w in range(len(starts)):
        allowed = torch.tensor([part == 1 for part in batch.sequence_ids(w)])
        spans = best_spans(starts[w], ends[w], allowed, max_tokens=max_tokens, k=k)
        found += [_cut(context, span, batch["offset_mapping"][w]) for span in spans]
    return _best(found, k)


def _scores(model: PreTrainedModel, batch: Any) -> tuple[Tensor, Tensor]:
    """Start and end scores (W, T), computed in evaluation mode on the model's own device."""
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        output = model(**{name: batch[name].to(model.device) for name in names})
    model.train(was_training)
    return output.start_logits.cpu(), output.end_logits.cpu()


def _cut(context: str, span: Span, offsets: Tensor) -> Answer:
    first, last = int(offsets[span.start, 0]), int(offsets[span.end, 1])
    return Answer(context[first:last], first, last, span.score)


def _best(found: Iterable[Answer], k: int) -> list[Answer]:
    """The k best, the same piece of text once: neighbouring windows overlap."""
    best: dict[tuple[int, int], Answer] = {}
    for one in sorted(found, key=lambda one: -one.score):
        best.setdefault((one.start, one.end), one)
    return list(best.values())[:k]


NAMES = [
    "Anna",
    "Boris",
    "Clara",
    "David",
    "Elena",
    "Frank",
    "Greta",
    "Hugo",
    "Irene",
    "Jonas",
    "Karin",
    "Louis",
    "Maria",
    "Nikola",
    "Olga",
    "Peter",
    "Rosa",
    "Simon",
    "Tanya",
    "Viktor",
]
PLACES = [
    "Sofia",
    "New York",
    "Rome",
    "Cape Town",
    "Buenos Aires",
    "Oslo",
    "Rio de Janeiro",
    "Cairo",
    "the old harbour",
    "a small village near Lyon",
    "Lima",
    "San Francisco",
    "Kyoto",
    "the north of Spain",
]
JOBS = [
    "a nurse",
    "a retired teacher",
    "a taxi driver",
    "an engineer",
    "a very good cook",
    "a judge",
    "a professor of law",
    "a painter",
]
FACTS = (
    ("{} lives in ", "Where does {} live?", PLACES),
    ("{} was born in ", "Where was {} born?", PLACES),
    ("{} works as ", "What is the job of {}?", JOBS),
)


def people_questions(count: int, seed: int = 0) -> list[dict]:
    """Questions with a known answer: three people, one fact about each, one of them asked for.

    Args:
        count: how many rows. seed: of the generator that draws them.

    Returns:
        rows with question, context, answer and its characters ``start:end`` in the context.
    """
    rng = random.Random(seed)
    return [_people_question(rng) for _ in range(count)]


def _people_question(rng: random.Random) -> dict:
    asked, context, row = rng.randrange(3), "", {}
    for i, name in enumerate(rng.sample(NAMES, 3)):
        sentence, question, answers = rng.choice(FACTS)
        context += sentence.format(name)
        end = len(context) + len(found := rng.choice(answers))
        if i == asked:
            row = {"question": question.format(name), "answer": found}
            row |= {"start": len(context), "end": end}
        context += found + ". "
    return row | {"context": context.strip()}
