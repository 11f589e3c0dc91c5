"""Ink and ground: every picture stands on white, in letters of its own sizes, whatever matplotlib's style."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure

from captum_uq.visualization._palette import Array, luminance

INK, LINE, GROUND = "#333333", "#bbbbbb", "white"
TITLE, LETTERS = 12, 10  # points
LEGEND: dict[str, Any] = {
    "frameon": True,
    "framealpha": 1.0,
    "facecolor": GROUND,
    "edgecolor": "none",
    "shadow": False,
    "labelcolor": INK,
    "fontsize": LETTERS,
    "labelspacing": 0.5,
}


def plain(axes: Axes) -> None:
    """Axes of a new figure: no grid, and ticks and letters of the same sizes under every style."""
    axes.grid(False)
    axes.tick_params(labelsize=LETTERS, direction="out", pad=3.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(fontsize=LETTERS, fontweight="normal")
        axis.offsetText.set_fontsize(LETTERS)


def ink_beside(axes: Axes) -> str:
    """The colour of what is written beside the axes, on the figure: dark, or white where the figure is dark."""
    return INK if luminance(_seen(axes.figure)) > 0.245 else "white"  # there is as much contrast with both


def set_title(axes: Axes, text: str, size: float = TITLE, pad: float = 6.0) -> None:
    """The title of the axes, as it is written."""
    form: dict[str, Any] = {"fontsize": size, "fontweight": "normal", "color": ink_beside(axes)}
    axes.set_title(text, loc="center", pad=pad, parse_math=False, **form)


def _seen(figure: Figure | SubFigure | None) -> Array:
    """The ground of a figure; what is transparent shows the figure around it, and that of a whole figure white."""
    if figure is None:
        return np.ones(3)
    *colour, alpha = to_rgba(figure.get_facecolor())
    behind = np.ones(3) if isinstance(figure, Figure) else _seen(figure.figure)
    return alpha * np.array(colour) + (1 - alpha) * behind
