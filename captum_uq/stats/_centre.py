"""Draws moved to about 0, and there summed.

Each entry is divided by a power of two first, its first draw subtracted, and only then summed. Both steps are exact for
draws that agree, so equal draws have a spread of exactly 0; nothing cancels when the mean is large; and neither 1e-30
nor 1e30 leaves the range of float32 on the way to a ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_uq.stats._draws import checked, power_of_two, root, working


class Centred(NamedTuple):
    """Draws split into ``scale * (mean + deviations)``."""

    mean: Tensor  # shape: (*shape)
    deviations: Tensor  # shape: (T, *shape), their mean over T is 0
    scale: Tensor  # shape: (*shape), a power of two


def shifted(draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draws split into ``scale * (first + deviations)``.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        The first draw ``(*shape)``, how far each is from it ``(T, *shape)``, and the scale, powers of two ``(*shape)``.
    """
    values, scale = _scaled(draws)
    first = _finite(values[0])
    return first, _less(values, first), scale


def mean(draws: Tensor) -> Tensor:
    """Mean of draws ``(T, *shape)``, in two passes: the second is about what the first found, whatever the order."""
    values, scale = _scaled(draws)
    found = _finite(values.detach().mean(dim=0))
    return (found + _less(values, found).mean(dim=0)) * scale


def _scaled(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Draws over a power of two, ``(T, *shape)``, and that, ``(*shape)``."""
    values = working(checked(draws))
    scale = power_of_two(values.amin(dim=0), values.amax(dim=0))  # torch.aminmax over a dim is far slower
    return values / scale, scale


def _finite(values: Tensor) -> Tensor:
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _less(values: Tensor, origin: Tensor) -> Tensor:
    """How far each is from the origin; overwrites ``values`` where no graph needs them as they are."""
    recorded = values.requires_grad and torch.is_grad_enabled()
    return values - origin if recorded else values.sub_(origin)


def centre(draws: Tensor) -> Centred:
    """Draws ``(T, *shape)`` as their mean and how far each is from it."""
    first, deviations, scale = shifted(draws)
    shift = deviations.mean(dim=0)
    deviations -= shift
    return Centred(first + shift, deviations, scale)


def spread(deviations: Tensor, correction: int) -> Tensor:
    """Standard deviation of draws that are centred already; overwrites ``deviations``."""
    return root(deviations.square_().sum(dim=0) / (len(deviations) - correction))
