"""Sentence splitting: by hand, invariants, and the parameters' own implementation as oracle."""

import sys

import pytest

from course_utils import assets
from course_utils.corpora import authored
from course_utils.text.sentences import (
    naive_sentences,
    punkt_parameters,
    punkt_sentences,
    punkt_splitter,
    read_literals,
)

TEXTS = [" ".join(row["sentences"]) for row in authored("sentence_splits")]


def test_by_hand():
    text = "Dr. Smith paid 3.5 million. Why? He told nobody!"
    assert naive_sentences(text) == ["Dr.", "Smith paid 3.5 million.", "Why?", "He told nobody!"]
    assert punkt_sentences(text) == ["Dr. Smith paid 3.5 million.", "Why?", "He told nobody!"]
    assert naive_sentences("  ") == [] == punkt_sentences("")


def test_another_language_knows_other_abbreviations():
    text = "Das ist z.B. ein Satz. Und noch einer."
    assert punkt_sentences(text, "german") == ["Das ist z.B. ein Satz.", "Und noch einer."]


@pytest.mark.parametrize("split", [naive_sentences, punkt_sentences])
def test_no_character_but_white_space_is_lost(split):
    for text in TEXTS:
        assert "".join("".join(split(text)).split()) == "".join(text.split())


def test_the_same_sentences_as_the_implementation_the_parameters_come_with(monkeypatch):
    monkeypatch.syspath_prepend(str(_package_folder()))
    punkt = pytest.importorskip("punkt")
    assert [punkt_sentences(text) for text in TEXTS] == [punkt.sent_tokenize(t) for t in TEXTS]
    for name in [name for name in sys.modules if name.partition(".")[0] == "punkt"]:
        monkeypatch.delitem(sys.modules, name)


def _package_folder():
    return next(assets.path("nltk-punkt").rglob("english.py")).parents[2]


def test_an_unknown_language_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no Punkt parameters for 'klingon'.*english.*german"):
        punkt_sentences("a", "klingon")


def test_parameters_are_loaded_once_and_hold_what_punkt_learned():
    assert punkt_splitter("english") is punkt_splitter("english")
    learned = punkt_parameters("english")
    assert {"dr", "mr", "e.g"} & learned.abbrev_types == {"dr", "mr"}
    assert {"however", "he"} <= learned.sent_starters


def test_literals_are_read_and_code_is_not_run(tmp_path):
    good = tmp_path / "good.py"
    good.write_text("'''doc'''\nA = frozenset(('x', 'y'))\nB = {'k': 3}\nC = frozenset()\nd = 5\n")
    assert read_literals(good) == {"A": frozenset("xy"), "B": {"k": 3}, "C": frozenset()}
    bad = tmp_path / "bad.py"
    bad.write_text("A = __import__('os').getcwd()\n")
    with pytest.raises(ValueError, match="malformed node"):
        read_literals(bad)
