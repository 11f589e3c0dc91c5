"""Single draws of one image, in a grid."""

from __future__ import annotations

import math
from numbers import Integral

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, colour_bar, draw_map, make_axes, show
from captum_uq.visualization._maps import aspect, checked, image_maps
from captum_uq.visualization._scales import DIVERGING, ColourMap, symmetric


def visualize_draws(
    dist: DistributionAttribution,
    n: int = 16,
    *,
    plt_fig_axis: FigureAxes | None = None,
    outlier_perc: float = 2,
    cmap: ColourMap = DIVERGING,
    show_colorbar: bool = True,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, list[Axes]]:
    """The first draws one by one: what single networks say.

    All maps share one colour scale, symmetric around 0, so that draws can be compared. Channels are summed.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        n: How many draws; all of them where there are fewer.
        plt_fig_axis: A figure and one of its axes for each draw; by default a new figure.
        outlier_perc: Largest values, of all draws shown, that hold this percentage of the total get the full
            colour, as in Captum; 0 keeps them apart.
        cmap: A diverging colour map.
        show_colorbar: Draw the one colour bar below the maps.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and the axes, row by row, one for each draw.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN, ``n`` is below 1, or the axes do not fit.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = visualize_draws(dist, n=4, use_pyplot=False)
        >>> [each.get_title() for each in axes]
        ['draw 0', 'draw 1', 'draw 2', 'draw 3']
    """  # noqa: DOC502 (raised where maps and axes are made)
    maps = image_maps(dist)
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n is the number of draws to show, at least 1; got {n!r}.")
    drawn = checked(maps.draws[:n], "a draw")
    columns = math.ceil(math.sqrt(len(drawn)))
    figure, axes = make_axes(len(drawn), columns, aspect(maps.shape), plt_fig_axis, fig_size, use_pyplot)
    scale = symmetric(drawn, cmap, outlier_perc)
    artists = [
        draw_map(each, values, scale, f"draw {at}") for at, (each, values) in enumerate(zip(axes, drawn, strict=True))
    ]
    if show_colorbar:
        colour_bar(figure, artists[0], axes, scale)
    show(use_pyplot)
    return figure, axes
