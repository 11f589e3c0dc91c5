"""Bars with intervals for the features of a table."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import INK, LINE, FigureAxes, make_axes, show
from captum_uq.visualization._maps import finite

POSITIVE, NEGATIVE = "#c23b3b", "#3b5fc2"
FADED = 0.35
SORTS = ("mean", "certainty")


def visualize_features(
    dist: DistributionAttribution,
    feature_names: Sequence[str] | None = None,
    *,
    sort: str = "mean",
    level: float = 0.9,
    n: int | None = None,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """A bar for each feature, its mean attribution, and a line for where the draws lie.

    The line is the equal-tailed interval of :func:`captum_uq.stats.interval` (percentiles of eq. 5 of [1]); bars
    whose interval holds 0 are faded, because the draws leave their sign open. Warns as
    :func:`captum_uq.stats.interval` where draws are too few.

    Args:
        dist: Attributions of one row of a table, shape ``(F,)``, as ``dist[3]``; or a batch of one.
        feature_names: A name for each of the ``F`` features; by default their numbers.
        sort: From top to bottom by ``"mean"``, its magnitude, or by ``"certainty"``, the difference between the
            shares of draws above 0 and below 0, and then by the mean.
        level: Share of draws that the intervals hold, above 0 and at most 1.
        n: How many features, the first of that order; by default all.
        plt_fig_axis: A figure and an axes of it; by default a new figure.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; tick labels are the features, from top to bottom.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN or is no row of features, names and features differ
            in number, or ``sort``, ``level`` or ``n`` is none of the above.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 2) + torch.tensor([0.0, 9.0]))
        >>> figure, axes = visualize_features(dist, ["age", "income"], use_pyplot=False)
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['income', 'age']
    """  # noqa: DOC502 (raised where draws are checked)
    draws = _row_draws(dist)
    names = _checked_names(feature_names, draws.shape[1])
    order = _order(draws, sort)[:n] if n is None or n >= 1 else []
    if not order:
        raise ValueError(f"n is the number of features to show, at least 1; got {n}.")
    size = fig_size or (6.0, 0.32 * len(order) + 0.9)
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    _draw_bars(axes, draws[:, order], level)
    axes.set_yticks(range(len(order)), [names[at] for at in order], color=INK)
    axes.set_title(f"mean and {100 * level:g}% interval of {len(draws)} draws", fontsize=12, color=INK)
    show(use_pyplot)
    return figure, axes


def _row_draws(dist: DistributionAttribution) -> Tensor:
    """The draws of one row, ``(T, F)``, in float64.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If it holds several examples, or is no row of features.
    """
    if not isinstance(dist, DistributionAttribution):
        raise TypeError(f"a plot takes a DistributionAttribution, got {type(dist).__name__}; plain maps are Captum's.")
    shape = tuple(dist.shape)
    if not 1 <= dist.ndim <= 2 or dist.numel() == 0:
        raise ValueError(f"the attribution of a row of a table has shape (F,), got {shape}.")
    if dist.ndim == 2 and len(dist) != 1:
        raise ValueError(f"a plot shows one example, got {len(dist)} of shape {shape[1:]}; choose one, dist[i].")
    return finite(dist.cpu().draws.reshape(dist.n_draws, -1), "a draw")


def _checked_names(names: Sequence[str] | None, count: int) -> list[str]:
    listed = [str(at) for at in range(count)] if names is None else [str(name) for name in names]
    if len(listed) != count:
        raise ValueError(f"feature_names has one name for each of the {count} features, got {len(listed)}.")
    return listed


def _order(draws: Tensor, sort: str) -> list[int]:
    """Features from top to bottom.

    Raises:
        ValueError: If ``sort`` is no known order.
    """
    if sort not in SORTS:
        raise ValueError(f"sort is one of {SORTS}, got {sort!r}.")
    size = stats.expectation(draws).abs().tolist()
    certainty = draws.sign().mean(0).abs().tolist() if sort == "certainty" else [0.0] * len(size)
    return sorted(range(len(size)), key=lambda at: (-certainty[at], -size[at]))


def _draw_bars(axes: Axes, draws: Tensor, level: float) -> None:
    mean, (low, high) = stats.expectation(draws).tolist(), stats.interval(draws, level)
    places, ends = range(len(mean)), list(zip(low.tolist(), high.tolist(), strict=True))
    bars = axes.barh(places, mean, height=0.7, color=[POSITIVE if each > 0 else NEGATIVE for each in mean])
    for bar, (left, right) in zip(bars, ends, strict=True):
        bar.set_alpha(FADED if left <= 0 <= right else None)
    axes.hlines(places, *zip(*ends, strict=True), color=INK, linewidth=1.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=LINE, linewidth=0.6)
    axes.set_xlabel("attribution", color=INK)
