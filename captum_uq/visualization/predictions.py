"""The score that was explained, over draws: what the networks say before why they say it."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, make_axes, open_frame, short_numbers, show
from captum_uq.visualization._beside import legend_below
from captum_uq.visualization._palette import ABOVE, Array
from captum_uq.visualization._rows import counted
from captum_uq.visualization._scores import target_scores
from captum_uq.visualization._style import INK, LEGEND, ink_beside, set_title

BARS, MOST = "#9ebcda", 64
LEAST = 0.015  # of the axes: a bar as narrow as its bin may not be seen


def visualize_predictions(
    dist: DistributionAttribution,
    target: Any = None,
    *,
    bins: int = 20,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A histogram of the target's score over draws for each example, beside the score of the network as it stands.

    All examples share their bins, so that panels can be compared. Where the network's own score lies outside the
    draws, the attributions explain other predictions than its own.

    Args:
        dist: Attributions of one example or several, with their predictions: ``dist[3]``, ``dist[:8]``.
        target: Another target than the one explained, as Captum takes it.
        bins: Number of bins between the smallest and the largest score.
        plt_fig_axis: A figure and one of its axes for each example; by default a new figure. The legend stands
            below the last axes where the figure has ``layout="constrained"``, and within them where nothing lays
            it out.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and the axes, row by row, one for each example.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` keeps no predictions, a score is NaN or infinite, the target does not fit, there is no
            example or more than 64, ``bins`` is below 1, or the axes do not fit.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 2, 3), predictions=torch.randn(20, 2, 5), target=1)
        >>> figure, axes = visualize_predictions(dist, use_pyplot=False)
        >>> len(axes), int(sum(bar.get_height() for bar in axes[0].patches))
        (2, 20)
    """  # noqa: DOC502 (raised where scores and axes are made)
    scores, own = target_scores(dist, target)
    if not isinstance(bins, Integral) or bins < 1:
        raise ValueError(f"bins is a number of bins, at least 1; got {bins!r}.")
    if scores.shape[1] > MOST:
        raise ValueError(f"one panel for each example, {MOST} at most, got {scores.shape[1]}; choose some, dist[:16].")
    edges, count = _edges(scores.numpy(), bins), scores.shape[1]
    marks = [edges[0], edges[-1], *([] if own is None else own.tolist())]
    span = max(marks) - min(marks)
    columns = count if count <= 3 else math.ceil(math.sqrt(count))
    size = fig_size or (max(3.0 * columns, 4.6), 2.1 * -(-count // columns) + 0.8)
    figure, axes = make_axes(count, columns, 1, plt_fig_axis, size, use_pyplot)
    for at, each in enumerate(axes):
        _draw_panel(each, scores[:, at].numpy(), None if own is None else float(own[at]), edges, LEAST * span)
        set_title(each, f"example {at}" if count > 1 else counted(scores), size=11)
    for at, each in enumerate(axes):
        each.set_xlim(min(marks) - 0.03 * span, max(marks) + 0.03 * span)
        each.set_xlabel("score" if at >= count - columns else "", color=ink_beside(each))
        each.set_ylabel("draws" if at % columns == 0 else "", color=ink_beside(each))
    _explain(figure, axes, outside=plt_fig_axis is None)
    show(use_pyplot)
    return figure, axes


def _edges(scores: Array, bins: int) -> Array:
    """Edges of bins from the smallest to the largest score; around it where all are one."""
    low, high = float(scores.min()), float(scores.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # as good as one score; no bin would have a width
        half = 0.05 * max(abs(low), abs(high)) or 0.5
        return np.linspace(low - half, high + half, 4)  # it lies in the middle of the middle one
    return np.linspace(low, high, bins + 1)


def _draw_panel(axes: Axes, scores: Array, own: float | None, edges: Array, least: float) -> None:
    """Bars no narrower than ``least``, around the middle of their bins."""
    counts, widths = np.histogram(scores, edges)[0].tolist(), np.diff(edges)
    seen = np.maximum(widths, least)
    gap = 0.5 if widths[0] > least else 0.0  # narrow bars overlap, and a gap would hide them
    axes.bar(edges[:-1] - (seen - widths) / 2, counts, seen, align="edge", color=BARS, edgecolor="white", linewidth=gap)
    axes.axvline(float(scores.mean()), color=INK, linewidth=1.4, label="mean over draws")
    if own is not None:
        axes.axvline(own, color=ABOVE, linewidth=1.8, linestyle="--", label="network as it stands")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    short_numbers(axes)
    open_frame(axes, labelsize=9)


def _explain(figure: Figure, axes: list[Axes], outside: bool) -> None:
    """One legend for all panels, below them: of a new figure, or below the last of the user's own axes."""
    if outside:
        figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2, **LEGEND)
    else:
        legend_below(axes[-1], ncols=2)
