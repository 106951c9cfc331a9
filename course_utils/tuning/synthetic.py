"""Chapter 4 - Synthetic data: a model writes instructions and replies, and filters decide.

The loop of Self-Instruct, and of tools such as Distilabel: show a few instructions and ask for one
more; keep it if it is new; sample several replies; keep those that pass a program or a judge. All
the worth is in the filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from course_utils.nn.families import Decoder
from course_utils.tuning.conversations import Conversation
from course_utils.tuning.instructions import InstructionDatasetBuilder

QUESTION = (
    "Instruction: {instruction}\nReply: {reply}\n\n"
    "Does the reply do exactly what the instruction asks? Answer Yes or No."
)


def word_overlap(first: str, second: str) -> float:
    """``|A ∩ B| / |A ∪ B|`` of the two texts' sets of lower-cased words; 0 if both are empty.

    >>> word_overlap("Name a colour", "name a Tree")
    0.5

    Source: Jaccard's coefficient; Wang et al. 2023, "Self-Instruct", section 2.2 uses ROUGE-L.
    """
    a, b = set(first.lower().split()), set(second.lower().split())
    return len(a & b) / len(a | b) if a | b else 0.0


def keep_novel(candidates: Iterable[str], pool: Iterable[str], limit: float = 0.7) -> list[str]:
    """Candidates whose overlap with the pool and with those kept before lies below a limit."""
    seen, kept = list(pool), []
    for text in candidates:
        if all(word_overlap(text, other) < limit for other in seen):
            kept.append(text)
            seen.append(text)
    return kept


def ask_for_instruction(examples: Sequence[str]) -> Conversation:
    """A prompt that shows instructions and asks for one more of the kind.

    Source: Wang et al. 2023, "Self-Instruct", table 5 (the prompt, shortened).
    """
    shown = "\n".join(f"{i}. {text}" for i, text in enumerate(examples, start=1))
    asked = f"Come up with a new task. Write only the task.\n{shown}\n{len(examples) + 1}."
    return [{"role": "user", "content": asked}]


@torch.no_grad()
def judge_margins(
    model: Decoder, builder: InstructionDatasetBuilder, pairs: Sequence[Mapping[str, str]]
) -> list[float]:
    """AI feedback as one number: log p(Yes) - log p(No) when a model is asked about a reply.

    Reading the two scores instead of writing an answer gives a graded verdict, one pass a pair,
    and never a reply that cannot be parsed.

    Args:
        pairs: with ``instruction`` and ``reply``.

    Source: Zheng et al. 2023, "Judging LLM-as-a-Judge", section 3.1 (grading a single answer).
    """
    yes, no = (builder.tokenizer(word, add_special_tokens=False)["input_ids"][0]
               for word in ("Yes", "No"))  # fmt: skip
    found = []
    for pair in pairs:
        asked = [{"role": "user", "content": QUESTION.format(**pair)}]
        ids = torch.tensor([builder.prompt_ids(asked)], device=model.tokens.weight.device)
        logits = model.next_logits(ids)[0]
        found.append((logits[yes] - logits[no]).item())
    return found
