"""Order statistics: the smallest and the largest draws, which the outer percentiles need and no others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq.stats._draws import NotKept, result_dtype
from captum_uq.stats._ranks import between, checked_ranks, several, tails, warn_if_few

_ROUNDING = 1e-6
"""Of a position among the draws: ``50 - 50 level`` may differ from the percentile that was asked for."""


def rows_needed(levels: Sequence[float], n_draws: int) -> tuple[int, int]:
    """How many of the smallest and of the largest draws some percentiles need.

    The 5th needs the smallest 5% of the draws and one or two more, as it lies between two draws; the 95th as many of
    the largest, the median half of all. For draws that come in any order, no fewer would be exact.

    Args:
        levels: Percentiles, from 0 to 100.
        n_draws: How many draws there are, ``T``.

    Returns:
        The two numbers; ``(T, 0)`` where every draw is needed.

    Example:
        >>> rows_needed([5, 95], 10_000), rows_needed([50], 100), rows_needed([5, 25, 50, 75, 95], 100)
        ((501, 501), (51, 0), (51, 26))
    """
    low = high = 0
    for q in levels:
        position = q * (n_draws - 1) / 100
        from_low = math.floor(position + _ROUNDING) + 2
        from_high = n_draws - math.floor(position - _ROUNDING)
        if from_low <= from_high:
            low = max(low, from_low)
        else:
            high = max(high, from_high)
    return (n_draws, 0) if low + high >= n_draws else (low, high)


@dataclass(frozen=True)
class OrderStatistics:
    """The smallest and the largest of ``T`` draws.

    Statistics give exactly what the function of the same name gives for the draws.

    Attributes:
        n_draws: ``T``.
        low: The smallest draws, ascending, shape ``(K, *shape)``.
        high: The largest draws, descending, shape ``(L, *shape)``.
        nan: Where a draw is NaN, shape ``(*shape)``.
    """

    n_draws: int
    low: Tensor
    high: Tensor
    nan: Tensor

    def at(self, rank: int) -> Tensor:
        """The draw of a rank, 0 the smallest, shape ``(*shape)``.

        Raises:
            NotKept: It is neither among the smallest nor among the largest.
        """
        if rank < len(self.low):
            return self.low[rank]
        if self.n_draws - 1 - rank < len(self.high):
            return self.high[self.n_draws - 1 - rank]
        raise NotKept(
            f"Of the {self.n_draws} draws of an entry, the {len(self.low)} smallest and the {len(self.high)} largest "
            f"are known, and not the one of rank {rank}."
        )

    def over(self, fn: Callable[[Tensor], Tensor]) -> OrderStatistics:
        """The same with ``fn`` applied to each stack, shape ``(K, *shape)``: an index, a copy, a move."""
        return dataclasses.replace(self, low=fn(self.low), high=fn(self.high), nan=fn(self.nan[None])[0])

    def _percentiles(self, ranks: Sequence[float]) -> list[Tensor]:
        if self.n_draws == 1:
            return [self.at(0).clone() for _ in ranks]
        maps = [between(self.at, q * (self.n_draws - 1) / 100) for q in ranks]
        return [torch.where(self.nan, torch.nan, each).to(result_dtype(self.low)) for each in maps]

    def percentile(self, q: float | Sequence[float]) -> Tensor:
        """Percentile over draws; see :func:`captum_uq.stats.percentile`."""
        ranks = checked_ranks(q)
        maps = self._percentiles(ranks)
        warn_if_few(self.n_draws, ranks)
        return torch.stack(maps) if several(q) else maps[0]

    def median(self) -> Tensor:
        """Median over draws; see :func:`captum_uq.stats.median`."""
        return self._percentiles([50.0])[0]

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Equal-tailed interval; see :func:`captum_uq.stats.interval`."""
        ranks = tails(level)
        low, high = self._percentiles(ranks)
        warn_if_few(self.n_draws, ranks)
        return low, high

    def union(self, q: float = 95.0) -> Tensor:
        """The liberal map; see :func:`captum_uq.stats.union`."""
        return self.percentile(checked_ranks([q])[0])

    def intersection(self, q: float = 5.0) -> Tensor:
        """The cautious map; see :func:`captum_uq.stats.intersection`."""
        return self.percentile(checked_ranks([q])[0])
