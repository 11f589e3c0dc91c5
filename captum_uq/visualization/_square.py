"""A legend in two dimensions: the mean to the right, its certainty upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import make_axes

from captum_uq.visualization._beside import laid_out, room_beside
from captum_uq.visualization._palette import WORDS, Array
from captum_uq.visualization._scales import Scale
from captum_uq.visualization._style import LINE, ink_beside, plain

STEPS = 41  # odd: the middle column is 0
WORD_ROOM = 40  # points, for what the legend says to its right


def colour_square(
    axes: Axes | Sequence[Axes],
    colours: Callable[[Array, Array], Array],
    scale: Scale,
    certainty: str,
    place: Literal["right", "bottom"] = "right",
    fraction: float = 0.3,
) -> Axes:
    """Draws what each colour says, beside the axes, as a colour bar is.

    Args:
        axes: All axes with these colours.
        colours: From strength, -1 to 1, and certainty, 0 to 1, to red, green and blue.
        scale: Limits and ticks of the mean.
        certainty: What certainty is, a name of :func:`captum_uq.visualization._palette.certainty_of`.
        place: On which side of the axes.
        fraction: Share of the axes that goes to the legend.

    Returns:
        The axes of the legend.
    """
    if place == "right":
        room_beside(axes[-1] if isinstance(axes, Sequence) else axes, WORD_ROOM)
    form = {"shrink": 0.45, "aspect": 1.0} if place == "right" else {"shrink": 0.4, "aspect": 3.5}
    square, _ = make_axes(axes, location=place, pad=0.04, fraction=fraction, **form)  # type: ignore[arg-type]
    strengths, certainties = np.meshgrid(np.linspace(-1, 1, STEPS), np.linspace(0, 1, STEPS))
    square.imshow(
        colours(strengths, certainties), origin="lower", aspect="auto", extent=(scale.low, scale.high, 0.0, 1.0)
    )
    numbers, power = scale.short_ticks
    plain(square)
    letters: dict[str, Any] = {"fontsize": 9, "color": ink_beside(square)}
    square.set_xticks(list(scale.ticks), numbers, **letters)
    square.set_yticks([0.0, 1.0], list(WORDS[certainty]), **letters)
    square.yaxis.set_ticks_position("right")  # away from the map
    low, high = square.get_yticklabels()
    low.set_verticalalignment("bottom")
    high.set_verticalalignment("top")
    square.set_xlabel(f"mean / {power}" if power else "mean", **letters)
    square.tick_params(axis="x", length=0, pad=5)
    square.tick_params(axis="y", length=0)
    square.spines[:].set(color=LINE, linewidth=0.6)
    if laid_out(square.figure):  # a layout leaves room for a legend as large as it was before; now that is right
        square.figure.figure.draw_without_rendering()
    return square
