"""Mean and uncertainty of one image in one map."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, draw_image, frame, make_axes, show
from captum_uq.visualization._maps import Image, aspect, finite, image_behind, image_maps
from captum_uq.visualization._palette import Certainty, blend, certainty_of
from captum_uq.visualization._scales import DIVERGING, symmetric
from captum_uq.visualization._square import colour_square


def visualize_bivariate(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    *,
    certainty: Certainty = "sign",
    plt_fig_axis: FigureAxes | None = None,
    outlier_perc: float = 2,
    show_colorbar: bool = True,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Mean and uncertainty in one map: hue for the sign, saturation for the size, grey where draws disagree.

    White is a mean of 0; full orange (above 0) and full blue (below 0) are large means that the draws agree on; a
    large mean that they do not agree on is light grey, as value-suppressing palettes do it [1]. Orange and blue
    differ for colour-blind eyes and have one luminance, and luminance falls with size and with certainty alike: in
    a grey print darker is more relevant and more certain, and only the sign is lost. The legend has two dimensions.
    Channels are summed in every draw first.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn as a first panel: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        certainty: ``"sign"``: the difference between the shares of draws above 0 and below 0. ``"snr"``:
            ``|mean| / (|mean| + stdev)``, which keeps growing where all draws have one sign.
        plt_fig_axis: A figure and one of its axes for each panel; by default a new figure.
        outlier_perc: Largest means that hold this percentage of the total get the full colour, as in Captum.
        show_colorbar: Draw the legend beside the map.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and the axes, one for the image if there is one, and the map's.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples, NaN or infinity, ``certainty`` is neither word, or the image
            or the axes do not fit.

    References:
        [1] Correll, Moritz and Heer, Value-suppressing uncertainty palettes, 2018.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = visualize_bivariate(dist, torch.rand(3, 8, 8), use_pyplot=False)
        >>> [each.get_title() for each in axes]
        ['image', 'mean and certainty']
    """  # noqa: DOC502 (raised where maps, image and axes are made)
    maps = image_maps(dist)
    image, draws = image_behind(original_image, maps), finite(maps.draws, "a draw")
    mean = stats.expectation(draws)
    scale = symmetric(mean, DIVERGING, outlier_perc)
    colours = blend((mean / scale.high).clamp(-1, 1).numpy(), certainty_of(draws, certainty).numpy())
    count = 1 + (image is not None)
    high_by_wide = aspect(maps.shape)
    size = fig_size or (2.6 * count + 1.3, 2.6 * high_by_wide + 0.4)
    figure, axes = make_axes(count, count, high_by_wide, plt_fig_axis, size, use_pyplot)
    if image is not None:
        draw_image(axes[0], image)
    axes[-1].imshow(colours, origin="upper")
    frame(axes[-1], "mean and certainty")
    if show_colorbar:
        colour_square(axes, blend, scale, certainty, fraction=0.3 if image is None else 0.2)
    show(use_pyplot)
    return figure, axes
