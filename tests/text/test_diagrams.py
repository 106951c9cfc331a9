"""Diagrams: what must be written stands there, arrows point from head to dependent."""

import pytest
from nltk import Tree

from course_utils.plotting import subplots
from course_utils.text.diagrams import draw_dependencies, draw_tree

WORDS, HEADS, LABELS = ["she", "saw", "a", "duck"], [1, 1, 3, 1], ["nsubj", "ROOT", "det", "dobj"]


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_dependencies_show_words_tags_labels_and_one_arrow_each():
    _, ax = subplots()
    draw_dependencies(ax, WORDS, HEADS, LABELS, tags=["PRON", "VERB", "DET", "NOUN"])
    assert set(WORDS) | {"nsubj", "det", "dobj", "root", "VERB"} <= set(texts(ax))
    arrows = [t for t in ax.texts if getattr(t, "arrow_patch", None) is not None]
    assert len(arrows) == len(WORDS)


def test_arcs_end_at_the_dependent_and_rise_with_distance():
    _, ax = subplots()
    draw_dependencies(ax, WORDS, HEADS, LABELS)
    ends = [line.get_xdata()[-1] for line in ax.lines]
    heights = [max(line.get_ydata()) for line in ax.lines]
    assert ends == pytest.approx([0, 2, 3])
    assert heights[2] > heights[0]  # saw -> duck spans two words, saw -> she one


def test_tree_puts_each_phrase_over_the_middle_of_its_parts():
    _, ax = subplots()
    draw_tree(ax, Tree.fromstring("(S (NP she) (VP (V saw) (NP (D a) (N duck))))"))
    place = {text.get_text(): text.get_position() for text in ax.texts}
    assert place["she"] == (0, 0)
    assert place["duck"] == (3, 0)
    assert place["NP"] == (2.5, 2)  # the second NP overwrote the first: over "a" and "duck"
    assert place["S"][1] == max(y for _, y in place.values())


def test_lengths_and_heads_are_checked():
    _, ax = subplots()
    with pytest.raises(ValueError, match="one length; got 4, 4 and 3"):
        draw_dependencies(ax, WORDS, HEADS, LABELS[:3])
    with pytest.raises(ValueError, match=r"between 0 and 3; got \[4\]"):
        draw_dependencies(ax, WORDS, [1, 1, 3, 4], LABELS)
