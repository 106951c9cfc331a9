"""The word map: labels part, stay near, and every word is written once."""

import numpy as np
import pytest

from course_utils import plotting
from course_utils.text.wordmap import draw_group_map, draw_word_map, spread_labels


def overlaps(centres, sizes):
    gaps = np.abs(centres[:, None] - centres[None])
    reach = (sizes[:, None] + sizes[None]) / 2
    clash = (gaps < reach - 1e-9).all(axis=-1)
    return int(clash.sum() - len(centres)) // 2


def test_labels_part_and_stay_near():
    rng = np.random.default_rng(0)
    points, sizes = rng.random((61, 2)), np.tile([0.08, 0.03], (61, 1))
    moved = spread_labels(points, sizes)
    assert overlaps(points, sizes) > 5
    assert overlaps(moved, sizes) <= 1
    assert np.abs(moved - points).max() < 0.2


def test_equal_points_part_and_free_ones_stay():
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.9]])
    sizes = np.tile([0.1, 0.1], (3, 1))
    moved = spread_labels(points, sizes)
    assert overlaps(moved, sizes) == 0
    np.testing.assert_allclose(moved[2], points[2], atol=1e-4)


def test_map_writes_every_word_on_its_groups_island():
    _fig, ax = plotting.subplots()
    words, groups = ["cat", "dog", "rome"], ["animal", "animal", "city"]
    draw_word_map(ax, np.array([[3.0, -7.0], [4.0, -5.0], [13.0, 2.0]]), words, groups)
    assert [text.get_text() for text in ax.texts] == words
    tints = ax.collections[0].get_facecolors()
    np.testing.assert_array_equal(tints[0], tints[1])
    assert (tints[0] != tints[2]).any()


def test_free_labels_stand_on_their_points():
    _fig, ax = plotting.subplots()
    draw_word_map(ax, np.array([[2.0, 0.0], [4.0, 8.0], [3.0, 2.0]]), ["a", "b", "c"], "xyx")
    places = np.array([text.get_position() for text in ax.texts])
    np.testing.assert_allclose(places, [[0, 0], [1, 1], [0.5, 0.25]], atol=1e-4)


def test_no_two_words_of_a_crowded_map_overlap():
    fig, ax = plotting.subplots(figsize=(8.4, 5))
    words = [f"word{i}" for i in range(67)]
    draw_word_map(ax, np.random.default_rng(3).normal(size=(67, 2)), words, ["x"] * 67)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    sizes = np.array([(box.width, box.height) for box in boxes])
    centres = np.array([((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes])
    assert overlaps(centres, sizes) == 0


def test_a_link_joins_the_points_of_its_words():
    _fig, ax = plotting.subplots()
    points = np.array([[0.0, 0.0], [1.0, 3.0], [2.0, 1.0]])
    draw_word_map(ax, points, ["paris", "rome", "italy"], "ccs", links=[("rome", "italy")])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.5, 1], [1, 1 / 3]])


def test_group_map_names_each_group_once_and_draws_every_point():
    _fig, ax = plotting.subplots()
    draw_group_map(ax, np.arange(10.0).reshape(5, 2), ["a", "b", "a", "b", "b"])
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 3]


@pytest.mark.parametrize("draw", [draw_word_map, draw_group_map])
def test_too_many_groups_are_refused(draw):
    _fig, ax = plotting.subplots()
    names = [str(i) for i in range(11)]
    labels = (names, names) if draw is draw_word_map else (names,)
    with pytest.raises(ValueError, match="at most 8 groups have a colour, got 11"):
        draw(ax, np.zeros((11, 2)), *labels)
