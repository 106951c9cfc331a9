"""Exercises of lesson 1.2: equal texts, sentences, Porter's measure, negation marks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 1.2.1 canonical text ----------------------------------------------------------------------

APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'"})


def canonical(text: str) -> str:
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    text = " ".join(text.split())
    return unicodedata.normalize("NFC", text.casefold())  # folding can decompose again


def step_by_step(text: str) -> str:
    for curly in "\u2018\u2019":
        text = text.replace(curly, "'")
    text = re.sub(r"\s+", " ", text.casefold()).strip()
    return unicodedata.normalize("NFC", text)


def not_composed(text):
    return " ".join(text.translate(APOSTROPHES).casefold().split())


def decomposed(text):
    return unicodedata.normalize("NFD", canonical(text))


def compatibility_form(text):
    return unicodedata.normalize("NFKC", canonical(text))


def lower_only(text):
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    return " ".join(text.lower().split())


def plain_spaces_only(text):
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES).casefold()
    return re.sub(" +", " ", text).strip(" ")


def curly_left(text):
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def accents_dropped(text):
    plain = unicodedata.normalize("NFKD", canonical(text))
    return "".join(c for c in plain if not unicodedata.combining(c))


def check_canonical(answer, t: Trial) -> None:
    words = [
        "cafe\u0301",
        "Zu\u0308rich",
        "na\u00efve",
        "STRASSE",
        "straße",
        "don\u2019t",
        "\u2018ok",
        "x²",
    ]
    for _ in range(4):
        t.rng.shuffle(words)
        spaces = [t.rng.choice(["\u00a0", "\u2009", "\t\n", "\u3000"]) for _ in words]
        text = "".join(s + word for s, word in zip(spaces, words, strict=True)) + " \u00a0"
        _judge_canonical(t, t.call(answer, text), text)
    t.passed("Accents, case, apostrophes and six kinds of space come out in one form")
    pair = t.rng.choice([("Caf\u00e9", "cafe\u0301"), ("GROSS", "groß"), ("n\u2019t", "n't")])
    left, right = (t.call(answer, word) for word in pair)
    t.that(left == right, f"{pair[0]!r} and {pair[1]!r} must come out the same.")
    t.passed("equal-looking texts are equal")


def _judge_canonical(t: Trial, got, text: str) -> None:
    t.equal(
        got,
        canonical(text),
        says="Four steps: compose, straighten apostrophes, fold the case, tidy the spaces.",
        mistakes=[
            (not_composed(text), "Letter and accent are still two characters: normalise to NFC."),
            (decomposed(text), "This is the decomposed form, NFD; the composed one is NFC."),
            (compatibility_form(text), "NFKC turns x² into x2, which is another thing: use NFC."),
            (lower_only(text), "`lower` leaves ß alone: `casefold` makes it equal to ss."),
            (plain_spaces_only(text), "Other white space is left: no-break spaces, tabs. "
             "`str.split()` without an argument knows them all."),
            (curly_left(text), "A curly apostrophe is left: ’ and ' must become one."),
            (accents_dropped(text), "Accents were thrown away: é is not e."),
        ],
    )  # fmt: skip


CANONICAL = Exercise(
    id="1.2.1",
    title="Equal texts",
    difficulty="easy",
    minutes=8,
    statement="""
Two texts that a reader takes for the same should be equal for a program. Write `canonical(text)`:

1. letters with accents are one character where Unicode has one (NFC);
2. the curly apostrophes ‘ and ’ become `'`;
3. case is folded, so that `Straße` and `STRASSE` come out the same;
4. every run of white space, of whatever kind, is one space, and none stands at the ends.

