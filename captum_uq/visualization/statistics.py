"""Statistics over draws of one image, side by side: MCRP's row."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, colour_bar, draw_image, draw_map, make_axes, show
from captum_uq.visualization._maps import Image, aspect, image_behind, image_maps, panel_map
from captum_uq.visualization._scales import ColourMap, scale_of

_TITLES = {"snr": "SNR", "cv": "CV"}


def visualize_distribution(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    panels: Sequence[str] = ("mean", "stdev", "snr", "confusion"),
    *,
    plt_fig_axis: FigureAxes | None = None,
    outlier_perc: float = 2,
    cmap: ColourMap | None = None,
    alpha_overlay: float = 0.7,
    show_colorbar: bool = True,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Statistics over draws side by side, as MCRP shows them (figures 4 to 7 of [1]).

    Channels are summed in every draw, before the statistics. MCRP's own maps, means over channels brought to [0, 1]
    in every draw, are those of ``dist.map(channel_mean).map(min_max)[3]``; its figures begin with ``"image"``.

    A map with a sign is coloured from ``-m`` to ``m``, white at 0; a spread from 0 to ``m``. Each panel has its own
    ``m``, in its own units.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn in grey behind each map: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        panels: Names of :func:`captum_uq.stats.summarize`, also ``"percentile:5"``; ``"deterministic"``, the map
            of the network as it stands; ``"image"``.
        plt_fig_axis: A figure and one of its axes for each panel; by default a new figure.
        outlier_perc: Largest values that hold this percentage of the total get the full colour, as in Captum;
            the colour bar then ends in an arrow. 0 keeps them apart. An infinite ratio (an SNR without noise)
            is drawn as the largest finite one, and the colour bar ends in an arrow.
        cmap: Diverging colour map of maps with a sign, by default ``"seismic"``.
        alpha_overlay: Opacity over the image where a map is white; strong colours cover the image.
        show_colorbar: Draw a colour bar below each map.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and the axes, one for each panel.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN, a name is unknown, what a panel needs is not
            there, or the image or the axes do not fit.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = visualize_distribution(dist, torch.rand(3, 8, 8), use_pyplot=False)
        >>> [each.get_title() for each in axes]
        ['mean', 'stdev', 'SNR', 'confusion']
    """  # noqa: DOC502 (raised where maps, image and axes are made)
    maps, names = image_maps(dist), [panels] if isinstance(panels, str) else list(panels)
    image = image_behind(original_image, maps, needed="image" in names)
    drawn = {name: panel_map(maps, name) for name in names if name != "image"}
    scales = {name: scale_of(name, values, cmap, outlier_perc) for name, values in drawn.items()}
    figure, axes = make_axes(len(names), len(names), aspect(maps.shape), plt_fig_axis, fig_size, use_pyplot)
    for each, name in zip(axes, names, strict=True):
        if name == "image" and image is not None:
            draw_image(each, image)
            continue
        artist = draw_map(
            each, drawn[name], scales[name], _title(name), image, (alpha_overlay, max(alpha_overlay, 0.9))
        )
        if show_colorbar:
            colour_bar(figure, artist, each, scales[name])
    show(use_pyplot)
    return figure, axes


def _title(name: str) -> str:
    """The field's name of a statistic; ``percentile:5`` is ``5%``."""
    kind, _, rank = name.partition(":")
    return f"{rank}%" if kind == "percentile" else _TITLES.get(kind, kind.replace("_", " ")) + (rank and f" {rank}%")
