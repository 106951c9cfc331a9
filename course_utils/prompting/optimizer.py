"""Chapter 4 - Prompt optimisation: edits scored on a dev set, the winner once on a test set.

Each of five strategies is an edit of the prompt's text. An edit stays if it raises the score on
the dev cases. The winner's dev score is too good by construction: it was chosen for it. The honest
number comes from test cases that no decision has touched, and it can be asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.prompting.engineer import as_data, fill
from course_utils.prompting.labels import classify
from course_utils.prompting.llm import LLM, Messages, connect

PLACE = "{input}"
Case = Mapping[str, str]
STRATEGIES = (
    "Add more specific instructions",
    "Include examples",
    "Clarify the output format",
    "Add constraints or guidelines",
    "Simplify the language",
)
SIMPLER = {
    "please ": "",
    "the following ": "this ",
    "determine ": "say ",
    "provide ": "give ",
    "appropriate ": "right ",
    "category of": "kind of",
    "classify the sentiment": "is this positive, negative or neutral",
    "with respect to ": "by ",
}


@dataclass(frozen=True)
class TestReport:
    """First and best prompt on the test cases.

    Attributes:
        base, best: 1.0 or 0.0 for each test case.
        base_dev, best_dev: accuracies on the dev cases.
    """

    __test__ = False  # pytest: not a test

    base: tuple[float, ...]
    best: tuple[float, ...]
    base_dev: float
    best_dev: float


class PromptOptimizer:
    """Scores prompts on cases and improves them edit by edit.

    Args:
        model: from ``connect()``; None connects to the local model at the first call.
        labels: the possible answers; by default those that occur in the cases.
        examples: dictionaries with ``input`` and ``expected`` for "Include examples". They must
            not be among the cases.
        meanings: what each label means, for "Add more specific instructions".
        guidelines: for "Add constraints or guidelines".
        by: how a label is found, see ``labels.classify``.
        turns: send examples as turns of a conversation instead of one text, see
            :func:`as_turns`.
        sampling: see ``chat``.

    Attributes:
        performance_history: a dictionary for each evaluation: prompt, accuracy, strategy, kept.
    """

    def __init__(
        self,
        model: LLM | None = None,
        *,
        labels: Sequence[str] | None = None,
        examples: Sequence[Case] = (),
        meanings: Mapping[str, str] | None = None,
        guidelines: str = "Choose exactly one. Do not explain your choice.",
        by: str = "generate",
        turns: bool = False,
        **sampling: Any,
    ) -> None:
        self.turns = turns
        self._model, self.labels, self.by, self.sampling = model, labels, by, sampling
        self.examples, self.meanings, self.guidelines = examples, meanings or {}, guidelines
        self.performance_history: list[dict[str, Any]] = []
        self._seen: set[str] = set()
        self._reported = False

    @property
    def model(self) -> LLM:
        """The model that answers; connected when first needed."""
        if self._model is None:
            self._model = connect()
        return self._model

    def predict(self, prompt: str, inputs: Sequence[str], labels: Sequence[str]) -> list:
        """The model's label for each input; None where its answer names none."""
        whole = with_place(prompt)
        send = as_turns if self.turns else _as_text
        asked = [send(whole, text) for text in inputs]
        return classify(self.model, asked, labels, by=self.by, **self.sampling)

    def correct(self, prompt: str, cases: Sequence[Case]) -> list[float]:
        """1.0 for each case whose label the model finds, else 0.0."""
        if not cases:
            raise ValueError("there is no case to score a prompt on")
        wanted = [case["expected"] for case in cases]
        found = self.predict(prompt, [case["input"] for case in cases], self._labels(cases))
        pairs = zip(found, wanted, strict=True)
        return [float((label or "").lower() == right.lower()) for label, right in pairs]

    def evaluate_prompt(self, prompt: str, test_cases: Sequence[Case]) -> float:
        """Accuracy of a prompt on cases with ``input`` and ``expected``; it is written down.

        Args:
            prompt: with ``{input}`` where the text goes; without it, at the end.
        """
        return self._evaluate(prompt, test_cases, "as given")

    def iterative_refinement(
        self, base_prompt: str, test_cases: Sequence[Case], iterations: int = 5
    ) -> tuple[str, float]:
        """Try one strategy after the other on the best prompt so far; keep what helps.

        Args:
            base_prompt: where to begin.
            test_cases: the *dev* cases; keep others aside for :meth:`report`.
            iterations: edits to try; from the sixth on the strategies come round again.

        Returns:
            the best prompt and its accuracy on these cases, which is optimistic.
        """
        best = with_place(base_prompt)
        best_score = self._evaluate(best, test_cases, "as given", kept=True)
        for i in range(iterations):
            strategy = STRATEGIES[i % len(STRATEGIES)]
            candidate = self.apply(strategy, best, self._labels(test_cases))
            if candidate == best:
                continue  # nothing to change, or nothing to add
            score = self._evaluate(candidate, test_cases, strategy, kept=False)
            if score > best_score:
                best, best_score = candidate, score
                self.performance_history[-1]["kept"] = True
        return best, best_score

    def apply(self, strategy: str, prompt: str, labels: Sequence[str]) -> str:
        """The prompt after one of the :data:`STRATEGIES`; unchanged if it has nothing to add.

        Raises:
            ValueError: an unknown strategy.
        """
        edits: dict[str, Callable[[str], str]] = dict(
            zip(
                STRATEGIES,
                (
                    lambda text: with_meanings(text, self.meanings),
                    lambda text: with_examples(text, self.examples),
                    lambda text: with_line(text, answer_format(labels)),
                    lambda text: with_line(text, self.guidelines),
                    simplified,
                ),
                strict=True,
            )
        )
        if strategy not in edits:
            raise ValueError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
        return edits[strategy](with_place(prompt))

    def report(self, base: str, best: str, test_cases: Sequence[Case]) -> TestReport:
        """Both prompts on test cases: once, and on cases that were not used before.

        Raises:
            ValueError: a second call, or a case that a decision was made on.
        """
        if self._reported:
            raise ValueError("the test cases were used already: a second look is tuning on them")
        shared = [case["input"] for case in test_cases if case["input"] in self._seen]
        if shared:
            raise ValueError(f"{len(shared)} test cases are dev cases too, such as {shared[0]!r}")
        self._reported = True
        scores = [tuple(self.correct(prompt, test_cases)) for prompt in (base, best)]
        return TestReport(*scores, self._score_of(base), self._score_of(best))

    def _score_of(self, prompt: str) -> float:
        """Accuracy from the history; NaN if this prompt was never scored."""
        text = with_place(prompt)
        found = [h["accuracy"] for h in self.performance_history if h["prompt"] == text]
        return found[-1] if found else float("nan")

    def _evaluate(
        self, prompt: str, cases: Sequence[Case], strategy: str, kept: bool | None = None
    ) -> float:
        scores = self.correct(prompt, cases)
        self._seen |= {case["input"] for case in cases}
        accuracy = sum(scores) / len(scores)
        entry = {"prompt": with_place(prompt), "accuracy": accuracy, "strategy": strategy}
        self.performance_history.append(entry | {"kept": kept, "correct": scores})
        return accuracy

    def _labels(self, cases: Sequence[Case]) -> list[str]:
        return list(self.labels or dict.fromkeys(case["expected"] for case in cases))


