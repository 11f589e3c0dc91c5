"""What stands beside axes, and the room for it: legends, and what is written there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine, TightLayoutEngine
from matplotlib.textpath import text_to_path

from captum_uq.visualization._style import LEGEND


def laid_out(figure: Figure | SubFigure) -> bool:
    """Whether a layout engine makes room for what stands beside the axes of a figure."""
    return isinstance(figure.get_layout_engine(), (ConstrainedLayoutEngine, TightLayoutEngine))


def add_legend(axes: Axes, handles: Sequence[Artist], names: Sequence[str], **outside: Any) -> None:
    """A legend beside the axes or, where nothing makes room for it there, where it hides least of them.

    Args:
        axes: What the legend explains.
        handles: What is named.
        names: Any names: matplotlib leaves out those that begin with an underscore and reads dollar signs as a
            formula, so numbers stand in for them until the legend is made.
        outside: Where it stands beside the axes, as ``Axes.legend`` takes it.
    """
    within = {"loc": "best", "framealpha": 0.8}
    form = LEGEND | (outside if laid_out(axes.figure) else within)
    legend = axes.legend(handles, [str(at) for at in range(len(handles))], **form)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def legend_below(axes: Axes, **form: Any) -> None:
    """The legend of the axes, some lines below them; ``form`` as ``Axes.legend`` takes it."""
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 3.6}
    handles, names = axes.get_legend_handles_labels()
    add_legend(axes, handles, names, **below, **form)


def room_beside(axes: Axes, points: float) -> None:
    """Moves the right edge of axes that no layout engine does it for, as a colour bar does."""
    figure = axes.figure
    if laid_out(figure):
        return
    left, bottom, width, height = axes.get_position(original=True).bounds
    taken = points * figure.dpi / 72 / figure.bbox.width
    axes.set_position((left, bottom, max(width - taken, 0.3 * width), height))
    axes.set_in_layout(True)  # for what is laid out later


def inches(texts: Sequence[str], size: float = 10.0) -> float:
    """The width of the widest of some texts, in letters of so many points."""
    font = FontProperties(size=size)
    lines = [line for text in texts for line in text.splitlines()]
    widths = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in lines]
    return float(max(widths, default=0.0)) / 72
