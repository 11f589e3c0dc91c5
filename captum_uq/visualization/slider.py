"""A slider over the percentile, from cautious to risky, for notebooks."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import colour_bar, draw_image, draw_map, make_axes
from captum_uq.visualization._maps import Image, aspect, bounded, checked, image_behind, image_maps
from captum_uq.visualization._palette import Array
from captum_uq.visualization._scales import DIVERGING, ColourMap, Scale, symmetric

DPI = 100


@dataclass(frozen=True)
class PercentilePicture:
    """One percentile of one image at a time, all in the same colours; what the slider of :func:`explore` shows.

    Attributes:
        ordered: The draws of every pixel in rising order, shape ``(T, H, W)``: sorted once, so that the slider moves.
        image: What is drawn beside the map, or None.
        scale: The colours of every percentile.
        fig_size: Width and height in inches, or None.
    """

    ordered: Tensor
    image: Array | None
    scale: Scale
    fig_size: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The most cautious and the riskiest percentile that this many draws can tell, 1 and 99 at most."""
        low = min(max(1.0, float(-(-100 // len(self.ordered)))), 50.0)
        return low, 100.0 - low

    def draw(self, q: float) -> tuple[Figure, list[Axes]]:
        """Draws one percentile; warns as :func:`captum_uq.stats.percentile` where draws are too few for it.

        Args:
            q: From 0 to 100.

        Returns:
            A new figure that pyplot does not know, and its axes: the image's, if there is one, and the map's.

        Raises:
            ValueError: If ``q`` lies outside 0 to 100.
        """  # noqa: DOC502 (raised in percentile)
        count, ratio = 1 + (self.image is not None), aspect(self.ordered.shape)
        size = self.fig_size or (3.4 * count, 3.4 * ratio + 0.8)
        figure, axes = make_axes(count, count, ratio, None, size, use_pyplot=False)
        if self.image is not None:
            draw_image(axes[0], self.image)
        artist = draw_map(axes[-1], self._percentile(float(q)), self.scale, f"{q:g}%: {_word(q)}")
        colour_bar(figure, artist, axes[-1], self.scale)
        return figure, axes

    def _percentile(self, q: float) -> Tensor:
        """What :func:`captum_uq.stats.percentile` says, ``(H, W)``, of draws that are in order already."""
        stats.percentile(self.ordered[:, 0, 0], q)  # checks and warns
        position = q * (len(self.ordered) - 1) / 100
        below = int(position)
        above = min(below + 1, len(self.ordered) - 1)
        return torch.lerp(self.ordered[below], self.ordered[above], position - below)

    def png(self, q: float) -> bytes:
        """The same as the bytes of a PNG file.

        Args:
            q: From 0 to 100.

        Returns:
            The file.

        Raises:
            ValueError: If ``q`` lies outside 0 to 100.
        """  # noqa: DOC502 (raised in percentile)
        file = io.BytesIO()
        self.draw(q)[0].savefig(file, format="png", dpi=DPI)
        return file.getvalue()


def percentile_picture(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    *,
    outlier_perc: float = 2,
    cmap: ColourMap = DIVERGING,
    fig_size: tuple[float, float] | None = None,
) -> PercentilePicture:
    """What :func:`explore` shows, without a notebook: ``percentile_picture(dist[3], image).draw(5)``.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn beside the map: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        outlier_perc: Largest values, of all draws, that hold this percentage of the total get the full colour.
        cmap: A diverging colour map.
        fig_size: Width and height in inches.

    Returns:
        The picture of any percentile. All percentiles share their colours, so that what a bolder one adds is seen.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN, or the image does not fit.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8, 8))
        >>> figure, axes = percentile_picture(dist, torch.rand(3, 8, 8)).draw(5)
        >>> [each.get_title() for each in axes]
        ['image', '5%: cautious']
    """  # noqa: DOC502 (raised where maps and image are made)
    maps = image_maps(dist)
    draws = checked(maps.draws, "a draw")
    image, scale = image_behind(original_image, maps), symmetric(draws, cmap, outlier_perc)
    return PercentilePicture(bounded(draws).sort(dim=0).values, image, scale, fig_size)


def explore(
    dist: DistributionAttribution,
    original_image: Image | None = None,
    *,
    q: float = 50,
    outlier_perc: float = 2,
    cmap: ColourMap = DIVERGING,
    fig_size: tuple[float, float] | None = None,
) -> Any:
    """A slider over the percentile in a notebook, from cautious to risky.

    At a low percentile only what nearly all networks find relevant is red; at a high one all that any of them does.
    The slider ends where the draws do: 20 draws tell the 5th percentile and not the first.

    Args:
        dist: Attributions of one image, shape ``(C, H, W)`` or ``(H, W)``, as ``dist[3]``; or a batch of one.
        original_image: Drawn beside the map: tensor ``(C, H, W)`` or ``(H, W)``, or array ``(H, W, C)``.
        q: Where the slider starts; moved to the nearest percentile that the draws tell.
        outlier_perc: Largest values, of all draws, that hold this percentage of the total get the full colour.
        cmap: A diverging colour map.
        fig_size: Width and height of the picture in inches.

    Returns:
        An ``ipywidgets.VBox`` of the slider and the picture. Without a notebook use :func:`percentile_picture`.

    Raises:
        ImportError: If ipywidgets is not installed.
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples or NaN or fewer than 3 draws, ``q`` lies outside 0 to 100,
            or the image does not fit.
    """  # noqa: DOC502 (raised where the picture is made)
    picture = percentile_picture(dist, original_image, outlier_perc=outlier_perc, cmap=cmap, fig_size=fig_size)
    if not 0 <= q <= 100:
        raise ValueError(f"a percentile is a number from 0 to 100; got {q!r}.")
    low, high = picture.limits
    if low == high:
        raise ValueError(f"a slider over percentiles needs 3 draws at least, got {len(picture.ordered)}; draw more.")
    widgets = _widgets()
    slider = widgets.FloatSlider(
        value=min(max(q, low), high),
        min=low,
        max=high,
        step=1.0,
        description="percentile",
        readout_format=".0f",
        layout=widgets.Layout(width="28em"),
    )
    ends = [widgets.Label(word) for word in ("cautious", "risky")]
    shown = widgets.Image(value=picture.png(slider.value), format="png")

    def redraw(change: Any) -> None:
        shown.value = picture.png(change["new"])

    slider.observe(redraw, names="value")
    return widgets.VBox([widgets.HBox([ends[0], slider, ends[1]]), shown])


def _widgets() -> Any:
    """The package of the widgets.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module("ipywidgets")
    except ImportError as error:
        raise ImportError(
            'explore draws its slider by ipywidgets, which is not installed: pip install "captum-uq[notebook]". '
            "Without a notebook, percentile_picture(dist, image).draw(5) draws one percentile."
        ) from error


def _word(q: float) -> str:
    """What a percentile says: cautious below the middle, risky above."""
    return "median" if q == 50 else "cautious" if q < 50 else "risky"
