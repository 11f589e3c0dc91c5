"""Bars with intervals for the features of a table."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes
from captum_uq.visualization._maps import own_map
from captum_uq.visualization._rows import bar_plot, checked_names, feature_draws, first_rows


def visualize_features(
    dist: DistributionAttribution,
    feature_names: Sequence[str] | None = None,
    *,
    sort: str | None = "mean",
    level: float = 0.9,
    n: int | None = None,
    show_deterministic: bool = False,
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
            shares of draws above 0 and below 0, and then by the mean; None keeps the order of the table.
        level: Share of draws that the intervals hold, above 0 and at most 1.
        n: How many features, the first of that order; by default all.
        show_deterministic: Mark the attribution of the network as it stands, by a diamond.
        plt_fig_axis: A figure and an axes of it; by default a new figure. A legend stands below the axes where
            the figure has ``layout="constrained"``, and within them where nothing lays it out.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; tick labels are the features, from top to bottom.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples, NaN or infinity or is no row of features, names and features
            differ in number, there is no deterministic attribution to mark, or ``sort``, ``level`` or ``n`` is none
            of the above.

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
    draws = feature_draws(dist)
    names, order = checked_names(feature_names, draws.shape[1]), first_rows(draws, sort, n)
    own = own_map(dist).flatten()[order].tolist() if show_deterministic else None
    form = plt_fig_axis, fig_size, use_pyplot
    return bar_plot(draws[:, order], [names[at] for at in order], own, level, form)
