"""How values become colours: limits, colour maps and ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from matplotlib import colormaps
from matplotlib.colors import Colormap
from torch import Tensor

ColourMap = str | Colormap
MINUS = "\N{MINUS SIGN}"
DIVERGING, SEQUENTIAL = "seismic", "Greens"
_SPREAD = frozenset({"stdev", "variance", "cv", "kurtosis"})  # never below 0


@dataclass(frozen=True)
class Scale:
    """A colour map between two limits."""

    cmap: ColourMap
    low: float
    high: float
    middle: float | None = None  # a tick between the limits: where a diverging map is white
    extend: Literal["neither", "both", "max"] = "neither"  # where values lie beyond the limits
    endless: bool = False  # whether nothing but infinity differs from 0

    @property
    def colours(self) -> Colormap:
        """The colour map; a diverging one in an odd number of steps, so that its very middle is one of them."""
        cmap = colormaps.get_cmap(self.cmap)
        return cmap if self.middle is None else cmap.resampled(cmap.N + 1 - cmap.N % 2)

    @property
    def ticks(self) -> dict[float, str]:
        """Where the colour bar says what."""
        places = [self.low, self.high] if self.middle is None else [self.low, self.middle, self.high]
        factor = math.inf if self.endless else 1.0
        return {place: _written(place * factor if place else 0.0) for place in places}

    @property
    def short_ticks(self) -> tuple[list[str], str]:
        """What the ticks from ``-m`` to ``m`` say where there is little room: over a power of ten, and that power."""
        if self.endless or 0.01 <= self.high < 1000:
            return list(self.ticks.values()), ""
        digits, power = f"{self.high:.1e}".split("e")
        end = f"{float(digits):g}"
        return [f"{MINUS}{end}", "0", end], f"1e{int(power)}".replace("-", MINUS)

    def strength(self, values: Tensor) -> Tensor:
        """How far values are from where the colour map is white, from 0 to 1 at the limits."""
        white = self.low if self.middle is None else self.middle
        return ((values - white).abs() / (self.high - white)).clamp(0, 1)


def _written(number: float) -> str:
    digits = f"{number:.0f}" if 100 <= abs(number) < 1e5 else f"{number:.2g}"
    return digits.replace("-", MINUS).replace("inf", "\N{INFINITY}")


def _endless(values: Tensor) -> bool:
    return bool((values.isinf() | (values == 0)).all()) and bool(values.isinf().any())


def symmetric(values: Tensor, cmap: ColourMap, outlier_perc: float) -> Scale:
    """From ``-m`` to ``m``, so that the middle of the colour map, white, is 0.

    Args:
        values: What is coloured, any shape.
        cmap: A diverging colour map.
        outlier_perc: See :func:`magnitude`.

    Returns:
        The scale.

    Raises:
        ValueError: If ``outlier_perc`` is no percentage below 100.
    """  # noqa: DOC502 (raised in magnitude)
    most = magnitude(values, outlier_perc)
    extend: Literal["both", "neither"] = "both" if bool((values.abs() > most).any()) else "neither"
    return Scale(cmap, -most, most, 0.0, extend, _endless(values))


def scale_of(name: str, values: Tensor, cmap: ColourMap | None, outlier_perc: float) -> Scale:
    """The scale of a statistic: diverging around 0 where it has a sign, sequential where it is a spread.

    Args:
        name: The name of the statistic.
        values: Its map, shape ``(H, W)``.
        cmap: A diverging colour map for statistics with a sign, or None.
        outlier_perc: See :func:`magnitude`.

    Returns:
        The scale.

    Raises:
        ValueError: If ``outlier_perc`` is no percentage below 100.
    """  # noqa: DOC502 (raised in magnitude)
    kind = name.partition(":")[0]
    most = magnitude(values, outlier_perc)
    if kind in _SPREAD:
        extend: Literal["max", "neither"] = "max" if bool((values > most).any()) else "neither"
        return Scale(SEQUENTIAL, 0.0, most, extend=extend, endless=_endless(values))
    if kind == "sign_certainty":
        return Scale(SEQUENTIAL, 0.5, 1.0)
    if kind == "probability_positive":
        return Scale(cmap or DIVERGING, 0.0, 1.0, 0.5)
    return symmetric(values, cmap or DIVERGING, outlier_perc)


def magnitude(values: Tensor, outlier_perc: float) -> float:
    """The magnitude that gets the full colour, as in Captum: larger ones hold ``outlier_perc`` of the total.

    Args:
        values: What is coloured, any shape; infinity lies beyond and has no part in the total.
        outlier_perc: Percentage of the total magnitude that may lie beyond, at least 0 and below 100.

    Returns:
        A number above 0; 1 for a map of zeros.

    Raises:
        ValueError: If ``outlier_perc`` is no percentage below 100.
    """
    if not 0 <= outlier_perc < 100:
        raise ValueError(f"outlier_perc is a percentage, at least 0 and below 100; got {outlier_perc!r}.")
    ordered = values.double().masked_fill(values.isinf(), 0.0).abs().flatten().sort().values
    largest = float(ordered[-1])
    if outlier_perc == 0 or largest == 0:
        return largest or 1.0
    share = (ordered / largest).cumsum(0)  # divided, so that the sum cannot overflow
    reached = share >= share[-1] * (1 - outlier_perc / 100)
    return float(ordered[reached][0])
