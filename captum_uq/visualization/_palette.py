"""Colours for two quantities at once, mean and certainty, that hold in print and for colour-blind eyes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from captum_uq import stats

Array = npt.NDArray[np.float64]
Certainty = Literal["sign", "snr"]

# Orange and blue differ for every kind of colour-blindness, and have one luminance: darkness is strength alone.
ABOVE, BELOW = "#bf4c00", "#2670ce"
DIVIDED = 0.83  # the grey of what is strong and uncertain; no channel of the colours above is lighter
WORDS: dict[str, tuple[str, str]] = {"sign": ("divided", "agree"), "snr": ("noise", "signal")}


def certainty_of(draws: Tensor, certainty: str) -> Tensor:
    """How certain the draws are, entry by entry.

    Args:
        draws: Finite attributions, shape ``(T, *shape)``.
        certainty: ``"sign"``: the difference between the shares of draws above 0 and below 0. ``"snr"``:
            ``|mean| / (|mean| + stdev)``, which is ``|snr| / (|snr| + 1)``.

    Returns:
        From 0 to 1, float64, shape ``shape``; 0 where every draw is 0.

    Raises:
        ValueError: If ``certainty`` is neither.
    """
    if certainty not in WORDS:
        raise ValueError(f"certainty is one of {tuple(WORDS)}, got {certainty!r}.")
    if certainty == "sign":
        return draws.double().sign().mean(0).abs()
    size = stats.expectation(draws.double()).abs()
    noise = stats.stdev(draws.double()) if len(draws) > 1 else torch.zeros_like(size)
    return torch.where(size == 0, 0.0, size / (size + noise))


def blend(strength: Array, certainty: Array, divided: float = DIVIDED) -> Array:
    """The colour of a mean and its certainty: hue for the sign, saturation for the size, fading where uncertain.

    White at 0. With more strength every channel falls, and with more certainty too, so luminance falls with both.

    Args:
        strength: Mean over the value of full colour, from -1 to 1, any shape.
        certainty: From 0 to 1, the same shape.
        divided: The grey at full strength without certainty; 1 fades to white.

    Returns:
        Red, green and blue from 0 to 1, shape ``(*shape, 3)``.
    """
    hue = np.where(strength[..., None] > 0, to_rgb(ABOVE), to_rgb(BELOW))
    full = certainty[..., None] * hue + (1 - certainty[..., None]) * divided
    return np.asarray(1 - np.abs(strength)[..., None] * (1 - full))


def luminance(colour: Array) -> float:
    """The relative luminance of WCAG 2.1, from 0 to 1, of red, green and blue from 0 to 1."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def ink_on(colour: Array) -> str:
    """Black or white, whichever is the easier to read on a colour.

    Args:
        colour: Red, green and blue from 0 to 1, shape ``(3,)``.

    Returns:
        ``"black"`` or ``"white"``; their contrast is 4.5 at least.
    """
    return "black" if luminance(colour) > 0.179 else "white"  # sqrt(1.05 * 0.05) - 0.05: equal contrast with both
