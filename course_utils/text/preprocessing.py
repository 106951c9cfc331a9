"""Chapter 1 – Preprocessing: clean text without destroying it.

Two pipelines and the pieces they are made of. :func:`preprocess_text` needs rules only;
:func:`advanced_preprocessing` asks spaCy for lemmas. Both work on any script, keep the
apostrophe inside a word and never drop a negation unless told to: each of these is a fault
of the clean-up recipes one finds most often, and each costs accuracy.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import regex

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

Case = Literal["lower", "fold", "keep"]
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

# Typographic marks and what a keyboard would have given. U+2019 is both the closing quote
# and the apostrophe of most edited text, so it becomes the ASCII apostrophe.
PUNCTUATION = {
    "‘": "'", "’": "'", "‚": "'", "‛": "'", "ʼ": "'", "＇": "'",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "＂": '"',
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-",
    "…": "...",
}  # fmt: skip
_STANDARD = str.maketrans(PUNCTUATION)

# Signs without width: two stand for "may break here", the others for nothing at all
_INVISIBLE = str.maketrans({"\u200b": " ", "\u2060": "", "\ufeff": "", "\u00ad": ""})

# \w of Python's re has no combining marks, so it cuts Hindi or Thai words into pieces.
# The two joiners (U+200C, U+200D) are part of the spelling in Persian and in many scripts.
WORD_PART = r"[\p{L}\p{M}\p{N}\u200c\u200d]+"

_NEGATION_WORDS = (
    "no not never neither nor none nobody nothing nowhere without cannot n't "
    "hardly barely scarcely rarely seldom"
)
NEGATIONS = frozenset(_NEGATION_WORDS.split())
CLAUSE_END = frozenset(".,;:!?()-") | {"--", "...", "but", "however"}

# Lemmas that spaCy 3.8 gets wrong. Its table lists "good", "well" for the adjective "better",
# but the code puts each entry in front of the last one; and "hop" comes before "hope".
LEMMA_CORRECTIONS = {
    ("better", "ADJ"): "good",
    ("hoped", "VERB"): "hope",
    ("hoping", "VERB"): "hope",
}

_FUNCTION_WORDS = """
a an the this that these those
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
himself she her hers herself it its itself they them their theirs themselves one
who whom whose which what when where why how
am is are was were be been being have has had having do does did doing done
can could will would shall should may might must ought
and or but if because as until while although though since than so whether
of at by for with about between into through during before after above below to from up
down in out on off over under again further then once onto upon within along across
here there all any both each few more most other some such only own same too very just also
"""
_CONTRACTIONS = (
    "i'm i've i'll i'd you're you've you'll you'd he's he'll he'd she's she'll she'd it's "
    "it'll it'd we're we've we'll we'd they're they've they'll they'd that's that'll there's "
    "here's what's who's where's how's let's"
)
_NEGATED_AUXILIARIES = (
    "isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't "
    "won't wouldn't shan't shouldn't mayn't mightn't mustn't needn't oughtn't ain't"
)


def standardise_punctuation(text: str) -> str:
    """Replace typographic quotes, dashes and ellipses by those of a keyboard.

    >>> standardise_punctuation("“Don’t”… – now")
    '"Don\\'t"... - now'
    """
    return text.translate(_STANDARD)


def normalise_whitespace(text: str) -> str:
    """Make every run of white space one space, of whatever Unicode kind, and trim the ends.

    Invisible signs go too: the zero-width space counts as a space, the soft hyphen, the word
    joiner and the byte-order mark as nothing. ``str.split`` alone knows none of these four.

    >>> normalise_whitespace("New\\u00a0York\\u200bco\\u00adop ")
    'New York coop'
    """
    return " ".join(text.translate(_INVISIBLE).split())


def normalise_unicode(text: str, form: Form = "NFC") -> str:
    """Give equal-looking text equal code points.

    Args:
        text: any string.
        form: NFC composes ("e" + accent becomes "é") and changes nothing that a reader can
            see; NFKC also replaces compatibility characters ("ﬁ" by "fi", "２" by "2", "½"
            by "1⁄2"), which helps a search and loses distinctions. NFD and NFKD decompose.

    Raises:
        ValueError: for any other form.

    Source: Unicode Standard Annex #15, sections 1.1 and 1.2.
    """
    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise ValueError(f"form must be NFC, NFD, NFKC or NFKD; got {form!r}")
    return unicodedata.normalize(form, text)


def fold_case(text: str, case: Case = "lower") -> str:
    """Change the case: ``"lower"``; ``"fold"``, made for comparing ("ß" = "ss"); ``"keep"``.

    Raises:
        ValueError: for any other value.
    """
    if case not in ("lower", "fold", "keep"):
        raise ValueError(f"case must be 'lower', 'fold' or 'keep'; got {case!r}")
    return {"lower": text.lower, "fold": text.casefold, "keep": lambda: text}[case]()


def word_tokens(text: str, *, joiners: str = "'") -> list[str]:
    """The words of a text: runs of letters, marks and digits of any script.

    Args:
        text: any string.
        joiners: characters that stay when they stand between two such runs. The default
            keeps "don't" whole; ``"'-."`` also keeps "well-known" and "3.14".

    Returns:
        the words in order; everything else separates words and is dropped.

    >>> word_tokens("It's a café: don't pay $30!")
    ["It's", 'a', 'café', "don't", 'pay', '30']
    """
    return _word_pattern(joiners).findall(text)


@lru_cache(maxsize=32)
def _word_pattern(joiners: str) -> regex.Pattern[str]:
    if not joiners:
        return regex.compile(WORD_PART)
    return regex.compile(rf"{WORD_PART}(?:[{regex.escape(joiners)}]{WORD_PART})*")


def preprocess_text(
    text: str,
    *,
    form: Form = "NFC",
    case: Case = "lower",
    joiners: str = "'",
    remove_digits: bool = False,
) -> str:
    """Clean a text by rules: normalise, change case, keep the words, one space between them.

    >>> preprocess_text("It's a café, don't pay $30 in München!")
    "it's a café don't pay 30 in münchen"

    Args:
        text: any string.
        form: Unicode normal form, see :func:`normalise_unicode`.
        case: see :func:`fold_case`.
        joiners: characters kept inside words, see :func:`word_tokens`.
        remove_digits: drop words that hold no letter ("30", "1,000"); "mp3" stays.

    Returns:
        the cleaned text; applying the function again changes nothing.

    Raises:
        TypeError: if `text` is not a string.
    """
    _require_text(text)
    text = fold_case(_normalised(text, form), case)
    words = word_tokens(normalise_unicode(text, form), joiners=joiners)  # folding can decompose
    if remove_digits:
        words = [word for word in words if any(map(str.isalpha, word))]
    return " ".join(words)


def _normalised(text: str, form: Form) -> str:
    """Unicode form, keyboard punctuation, single spaces."""
    return normalise_whitespace(standardise_punctuation(normalise_unicode(text, form)))


def _require_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")


def stop_words(*, keep_negations: bool = True) -> frozenset[str]:
    """English function words, lower case, contractions included.

    Args:
        keep_negations: leave "not", "no", "don't" … out of the list, so that removing stop
            words cannot turn a sentence into its opposite.

    Contractions belong in the list because a tokenizer that keeps "it's" whole would
    otherwise let it through (Nothman, Qin & Yurchak 2018, NLP-OSS workshop).
    """
    words = set(_FUNCTION_WORDS.split()) | set(_CONTRACTIONS.split())
    if not keep_negations:
        words |= NEGATIONS | set(_NEGATED_AUXILIARIES.split())
    return frozenset(words)


def is_negation(word: str) -> bool:
    """True for a word that reverses what it stands beside, in any case or apostrophe.

    >>> [w for w in "Nobody can’t not know".split() if is_negation(w)]
    ['Nobody', 'can’t', 'not']
    """
    word = standardise_punctuation(word).lower()
    return word in NEGATIONS or word.endswith("n't")


def remove_stop_words(
    tokens: Iterable[str], words: Iterable[str] | None = None, *, keep_negations: bool = True
) -> list[str]:
    """Drop function words, whatever their case.

    Args:
        tokens: words in order.
        words: the stop-word list, lower case; default :func:`stop_words`.
        keep_negations: keep a negation even if the list names it.
    """
    listed = stop_words(keep_negations=False) if words is None else frozenset(words)
    return [
        token
        for token in tokens
        if token.lower() not in listed or (keep_negations and is_negation(token))
    ]


def mark_negation(tokens: Sequence[str]) -> list[str]:
    """Prefix ``NOT_`` to each word between a negation and the end of its clause.

    >>> mark_negation("it 's not a good film , but fun".split())
    ['it', "'s", 'not', 'NOT_a', 'NOT_good', 'NOT_film', ',', 'but', 'fun']

    Args:
        tokens: words and punctuation in order; punctuation, "but" and "however" end a clause.

    Returns:
        as many tokens as came in; negations and clause ends are unchanged.

    Source: Das & Chen 2001; Pang, Lee & Vaithyanathan 2002 (EMNLP), section 6.1.
    """
    marked, negated = [], False
    for token in tokens:
        if is_negation(token):
            negated = True
            marked.append(token)
        elif token.lower() in CLAUSE_END:
            negated = False
            marked.append(token)
        else:
            marked.append(f"NOT_{token}" if negated else token)
    return marked


def advanced_preprocessing(
    text: str,
    *,
    lemmatise: bool = True,
    drop_stop_words: bool = True,
    keep_negations: bool = True,
    drop_punctuation: bool = True,
    remove_digits: bool = False,
    min_length: int = 1,
    nlp: Language | None = None,
) -> list[str]:
    """Reduce a text to the lower-case lemmas of its content words, with spaCy.

    >>> advanced_preprocessing("The cats are running through the gardens!")  # doctest: +SKIP
    ['cat', 'run', 'garden']

    Args:
        text: English running text.
        lemmatise: dictionary forms ("ran" becomes "run"); else the words as written.
        drop_stop_words: drop spaCy's stop words.
        keep_negations: keep "not", "no", "never", "n't" … although spaCy lists them.
        drop_punctuation: drop tokens without letter, digit or emoji.
        remove_digits: drop tokens that hold no letter.
        min_length: drop shorter words, in characters; negations stay. The usual 3 loses
            "AI", "UK" and "no".
        nlp: pipeline; default the small English model, or without it a blank pipeline, which
            has no lemmas and says so in a warning.

    Returns:
        the tokens that are left, in order.

    Raises:
        TypeError: if `text` is not a string.
        ValueError: if `min_length` is below 1.
    """
    _require_text(text)
    return advanced_preprocessing_all(
        [text],
        lemmatise=lemmatise,
        drop_stop_words=drop_stop_words,
        keep_negations=keep_negations,
        drop_punctuation=drop_punctuation,
        remove_digits=remove_digits,
        min_length=min_length,
        nlp=nlp,
    )[0]


def advanced_preprocessing_all(
    texts: Sequence[str], *, nlp: Language | None = None, batch_size: int = 128, **options
) -> list[list[str]]:
    """:func:`advanced_preprocessing` for many texts, several times as fast as one by one.

    Args:
        texts: N texts.
        nlp: as in :func:`advanced_preprocessing`.
        batch_size: texts that go through the pipeline together.
        options: the other options of :func:`advanced_preprocessing`.

    Returns:
        N lists of tokens.
    """
    if options.get("min_length", 1) < 1:
        raise ValueError(f"min_length must be 1 or more, got {options['min_length']}")
    nlp = _pipeline() if nlp is None else nlp
    cleaned = (_normalised(text, "NFC") for text in texts)
    return [list(_kept(doc, **options)) for doc in nlp.pipe(cleaned, batch_size=batch_size)]


def _pipeline() -> Language:
    from course_utils.text.spacy_model import load_spacy

    return load_spacy(exclude=("parser", "ner"))  # lemmas need neither, and they cost most


def _kept(
    doc: Doc,
    *,
    lemmatise: bool = True,
    drop_stop_words: bool = True,
    keep_negations: bool = True,
    drop_punctuation: bool = True,
    remove_digits: bool = False,
    min_length: int = 1,
) -> Iterator[str]:
    for token in doc:
        protected = keep_negations and is_negation(token.text)
        if token.is_space or (drop_punctuation and not _has_content(token.text)):
            continue
        if remove_digits and not any(map(str.isalpha, token.text)):
            continue
        if not protected and (len(token.text) < min_length or (drop_stop_words and token.is_stop)):
            continue
        yield lemma(token) if lemmatise else token.lower_


def lemma(token: Token) -> str:
    """A token's dictionary form in lower case; the word itself where the pipeline has none.

    spaCy's, but for :data:`LEMMA_CORRECTIONS`.
    """
    word = token.lower_
    return LEMMA_CORRECTIONS.get((word, token.pos_)) or token.lemma_.lower() or word


def _has_content(word: str) -> bool:
    """True if a letter, digit or pictograph (category So, which holds the emoji) is in it."""
    return any(c.isalnum() or unicodedata.category(c) == "So" for c in word)
