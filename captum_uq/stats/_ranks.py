"""Percentiles as ranks: what is asked for, between which draws it lies, how many draws it needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor

from captum_uq._warn import warn
from captum_uq.stats._draws import number, working


def between(at: Callable[[int], Tensor], position: float) -> Tensor:
    """The value at a fractional position of sorted draws, never outside its two neighbours.

    Args:
        at: Gives the draw of a rank, 0 the smallest, shape ``(*shape)``.
        position: From 0 to ``T - 1``.

    Returns:
        The linear interpolation, shape ``(*shape)``, in float32 or better.
    """
    below = int(position)
    weight = position - below
    low = working(at(below))
    if weight == 0:
        return low
    high = working(at(below + 1))
    return torch.clamp(low * (1 - weight) + high * weight, min=low, max=high)


def several(q: float | Sequence[float]) -> TypeGuard[Sequence[float]]:
    """Whether percentiles are given in a row; an array of no axis calls itself iterable, and is one number."""
    return isinstance(q, Iterable) and not isinstance(q, str) and getattr(q, "ndim", 1) > 0


def checked_ranks(q: float | Sequence[float]) -> list[float]:
    """One percentile or several, as a list.

    Raises:
        ValueError: If one lies outside 0 to 100, or there is none.
    """
    ranks = [number(each) for each in (q if several(q) else [q])]
    if not ranks or not all(0 <= each <= 100 for each in ranks):
        raise ValueError(f"a percentile is a number, or several, from 0 to 100; got {q!r}.")
    return ranks


def tails(level: float) -> list[float]:
    """The two percentiles of an equal-tailed interval.

    Raises:
        ValueError: If ``level`` is not above 0 and at most 1.
    """
    share = number(level)
    if not 0 < share <= 1:
        raise ValueError(f"interval needs a level above 0 and at most 1, got {level!r}; 90% is level=0.9.")
    return [50 - 50 * share, 50 + 50 * share]


def _needed(q: float) -> int:
    """How many draws put at least one of them beyond percentile ``q``; 1 for the extremes."""
    tail = min(q, 100 - q)
    return math.ceil(100 / tail * (1 - 1e-9)) if tail > 0 else 1


def warn_if_few(n_draws: int, ranks: Sequence[float]) -> None:
    """Warns where less than one draw lies beyond a percentile, at the caller of the statistic."""
    most, q = max((_needed(q), q) for q in ranks)
    if n_draws < most:
        warn(
            f"percentile {q:g} needs at least {most} draws, got {n_draws}: what lies beyond the outermost "
            f"draws is not known. Draw more (n_draws={most}) or ask for a percentile nearer to 50.",
        )
