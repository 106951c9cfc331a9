"""Chapter 1 – Sentence splitting: Punkt, from the bundled parameters, without a download.

Punkt (Kiss & Strunk 2006, Computational Linguistics 32(4)) learns from raw text which words
are abbreviations, which start sentences and which stick together across a full stop. NLTK
holds the algorithm and fetches the learned parameters from its own site; here they come from
the bundled ``nltk-punkt`` asset, whose files are Python literals. They are read as data and
never executed.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

NAIVE_BOUNDARY = regex.compile(r"(?<=[.!?])\s+")
_FIELDS = {
    "ABBREV_TYPES": "abbrev_types",
    "COLLOCATIONS": "collocations",
    "SENT_STARTERS": "sent_starters",
    "ORTHO_CONTEXT": "ortho_context",
}


def naive_sentences(text: str) -> list[str]:
    """Split after every full stop, exclamation or question mark that a space follows.

    >>> naive_sentences("Dr. Smith left. Why?")
    ['Dr.', 'Smith left.', 'Why?']
    """
    return [part for part in NAIVE_BOUNDARY.split(text.strip()) if part]


def punkt_sentences(text: str, language: str = "english") -> list[str]:
    """Split into sentences with Punkt.

    >>> punkt_sentences("Dr. Smith left. Why?")
    ['Dr. Smith left.', 'Why?']

    Args:
        text: running text in `language`.
        language: one of the languages of the ``nltk-punkt`` asset.

    Returns:
        the sentences in order, without the white space between them.

    Raises:
        ValueError: if there are no parameters for the language; lists those that exist.
    """
    return punkt_splitter(language).tokenize(text)


@lru_cache(maxsize=8)
def punkt_splitter(language: str = "english") -> PunktSentenceTokenizer:
    """NLTK's Punkt algorithm with the bundled parameters of one language."""
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    splitter = PunktSentenceTokenizer()
    splitter._params = punkt_parameters(language)  # the constructor would train on its argument
    return splitter


@lru_cache(maxsize=8)
def punkt_parameters(language: str = "english") -> PunktParameters:
    """What Punkt learned: abbreviations, collocations, sentence starters, use of capitals."""
    from nltk.tokenize.punkt import PunktParameters

    values = read_literals(_parameter_file(language))
    parameters = PunktParameters()
    for constant, field in _FIELDS.items():
        getattr(parameters, field).update(values[constant])  # three sets and one mapping
    return parameters


def read_literals(path: Path) -> dict[str, object]:
    """The upper-case constants of a Python file, read without running it.

    Args:
        path: a file of assignments whose values are literals or ``frozenset((...))``.

    Raises:
        ValueError: for an assignment whose value is anything else.
    """
    values = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        name = getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else ""
        if name.isupper():
            values[name] = _literal(node.value)
    return values


def _literal(node: ast.expr) -> object:
    is_set = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "frozenset"
    if is_set and not node.args:
        return frozenset()
    value = ast.literal_eval(node.args[0] if is_set else node)
    return frozenset(value) if is_set else value


def _parameter_file(language: str) -> Path:
    from course_utils import assets

    folder = _data_folder(assets.path("nltk-punkt"))
    path = folder / f"{language}.py"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.py") if p.stem not in _NOT_LANGUAGES)
        raise ValueError(f"no Punkt parameters for {language!r}; there are {', '.join(known)}")
    return path


_NOT_LANGUAGES = ("__init__", "curated", "prefixes")


def _data_folder(asset: Path) -> Path:
    """The folder with the parameter files, wherever the wheel keeps it."""
    return next(asset.rglob("english.py")).parent