Nothing else changes: `x²` stays `x²`.
""",
    stub='''
def canonical(text: str) -> str:
    """One form for all spellings of the same text.

    >>> canonical(" Don’t  STOP")
    "don't stop"
    """
    raise NotImplementedError
''',
    name="canonical",
    reference=canonical,
    alternatives=(step_by_step,),
    wrong=(
        Wrong(not_composed, "normalise to NFC"),
        Wrong(decomposed, "the composed one is NFC"),
        Wrong(compatibility_form, "NFKC turns x² into x2"),
        Wrong(lower_only, "`casefold` makes it equal"),
        Wrong(plain_spaces_only, "Other white space is left"),
        Wrong(curly_left, "A curly apostrophe is left"),
        Wrong(accents_dropped, "é is not e"),
    ),
    check=check_canonical,
    hints=(
        "`unicodedata.normalize`, `str.replace` or `str.translate`, `str.casefold`, and "
        "`str.split` with `str.join`: one for each step.",
        'Print the code points: `[hex(ord(c)) for c in canonical("e\\u0301")]` must give one '
        "number, 0xe9.",
        '1. `text = unicodedata.normalize("NFC", text)`\n'
        "2. replace `\\u2018` and `\\u2019` by `'`\n"
        "3. `text = text.casefold()`\n"
        '4. `return " ".join(text.split())`',
    ),
)


# -- 1.2.2 sentences ---------------------------------------------------------------------------


def sentences(text: str, abbreviations: Collection[str]) -> list[str]:
    found, start = [], 0
    for match in re.finditer(r"[.!?](?=\s+[A-Z])", text):
        last_word = text[start : match.end()].split()[-1]
        if last_word not in abbreviations:
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [*found, text[start:].strip()]


def by_words(text: str, abbreviations: Collection[str]) -> list[str]:
    found: list[list[str]] = [[]]
    words = text.split()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        found[-1].append(word)
        ends = word[-1] in ".!?" and word not in abbreviations
        if ends and following[:1].isupper():
            found.append([])
    return [" ".join(words) for words in found]


def abbreviations_ignored(text, abbreviations):
    return sentences(text, ())


def lower_case_splits(text, abbreviations):
    found: list[list[str]] = [[]]
    words = text.split()
    for number, word in enumerate(words, 1):
        found[-1].append(word)
        if word[-1] in ".!?" and word not in abbreviations and number < len(words):
            found.append([])
    return [" ".join(words) for words in found]


def full_stops_only(text, abbreviations):
    hidden = text.replace("!", "\u0001").replace("?", "\u0002")
    parts = sentences(hidden, abbreviations)
    return [part.replace("\u0001", "!").replace("\u0002", "?") for part in parts]


def every_full_stop(text, abbreviations):
    return [part.strip() for part in re.split(r"(?<=[.!?])", text) if part.strip()]


def marks_lost(text, abbreviations):
    return [part.rstrip(".!?") for part in sentences(text, abbreviations)]


def last_one_lost(text, abbreviations):
    return sentences(text, abbreviations)[:-1]


OPENINGS = ("Dr. Reed paid {n} dollars.", "Mrs. Lund weighed {n} kg!", "Was it No. 7 or {n}?")
MIDDLES = ("He left at {n} p.m. and slept.", "They saw Dr. Abbot!", "Why not?", "No one knew.")
ABBREVIATIONS = ("Dr.", "Mrs.", "No.")


def check_sentences(answer, t: Trial) -> None:
    for _ in range(5):
        middle = [m for m in MIDDLES if m != MIDDLES[0]]
        parts = [*t.rng.sample(OPENINGS, 2), MIDDLES[0], *t.rng.sample(middle, 2), "Why not?"]
        t.rng.shuffle(parts)
        parts = ["Dr. Hall came!", *parts]
        text = " ".join(part.format(n=round(t.rng.uniform(1, 99), 1)) for part in parts)
        _judge_sentences(t, t.call(answer, text, list(ABBREVIATIONS)), text)
    t.passed("Random texts with titles, decimals and questions are split rightly")
    got = t.call(answer, "Dr. Hall and Ms. Reed came.", ["Dr."])
    t.equal(
        got,
        ["Dr. Hall and Ms.", "Reed came."],
        says="Only the abbreviations in the list count: Ms. is not among them here.",
    )
    t.passed("the list decides, and nothing else")


def _judge_sentences(t: Trial, got, text: str) -> None:
    def mistake(function, sentence):
        return function(text, ABBREVIATIONS), sentence

    t.equal(
        got,
        sentences(text, ABBREVIATIONS),
        says="Cut after . ! or ? if a space and a capital follow and no abbreviation stands there.",
        mistakes=[
            mistake(abbreviations_ignored, "`Dr.` is in the list of abbreviations: no cut there."),
            mistake(lower_case_splits, "A small letter follows (`p.m. and`): no cut there."),
            mistake(full_stops_only, "`!` and `?` end sentences too."),
            mistake(every_full_stop, "Cut only where white space follows: 3.5 is one number."),
            mistake(marks_lost, "The mark belongs to its sentence: keep it."),
            mistake(last_one_lost, "The last sentence is missing: no capital follows it."),
        ],
    )


SENTENCES = Exercise(
    id="1.2.2",
    title="A sentence splitter",
    difficulty="medium",
    minutes=12,
    statement="""
