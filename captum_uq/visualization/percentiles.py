"""Percentiles over draws of one image, side by side: B-LRP's row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.normalization import signed_max
from captum_uq.stats._ranks import checked_ranks
from captum_uq.visualization._axes import FigureAxes, colour_bar, draw_image, draw_map, make_axes, show
from captum_uq.visualization._maps import Image, aspect, bounded, checked, image_behind, image_maps, panel_map
from captum_uq.visualization._scales import DIVERGING, ColourMap, Scale


def visualize_percentiles(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    q: float | Sequence[float] = (5, 25, 50, 75, 95),
    *,
    show_deterministic: bool = False,
    plt_fig_axis: FigureAxes | None = None,
    cmap: ColourMap = DIVERGING,
    show_colorbar: bool = True,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Percentiles over draws side by side, from the cautious map to the liberal one: B-LRP's row (figure 3 of [1]).

    What is red at 5% is above 0 in about 95 networks of 100 or more; what is red at 95%, in about 5 or more.
    Channels are summed in every draw, before the percentiles. Each map is scaled by itself and each sign by its own
    extreme (:func:`captum_uq.normalization.signed_max`, appendix B of [1]), so white is 0 in every map and colours
    compare pixels of one map and one sign. Warns as :func:`captum_uq.stats.percentile` where draws are too few.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn as a first panel: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        q: Percentiles from 0 to 100.
        show_deterministic: Draw the map of the network as it stands before the percentiles, as [1] does.
        plt_fig_axis: A figure and one of its axes for each panel; by default a new figure.
        cmap: A diverging colour map.
        show_colorbar: Draw the one colour bar below the maps.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and the axes, one for the image if there is one, and one for each map.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN, a percentile lies outside 0 to 100, there is no
            deterministic map to show, or the image or the axes do not fit.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.

    Example:
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = visualize_percentiles(dist, torch.rand(3, 8, 8), q=(5, 50, 95), use_pyplot=False)
        >>> [each.get_title() for each in axes]
        ['image', '5%', '50%', '95%']
    """  # noqa: DOC502 (raised where maps, image and axes are made)
    maps = image_maps(dist)
    image = image_behind(original_image, maps)
    titles, drawn = _percentile_maps(maps, checked_ranks(q), show_deterministic)
    scale = Scale(cmap, -1.0, 1.0, 0.0, "both" if bool(drawn.isinf().any()) else "neither")
    shares = signed_max(torch.stack([bounded(each) for each in drawn]))
    count = len(drawn) + (image is not None)
    figure, axes = make_axes(count, count, aspect(maps.shape), plt_fig_axis, fig_size, use_pyplot)
    if image is not None:
        draw_image(axes[0], image)
    beside = zip(axes[-len(titles) :], shares, titles, strict=True)
    artists = [draw_map(each, values, scale, title) for each, values, title in beside]
    if show_colorbar:
        colour_bar(figure, artists[0], axes, scale, "share of the largest value of that sign")
    show(use_pyplot)
    return figure, axes


def _percentile_maps(
    maps: DistributionAttribution, q: Sequence[float], show_deterministic: bool
) -> tuple[list[str], Tensor]:
    """The titles of the panels and their maps ``(P, H, W)``, in order."""
    drawn = checked(stats.percentile(maps.draws, list(q)), "a percentile")
    titles = [f"{float(each):g}%" for each in q]
    if show_deterministic:
        drawn, titles = torch.cat([panel_map(maps, "deterministic")[None], drawn]), ["deterministic", *titles]
    return titles, drawn
