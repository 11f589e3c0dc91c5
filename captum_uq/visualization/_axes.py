"""Figures, axes, and what is drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import ScalarFormatter
from torch import Tensor

from captum_uq.visualization._maps import bounded, grey
from captum_uq.visualization._scales import Scale
from captum_uq.visualization._style import GROUND, LETTERS, LINE, ink_beside, plain, set_title

FigureAxes = tuple[Figure | None, Axes | Sequence[Axes]]
PANEL = 2.3  # inches
NARROWEST = 3.3  # inches of a figure that leave room for the label of a colour bar


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
        plt_fig_axis: A figure, or None for that of the axes, and its axes, in any nesting.
        fig_size: Width and height in inches of a new figure.
        use_pyplot: Whether pyplot makes the figure.

    Returns:
        The figure and ``count`` axes.

    Raises:
        TypeError: If ``plt_fig_axis`` is no pair of a figure and axes.
        ValueError: If there is no panel, there are more or fewer axes than panels, or ``fig_size`` is no size.
    """  # noqa: DOC502 (raised where axes and figure are made)
    if count < 1:
        raise ValueError("there is nothing to draw: ask for at least one panel.")
    if plt_fig_axis is not None:
        figure, axes = _given(plt_fig_axis, count)
    else:
        figure, axes = _new(count, columns, aspect, fig_size, use_pyplot)
    for each in axes:
        each.set_facecolor(GROUND)  # colours, opacities and letters within are made for it
    return figure, axes


def _given(plt_fig_axis: FigureAxes, count: int) -> tuple[Figure, list[Axes]]:
    """The user's own figure and axes.

    Raises:
        TypeError: If that is no pair of a figure and axes.
        ValueError: If there are more or fewer axes than panels.
    """
    pair = plt_fig_axis if isinstance(plt_fig_axis, (tuple, list)) else (plt_fig_axis,)
    figure = pair[0]
    axes: list[Axes] = np.asarray(pair[1:], dtype=object).ravel().tolist()
    fits = len(pair) == 2 and (figure is None or isinstance(figure, (Figure, SubFigure)))
    if not fits or not all(isinstance(each, Axes) for each in axes):
        came = ", ".join(type(each).__name__ for each in pair)
        raise TypeError(
            f"plt_fig_axis is a pair (figure, axes), as plt.subplots() returns it, got {came}. Of axes alone make "
            "(axes.figure, axes)."
        )
    if len(axes) != count:
        raise ValueError(f"plt_fig_axis needs one axes for each panel, {count}, got {len(axes)}.")
    return figure or axes[0].figure.figure, axes


def _new(
    count: int, columns: int, aspect: float, fig_size: tuple[float, float] | None, use_pyplot: bool
) -> tuple[Figure, list[Axes]]:
    rows = -(-count // columns)
    wide = max(PANEL, NARROWEST / columns)
    figure = _new_figure(fig_size or (columns * wide, rows * (aspect * wide + 0.35) + 0.55), use_pyplot)
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(count)]
    for each in axes:
        plain(each)
    return figure, axes


def _new_figure(size: tuple[float, float], use_pyplot: bool) -> Figure:
    """An empty figure on white ground.

    Raises:
        ValueError: If its size is none.
    """
    if np.shape(size) != (2,) or not all(0 < each < np.inf for each in size):
        raise ValueError(f"fig_size is (width, height) in inches, two numbers above 0; got {size!r}.")
    form: dict[str, Any] = {"figsize": size, "layout": "constrained", "facecolor": GROUND}
    if not use_pyplot:
        return Figure(**form)
    import matplotlib.pyplot as plt  # chooses a backend, which a figure without pyplot does not need

    return plt.figure(**form)


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
        values: The map, shape ``(H, W)``; infinity is drawn as the largest finite magnitude.
        scale: Its colours.
        title: What it is.
        image: What :func:`captum_uq.visualization._maps.display_image` made, or None.
        alpha: Opacity over the image where the map is white, and at full colour.

    Returns:
        The map's artist.
    """
    if image is not None:
        axes.imshow(grey(image), cmap="gray", vmin=-1, vmax=1, origin="upper")  # 0 is a middle grey
    values = bounded(values)
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
    set_title(axes, title)
    axes.set(xticks=[], yticks=[], anchor="S")  # as a colour bar anchors what is above it
    axes.spines[:].set(color=LINE, linewidth=0.6)


def open_frame(axes: Axes, **ticks: Any) -> None:
    """Thin lines to the left of and below curves and bars; ``ticks`` as ``Axes.tick_params`` takes them."""
    axes.tick_params(length=3, color=LINE, labelcolor=ink_beside(axes), **ticks)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=LINE, linewidth=0.8)


def short_numbers(axes: Axes) -> None:
    """Writes large and small numbers below the axes over a power of ten, so that none lies on the next."""
    written = axes.xaxis.get_major_formatter()
    if isinstance(written, ScalarFormatter):  # not that of the user's own logarithmic axes
        written.set_powerlimits((-3, 4))


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
    plain(bar.ax)
    letters: dict[str, Any] = {"fontsize": LETTERS, "color": ink_beside(bar.ax)}
    bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()), **letters)
    bar.set_label(label, **letters)
    bar.ax.tick_params(length=0)
    bar.outline.set(color=LINE, linewidth=0.6)
