"""Chapter 1 – Word embeddings: a map of words that can be read.

Two coordinates a word, a colour a group, and labels that do not cover each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_utils import plotting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# yellow cannot be read on white; brown takes its place
PALETTE = (*(c for c in plotting.COLOURS if c != "#F0E442"), "#7A5C00")
ISLAND = 1_600  # area of the disc behind a word, in square points
AIR = (8.0, 1.0)  # pixels between labels, beside and above
INK = "#222222"


def spread_labels(points: np.ndarray, sizes: np.ndarray, steps: int = 500) -> np.ndarray:
    """Push overlapping boxes apart, a little at a time, and keep them near their points.

    Args:
        points: centres (N, 2). sizes: widths and heights (N, 2), in the same unit.
        steps: rounds; it stops early when nothing overlaps.

    Returns:
        new centres (N, 2).
    """
    centres = points + 1e-6 * np.arange(2 * len(points)).reshape(-1, 2)  # equal points part
    reach = (sizes[:, None] + sizes[None]) / 2  # (N, N, 2), closer than this is an overlap
    for _ in range(steps):
        gaps = centres[:, None] - centres[None]
        overlap = reach - np.abs(gaps)
        clash = (overlap > 0).all(axis=-1)
        np.fill_diagonal(clash, False)
        if not clash.any():
            break
        # labels are wide and low: move along the axis where the smaller push will do
        axis = np.where(overlap[..., 0] / 3 < overlap[..., 1], 0, 1)
        push = np.take_along_axis(overlap, axis[..., None], -1)[..., 0] * clash
        for a in (0, 1):
            centres[:, a] += 0.3 * (push * (axis == a) * np.sign(gaps[..., a])).sum(axis=1)
    return centres


def draw_word_map(
    ax: Axes,
    points: np.ndarray,
    words: Sequence[str],
    groups: Sequence[str],
    *,
    links: Iterable[tuple[str, str]] = (),
) -> None:
    """Write each word at its place, on an island in the colour of its group.

    Args:
        points: coordinates (N, 2), in any unit.
        words: N labels. groups: N names of groups; at most eight different ones.
        links: pairs of words to join by a line, such as a capital and its country.

    Raises:
        ValueError: if there are more groups than colours.
    """
    colours = _colours(groups)
    places = _unit_square(points)
    ax.set(xlim=(-0.08, 1.08), ylim=(-0.06, 1.06), xticks=[], yticks=[])
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    for first, second in links:
        ends = places[[words.index(first), words.index(second)]]
        ax.plot(*ends.T, color="#999999", lw=0.8, zorder=1)
    # tints, not transparency: the discs of a group melt into one island; hard edges: small files
    tints = [_tint(colour) for colour in colours]
    ax.scatter(*places.T, s=ISLAND, c=tints, lw=0, zorder=0, antialiased=False)
    written = [
        ax.text(x, y, word, color=INK, fontsize=9, ha="center", va="center")
        for (x, y), word in zip(places, words, strict=True)
    ]
    for text, place in zip(written, spread_labels(places, _sizes(ax, written)), strict=True):
        text.set_position(tuple(place))


def draw_group_map(ax: Axes, points: np.ndarray, groups: Sequence[str]) -> None:
    """The same map without words: a dot each, and the colours named in a legend.

    Args:
        points: coordinates (N, 2), in any unit. groups: N names of groups, at most eight.
    """
    colours, places = np.array(_colours(groups)), _unit_square(points)
    for name in dict.fromkeys(groups):
        mine = np.array([group == name for group in groups])
        ax.plot(*places[mine].T, "o", ms=4, color=colours[mine][0], label=name)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def _colours(groups: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(groups))
    if len(names) > len(PALETTE):
        raise ValueError(f"at most {len(PALETTE)} groups have a colour, got {len(names)}")
    return [PALETTE[names.index(group)] for group in groups]


def _tint(colour: str, strength: float = 0.25) -> tuple[float, float, float]:
    """A pale version of a colour, without transparency."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _unit_square(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.where(high > low, high - low, 1)


def _sizes(ax: Axes, written: Sequence[Text]) -> np.ndarray:
    """Widths and heights (N, 2) of labels in the unit of the axes, with some air."""
    ax.figure.draw_without_rendering()  # the layout is not known before
    boxes = [text.get_window_extent() for text in written]
    pixels = np.array([(box.width, box.height) for box in boxes]) + AIR
    unit = ax.transData.transform([(0, 0), (1, 1)])
    return pixels / (unit[1] - unit[0])
