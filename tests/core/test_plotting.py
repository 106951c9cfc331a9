"""Figures: alternative text reaches the page, pictures stay small."""

import io

import numpy as np
import pytest
from PIL import Image

from course_utils import plotting


def drawn():
    fig, ax = plotting.subplots()
    ax.plot([0, 1, 2], [3, 5, 7])
    return fig


def test_show_puts_the_alternative_text_into_the_html(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    plotting.show(drawn(), alt='Line rising from 3 to 7, "the loss" < 8')
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"}
    assert 'alt="Line rising from 3 to 7, &quot;the loss&quot; &lt; 8"' in bundle["text/html"]
    assert bundle["text/plain"].startswith("Line rising")


@pytest.mark.parametrize("alt", ["", "a plot"])
def test_show_refuses_a_figure_without_a_description(alt):
    with pytest.raises(ValueError, match="5 words"):
        plotting.show(drawn(), alt=alt)


def test_a_noisy_picture_is_reduced():
    fig, ax = plotting.subplots()
    ax.imshow(np.random.default_rng(0).random((211, 307)))
    full = io.BytesIO()
    fig.savefig(full, format="png", dpi=plotting.DPI)
    small = plotting.png(fig)
    assert full.tell() > plotting.MAX_BYTES
    assert len(small) < full.tell()
    assert Image.open(io.BytesIO(small)).size == Image.open(full).size


def test_two_figures_of_the_same_data_are_the_same_bytes():
    assert plotting.png(drawn()) == plotting.png(drawn())


def test_subplots_use_the_course_s_colours_and_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    fig, axes = plotting.subplots(1, 2, figsize=(5, 2))
    (line,) = axes[0].plot([1, 2])
    assert line.get_color() == plotting.COLOURS[0]
    assert plt.get_fignums() == before
    assert tuple(fig.get_size_inches()) == (5, 2)


def test_heatmap_writes_every_number_in_readable_ink():
    _, ax = plotting.subplots()
    plotting.heatmap(ax, np.array([[0.0, 1.0, 0.5]]), ["row"], ["a", "b", "c"], numbers=".1f")
    assert [t.get_text() for t in ax.texts] == ["0.0", "1.0", "0.5"]
    assert [t.get_color() for t in ax.texts[:2]] == ["white", "black"]


def test_heatmap_names_both_shapes_when_labels_do_not_fit():
    _, ax = plotting.subplots()
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        plotting.heatmap(ax, np.zeros((1, 2)), ["row"], ["a", "b", "c"])
