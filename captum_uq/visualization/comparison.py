"""A comparison of curves as a forest plot."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform

from captum_uq.metrics import Comparison, PairedDifference
from captum_uq.visualization._axes import FigureAxes, make_axes, show
from captum_uq.visualization._beside import room_beside
from captum_uq.visualization._palette import ABOVE, BELOW
from captum_uq.visualization._rows import ROW, frame_rows, width
from captum_uq.visualization._style import LETTERS, ink_beside

OPEN = "#808080"  # where the interval holds 0
COLUMNS = (62, 108)  # points from the axes to where p values and wins end


def visualize_comparison(
    comparison: Comparison,
    *,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """A forest plot: each mean difference of area with its interval, around the line of no difference.

    Blue on the better side, orange on the worse, grey where the interval holds 0. To the right stand the p value
    and the share of examples on which the curve is the better one.

    Args:
        comparison: What :func:`captum_uq.metrics.compare` returned.
        plt_fig_axis: A figure and an axes of it; by default a new figure. The two columns take their room from the
            axes.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; tick labels are the curves, from top to bottom in the order of the comparison.

    Raises:
        TypeError: If it is no comparison.
        ValueError: If it holds no row, or a number that is not finite.

    Example:
        >>> row = PairedDifference("5%", "mean", -0.3, -0.5, -0.1, 0.004, 0.008, -0.4, 0.7, 40)
        >>> figure, axes = visualize_comparison(Comparison((row,), 0.95, "holm", "lower"), use_pyplot=False)
        >>> [each.get_text() for each in axes.texts]
        ['p (holm)', 'wins', '0.008', '70%']
    """  # noqa: DOC502 (raised by the check)
    _check(comparison)
    labels, title = _words(comparison)
    size = fig_size or (width(labels, title, 7.0, COLUMNS[-1] / 72), ROW * len(comparison) + 1.35)
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    for place, row in enumerate(comparison):
        colour = _colour(row, comparison.direction)
        axes.hlines(place, row.low, row.high, color=colour, linewidth=2)
        axes.plot([row.difference], [place], "s", markersize=6, color=colour)
    _write_numbers(axes, comparison)
    frame_rows(axes, labels, title, f"difference of area ({comparison.direction} is better)", pad=20)
    room_beside(axes, COLUMNS[-1])
    show(use_pyplot)
    return figure, axes


def _check(comparison: Comparison) -> None:
    """Raises for what cannot be drawn.

    Raises:
        TypeError: If it is no comparison.
        ValueError: If it holds no row, or a number that is not finite.
    """
    if not isinstance(comparison, Comparison):
        raise TypeError(
            f"a forest plot takes a Comparison, got {type(comparison).__name__}; compare(curves) makes one."
        )
    if not len(comparison):
        raise ValueError("the comparison holds no row; compare two curves at least.")
    for row in comparison:
        if not all(map(math.isfinite, (row.difference, row.low, row.high))):
            raise ValueError(f"the difference of {row.curve!r} to {row.reference!r} or its interval is not finite.")


def _colour(row: PairedDifference, direction: str) -> str:
    if row.low <= 0 <= row.high:
        return OPEN
    return BELOW if (row.difference < 0) == (direction == "lower") else ABOVE


def _write_numbers(axes: Axes, comparison: Comparison) -> None:
    """Two columns, at points to the right of the axes: a row for each comparison, and heads above them."""
    adjusted = "p" if comparison.correction == "none" else f"p ({comparison.correction})"
    _write_row(axes, (1.0, 1.0), axes.transAxes, (adjusted, "wins"), up=8)
    for at, row in enumerate(comparison):
        _write_row(axes, (1.0, at), axes.get_yaxis_transform(), (_p_value(row), f"{row.win_rate:.0%}"))


def _write_row(
    axes: Axes, place: tuple[float, float], within: Transform, cells: tuple[str, ...], up: float = 0
) -> None:
    for right, text in zip(COLUMNS, cells, strict=True):
        axes.annotate(
            text,
            place,
            (right, up),
            xycoords=within,
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="center",
            annotation_clip=False,
            color=ink_beside(axes),
            fontsize=LETTERS,
        )


def _p_value(row: PairedDifference) -> str:
    return "<0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}"


def _words(comparison: Comparison) -> tuple[list[str], str]:
    """The names of the rows, and the title."""
    references = list(dict.fromkeys(row.reference for row in comparison))
    shared = len(references) == 1
    labels = [row.curve if shared else f"{row.curve} \N{MINUS SIGN} {row.reference}" for row in comparison]
    return labels, f"difference{f' to {references[0]}' if shared else ''} and {100 * comparison.level:g}% interval"
