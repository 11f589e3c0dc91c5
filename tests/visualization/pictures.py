"""Every picture that the package draws, what it is drawn of, and all that its artists hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from torch import Tensor

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from captum_uq.metrics import Comparison, PairedDifference, PerturbationCurve

DRAWS = 24
SHAPES = {"image": (3, 6, 9), "row": (4,), "layer": (5, 3, 4), "text": (6,), "predictions": (2,)}
TOKENS = ["not", "<b>", "a", "$bad$", "film", "\n"]
CLASSES = 3


@dataclass(frozen=True)
class Picture:
    """One way to call a function: what it takes, how many axes it returns, and whether as a list."""

    function: Callable[..., tuple[Figure, Any]]
    takes: str
    axes: int | None = None  # None where it returns one axes, not a list
    options: dict[str, Any] = field(default_factory=dict)
    draw: Callable[..., tuple[Figure, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "draw", lambda *given, **more: self.function(*given, **self.options, **more))

    @property
    def of_draws(self) -> bool:
        return self.takes in SHAPES

    def arguments(self, value: float | None = None, batched: bool = False, scale: float = 1.0) -> tuple[Any, ...]:
        """What the function is called with: random numbers, or one value everywhere."""
        if self.takes == "curves":
            return (curves(value, scale),)
        if self.takes == "comparison":
            return (comparison(value, scale),)
        dist = distribution(SHAPES[self.takes], value, scale=scale)
        given = dist if batched else dist[0]
        return (given, TOKENS) if self.takes == "text" else (given,)


def distribution(
    shape: tuple[int, ...], value: float | None = None, examples: int = 1, scale: float = 1.0
) -> DistributionAttribution:
    """Random draws that lie around random means, or the same number in all of them."""
    generator = torch.Generator().manual_seed(len(shape))

    def filled(*size: int) -> Tensor:
        if value is not None:
            return torch.full((DRAWS, *size), value)
        return scale * (torch.randn(DRAWS, *size, generator=generator) + torch.randn(size, generator=generator))

    draws, outputs = filled(examples, *shape), filled(examples, CLASSES)
    return DistributionAttribution(
        draws, deterministic=draws[0] / 2, predictions=outputs, own_predictions=outputs[0] / 2, target=1
    )


def curves(value: float | None = None, scale: float = 1.0) -> dict[str, PerturbationCurve]:
    generator, points = torch.Generator().manual_seed(1), torch.linspace(0, 1, 5)

    def scores() -> Tensor:
        return scale * torch.randn(8, 5, generator=generator) if value is None else torch.full((8, 5), value)

    return {name: PerturbationCurve(points, scores(), torch.zeros(8)) for name in ("mean", "percentile:5", "snr")}


def comparison(
    value: float | None = None, scale: float = 1.0, names: Sequence[str] = (), to: str = "mean"
) -> Comparison:
    ends = [(-0.5, -0.6, -0.4), (0.1, -0.2, 0.4), (0.7, 0.1, 0.9)] if value is None else [(value,) * 3]
    ends = [tuple(scale * end for end in three) for three in ends]
    named = list(zip(names, itertools.cycle(ends))) or [(f"curve {at}", each) for at, each in enumerate(ends)]
    rows = [PairedDifference(name, to, *each, 0.01, 0.03, -0.4, 0.7, 8) for name, each in named]
    return Comparison(tuple(rows), 0.95, "holm", "lower")


PICTURES = {
    "distribution": Picture(visualization.visualize_distribution, "image", 4),
    "percentiles": Picture(visualization.visualize_percentiles, "image", 5),
    "sign certainty": Picture(visualization.visualize_sign_certainty, "image"),
    "draws": Picture(visualization.visualize_draws, "image", 16),
    "bivariate": Picture(visualization.visualize_bivariate, "image", 1),
    "bivariate, snr": Picture(visualization.visualize_bivariate, "image", 1, {"certainty": "snr"}),
    "features": Picture(visualization.visualize_features, "row"),
    "features, own": Picture(visualization.visualize_features, "row", options={"show_deterministic": True}),
    "boxes": Picture(visualization.visualize_feature_draws, "row"),
    "violins": Picture(visualization.visualize_feature_draws, "row", options={"kind": "violin"}),
    "channels": Picture(visualization.visualize_channels, "layer", options={"show_deterministic": True}),
    "text": Picture(visualization.visualize_text, "text"),
    "text, snr": Picture(visualization.visualize_text, "text", options={"certainty": "snr"}),
    "predictions": Picture(visualization.visualize_predictions, "predictions", 1),
    "curves": Picture(visualization.visualize_curves, "curves"),
    "comparison": Picture(visualization.visualize_comparison, "comparison"),
}
OF_DRAWS = [name for name, picture in PICTURES.items() if picture.of_draws]


def artists(figure: Figure) -> Iterator[Artist]:
    """Everything visible in a figure."""
    return (each for each in figure.findobj() if each.get_visible())


def texts(figure: Figure) -> list[Text]:
    """Every text that can be read."""
    beyond = {label for axes in figure.axes for label in _labels_beyond(axes)}
    found = [each for each in artists(figure) if isinstance(each, Text) and each.get_text().strip()]
    return [each for each in found if each not in beyond]


def assert_on_the_canvas(figure: Figure) -> list[tuple[str, Bbox]]:
    """Draws the figure as the user does, once; every text lies inside it. Returns the texts and where they are."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    places = [(each.get_text(), each.get_window_extent(canvas.get_renderer())) for each in texts(figure)]
    inside = figure.bbox.padded(0.5)
    assert places
    for text, place in places:
        assert inside.contains(*place.min), f"{text!r} is cut off"
        assert inside.contains(*place.max), f"{text!r} is cut off"
    return places