Write a splitter by rule. It cuts after `.`, `!` or `?`

- if white space and a capital letter (A to Z) follow, and
- if the word that the mark ends is not one of the given `abbreviations` (`"Dr."`, with its full
  stop).

Sentences keep their marks and have no white space at the ends.
""",
    stub='''
def sentences(text: str, abbreviations: list[str]) -> list[str]:
    """Split a text into sentences.

    >>> sentences("Dr. Reed paid 3.5 dollars. Why?", ["Dr."])
    ['Dr. Reed paid 3.5 dollars.', 'Why?']
    """
    raise NotImplementedError
''',
    name="sentences",
    reference=sentences,
    alternatives=(by_words,),
    wrong=(
        Wrong(abbreviations_ignored, "no cut there"),
        Wrong(lower_case_splits, "A small letter follows"),
        Wrong(full_stops_only, "end sentences too"),
        Wrong(every_full_stop, "3.5 is one number"),
        Wrong(marks_lost, "keep it"),
        Wrong(last_one_lost, "The last sentence is missing"),
    ),
    check=check_sentences,
    hints=(
        "Go through `text.split()` word by word and ask of each: does the sentence end here? You "
        "need the word and the one after it.",
        '`sentences("He met Dr. Hall. Why?", ["Dr."])` is `["He met Dr. Hall.", "Why?"]`. And '
        '`"at 3 p.m. and"` must not be cut, because "and" has no capital.',
        "1. `words = text.split()`; start with one empty sentence\n"
        "2. append each word to the last sentence\n"
        "3. if it ends in . ! or ?, is no abbreviation, and the next word starts with a capital, "
        "begin a new sentence\n"
        "4. join the words of each sentence with spaces",
    ),
)


# -- 1.2.3 Porter's measure --------------------------------------------------------------------


def measure(word: str) -> int:
    pattern = ""
    for i, letter in enumerate(word.lower()):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and pattern[-1] == "C")
        pattern += "V" if vowel else "C"
    return len(re.findall("V+C+", pattern))


def by_changes(word: str) -> int:
    count, before = 0, False  # before: was the last letter a vowel?
    for i, letter in enumerate(word.lower()):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and not before)
        count += before and not vowel
        before = vowel
    return count


def _runs(word: str, vowels: str, pattern: str) -> int:
    kinds = "".join("V" if letter in vowels else "C" for letter in word.lower())
    return len(re.findall(pattern, kinds))


def y_is_a_consonant(word):
    return _runs(word, "aeiou", "V+C+")


def y_is_a_vowel(word):
    return _runs(word, "aeiouy", "V+C+")


def counts_vowels(word):
    return sum(letter in "aeiou" for letter in word.lower())


def vowel_runs(word):
    return len(re.findall("V+", _pattern(word)))


def consonant_first(word):
    return len(re.findall("C+V+", _pattern(word)))


def _pattern(word: str) -> str:
    pattern = ""
    for i, letter in enumerate(word.lower()):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and pattern[-1] == "C")
        pattern += "V" if vowel else "C"
    return pattern


Y_WORDS = ("syzygy", "toy", "say", "yes", "crying", "mystery", "player", "yoyo", "rhythm", "yacht")
OTHER_WORDS = ("tree", "trouble", "oats", "private", "orrery", "ivy", "sea", "relate", "strength")


def check_measure(answer, t: Trial) -> None:
    # in this order each mistake meets a word on which no other gives the same number
    fixed = ["oats", "tree", "mysterious", "player", "trouble", "troubles", "yes", "cry"]
    made = ["".join(t.rng.choice("bcdaeiouy") for _ in range(t.rng.randint(3, 9))) for _ in "1234"]
    words = [*t.rng.sample(Y_WORDS, 4), *t.rng.sample(OTHER_WORDS, 3), *made]
    for word in fixed + words:
        _judge_measure(t, answer, word)
    t.passed("The measure agrees for real and for random words, with every kind of y")


def _judge_measure(t: Trial, answer, word: str) -> None:
    t.equal(
        t.call(answer, word),
        measure(word),
        says="Write the word as vowels and consonants, and count vowels-then-consonants.",
        mistakes=[
            (counts_vowels(word), "That is the number of vowels: a run of vowels counts once, "
             "and only if consonants follow."),
            (vowel_runs(word), "A run of vowels at the end does not count: no consonant follows."),
            (consonant_first(word), "Vowels first, then consonants: VC, not CV."),
            (y_is_a_consonant(word), "`y` after a consonant is a vowel, as in `cry`."),
            (y_is_a_vowel(word), "`y` at the start or after a vowel is a consonant, as in `yes` "
             "and `player`."),
        ],
    )  # fmt: skip


MEASURE = Exercise(
    id="1.2.3",
    title="Porter's measure of a word",
    difficulty="hard",
    minutes=15,
    statement=r"""
