"""Chapter 4 - Instruction data: conversations as token ids and labels.

::

    <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\nHello<|im_end|>\\n
     -100 … (not learned)                                Hello<|im_end|>  -100

The model learns what the assistant says and where it stops, and nothing else: not the user's
words, not the template. The end token is learned though padding may use the same id, because
padding is told by its place and never by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from course_utils.tuning.conversations import (
    Conversation,
    check_conversation,
    from_instruction,
)

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100  # the label that torch's cross-entropy leaves out
DEFAULT_TOKENIZER = "smollm2-135m-instruct"
# DialoGPT's form, for tokenizers without a template: every turn ends with the end token
TURNS = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ raise_exception('this form has no system message') }}{% endif %}"
    "{{ message['content'] + eos_token }}{% endfor %}"
)


class InstructionDatasetBuilder:
    """Makes training rows of conversations, in the chat template of a tokenizer.

    Args:
        tokenizer: of transformers; by default SmolLM2's. Without a chat template the turns are
            only separated by the end token, as DialoGPT was trained.
        max_length: longer conversations are cut at their end; the cut reply then has no end
            token, since it did not end there.

    Source: Ouyang et al. 2022, "Training language models to follow instructions", section 3.5
    (SFT); the labels: Touvron et al. 2023, "Llama 2", section 3.1 ("zero-out the loss on tokens
    from the user prompt").
    """

    def __init__(self, tokenizer: Any = None, *, max_length: int = 512) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be positive, got {max_length}")
        self._tokenizer, self.max_length = tokenizer, max_length

    @property
    def tokenizer(self) -> Any:
        """The tokenizer; SmolLM2's is loaded at the first use."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            from course_utils import assets

            self._tokenizer = AutoTokenizer.from_pretrained(assets.path(DEFAULT_TOKENIZER))
        return self._tokenizer

    def create_instruction_dataset(self, data: Iterable[Mapping[str, str]]) -> list[str]:
        """Rows with ``instruction`` and ``response`` as texts in the chat template."""
        return self.create_chat_dataset([from_instruction(item) for item in data])

    def create_chat_dataset(self, conversations: Iterable[Sequence[Mapping]]) -> list[str]:
        """Conversations as texts in the chat template, to read; :meth:`build` is to train.

        Raises:
            ValueError: see :func:`course_utils.tuning.conversations.check_conversation`.
        """
        return [
            self.render(self._checked(c, f"conversation {i}")) for i, c in _count(conversations)
        ]

    def build(self, conversations: Iterable[Sequence[Mapping] | Mapping]) -> Dataset:
        """Conversations (or instruction rows) as a data set to train on.

        Returns:
            one row each: ``input_ids`` and ``labels``, of equal length and not padded.

        Raises:
            ValueError: a conversation has a fault, or none of its replies lies within
                ``max_length``; the error says which.
        """
        from datasets import Dataset

        return Dataset.from_list(
            [self.encode(c, f"conversation {i}") for i, c in _count(conversations)]
        )

    def encode(
        self, conversation: Sequence[Mapping] | Mapping, name: str = "the conversation"
    ) -> dict[str, list[int]]:
        """One conversation (or instruction row) as ``input_ids`` and ``labels``.

        A label is the token itself where the assistant writes, its end token included, and -100
        elsewhere. Prompt and reply are tokenized apart, as they will be when the model is asked:
        the ids are those of the whole text, unless a reply begins with blank lines.
        """
        if isinstance(conversation, Mapping):
            conversation = from_instruction(conversation)
        messages = self._checked(conversation, name)
        ids: list[int] = []
        labels: list[int] = []
        for text, learned in self._pieces(messages):
            piece = self._ids(text)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        ids, labels = ids[: self.max_length], labels[: self.max_length]
        if all(label == IGNORED for label in labels):
            raise ValueError(
                f"no reply of {name} begins within max_length = {self.max_length} tokens"
            )
        return {"input_ids": ids, "labels": labels}

    def prompt_ids(self, turns: Sequence[Mapping]) -> list[int]:
        """The ids after which the model is to write the next reply."""
        messages = check_conversation(turns, reply=False, name="the prompt")
        self._refuse_special(messages, "the prompt")
        return self._ids(self.render(messages, ask=True))

    def render(self, messages: Conversation, *, ask: bool = False) -> str:
        """The chat template's text; ``ask`` opens the assistant's next turn."""
        template = self.tokenizer.chat_template or TURNS
        return self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=ask, chat_template=template
        )

    def _checked(self, conversation: Sequence[Mapping], name: str) -> Conversation:
        messages = check_conversation(conversation, name=name)
        self._refuse_special(messages, name)
        return messages

    def _refuse_special(self, messages: Conversation, name: str) -> None:
        """A turn that contains ``<|im_end|>`` would close itself and open another in its name."""
        added = self.tokenizer.added_tokens_decoder.values()
        special = {token.content for token in added if token.special}
        for i, message in enumerate(messages):
            inside = sorted(token for token in special if token in message["content"])
            if inside:
                raise ValueError(f"turn {i} of {name} contains the special token {inside[0]!r}")

    def _pieces(self, messages: Conversation) -> list[tuple[str, bool]]:
        """The text in pieces that are learned (a reply and its end) and that are not."""
        pieces: list[tuple[str, bool]] = []
        done = ""
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                prompt = self.render(messages[:i], ask=True)
                reply = self._reply(prompt, self.render(messages[: i + 1]))
                pieces += [(_after(done, prompt), False), (reply, True)]
                done = prompt + reply
        return [*pieces, (_after(done, self.render(messages)), False)]

    def _reply(self, prompt: str, whole: str) -> str:
        """What the assistant writes after a prompt, up to its end token."""
        text, end = _after(prompt, whole), self.tokenizer.eos_token
        if end not in text:
            raise ValueError(f"the chat template ends no reply with {end!r}: no model could stop")
        return text[: text.rindex(end) + len(end)]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []


def _after(start: str, text: str) -> str:
    """What follows the start of a text."""
    if not text.startswith(start):
        raise ValueError("the chat template changes earlier turns when later ones are added")
    return text[len(start) :]


def _count(conversations: Iterable) -> Iterable[tuple[int, Any]]:
    if isinstance(conversations, (str, Mapping)):
        raise TypeError("expected a list of conversations, got a single item")
    return enumerate(conversations)
