"""A box or a violin for each feature of a table: how its draws are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, make_axes, show
from captum_uq.visualization._palette import Array
from captum_uq.visualization._rows import (
    FADED,
    ROW,
    checked_names,
    counted,
    feature_draws,
    first_rows,
    frame_rows,
    sign_colour,
    width,
)
from captum_uq.visualization._style import INK

KINDS = ("box", "violin")
HALF = 0.36  # of the height of a row
POINTS = 120  # of a violin's outline


def visualize_feature_draws(
    dist: DistributionAttribution,
    feature_names: Sequence[str] | None = None,
    *,
    kind: Literal["box", "violin"] = "box",
    sort: str | None = "mean",
    level: float = 0.9,
    n: int | None = None,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """How the draws of each feature are spread: a box, or a violin.

    A box holds the middle half of the draws, with a stroke at the median; its line is the interval of ``level``, and
    dots are the draws beyond it. A violin is a Gaussian kernel density over the draws, with Scott's bandwidth [1],
    each scaled to one height; its dot is the median and its line the interval. Red where the median is above 0,
    blue elsewhere; faded where the interval holds 0. Warns as :func:`captum_uq.stats.interval` where draws are too
    few.

    Args:
        dist: Attributions of one row of a table, shape ``(F,)``, as ``dist[3]``; or a batch of one.
        feature_names: A name for each of the ``F`` features; by default their numbers.
        kind: ``"box"`` or ``"violin"``.
        sort: From top to bottom as in :func:`captum_uq.visualization.visualize_features`.
        level: Share of draws that the lines hold, above 0 and at most 1.
        n: How many features, the first of that order; by default all.
        plt_fig_axis: A figure and an axes of it; by default a new figure.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; tick labels are the features, from top to bottom.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples, NaN or infinity or is no row of features, names and features
            differ in number, or ``kind``, ``sort``, ``level`` or ``n`` is none of the above.

    References:
        [1] Scott, Multivariate density estimation, 1992, section 6.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 2) + torch.tensor([0.0, 9.0]))
        >>> figure, axes = visualize_feature_draws(dist, ["age", "income"], kind="violin", use_pyplot=False)
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['income', 'age']
    """  # noqa: DOC502 (raised where draws are checked)
    if kind not in KINDS:
        raise ValueError(f"kind is one of {KINDS}, got {kind!r}.")
    draws = feature_draws(dist)
    names, order = checked_names(feature_names, draws.shape[1]), first_rows(draws, sort, n)
    low, high = stats.interval(draws[:, order], level)
    title = f"{counted(draws)}, lines hold {100 * level:g}% of them"
    rows = [names[at] for at in order]
    size = fig_size or (width(rows, title), 1.25 * ROW * len(order) + 0.9)
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    axes.use_sticky_edges = False  # a stroke at the end of the axes would be drawn half
    draw = _draw_box if kind == "box" else _draw_violin
    for place, values in enumerate(draws[:, order].T.numpy()):
        draw(axes, place, np.sort(values), float(low[place]), float(high[place]))
    frame_rows(axes, rows, title)
    show(use_pyplot)
    return figure, axes


def _draw_box(axes: Axes, place: int, values: Array, low: float, high: float) -> None:
    left, middle, right = np.percentile(values, [25, 50, 75])
    colour, alpha = sign_colour(middle), FADED if low <= 0 <= high else None
    axes.hlines(place, low, high, color=INK, linewidth=1.2, zorder=1)
    axes.barh(place, right - left, 2 * HALF, left=left, color="white", edgecolor="none", zorder=1.5)
    axes.barh(place, right - left, 2 * HALF, left=left, color=colour, alpha=alpha, zorder=2)
    axes.vlines(middle, place - HALF, place + HALF, color=INK, linewidth=1.8, zorder=3)
    beyond = values[(values < low) | (values > high)]
    axes.plot(beyond, np.full(len(beyond), place), "o", markersize=2.5, color=INK, alpha=0.6, linewidth=0)


def _draw_violin(axes: Axes, place: int, values: Array, low: float, high: float) -> None:
    middle = float(np.median(values))
    grid, density = _density(values)
    half = HALF * density / density.max()
    alpha = FADED if low <= 0 <= high else None
    axes.fill_between(grid, place - half, place + half, color=sign_colour(middle), alpha=alpha, linewidth=0)
    axes.hlines(place, low, high, color=INK, linewidth=1.2)
    axes.plot([middle], [place], "o", markersize=4, color=INK)


def _density(values: Array) -> tuple[Array, Array]:
    """Places from the smallest to the largest draw, and the kernel density there; flat where no draw differs."""
    grid = np.linspace(values[0], values[-1], POINTS)
    largest = np.abs(values).max() or 1.0
    unit, at = values / largest, grid / largest  # so that no square overflows
    bandwidth = unit.std(ddof=1) * len(unit) ** -0.2 if len(unit) > 1 else 0.0
    if bandwidth == 0:
        return grid, np.ones(POINTS)
    density = np.exp(-0.5 * ((at[:, None] - unit) / bandwidth) ** 2).sum(axis=1)
    return grid, np.asarray(density)
