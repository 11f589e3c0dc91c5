"""Where draws of one image agree on the sign."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, colour_bar, draw_map, make_axes, show
from captum_uq.visualization._maps import Image, aspect, checked, image_behind, image_maps
from captum_uq.visualization._scales import ColourMap, Scale


def visualize_sign_certainty(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    *,
    plt_fig_axis: FigureAxes | None = None,
    cmap: ColourMap = "bwr",
    alpha_overlay: float = 0.7,
    show_colorbar: bool = True,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """Where the draws agree on the sign, and on which one.

    The colour is the share of draws above 0 less the share below 0: full red where all of them are above, full
    blue where all are below, white where they are divided, and white where every draw is exactly 0 and there is no
    sign to be certain of. Where no draw is 0 it says what
    :func:`captum_uq.stats.sign_certainty` says, stretched from [0.5, 1] to [0, 1] and with the sign. Channels are
    summed in every draw first.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn in grey behind the map: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        plt_fig_axis: A figure and an axes of it; by default a new figure.
        cmap: A diverging colour map.
        alpha_overlay: Opacity of the map over the image.
        show_colorbar: Draw a colour bar below the map.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN, or the image or the axes do not fit.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = visualize_sign_certainty(dist, use_pyplot=False)
        >>> axes.get_title()
        'sign certainty'
    """  # noqa: DOC502 (raised where maps, image and axes are made)
    maps = image_maps(dist)
    image = image_behind(original_image, maps)
    balance = checked(maps.draws, "a draw").sign().mean(0)
    high_by_wide = aspect(maps.shape)
    size = fig_size or (3.6, 3.6 * high_by_wide + 0.9)
    figure, (axes,) = make_axes(1, 1, high_by_wide, plt_fig_axis, size, use_pyplot)
    scale = Scale(cmap, -1.0, 1.0, 0.0)
    artist = draw_map(axes, balance, scale, "sign certainty", image, (alpha_overlay, alpha_overlay))
    if show_colorbar:
        colour_bar(figure, artist, axes, scale, "share of draws above 0, less the share below")
    show(use_pyplot)
    return figure, axes
