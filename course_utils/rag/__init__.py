"""Retrieval-augmented generation: find passages, answer from them, show where it stands.

Read the files in this order; lesson 04_llms/10_rag uses those down to ``passages``.

``chunking``    long texts cut into pieces that know their place
``embedding``   texts to vectors by MiniLM, kept on disk
``metrics``     recall@k, MRR, nDCG of rankings; faithfulness of answers
``prompts``     a grounded prompt that fits a budget of tokens
``answering``   citations, refusals, the threshold below which to be silent
``store``       passages and vectors in one file, read back whole or not at all
``simple``      ``SimpleRAGSystem``: all of that behind four calls
``passages``    Wikipedia paragraphs and the questions written about them

The classes below are loaded when they are first asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "SimpleRAGSystem": "course_utils.rag.simple",
    "AdvancedRAGSystem": "course_utils.rag.advanced",
    "RAGEvaluator": "course_utils.rag.evaluator",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
