"""Chapter 1 – Diagrams of sentences: dependency arcs and phrase-structure trees.

Both draw on an Axes of :mod:`course_utils.plotting` and need no browser, so that the picture
can be stored with its alternative text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from nltk import Tree

ARC, LABEL, LEAF = "#0072B2", "#333333", "#D55E00"


def draw_dependencies(
    ax: Axes,
    words: Sequence[str],
    heads: Sequence[int],
    labels: Sequence[str],
    tags: Sequence[str] | None = None,
) -> None:
    """Draw a dependency parse: an arrow from each head to each of its dependents.

    Args:
        ax: where to draw; its frame and ticks are taken away.
        words: T words.
        heads: for each word the index of its head; the root is its own head, as in spaCy.
        labels: for each word the name of its relation to the head.
        tags: for each word a second line below it, such as its part of speech.

    Raises:
        ValueError: if the lengths differ or a head lies outside the sentence.
    """
    _check(words, heads, labels)
    for i, (head, label) in enumerate(zip(heads, labels, strict=True)):
        if head == i:
            ax.annotate("root", (i, 0.1), (i, 0.55), ha="center", fontsize=8, arrowprops=_arrow())
        else:
            _arc(ax, head, i, label)
    for i, word in enumerate(words):
        ax.text(i, -0.25, word, ha="center", va="baseline")
        if tags is not None:
            ax.text(i, -0.5, tags[i], ha="center", va="top", fontsize=7, color=LABEL)
    longest = max((abs(head - i) for i, head in enumerate(heads)), default=1)
    _frameless(ax, (-0.6, len(words) - 0.4), (-0.8, max(1.0, 0.55 * longest + 0.4)))


def _arc(ax: Axes, head: int, dependent: int, label: str) -> None:
    import numpy as np

    # two arrows that leave the same word start a little apart
    start = head + (0.12 if dependent > head else -0.12)
    angle = np.linspace(0, np.pi, 60)
    x = (start + dependent) / 2 + (start - dependent) / 2 * np.cos(angle)
    y = 0.1 + 0.5 * abs(head - dependent) * np.sin(angle)
    ax.plot(x, y, color=ARC, linewidth=1.2)
    ax.annotate("", (x[-1], y[-1]), (x[-3], y[-3]), arrowprops=_arrow())
    ax.text(x[30], y[30] + 0.04, label, ha="center", va="bottom", fontsize=8, color=LABEL)


def _arrow() -> dict:
    return {"arrowstyle": "-|>", "color": ARC, "lw": 1.2}


def draw_tree(ax: Axes, tree: Tree) -> None:
    """Draw a phrase-structure tree: words on the bottom line, each phrase above its parts.

    Args:
        ax: where to draw; its frame and ticks are taken away.
        tree: an ``nltk.Tree``, root at the top.
    """
    leaves = iter(range(len(tree.leaves())))
    _place(ax, tree, leaves)
    _frameless(ax, (-0.6, len(tree.leaves()) - 0.4), (-0.4, tree.height() - 0.6))


def _place(ax: Axes, node: Tree | str, leaves) -> tuple[float, float]:
    """Draw a node above its children; returns where it stands."""
    if isinstance(node, str):
        x, y = float(next(leaves)), 0.0
        ax.text(x, y, node, ha="center", va="center", color=LEAF, weight="bold")
        return x, y
    places = [_place(ax, child, leaves) for child in node]
    x, y = sum(place[0] for place in places) / len(places), node.height() - 1.0
    for child_x, child_y in places:
        ax.plot([x, child_x], [y - 0.15, child_y + 0.18], color=ARC, linewidth=1)
    ax.text(x, y, node.label(), ha="center", va="center", color=LABEL)
    return x, y


def _check(words: Sequence[str], heads: Sequence[int], labels: Sequence[str]) -> None:
    if not len(words) == len(heads) == len(labels):
        raise ValueError(
            f"words, heads and labels must have one length; "
            f"got {len(words)}, {len(heads)} and {len(labels)}"
        )
    outside = [head for head in heads if not 0 <= head < len(words)]
    if outside:
        raise ValueError(f"heads must lie between 0 and {len(words) - 1}; got {outside}")


def _frameless(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set_xlim(x)
    ax.set_ylim(y)
    ax.set_axis_off()