def assert_readable(figure: Figure) -> None:
    """And no text lies on another."""
    for (one, here), (other, there) in itertools.combinations(assert_on_the_canvas(figure), 2):
        shared = Bbox.intersection(here, there)
        assert shared is None or min(shared.width, shared.height) <= 1.5, f"{one!r} lies on {other!r}"


def _labels_beyond(axes: Axes) -> list[Text]:
    """Labels of ticks that are not drawn, because they lie beyond the limits or the axes are switched off."""
    found = []
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = min(limits), max(limits)
        margin = 1e-6 * (high - low)
        ticks = axis.get_major_ticks()
        gone = [tick for tick in ticks if not axes.axison or not low - margin <= tick.get_loc() <= high + margin]
        found += [label for tick in gone for label in (tick.label1, tick.label2)]
    return found


def numbers(figure: Figure) -> list[np.ndarray]:
    """What the artists of a figure hold: pictures, lines, patches, collections, limits and places of texts."""
    held = [np.array([axes.get_xlim(), axes.get_ylim()]) for axes in figure.axes]
    for each in artists(figure):
        held += [np.ma.filled(np.ma.asarray(values, dtype=float), np.nan) for values in _held(each)]
    return held


def _held(artist: Artist) -> list[Any]:
    if isinstance(artist, AxesImage):
        alpha = artist.get_alpha()
        return [artist.get_array(), artist.get_clim(), 1.0 if alpha is None else alpha]
    if isinstance(artist, Line2D):
        return [artist.get_xdata(), artist.get_ydata()]
    if isinstance(artist, Patch):
        return [artist.get_path().vertices, artist.get_transform().get_matrix(), artist.get_facecolor()]
    if isinstance(artist, Collection):
        return [*[path.vertices for path in artist.get_paths()], artist.get_offsets(), artist.get_facecolor()]
    return [artist.get_position()] if isinstance(artist, Text) else []


def listed(axes: Axes | list[Axes]) -> list[Axes]:
    return axes if isinstance(axes, list) else [axes]
