"""Chapter 4 - Constitution: a model criticises and revises its own replies by written principles.

The loop of Constitutional AI's first phase: reply, critique, revision, once per principle. Revised
replies become training data (phase 1), or the model's own comparisons become preference pairs
(phase 2, RLAIF): prompt, chosen = the revision, rejected = the first draft.

Source: Bai et al. 2022, "Constitutional AI: Harmlessness from AI Feedback", sections 3.1 and 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Message = dict[str, str]
Reply = Callable[[list[list[Message]]], list[str]]  # conversations -> one reply each


@dataclass(frozen=True)
class Principle:
    """One rule of a constitution.

    Args:
        name: a word for it. critique: asks what is wrong. revision: asks for a better reply.
    """

    name: str
    critique: str
    revision: str


CONSTITUTION = (
    Principle(
        "helpful",
        "Name one thing in your last reply that does not help the person, in one sentence.",
        "Write your last reply again so that it helps the person. Keep it short.",
    ),
    Principle(
        "honest",
        "Name one claim in your last reply that you cannot know or that may be false, in one "
        "sentence.",
        "Write your last reply again without claims that you cannot know. Keep it short.",
    ),
    Principle(
        "harmless",
        "Name one way in which your last reply could hurt somebody, in one sentence.",
        "Write your last reply again so that it can hurt nobody. Keep it short.",
    ),
)


@dataclass(frozen=True)
class Revision:
    """One pass of the loop.

    Attributes:
        prompt, draft, critique, revised: the four texts. principle: the rule's name.
    """

    prompt: str
    principle: str
    draft: str
    critique: str
    revised: str

    @property
    def pair(self) -> dict[str, str]:
        """As an AI-made preference: the revision is assumed to be better than the draft."""
        return {"prompt": self.prompt, "chosen": self.revised, "rejected": self.draft}


def critique_and_revise(
    reply: Reply, prompts: Sequence[str], principles: Sequence[Principle]
) -> list[Revision]:
    """Draft, critique and revision of each prompt, by the principle at its place.

    Args:
        reply: answers a batch of conversations of ``{"role", "content"}`` messages.
        prompts, principles: of equal number.

    Raises:
        ValueError: unequal numbers, or ``reply`` gives another number of texts than it got.
    """
    if len(prompts) != len(principles):
        raise ValueError(f"got {len(prompts)} prompts and {len(principles)} principles")
    talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
    drafts = _answered(reply, talks)
    critiques = _answered(reply, _asked(talks, [rule.critique for rule in principles]))
    revised = _answered(reply, _asked(talks, [rule.revision for rule in principles]))
    found = zip(prompts, principles, drafts, critiques, revised, strict=True)
    return [Revision(prompt, rule.name, *texts) for prompt, rule, *texts in found]


def _asked(talks: list[list[Message]], questions: Sequence[str]) -> list[list[Message]]:
    for talk, question in zip(talks, questions, strict=True):
        talk.append({"role": "user", "content": question})
    return talks


def _answered(reply: Reply, talks: list[list[Message]]) -> list[str]:
    texts = reply([list(talk) for talk in talks])
    if len(texts) != len(talks):
        raise ValueError(f"reply got {len(talks)} conversations and gave {len(texts)} texts")
    for talk, text in zip(talks, texts, strict=True):
        talk.append({"role": "assistant", "content": text})
    return texts
