"""Chapter 4 - Advanced techniques: the prompts, and what has to happen around them.

A prompt that says "attempt 3" is not self-consistency, and one that says "explore branches" is no
search. Each builder here has a partner that does the work: sampling and a vote, a tree search,
validation and retry.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from course_utils.prompting.engineer import PromptEngineer, as_data
from course_utils.prompting.llm import Messages
from course_utils.prompting.tree import SearchResult, tree_search
from course_utils.prompting.validated import Structured, ask_for_data
from course_utils.prompting.voting import Vote, extract_number, self_consistency

UNKNOWN = "I don't have enough information to answer this question."


class AdvancedPromptTechniques(PromptEngineer):
    """Self-consistency, tree of thoughts, retrieved context, structured output.

    Args:
        model: see :class:`PromptEngineer`.
    """

    def self_consistency_prompt(self, problem: str, num_attempts: int = 3) -> list[str]:
        """``num_attempts`` prompts for a derivation, all alike.

        The variety comes from sampling. A number in the prompt ("attempt 2") would only make
        the prompts differ in a way that has nothing to do with the problem.
        """
        if num_attempts < 1:
            raise ValueError(f"num_attempts must be at least 1, got {num_attempts}")
        prompt = f"Problem: {as_data(problem)}\n\nLet's solve this step by step:"
        return [prompt] * num_attempts

    def self_consistent_answer(
        self,
        problem: str,
        num_attempts: int = 8,
        *,
        extract: Callable[[str], str | None] = extract_number,
        **sampling: Any,
    ) -> Vote:
        """Sample the derivations, read their answers, vote."""
        prompt = self.self_consistency_prompt(problem, num_attempts)[0]
        return self_consistency(self.model, [prompt], num_attempts, extract=extract, **sampling)[0]

    def tree_of_thoughts_prompt(self, problem: str) -> str:
        """One prompt that asks for two approaches: what can be had without a search."""
        approach = "- Step 1:\n- Step 2:\n- Conclusion:"
        return (
            f"Problem: {as_data(problem)}\n\nLet's explore different approaches:\n\n"
            f"Approach 1:\n{approach}\n\nApproach 2:\n{approach}\n\n"
            "Best approach and final answer:"
        )

    def tree_of_thoughts(
        self,
        root: Hashable,
        expand: Callable[[Any], Sequence],
        is_goal: Callable[[Any], bool],
        describe: Callable[[Any], Messages],
        **options: Any,
    ) -> SearchResult:
        """A tree search in which the local model scores the states.

        Args:
            root, expand, is_goal, options: see ``tree.tree_search``.
            describe: a prompt about a state (text or messages) to which Yes or No is the answer.
        """

        def score(states: Sequence) -> list[float]:
            return yes_minus_no(self.model, [describe(state) for state in states])

        return tree_search(root, expand, score, is_goal, **options)

    def retrieval_augmented_prompt(self, query: str, context: str) -> str:
        """Context and question, with the sentence to use when the answer is not there."""
        return (
            f"Context: {as_data(context)}\n\nQuestion: {as_data(query)}\n\n"
            "Based on the provided context, please answer the question. If the answer is not in "
            f'the context, say "{UNKNOWN}"\n\nAnswer:'
        )

    def structured_output_prompt(self, task: str, input_text: str, output_format: str) -> str:
        """Task, input, and the form of the answer (any braces in it stay as they are)."""
        form = textwrap.dedent(output_format).strip()
        return (
            f"Task: {task}\n\nInput: {as_data(input_text)}\n\n"
            f"Please provide your response in the following format:\n{form}\n\nResponse:"
        )

    def structured_output(
        self,
        task: str,
        input_text: str,
        output_format: str,
        schema: Mapping[str, Any] | type,
        *,
        attempts: int = 3,
        **sampling: Any,
    ) -> Structured:
        """Ask for the structure, validate the answer, retry with the error."""
        prompt = self.structured_output_prompt(task, input_text, output_format)
        return ask_for_data(self.model, [prompt], schema, attempts=attempts, **sampling)[0]


def yes_minus_no(llm: Any, prompts: Sequence[Messages]) -> list[float]:
    """log P("Yes") - log P("No") as the answer to each prompt, in nats (local model)."""
    scores = llm.log_probabilities(prompts, ["Yes", "No"])
    return [yes - no for yes, no in scores]
