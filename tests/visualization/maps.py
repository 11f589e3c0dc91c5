"""Distributions to draw, and what the artists of a picture hold."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution

DRAWS, HEIGHT, WIDTH = 24, 6, 9


MAPS = {
    "distribution": visualization.visualize_distribution,
    "percentiles": visualization.visualize_percentiles,
    "sign certainty": visualization.visualize_sign_certainty,
    "draws": visualization.visualize_draws,
}


WITH_IMAGE = [name for name in MAPS if name != "draws"]


PANELS = {"distribution": 4, "percentiles": 5, "sign certainty": 1, "draws": 16}


def random_draws(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(DRAWS, *shape, generator=generator) + torch.randn(*shape, generator=generator)


def batch(channels: int = 3, examples: int = 2) -> DistributionAttribution:
    draws = random_draws(examples, channels, HEIGHT, WIDTH)
    return DistributionAttribution(draws, deterministic=draws[0] / 2)


def of_map(draws: Tensor) -> DistributionAttribution:
    """The distribution of one map, from draws ``(T, H, W)``."""
    return DistributionAttribution(draws[:, None, None])[0]


def listed(axes: Axes | list[Axes]) -> list[Axes]:
    return axes if isinstance(axes, list) else [axes]


def heat(axes: Axes) -> np.ndarray:
    """The values of the topmost picture of an axes."""
    return np.asarray(axes.images[-1].get_array())


def limits(axes: Axes) -> tuple[float, float]:
    return axes.images[-1].get_clim()


def colour(axes: Axes, value: float) -> tuple[float, ...]:
    drawn = axes.images[-1]
    cmap = drawn.get_cmap()
    assert isinstance(cmap, Colormap)
    return tuple(cmap(drawn.norm(value)))


def is_white(rgba: tuple[float, ...]) -> bool:
    return rgba == (1, 1, 1, 1)


def render(figure: Figure) -> np.ndarray:
    """The pixels of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def table(*means: float, spread: float = 1.0) -> DistributionAttribution:
    """Draws that lie evenly around the means, shape ``(T, 1, F)``."""
    steps = torch.linspace(-spread, spread, DRAWS)
    return DistributionAttribution(torch.stack([steps + mean for mean in means], dim=1)[:, None])


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance of WCAG 2.1."""
    return linear(rgb) @ [0.2126, 0.7152, 0.0722]


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Contrast of WCAG 2.1, from 1 to 21."""
    dark, light = sorted([luminance(one), luminance(other)])
    return float((light + 0.05) / (dark + 0.05))
