"""Plotting: one style for all figures, and one way to show them that everybody can read.

``show(fig, alt=...)`` writes the picture as HTML with its alternative text, because the
alternative text of a plain image output reaches neither JupyterLab nor nbconvert.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008), "Color Universal Design": told apart with every common colour blindness
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
DPI = 90
MAX_BYTES = 60_000
MIN_ALT_WORDS = 5

STYLE = {
    "figure.dpi": DPI,
    "figure.figsize": (7.0, 3.6),
    "figure.facecolor": "white",
    "axes.prop_cycle": None,  # filled in by subplots(): a cycler needs matplotlib
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "image.cmap": "cividis",
}


def style() -> dict:
    """The rc parameters of the course."""
    from cycler import cycler

    return STYLE | {"axes.prop_cycle": cycler(color=COLOURS)}


def subplots(rows: int = 1, columns: int = 1, **options) -> tuple[Figure, Axes | np.ndarray]:
    """``matplotlib.pyplot.subplots`` in the course's style, laid out without overlap.

    The figure is not registered with pyplot, so that nothing draws it a second time.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # not rc_context: titles and legends read their style when they are set, after this call
    matplotlib.rcParams.update(style())
    fig = Figure(layout="constrained", **_figure_options(options))
    FigureCanvasAgg(fig)
    return fig, fig.subplots(rows, columns, **options)


def _figure_options(options: dict) -> dict:
    """Take the figure's own options out of those meant for its axes."""
    return {key: options.pop(key) for key in ("figsize", "dpi", "facecolor") if key in options}


def show(fig: Figure, alt: str) -> None:
    """Display a figure as a PNG inside HTML, with its alternative text.

    Args:
        fig: the figure.
        alt: what a reader who cannot see it needs: kind of plot, axes, the point it makes.

    Raises:
        ValueError: if the text has fewer than five words.
    """
    if len(alt.split()) < MIN_ALT_WORDS:
        raise ValueError(f"alt must describe the figure in {MIN_ALT_WORDS} words or more: {alt!r}")
    data = base64.b64encode(png(fig)).decode()
    picture = (
        f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}" '
        'style="max-width: 100%; height: auto; background: white">'
    )
    try:
        from IPython.display import display
    except ImportError:
        print(alt)
        return
    display({"text/html": picture, "text/plain": alt}, raw=True)


def png(fig: Figure) -> bytes:
    """The figure as PNG; reduced to a palette of 64 colours when it would pass 60 kB."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    if buffer.tell() <= MAX_BYTES:
        return buffer.getvalue()
    from PIL import Image

    smaller = io.BytesIO()
    image = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    image.save(smaller, format="png", optimize=True)
    return min(buffer.getvalue(), smaller.getvalue(), key=len)


def heatmap(
    ax: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    numbers: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
) -> None:
    """Draw a matrix with labelled rows and columns.

    Args:
        values: matrix (R, S).
        rows, columns: R and S labels.
        numbers: format written into each cell, such as ``".2f"``; None writes none.
    """
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"values have shape {tuple(values.shape)}, labels say {(len(rows), len(columns))}"
        )
    image = ax.imshow(values, aspect="auto", vmin=vmin, vmax=vmax, cmap="cividis")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(False)
    if numbers is None:
        ax.figure.colorbar(image, ax=ax, shrink=0.85)
        return
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for (i, j), value in _cells(values):
        colour = "white" if value < middle else "black"
        ax.text(j, i, format(value, numbers), ha="center", va="center", color=colour, fontsize=8)


def _cells(values: np.ndarray) -> list[tuple[tuple[int, int], float]]:
    rows, columns = values.shape
    return [((i, j), float(values[i, j])) for i in range(rows) for j in range(columns)]