def with_place(prompt: str) -> str:
    """The prompt, with ``{input}`` at its end if it has none."""
    return prompt if PLACE in prompt else f"{prompt.rstrip()}\n\nInput: {PLACE}\nOutput:"


def parts(prompt: str) -> tuple[str, str]:
    """Instructions, and the block that is repeated for each input: from its line to the end.

    >>> parts("Say what it is.\\n\\nText: {input}\\nKind:")
    ('Say what it is.', 'Text: {input}\\nKind:')
    """
    before = prompt[: prompt.index(PLACE)]
    border = before.rfind("\n") + 1
    return prompt[:border].strip(), prompt[border:]


def as_turns(prompt: str, text: str) -> Messages:
    """A prompt as a conversation: instructions to the system, each example a question and answer.

    Chat models were trained on such turns. Small ones follow examples there that they ignore in
    the middle of one long message.

    >>> prompt = "Good or bad?\\n\\nText: nice\\nKind: good\\n\\nText: {input}\\nKind:"
    >>> [(m["role"], m["content"]) for m in as_turns(prompt, "ugly")]
    [('system', 'Good or bad?'), ('user', 'nice'), ('assistant', 'good'), ('user', 'ugly')]
    """
    head, block = parts(prompt)
    before, after = (part.strip() for part in block.split(PLACE, 1))
    rules, turns = [], []
    for paragraph in head.split("\n\n") if head else []:
        if before and after and paragraph.startswith(before) and after in paragraph:
            asked, answer = paragraph.removeprefix(before).rsplit(after, 1)
            turns += [("user", asked.strip()), ("assistant", answer.strip())]
        else:
            rules.append(paragraph)
    if not rules:
        rules = [before.rstrip(":")] if before else []
    system = [("system", "\n\n".join(rules))] if rules else []
    found = [*system, *turns, ("user", as_data(text))]
    return [{"role": role, "content": content} for role, content in found]


def _as_text(prompt: str, text: str) -> Messages:
    return fill(prompt, input=as_data(text))


def with_line(prompt: str, line: str) -> str:
    """One more line of instructions, before examples and input; nothing if it is there."""
    head, block = parts(prompt)
    if line in prompt:
        return prompt
    first, gap, rest = head.partition("\n\n")  # the examples, if any, come after an empty line
    grown = f"{first}\n{line}".strip() + gap + rest
    return f"{grown}\n\n{block}"


def with_meanings(prompt: str, meanings: Mapping[str, str]) -> str:
    """What each label means, one line each."""
    for label, meaning in meanings.items():
        prompt = with_line(prompt, f"- {label}: {meaning}")
    return prompt


def with_examples(prompt: str, examples: Sequence[Case]) -> str:
    """Worked examples in the very form of the question, between instructions and question."""
    head, block = parts(prompt)
    gap = " " if block.rstrip().endswith(":") else "\n"
    shown = [
        fill(block, input=as_data(e["input"])).rstrip() + gap + e["expected"] for e in examples
    ]
    if not shown or shown[0] in prompt:
        return prompt
    return "\n\n".join([*([head] if head else []), *shown, block])


def answer_format(labels: Sequence[str]) -> str:
    """A sentence that says what an answer looks like."""
    return f"Answer with one word: {', '.join(labels[:-1])} or {labels[-1]}."


def simplified(prompt: str) -> str:
    """Plainer words in the instructions, by a small table; examples and input stay."""
    head, block = parts(prompt)
    first, gap, rest = head.partition("\n\n")
    line, inline = (first, False) if first else (block.split(PLACE)[0], True)
    for hard, plain in SIMPLER.items():
        line = line.replace(hard, plain).replace(hard.capitalize(), plain.capitalize())
    line = line[:1].upper() + line[1:]
    if inline:
        return line + block[len(block.split(PLACE)[0]) :]
    return f"{line}{gap}{rest}\n\n{block}"
