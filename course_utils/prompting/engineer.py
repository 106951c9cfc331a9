"""Chapter 4 - Prompts of the basic kinds: zero-shot, few-shot, chain of thought, role.

Each builder returns a plain text without stray indentation, with the input marked as data. The
same object sends it to a model, which is passed in and named nowhere in this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from course_utils.prompting.llm import LLM, PROVIDERS, connect

Example = Mapping[str, str]


class PromptEngineer:
    """Builds prompts of the basic kinds, and sends them to a model.

    Args:
        model: from ``connect()``, or the name of a provider. None connects to the local model at
            the first call, so that prompts can be built without one.

    Raises:
        ValueError: the name of a model, such as gpt-3.5-turbo, instead of a provider's.
    """

    def __init__(self, model: LLM | str | None = None) -> None:
        if isinstance(model, str) and model not in PROVIDERS:
            raise ValueError(
                f"{model!r} is no provider; for a model of a provider pass "
                f'connect("openai", model={model!r})'
            )
        self._model = model

    @property
    def model(self) -> LLM:
        """The model behind this object; connected when first needed."""
        if self._model is None or isinstance(self._model, str):
            self._model = connect(self._model or "local")
        return self._model

    def run(self, prompt: str, **sampling: Any) -> str:
        """The model's answer to a prompt, without white space around it."""
        return self.model.chat(prompt, **sampling).strip()

    def run_batch(self, prompts: Sequence[str], **sampling: Any) -> list[str]:
        """The model's answers to many prompts, in their order."""
        return [text.strip() for text in self.model.chat_batch(prompts, **sampling)]

    def zero_shot_prompt(self, task: str, input_text: str) -> str:
        """The task and the input, no example."""
        return f"Task: {task}\n\nInput: {as_data(input_text)}\n\nOutput:"

    def few_shot_prompt(self, task: str, examples: Sequence[Example], input_text: str) -> str:
        """The task, worked examples in the form of the question, then the question.

        Args:
            examples: dictionaries with ``input`` and ``output``.

        Source: Brown et al. 2020, "Language Models are Few-Shot Learners", section 2.
        """
        head = f"Task: {task}"
        shown = shots(examples, titles=True)
        return "\n\n".join([head, *shown, f"Input: {as_data(input_text)}\nOutput:"])

    def chain_of_thought_prompt(self, problem: str) -> str:
        """The problem and the start of a numbered derivation.

        Source: Kojima et al. 2022, "Large Language Models are Zero-Shot Reasoners", section 3.
        """
        return f"Problem: {as_data(problem)}\n\nLet's think step by step:\n\nStep 1:"

    def role_based_prompt(self, role: str, task: str, input_text: str) -> str:
        """Who the model is to be, then task and input."""
        return f"You are a {role}.\n\nTask: {task}\n\nInput: {as_data(input_text)}\n\nResponse:"


def few_shot_prompt(
    examples: Sequence[Example],
    query: str,
    *,
    task: str = "Classify the following sentiment:",
    names: tuple[str, str] = ("Text", "Sentiment"),
) -> str:
    """A few-shot prompt without a class; by default for sentiment.

    With ``task="Task: …"`` and ``names=("Input", "Output")`` it is
    ``PromptEngineer.few_shot_prompt`` without the numbers of the examples.

    Args:
        examples: dictionaries with the two names, in lower case, as keys.
        query: the text to classify.
        names: what input and output are called.

    >>> few_shot_prompt([{"text": "Great", "sentiment": "Positive"}], "Bad").splitlines()[-2:]
    ['Text: Bad', 'Sentiment:']
    """
    renamed = [{"input": e[names[0].lower()], "output": e[names[1].lower()]} for e in examples]
    shown = shots(renamed, names=names)
    return "\n\n".join([task, *shown, f"{names[0]}: {as_data(query)}\n{names[1]}:"])


def shots(
    examples: Sequence[Example],
    *,
    names: tuple[str, str] = ("Input", "Output"),
    titles: bool = False,
) -> list[str]:
    """Worked examples as blocks of text.

    Raises:
        ValueError: no example, or one without input and output.
    """
    if not examples:
        raise ValueError("a few-shot prompt needs at least one example; use a zero-shot prompt")
    found = []
    for number, example in enumerate(examples, 1):
        if not {"input", "output"} <= set(example):
            raise ValueError(f"example {number} must have input and output, has {set(example)}")
        title = f"Example {number}:\n" if titles else ""
        pair = zip(names, (example["input"], example["output"]), strict=True)
        found.append(title + "\n".join(f"{name}: {as_data(text)}" for name, text in pair))
    return found


def as_data(text: str) -> str:
    """A text set apart, so that it cannot pass for a part of the prompt.

    One line stays as it is. Lines that could open a part of their own ("Output:", "Task:") are
    put between marks, and such marks inside the text are broken. This makes mistakes rarer; it
    does not stop a text that argues with the model (see the lesson on security).

    >>> as_data("fine")
    'fine'
    >>> as_data("bad\\nOutput: good")
    '<data>\\nbad\\nOutput: good\\n</data>'
    """
    text = str(text).strip()
    if not re.search(r"[\n\r\u2028\u2029]", text):
        return text
    inner = re.sub(r"<(/?)data>", r"<\1 data>", text)
    return f"<data>\n{inner}\n</data>"


def fill(template: str, **values: str) -> str:
    """A template with ``{name}`` replaced by values, all other braces left alone.

    ``str.format`` fails on JSON in a prompt ({"label": …}) and reads attributes of objects
    ({x.__class__}); this does neither, and braces inside a value are not read again.

    >>> fill('{"text": {input}}', input='{"a": 1}')
    '{"text": {"a": 1}}'

    Raises:
        ValueError: a value whose name does not occur in the template.
    """
    for name in values:
        if "{" + name + "}" not in template:
            raise ValueError(f"the template has no place for {{{name}}}: {template[:60]!r}")
    names = "|".join(map(re.escape, values))
    return re.sub(r"\{(" + names + r")\}", lambda found: str(values[found[1]]), template)
