"""Chapter 4 - Prompting: talk to language models, build prompts, search, measure, improve.

``llm.connect`` is the one protocol for local and hosted models; builders in ``engineer`` and
``advanced``, the work around them in ``voting``, ``tree`` and ``validated``, and ``optimizer``
changes prompts by what they score.
"""

from course_utils.prompting.advanced import AdvancedPromptTechniques
from course_utils.prompting.engineer import PromptEngineer, as_data, few_shot_prompt, fill
from course_utils.prompting.labels import classify, read_label
from course_utils.prompting.llm import LLM, LLMError, connect
from course_utils.prompting.optimizer import PromptOptimizer
from course_utils.prompting.tree import SearchResult, tree_search
from course_utils.prompting.validated import InvalidOutput, Structured, ask_for_data, find_json
from course_utils.prompting.voting import Vote, extract_number, majority, self_consistency

__all__ = [
    "LLM",
    "AdvancedPromptTechniques",
    "InvalidOutput",
    "LLMError",
    "PromptEngineer",
    "PromptOptimizer",
    "SearchResult",
    "Structured",
    "Vote",
    "as_data",
    "ask_for_data",
    "classify",
    "connect",
    "extract_number",
    "few_shot_prompt",
    "fill",
    "find_json",
    "majority",
    "read_label",
    "self_consistency",
    "tree_search",
]
