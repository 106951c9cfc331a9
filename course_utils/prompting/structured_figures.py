"""Chapter 4 - Pictures of automata: circles for states, arrows for what may be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RADIUS = 0.22


def draw_automaton(
    ax: Axes,
    places: Mapping[int, tuple[float, float]],
    edges: Iterable[tuple[int, int, str, float]],
    accepting: Iterable[int],
) -> None:
    """Draw states and moves; a double circle is a state in which the text may end.

    Args:
        ax: where to draw; its frame is taken away.
        places: centre of each state; the first one is the start.
        edges: (from, to, label, bend); bend 0 is straight, positive curves to the right.
        accepting: states with a double circle.
    """
    from matplotlib.patches import Circle, FancyArrowPatch

    final = set(accepting)
    for state, (x, y) in places.items():
        ax.add_patch(Circle((x, y), RADIUS, facecolor="white", edgecolor="#0072B2", lw=1.6))
        if state in final:
            ax.add_patch(Circle((x, y), RADIUS * 0.8, fill=False, edgecolor="#0072B2", lw=1.2))
        ax.text(x, y, str(state), ha="center", va="center")
    x, y = next(iter(places.values()))
    ax.annotate("", (x - RADIUS, y), (x - 0.7, y), arrowprops={"arrowstyle": "-|>"})
    for source, target, label, bend in edges:
        arrow = FancyArrowPatch(
            places[source],
            places[target],
            arrowstyle="-|>",
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=20,
            shrinkB=20,
            mutation_scale=12,
            color="#555555",
        )
        ax.add_patch(arrow)
        ax.text(*_label_place(places[source], places[target], bend), label, **_LABEL)
    xs, ys = zip(*places.values(), strict=True)
    ax.set_xlim(min(xs) - 0.8, max(xs) + 0.5)
    ax.set_ylim(min(ys) - 0.5, max(ys) + 0.5)
    ax.set_aspect("equal")
    ax.set_axis_off()


_LABEL = {
    "ha": "center",
    "va": "center",
    "color": "#D55E00",
    "fontsize": 10,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.0},
}


def _label_place(
    start: tuple[float, float], end: tuple[float, float], bend: float
) -> tuple[float, float]:
    """The middle of the arc: half of the control point's distance to the right of the line."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (start[0] + end[0] + bend * dy) / 2, (start[1] + end[1] - bend * dx) / 2
