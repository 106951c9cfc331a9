"""Chapter 4 - SmolLM2 as the mind of the loop.

Four crutches make a model of 135 million weights act. *Examples*, in a prompt of its own for each
decision. *Calibration*: its prejudice for one tool is measured and taken off. *A mask*: what it
writes is always the argument of one valid call. *Copying*: numbers come from the question, answers
from what was found. Left to the model: which tool, which order and operators, which words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from course_utils.agents import copying, few_shot
from course_utils.agents.decoding import Decoder, Written
from course_utils.agents.tools import Registry
from course_utils.agents.trace import FINISH, Action, Trace
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.token_mask import TokenMask, trie_of

BATCH, SPARE = 16, 48  # rows at once, and tokens of room beyond the shortest call
COMPUTED = ("calculator", "python")  # their result is the answer
CODE = "[!-~][ -~]{2,69}"
WORDS = "[!-~][ -~]{0,35}"


class SmallModelMind:
    """A mind that asks a local model for one constrained call at each step.

    Args:
        llm: of ``prompting.llm.connect("local")``.
        tools: what it may call, among calculator, search and python.
        copy: arguments and answers are copied from question and result; False lets the model
            write freely within the tools' schemas.
        temperature, generator: of the written arguments; 0 is greedy.
    """

    def __init__(
        self,
        llm: Any,
        tools: Registry,
        *,
        copy: bool = True,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        self.llm, self.tools, self.copy = llm, tools, copy
        self.temperature, self.generator = temperature, generator
        self.names = [n for n in few_shot.TYPES if n in tools or n == FINISH]
        self._decoders: dict[str, Decoder] = {}
        self._masks: dict[str, TokenMask] = {}
        self._typed: dict[str, Tensor] = {}

    def decide(self, traces: Sequence[Trace]) -> list[Action]:
        """One valid call for each trace; rows that ask the same kind of thing share a batch."""
        chosen = self.choose(traces)
        groups: dict[str, list[int]] = {}
        for i, (trace, name) in enumerate(zip(traces, chosen, strict=True)):
            groups.setdefault(_prompt_name(name, trace), []).append(i)
        actions: dict[int, Action] = {}
        for which, rows in groups.items():
            written = self._write(which, [traces[i] for i in rows], [chosen[i] for i in rows])
            for i, text in zip(rows, written, strict=True):
                actions[i] = _action(chosen[i], text, traces[i])
        return [actions[i] for i in range(len(traces))]

    def choose(self, traces: Sequence[Trace]) -> list[str]:
        """A tool, or ``finish``, for each trace."""
        scores = self.type_scores([trace.task for trace in traces])
        return [self._allowed_best(t, s) for t, s in zip(traces, scores, strict=True)]

    def _allowed_best(self, trace: Trace, scores: Tensor) -> str:
        last = next((s for s in reversed(trace.steps) if s.problem is None), None)
        if last and last.name in COMPUTED:
            return FINISH
        if last:  # a search: read, or compute with what was found
            return self._next(trace, last.observation)
        used = {step.name for step in trace.steps}
        order = [self.names[i] for i in scores.argsort(descending=True).tolist()]
        return next((name for name in order if name not in used), FINISH)

    def _next(self, trace: Trace, found: str) -> str:
        if "calculator" not in self.tools or len(copying.numbers_in(trace.task, found)) < 2:
            return FINISH
        text = f"{few_shot.question_text(trace.task, found)}Next:"
        scores = self._first_tokens("next", [text], list(few_shot.NEXT.values()))[0]
        used = {step.name for step in trace.steps}
        best = list(few_shot.NEXT)[int(scores.argmax())]
        return FINISH if best in used else best

    def type_scores(self, questions: Sequence[str], *, calibrated: bool = True) -> Tensor:
        """log P of each kind of question, (questions, names), less the model's prejudice.

        Source: Zhao et al. 2021, "Calibrate Before Use"; Zhou et al. 2023, "Batch Calibration".
        """
        scores = self._types(questions)
        if calibrated:
            scores = scores - self._types(few_shot.CALIBRATION).mean(0)
        return scores

    def _types(self, questions: Sequence[str]) -> Tensor:
        """Raw scores; a question is read once, however often its trace comes by."""
        new = [q for q in dict.fromkeys(questions) if q not in self._typed]
        if new:
            texts = [f"{few_shot.question_text(q)}Type:" for q in new]
            options = [few_shot.TYPES[n] for n in self.names]
            found = self._first_tokens("type", texts, options)
            self._typed |= dict(zip(new, found, strict=True))
        return torch.stack([self._typed[q] for q in questions])

    def _first_tokens(self, which: str, texts: Sequence[str], options: Sequence[str]) -> Tensor:
        first = [self._ids(option)[0] for option in options]
        if len(set(first)) < len(first):
            raise ValueError(f"the first tokens of {options} must differ")
        logits = self._decoder(which).next_scores([self._ids(text) for text in texts])
        return logits.log_softmax(-1)[:, first]

    def _write(self, which: str, traces: Sequence[Trace], names: Sequence[str]) -> list[Written]:
        prompts, masks = [], []
        for trace, name in zip(traces, names, strict=True):
            text = few_shot.question_text(trace.task, _found(trace)) + few_shot.CUES[name]
            prompts.append(self._ids(text))
            masks.append(self._mask(f" (?:{self.pattern(name, trace)})\n"))
        # bytes that are sure to suffice, and some more: a few long texts do not fill the memory
        room = max(int(mask.distance[START]) for mask in masks) + SPARE
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding
        written: dict[int, Written] = {}
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            found = self._decoder(which).write(
                [prompts[i] for i in some],
                [masks[i] for i in some],
                max_new_tokens=room,
                temperature=self.temperature,
                generator=self.generator,
            )
            written |= dict(zip(some, found, strict=True))
        return [written[i] for i in range(len(order))]

    def pattern(self, name: str, trace: Trace) -> str:
        """A regular expression for the one argument that may be written now."""
        found = _found(trace)
        if name == "calculator":
            free = r"[0-9(][0-9 .()+*/-]{0,39}"
            return copying.expression_pattern(trace.task, found) if self.copy else free
        if name == "search":
            return copying.endings(trace.task) if self.copy else WORDS
        if name == "python":
            return CODE
        copied = self.copy and copying.words_of(found)
        return copying.spans(found, question=trace.task) if copied else WORDS

    def _mask(self, pattern: str) -> TokenMask:
        if pattern not in self._masks:
            automaton = compile_regex(pattern)
            self._masks[pattern] = TokenMask(automaton, trie_of(self.llm.tokenizer))
        return self._masks[pattern]

    def _decoder(self, which: str) -> Decoder:
        if which not in self._decoders:
            special = {
                "type": few_shot.type_prompt,
                "next": few_shot.next_prompt,
                "read": few_shot.read_prompt,
                "finish": few_shot.closed_book_prompt,
            }
            text = special[which]() if which in special else few_shot.call_prompt(which)
            self._decoders[which] = Decoder(self.llm.model, self._ids(text))
        return self._decoders[which]

    def _ids(self, text: str) -> list[int]:
        return self.llm.tokenizer.encode(text, add_special_tokens=False)


class ClosedBookMind(SmallModelMind):
    """The same model without tools: what the agent, too, does where it calls none."""

    def __init__(self, llm: Any, **options: Any) -> None:
        super().__init__(llm, Registry(), copy=False, **options)

    def choose(self, traces: Sequence[Trace]) -> list[str]:
        """Always to answer."""
        return [FINISH] * len(traces)


def _prompt_name(name: str, trace: Trace) -> str:
    return "read" if name == FINISH and _found(trace) else name


def _found(trace: Trace) -> str:
    """The last result that was no failure."""
    return next((s.observation for s in reversed(trace.steps) if s.problem is None), "")


def _action(name: str, text: Written, trace: Trace) -> Action:
    found = name == FINISH and _found(trace)
    thought = few_shot.READ if found else few_shot.THOUGHTS[name]
    arguments = {few_shot.ARGUMENT[name]: text.text.strip()}
    return Action(thought, name, arguments, len(text.ids), text.chosen)
