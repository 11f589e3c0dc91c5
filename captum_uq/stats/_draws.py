"""What every statistic over draws begins and ends with: checks, precision, safe division."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor


def checked(draws: Tensor) -> Tensor:
    """Returns ``draws`` as it came, once it is known to be a stack of at least one real map.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``draws`` itself.

    Raises:
        TypeError: If ``draws`` is no tensor, or holds complex numbers.
        ValueError: If there is no axis of draws, or no draw on it.
    """
    if not isinstance(draws, Tensor):
        raise TypeError(f"statistics need a tensor of draws (T, *shape), got {type(draws).__name__}; torch.stack them.")
    if draws.is_complex():
        raise TypeError(f"statistics over draws need real numbers, got {draws.dtype}; take .real or .abs().")
    if draws.ndim == 0 or draws.shape[0] == 0:
        raise ValueError(
            f"statistics need at least 1 draw on the first axis (T, *shape), got shape {tuple(draws.shape)}."
        )
    return draws


def result_dtype(draws: Tensor) -> torch.dtype:
    """The dtype of a statistic: that of floating draws, torch's default for integers and booleans."""
    return draws.dtype if draws.is_floating_point() else torch.get_default_dtype()


def working(values: Tensor) -> Tensor:
    """``values`` in the precision that statistics compute in: float32 or better."""
    dtype = result_dtype(values)
    return values.to(torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype)


def widest(values: Tensor) -> Tensor:
    """``values`` in float64, to be summed without loss; in float32 on a device that has no float64."""
    try:
        return values.double()
    except TypeError:
        return working(values)


def number(value: Any) -> float:
    """What one number is, of whatever library; NaN where it is none, a text included."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, RuntimeError):  # torch's, of a tensor of several
        return math.nan


def needs_more_than(n_draws: int, correction: int, statistic: str) -> None:
    """Refuses a spread that so few draws cannot tell.

    Args:
        n_draws: How many draws there are, ``T``.
        correction: What is taken from ``T`` in the divisor.
        statistic: The name that the message opens with.

    Raises:
        ValueError: If ``correction`` is negative or no number, or ``T`` is not above it.
    """
    if not number(correction) >= 0:
        raise ValueError(f"{statistic} needs a correction of at least 0, got {correction!r}.")
    if n_draws <= correction:
        raise ValueError(
            f"{statistic} with correction={correction} needs at least {correction + 1} draws, "
            f"got {n_draws}; draw more (n_draws=) or ask for correction=0."
        )


@torch.no_grad()
def power_of_two(low: Tensor, high: Tensor) -> Tensor:
    """The power of two at or below the largest magnitude of each entry; 1 where that is 0 or not finite.

    Args:
        low: The smallest value of each entry, shape ``(*shape)``.
        high: The largest.

    Returns:
        By it divided, no entry leaves the range of its dtype; the division is exact.
    """
    peak = torch.maximum(high, -low)
    power = peak / (2 * torch.frexp(peak).mantissa)
    return torch.where(torch.isfinite(power), power, 1.0)


def checked_order(k: int) -> int:
    """The order of a moment, a whole number of whatever library.

    Raises:
        ValueError: If ``k`` is no whole number of at least 1.
    """
    try:
        order = operator.index(k)
    except TypeError:
        order = 0
    if order < 1:
        raise ValueError(f"moment needs a whole order k of at least 1, got {k!r}.")
    return order


class NotKept(ValueError):  # noqa: N818 (what happened is that nothing was kept, not that something went wrong)
    """A statistic needs more of the draws than was kept of them."""


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient in which 0/0 is 0 and x/0 is infinity with the sign of x (``denominator >= 0``), of gradient 0 there."""
    zero = denominator == 0
    quotient = numerator / denominator.masked_fill(zero, 1)  # autograd multiplies what `where` leaves out by 0, too
    value = numerator.detach()
    return torch.where(zero, torch.where(value == 0, 0.0, value / 0), quotient)


def root(squares: Tensor) -> Tensor:
    """Square root, of gradient 0 at 0: there draws agree, and a spread is smallest."""
    if not squares.requires_grad:
        return squares.sqrt()
    zero = squares == 0
    return squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