Porter's stemmer may cut an ending only if enough word is left. "Enough" is his **measure** $m$.
Write any word as runs of consonants $C$ and vowels $V$; then it has the form

$$[C]\,(VC)^m\,[V]$$

where the brackets may be empty. So *tree* is $CV$, $m = 0$; *trouble* is $CVCV$, $m = 1$;
*troubles* is $CVCVC$, $m = 2$.

The vowels are a, e, i, o, u, and **y if the letter before it is a consonant** (*cry*, but not
*yes* or *toy*). In *syzygy* each y follows a consonant, so $m = 2$. Write `measure(word)`.
""",
    stub='''
def measure(word: str) -> int:
    """The m in [C](VC)^m[V].

    >>> [measure(word) for word in ("tree", "trouble", "troubles", "toy")]
    [0, 1, 2, 1]
    """
    raise NotImplementedError
''',
    name="measure",
    reference=measure,
    alternatives=(by_changes,),
    wrong=(
        Wrong(counts_vowels, "That is the number of vowels"),
        Wrong(vowel_runs, "does not count: no consonant follows"),
        Wrong(consonant_first, "VC, not CV"),
        Wrong(y_is_a_consonant, "is a vowel, as in `cry`"),
        Wrong(y_is_a_vowel, "is a consonant, as in `yes`"),
    ),
    check=check_measure,
    hints=(
        'First turn the word into a string of "C" and "V", letter by letter. What y is depends on '
        "the letter before it.",
        '"toy" is C V C: the y follows a vowel, so it is a consonant, and $m = 1$. "cry" is C C '
        "V, and $m = 0$.",
        "1. for each letter decide V or C; for y look at the last sign written\n"
        "2. count the places where a V is followed by a C: each is one VC\n"
        '3. or `len(re.findall("V+C+", pattern))`',
    ),
)


# -- 1.2.4 negation marks ----------------------------------------------------------------------


def mark(tokens: Sequence[str], negations: Collection[str]) -> list[str]:
    marked, negated = [], False
    for token in tokens:
        if token in set(".,;:!?"):
            negated = False
        marked.append("NOT_" + token if negated and token.lower() not in negations else token)
        if token.lower() in negations:
            negated = True
    return marked


def by_clauses(tokens: Sequence[str], negations: Collection[str]) -> list[str]:
    clause = [0]
    for token in tokens:
        clause.append(clause[-1] + (token in tuple(".,;:!?")))
    result = []
    for i, token in enumerate(tokens):
        before = [k for k in range(i) if clause[k + 1] == clause[i + 1]]
        inside = any(tokens[k].lower() in negations for k in before)
        plain = token in tuple(".,;:!?") or token.lower() in negations
        result.append(f"NOT_{token}" if inside and not plain else token)
    return result


def never_stops(tokens, negations):
    found, negated = [], False
    for token in tokens:
        plain = token in tuple(".,;:!?") or token.lower() in negations
        found.append("NOT_" + token if negated and not plain else token)
        negated = negated or token.lower() in negations
    return found


def next_word_only(tokens, negations):
    before = ["", *tokens[:-1]]
    return [
        f"NOT_{t}"
        if b.lower() in negations and t not in tuple(".,;:!?") and t.lower() not in negations
        else t
        for b, t in zip(before, tokens, strict=True)
    ]


def negation_marked_too(tokens, negations):
    found, negated = [], False
    for token in tokens:
        if token in tuple(".,;:!?"):
            negated = False
        elif token.lower() in negations:
            negated = True
        found.append("NOT_" + token if negated else token)
    return found


def marks_punctuation(tokens, negations):
    found, negated = [], False
    for token in tokens:
        found.append("NOT_" + token if negated and token.lower() not in negations else token)
        if token in tuple(".,;:!?"):
            negated = False
        elif token.lower() in negations:
            negated = True
    return found


def case_counts(tokens, negations):
    found, negated = [], False
    for token in tokens:
        if token in tuple(".,;:!?"):
            negated = False
        found.append("NOT_" + token if negated and token not in negations else token)
        if token in negations:
            negated = True
    return found


def whole_clause(tokens, negations):
    found, clause = [], []
    for token in [*tokens, "."]:
        if token in tuple(".,;:!?"):
            hit = any(word.lower() in negations for word in clause)
            found += [
                f"NOT_{word}" if hit and word.lower() not in negations else word for word in clause
            ]
            found, clause = [*found, token], []
        else:
            clause.append(token)
    return found[:-1]


FILM_WORDS = ("the", "film", "plot", "good", "dull", "music", "works", "a", "great", "cast")


def _clause(t: Trial, negation: str) -> list[str]:
    words = t.rng.sample(FILM_WORDS, 5)
    return [*words[:2], negation, *words[2:]]


def check_mark(answer, t: Trial) -> None:
    negations = ["not", "never", "n't", "no"]
    for _ in range(4):
        first, second = t.rng.sample(negations, 2)
        tokens = [
            *_clause(t, first), t.rng.choice(".,;:!?"), *t.rng.sample(FILM_WORDS, 3), ",",
            *_clause(t, second.capitalize()), t.rng.choice(negations), t.rng.choice(FILM_WORDS),
        ]  # fmt: skip
        _judge_mark(t, t.call(answer, tokens, negations), tokens, negations)
    t.passed("Marks start after a negation, end with its clause and spare everything else")
    plain = t.rng.sample(FILM_WORDS, 4)
    t.equal(t.call(answer, plain, negations), plain, says="Without a negation nothing changes.")
    t.equal(t.call(answer, [], negations), [], says="No tokens: return an empty list.")
    t.passed("a text without negation stays as it is")


def _judge_mark(t: Trial, got, tokens: list[str], negations: list[str]) -> None:
    def mistake(function, sentence):
        return function(tokens, negations), sentence

    t.equal(
        got,
        mark(tokens, negations),
        says="Mark the words between a negation and the next of . , ; : ! ?",
        mistakes=[
            mistake(never_stops, "A punctuation mark ends the reach of a negation."),
            mistake(next_word_only, "A negation reaches to the end of its clause, not one word."),
            mistake(negation_marked_too, "The negation itself stays as it is."),
            mistake(marks_punctuation, "Punctuation is never marked: it ends the reach first."),
            mistake(case_counts, "`Not` at the start of a clause negates as `not` does."),
            mistake(whole_clause, "Words before the negation stay as they are."),
        ],
    )


MARK = Exercise(
    id="1.2.4",
    title="Mark what is negated",
    difficulty="medium",
    minutes=10,
    statement="""
