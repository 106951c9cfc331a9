"""Chapter 4 - The local back end: SmolLM2 by our own model and generation, no network.

Text is computed in float32 unless another dtype is asked for. Batches are padded on the left; a
beginning that all prompts share, and a prompt that is sampled several times, are read once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from course_utils import assets, config
from course_utils.nn import generation
from course_utils.nn.cache import KVCache
from course_utils.nn.llama import Llama
from course_utils.prompting.answer_cache import AnswerCache
from course_utils.prompting.protocol import (
    LLM,
    Message,
    Messages,
    Reply,
    Request,
    Sampling,
    check_messages,
)
from course_utils.prompting.reading import (
    SHORTEST,
    PromptBatch,
    RowSampler,
    read_prefix,
    shared_prefix,
)

MODEL = "smollm2-135m-instruct"


class LocalModel(LLM):
    """A LLaMA-like chat model on this machine.

    Args:
        model: an asset's name, or a folder with config.json, weights, tokenizer and template.
        dtype: of the weights; float32 gives the texts that lessons show.
        batch_size: rows that are computed together.
        device: by default the fastest that is there.
        cache: True for answers on disk in the course's cache folder, or an AnswerCache. Off by
            default: the model is at hand, and a changed model would be hidden by old answers.
        layers: keep only so many of the model's blocks, to test code quickly; its texts are then
            nonsense.
        decoder, tokenizer: objects to use instead of loading (tests, tuned models).

    Attributes:
        model: the decoder. tokenizer: of transformers. stop_ids: ids that end an answer.
    """

    def __init__(
        self,
        model: str | Path = MODEL,
        *,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 16,
        device: str | None = None,
        cache: bool | AnswerCache = False,
        layers: int | None = None,
        decoder: Any = None,
        tokenizer: Any = None,
    ) -> None:
        store = AnswerCache() if cache is True else cache or None
        super().__init__(f"local/{Path(model).name}", price=(0.0, 0.0), cache=store)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size, self.dtype, self.layers = batch_size, dtype, layers
        self.device = device or config.device()
        self.folder = None
        if decoder is None or tokenizer is None:
            self.folder = Path(model) if Path(model).is_dir() else assets.path(str(model))
            loaded = _load(self.folder, dtype, self.device, layers)
            decoder, tokenizer = decoder or loaded[0], tokenizer or loaded[1]
        self.model, self.tokenizer = decoder, tokenizer
        self.stop_ids = _stop_ids(tokenizer)

    def render(self, messages: Messages) -> str:
        """The text that the model reads: the messages in its chat template.

        A last message of the assistant is left open, so that the answer continues it.
        """
        found = check_messages(messages)
        ask = found[-1]["role"] != "assistant"
        return self.tokenizer.apply_chat_template(
            list(map(dict, found)),
            tokenize=False,
            add_generation_prompt=ask,
            continue_final_message=not ask,
        )

    def encode(self, messages: Messages) -> list[int]:
        """Ids of the rendered messages.

        The template's marks become special tokens; the same marks inside a message do not, so
        that a text cannot end its own turn and speak as somebody else.
        """
        found = check_messages(messages)
        if not any(mark in m["content"] for m in found for mark in self._marks()):
            return self._ids(self.render(found))
        return self._encode_apart(found)

    def _encode_apart(self, messages: Sequence[Message]) -> list[int]:
        """Template and contents encoded apart, the contents as plain text."""
        gap = "\x00{}\x00"  # no text of a template looks like this
        blank = [{**m, "content": gap.format(i)} for i, m in enumerate(messages)]
        rest, ids = self.render(blank), []
        for i, message in enumerate(messages):
            before, rest = rest.split(gap.format(i), 1)
            ids += self._ids(before) + self._ids(message["content"], plain=True)
        return ids + self._ids(rest)

    def _ids(self, text: str, *, plain: bool = False) -> list[int]:
        options = {"add_special_tokens": False, "split_special_tokens": plain}
        return self.tokenizer(text, **options)["input_ids"] if text else []

    def _marks(self) -> list[str]:
        return self.tokenizer.all_special_tokens

    def _complete(self, requests: list[Request]) -> list[Reply]:
        prompts = [self.encode(request.messages) for request in requests]
        replies: list[Reply | None] = [None] * len(requests)
        for chunk, prefix in self._chunks(prompts):
            options = [requests[i].sampling for i in chunk]
            found = self._decode([prompts[i] for i in chunk], options, prefix)
            for i, reply in zip(chunk, found, strict=True):
                replies[i] = reply
        return replies

    def _chunks(self, prompts: list[list[int]]) -> Iterator[tuple[list[int], KVCache | None]]:
        """Numbers of the rows to compute together, of similar length, and what they share."""
        different = {tuple(prompt) for prompt in prompts}
        prefix = shared_prefix(list(different)) if len(different) > 1 else []
        cache = None
        if len(prefix) >= SHORTEST:
            cache = read_prefix(self.model, prefix, self.device)
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i], i))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size], cache

    def _decode(
        self, prompts: list[list[int]], sampling: list[Sampling], prefix: KVCache | None
    ) -> list[Reply]:
        """Answers to one batch; equal prompts, which are neighbours, are read once."""
        different = list(dict.fromkeys(map(tuple, prompts)))
        room = sampling[0].max_new_tokens
        text = self._batch(different, room, prefix)
        first = text.logits()
        rows = torch.tensor([different.index(tuple(p)) for p in prompts], device=self.device)
        if len(different) < len(prompts):
            text.take(rows)
        new = self._grow(text, first[rows], RowSampler(sampling, self.device))
        return [
            self._reply(prompt, ids, rule)
            for prompt, ids, rule in zip(prompts, new, sampling, strict=True)
        ]

    @torch.inference_mode()
    def _grow(self, text: PromptBatch, logits: torch.Tensor, rule: RowSampler) -> list[list[int]]:
        """New ids of each row, its stop id included; finished rows leave the batch."""
        stop, room = rule.rule.stop, rule.rule.max_new_tokens
        new: list[list[int]] = [[] for _ in logits]
        rows = list(range(len(new)))  # which answer each row of the batch writes
        for step in range(room):
            token = rule(logits, text.ids, text.real)
            text.add(token)
            for row, i in zip(rows, token.tolist(), strict=True):
                if not self._ended(new[row], stop):
                    new[row].append(i)
            running = [k for k, row in enumerate(rows) if not self._ended(new[row], stop)]
            if not running or step + 1 == room:
                break
            if len(running) <= len(rows) // 2:
                kept = torch.tensor(running, device=self.device)
                text.take(kept)
                rule.take(kept)
                rows = [rows[k] for k in running]
            logits = text.logits()
        return new

    def _ended(self, new: list[int], stop: tuple[str, ...]) -> bool:
        if not new or new[-1] in self.stop_ids:
            return bool(new)
        if not stop:
            return False
        # a stop text of k characters lies within the last k tokens and one more
        tail = self.tokenizer.decode(new[-max(map(len, stop)) - 1 :])
        return any(mark in tail for mark in stop)

    def _reply(self, prompt: Sequence[int], new: list[int], rule: Sampling) -> Reply:
        ended = self._ended(new, rule.stop)
        kept = [i for i in new if i not in self.stop_ids]
        text = before_stop(self.tokenizer.decode(kept, skip_special_tokens=True), rule.stop)
        return Reply(text, len(prompt), len(new), truncated=not ended)

    def _batch(
        self, prompts: Sequence[Sequence[int]], room: int, prefix: KVCache | None
    ) -> PromptBatch:
        pad = self.stop_ids[0]
        return PromptBatch(self.model, prompts, room, pad_id=pad, prefix=prefix, device=self.device)

    def _stream(self, request: Request) -> Iterator[str]:
        ids, rule = self.encode(request.messages), request.sampling
        text = self._batch([ids], rule.max_new_tokens, None)
        choose, new, shown = RowSampler([rule], self.device), [], ""
        while len(new) < rule.max_new_tokens and not self._ended(new, rule.stop):
            token = text.choose(choose)
            text.add(token)
            new.append(int(token))
            sure = certain_part(self._reply(ids, new, rule).text, rule.stop)
            if len(sure) > len(shown) and not self._ended(new, rule.stop):
                yield sure[len(shown) :]
                shown = sure
        reply = self._reply(ids, new, rule)
        if len(reply.text) > len(shown):
            yield reply.text[len(shown) :]
        return reply

    def log_probability(
        self, messages: Messages, continuation: str, *, average: bool = False
    ) -> float:
        """log P of a continuation as the model's answer, in nats; see :meth:`log_probabilities`."""
        return self.log_probabilities([messages], [continuation], average=average)[0][0]

    def log_probabilities(
        self,
        conversations: Sequence[Messages],
        continuations: Sequence[str] | Sequence[Sequence[str]],
        *,
        average: bool = False,
    ) -> list[list[float]]:
        """log P(continuation | conversation) of each continuation of each conversation, in nats.

        Nothing is generated. Each prompt is read once, and what all prompts share only once.

        Args:
            conversations: N of them; if one ends with an assistant's message, the continuation
                follows that text and should begin with a space.
            continuations: K texts for all conversations, or a list of texts for each.
            average: divide by the number of tokens, so that long continuations do not lose by
                their length alone.

        Returns:
            N lists of log-probabilities.

        Raises:
            ValueError: an empty continuation, lists that do not fit, or a continuation that
                melts into the prompt's last token.
        """
        if continuations and isinstance(continuations[0], str):
            continuations = [continuations] * len(conversations)
        pairs = [
            self._pair(messages, list(texts))
            for messages, texts in zip(conversations, continuations, strict=True)
        ]
        found: list[list[float]] = [[] for _ in pairs]
        for chunk, prefix in self._chunks([prompt for prompt, _ in pairs]):
            scored = self._score([pairs[i] for i in chunk], prefix)
            for i, rows in zip(chunk, scored, strict=True):
                found[i] = [float((v.mean() if average else v.sum()).cpu()) for v in rows]
        for prompt, after in pairs:
            self._count(Reply("", len(prompt) + sum(map(len, after))))
        return found

    def _pair(self, messages: Messages, continuations: list[str]) -> tuple[list[int], list]:
        """Ids of the prompt, and of what each continuation adds to it."""
        if not continuations or not all(continuations):
            raise ValueError(f"expected texts to score, none of them empty; got {continuations}")
        prompt, text, after = self.encode(messages), self.render(messages), []
        plain = prompt == self._ids(text)  # False: special marks inside a message
        for continuation in continuations:
            whole = self._ids(text + continuation) if plain else prompt + self._ids(continuation)
            if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
                raise ValueError(
                    f"{continuation!r} melts into the end of the prompt, {text[-20:]!r}: move the "
                    "space or the letters at the border"
                )
            after.append(whole[len(prompt) :])
        return prompt, after

    def _score(self, pairs: list[tuple[list[int], list]], prefix: KVCache | None) -> list[list]:
        """Log-probabilities of all tokens of all continuations, a list for each prompt."""
        longest = max(len(ids) for _, after in pairs for ids in after)
        text = self._batch([prompt for prompt, _ in pairs], longest, prefix)
        first, read = text.logits(), text.cache.filled
        found: list[list[torch.Tensor]] = [[] for _ in pairs]
        for k in range(max(len(after) for _, after in pairs)):
            text.cache.truncate(read)  # back to the end of the prompts: the k-th continuations
            after = [after[k] if k < len(after) else [0] for _, after in pairs]
            for row, values in enumerate(text.continuation_log_probs(first, after)):
                if k < len(pairs[row][1]):
                    found[row].append(values.double())
        return found

    def _identity(self) -> str:
        """Name, dtype and a fingerprint of the weights' file (its size and the configuration)."""
        if self.folder is None:
            raise ValueError("a model given as an object has no identity: use it without a cache")
        print_ = hashlib.sha256((self.folder / "config.json").read_bytes()).hexdigest()[:12]
        sizes = [file.stat().st_size for file in sorted(self.folder.glob("*.safetensors"))]
        return f"{self.name} {self.dtype} {self.layers} {print_} {sizes}"


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop text, without it.

    >>> before_stop("four. Next:", ["Next", "."])
    'four'
    """
    places = [text.find(mark) for mark in stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def certain_part(text: str, stop: Sequence[str]) -> str:
    """What of a growing text can be shown: no half of a character, no possible start of a stop.

    >>> certain_part("see you\\nQuest", ["\\nQuestion"])
    'see you'
    """
    text = text.rstrip("\ufffd")
    longest = max(map(len, stop), default=1)
    starts = range(max(0, len(text) - longest + 1), len(text))
    cut = (i for i in starts if any(mark.startswith(text[i:]) for mark in stop))
    return text[: next(cut, len(text))]


@lru_cache(maxsize=2)
def _load(
    folder: Path, dtype: torch.dtype, device: str, layers: int | None
) -> tuple[generation.DecoderModel, Any]:
    from transformers import AutoTokenizer

    # the packed order of weights is made for a CPU
    decoder = Llama.from_pretrained(folder, dtype=dtype, pack=device == "cpu")
    if layers is not None and layers < decoder.recipe.layers:
        del decoder.stack.blocks[layers:]
        decoder.recipe = decoder.stack.recipe = replace(decoder.recipe, layers=layers)
    return decoder.to(device).eval(), AutoTokenizer.from_pretrained(folder)


def _stop_ids(tokenizer: Any) -> tuple[int, ...]:
    """The end of a turn, and the end of a text where that is another token."""
    names = (tokenizer.eos_token, "<|im_end|>", "<|endoftext|>", "<|eot_id|>")
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names if name]
    known = set(tokenizer.all_special_ids)
    return tuple(dict.fromkeys(i for i in ids if i is not None and i in known))
