"""Figures, axes, and what is drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from captum_uq.visualization._maps import grey
from captum_uq.visualization._scales import Scale

FigureAxes = tuple[Figure, Axes | Sequence[Axes]]
INK, LINE = "#333333", "#bbbbbb"
LEGEND: dict[str, Any] = {"frameon": False, "labelcolor": INK, "fontsize": 10}
PANEL = 2.3  # inches


def make_axes(
    count: int,
    columns: int,
    aspect: float,
    plt_fig_axis: FigureAxes | None,
    fig_size: tuple[float, float] | None,
    use_pyplot: bool,
) -> tuple[Figure, list[Axes]]:
    """As many axes as there are panels, row by row: those given, or those of a new figure.

    Args:
        count: Number of panels.
        columns: Panels in a row.
        aspect: Height of a panel over its width.
        plt_fig_axis: A figure and its axes, in any nesting.
        fig_size: Width and height in inches of a new figure.
        use_pyplot: Whether pyplot makes the figure.

    Returns:
        The figure and ``count`` axes.

    Raises:
        ValueError: If there is no panel, or there are more or fewer axes than panels.
    """
    if count < 1:
        raise ValueError("there is nothing to draw: ask for at least one panel.")
    if plt_fig_axis is not None:
        figure, given = plt_fig_axis
        axes: list[Axes] = np.asarray(given, dtype=object).ravel().tolist()
        if len(axes) != count:
            raise ValueError(f"plt_fig_axis needs one axes for each panel, {count}, got {len(axes)}.")
        return figure, axes
    rows = -(-count // columns)
    height = min(max(aspect, 0.2), 5.0) * PANEL + 0.35
    figure = _new_figure(fig_size or (columns * PANEL, rows * height + 0.55), use_pyplot)
    return figure, [figure.add_subplot(rows, columns, at + 1) for at in range(count)]


def _new_figure(size: tuple[float, float], use_pyplot: bool) -> Figure:
    if not use_pyplot:
        return Figure(figsize=size, layout="constrained")
    import matplotlib.pyplot as plt  # chooses a backend, which a figure without pyplot does not need

    return plt.figure(figsize=size, layout="constrained")


def show(use_pyplot: bool) -> None:
    """Shows the figure, as Captum's plots do."""
    if use_pyplot:
        import matplotlib.pyplot as plt

        plt.show()


def draw_map(
    axes: Axes,
    values: Tensor,
    scale: Scale,
    title: str,
    image: npt.NDArray[np.float64] | None = None,
    alpha: tuple[float, float] = (1.0, 1.0),
) -> AxesImage:
    """One map, over the grey image if there is one.

    The image is drawn in light greys, so that colours look much the same over its light and its dark parts.

    Args:
        axes: Where to draw.
        values: The map, shape ``(H, W)``.
        scale: Its colours.
        title: What it is.
        image: What :func:`captum_uq.visualization._maps.display_image` made, or None.
        alpha: Opacity over the image where the map is white, and at full colour.

    Returns:
        The map's artist.
    """
    if image is not None:
        axes.imshow(grey(image), cmap="gray", vmin=-1, vmax=1, origin="upper")  # 0 is a middle grey
    opacity = None if image is None else (alpha[0] + (alpha[1] - alpha[0]) * scale.strength(values)).numpy()
    colours: dict[str, Any] = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high}
    drawn = axes.imshow(values.numpy(), **colours, alpha=opacity, origin="upper")
    frame(axes, title)
    return drawn


def draw_image(axes: Axes, image: npt.NDArray[np.float64]) -> None:
    """The image itself, in its colours.

    Args:
        axes: Where to draw.
        image: Values from 0 to 1, ``(H, W)`` or ``(H, W, 3)``.
    """
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, origin="upper")
    frame(axes, "image")


def frame(axes: Axes, title: str) -> None:
    """A picture's title and thin frame, without ticks."""
    axes.set_title(title, fontsize=12, color=INK)
    axes.set(xticks=[], yticks=[], anchor="S")  # as a colour bar anchors what is above it
    axes.spines[:].set(color=LINE, linewidth=0.6)


def open_frame(axes: Axes, **ticks: Any) -> None:
    """Thin lines to the left of and below curves and bars; ``ticks`` as ``Axes.tick_params`` takes them."""
    axes.tick_params(length=3, color=LINE, labelcolor=INK, **ticks)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)


def legend_below(axes: Axes, **form: Any) -> None:
    """The legend of the axes, some lines below them; ``form`` as ``Axes.legend`` takes it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=3.6, **LEGEND, **form)


def colour_bar(figure: Figure, drawn: AxesImage, axes: Axes | Sequence[Axes], scale: Scale, label: str = "") -> None:
    """What the colours say, below the axes.

    Args:
        figure: The figure of the axes.
        drawn: One artist with these colours.
        axes: All axes with these colours.
        scale: The colours.
        label: What the numbers are.
    """
    wide = isinstance(axes, Sequence) and len(axes) > 1
    form: dict[str, Any] = {"shrink": 0.4, "aspect": 34, "fraction": 0.05} if wide else {"shrink": 0.75, "aspect": 18}
    bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", pad=0.03, extend=scale.extend, **form)
    bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()), fontsize=10, color=INK)
    bar.set_label(label, fontsize=10, color=INK)
    bar.ax.tick_params(length=0)
    bar.outline.set(color=LINE, linewidth=0.6)
