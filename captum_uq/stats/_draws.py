"""What every statistic over draws begins and ends with: checks, precision, safe division."""

from __future__ import annotations

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


def needs_more_than(draws: Tensor, correction: int, statistic: str) -> None:
    """Refuses a spread that so few draws cannot tell.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: What is taken from ``T`` in the divisor.
        statistic: The name that the message opens with.

    Raises:
        ValueError: If ``correction`` is negative, or ``T`` is not above it.
    """
    if correction < 0:
        raise ValueError(f"{statistic} needs a correction of at least 0, got {correction}.")
    if len(draws) <= correction:
        raise ValueError(
            f"{statistic} with correction={correction} needs at least {correction + 1} draws, "
            f"got {len(draws)}; draw more (n_draws=) or ask for correction=0."
        )


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient in which 0/0 is 0 and x/0 is infinity with the sign of x (``denominator >= 0``)."""
    both_zero = (numerator == 0) & (denominator == 0)
    return torch.where(both_zero, 0.0, numerator / denominator)