Counting words loses the tie between "not" and "good". A trick of 2001 keeps it: put `NOT_` in
front of each word between a negation and the end of its clause, so that `NOT_good` becomes a word
of its own.

Write `mark(tokens, negations)`. A clause ends with one of the tokens `. , ; : ! ?`. Negations
(given in lower case, to be found in any case) and punctuation are never marked.
""",
    stub='''
def mark(tokens: list[str], negations: list[str]) -> list[str]:
    """Put NOT_ in front of every word in the reach of a negation.

    >>> mark(["Not", "a", "good", "film", ",", "but", "fun"], ["not", "no"])
    ['Not', 'NOT_a', 'NOT_good', 'NOT_film', ',', 'but', 'fun']
    """
    raise NotImplementedError
''',
    name="mark",
    reference=mark,
    alternatives=(by_clauses,),
    wrong=(
        Wrong(never_stops, "A punctuation mark ends the reach"),
        Wrong(next_word_only, "to the end of its clause"),
        Wrong(negation_marked_too, "The negation itself stays"),
        Wrong(marks_punctuation, "Punctuation is never marked"),
        Wrong(case_counts, "at the start of a clause negates"),
        Wrong(whole_clause, "Words before the negation"),
    ),
    check=check_mark,
    hints=(
        "Walk through the tokens with one variable that remembers whether you are behind a "
        "negation.",
        '`mark(["not", "good", ".", "fine"], ["not"])` is `["not", "NOT_good", ".", "fine"]`: '
        "the full stop resets the memory.",
        "1. `negated = False`\n"
        "2. for each token: if it is punctuation, `negated = False` and append it as it is\n"
        "3. else if its lower case is a negation, append it and set `negated = True`\n"
        '4. else append `"NOT_" + token` if `negated`, or the token itself',
    ),
)

EXERCISES = [CANONICAL, SENTENCES, MEASURE, MARK]
