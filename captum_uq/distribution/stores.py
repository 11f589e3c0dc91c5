"""What is behind a DistributionAttribution: its draws, or what was kept of them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from captum_uq import stats
from captum_uq.distribution.keep import DRAWS
from captum_uq.stats._draws import NotKept
from captum_uq.stats.moment_sums import MomentSums
from captum_uq.stats.order_statistics import OrderStatistics
from captum_uq.stats.summary import named


class Store(ABC):
    """What is known of the draws; every tensor in it ends in the shape of a draw."""

    keep: str
    """What was kept, as ``keep=`` says it."""

    @property
    @abstractmethod
    def n_draws(self) -> int:
        """The number of draws, ``T``."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """The shape of a draw."""

    @property
    @abstractmethod
    def draws(self) -> Tensor:
        """The draws, ``(T, *shape)``.

        Raises:
            ValueError: They were not kept.
        """

    @abstractmethod
    def statistic(self, name: str, *arguments: Any) -> Any:
        """What the function of that name in :mod:`captum_uq.stats` gives for the draws.

        Args:
            name: The name.
            arguments: What it takes after the draws.

        Returns:
            A map, or several.

        Raises:
            ValueError: It needs more than was kept.
        """

    @abstractmethod
    def summarize(self, summary: stats.Summary) -> Tensor:
        """What :func:`captum_uq.stats.summarize` gives for the draws."""

    @abstractmethod
    def over(self, fn: Callable[[Tensor], Tensor]) -> Store:
        """The store with ``fn`` applied to every stack of maps, shape ``(K, *shape)``: an index, a copy."""

    @abstractmethod
    def converted(self, convert: Callable[[Tensor], Tensor]) -> Store:
        """The store moved, or with results of another dtype."""

    @abstractmethod
    def merged(self, other: Store) -> Store:
        """The store of both sets of draws, or a ValueError where that cannot be told."""

    @abstractmethod
    def state(self) -> Any:
        """Everything as plain data, which :func:`restored` reads."""


@dataclass(frozen=True)
class Draws(Store):
    """All the draws, ``(T, *shape)``."""

    stack: Tensor
    keep = DRAWS

    @property
    @override
    def n_draws(self) -> int:
        return len(self.stack)

    @property
    @override
    def shape(self) -> torch.Size:
        return self.stack.shape[1:]

    @property
    @override
    def draws(self) -> Tensor:
        return self.stack

    @override
    def statistic(self, name: str, *arguments: Any) -> Any:
        return getattr(stats, name)(self.stack, *arguments)

    @override
    def summarize(self, summary: stats.Summary) -> Tensor:
        return stats.summarize(self.stack, summary)

    @override
    def over(self, fn: Callable[[Tensor], Tensor]) -> Draws:
        return Draws(fn(self.stack))

    @override
    def converted(self, convert: Callable[[Tensor], Tensor]) -> Draws:
        return Draws(convert(self.stack))

    @override
    def merged(self, other: Store) -> Draws:
        _check_same_kind(self, other)
        return Draws(torch.cat([self.stack, other.draws]))

    @override
    def state(self) -> Tensor:
        return self.stack


@dataclass(frozen=True)
class Summaries(Store):
    """The moments of the draws, and the order statistics that some percentiles need.

    Attributes:
        keep: What was kept, as ``keep=`` says it.
        sums: What the moments need.
        order: What the percentiles need; None for the smallest and the largest draw, which the sums know.
    """

    keep: str
    sums: MomentSums
    order: OrderStatistics | None = None

    @property
    @override
    def n_draws(self) -> int:
        return self.sums.n_draws

    @property
    @override
    def shape(self) -> torch.Size:
        return self.sums.low.shape

    @property
    @override
    def draws(self) -> Tensor:
        raise self._not_kept(".draws, map and given need them.")

    @property
    def _order(self) -> OrderStatistics:
        low, high = self.sums.low, self.sums.high
        return self.order or OrderStatistics(self.n_draws, low[None], high[None], low.isnan())

    @override
    def statistic(self, name: str, *arguments: Any) -> Any:
        known: Any = self.sums if hasattr(MomentSums, name) else self._order
        try:
            return getattr(known, name)(*arguments)
        except NotKept as missing:
            asked = f"{name}({', '.join(map(repr, arguments))})"
            hint = ", or with its number, as in keep='percentiles:5,50'" if known is not self.sums else ""
            raise self._not_kept(f"{asked} needs more of them. {missing}", hint) from None

    def _not_kept(self, what: str, hint: str = "") -> ValueError:
        return ValueError(f"keep={self.keep!r} did not keep the draws: {what} Attribute with keep='draws'{hint}.")

    @override
    def summarize(self, summary: stats.Summary) -> Tensor:
        if not isinstance(summary, str):
            raise self._not_kept(f"summary={summary!r} is a function of them.")
        name, arguments = named(summary)
        result: Tensor = self.statistic(name, *arguments)
        return result

    @override
    def over(self, fn: Callable[[Tensor], Tensor]) -> Summaries:
        order = None if self.order is None else self.order.over(fn)
        return Summaries(self.keep, self.sums.over(lambda each: fn(each[None])[0]), order)

    @override
    def converted(self, convert: Callable[[Tensor], Tensor]) -> Summaries:
        low, high = convert(self.sums.low), convert(self.sums.high)
        sums = self.sums.over(lambda each: each.to(low.device))  # they keep their dtype, as sums need theirs
        order = self.order
        if order is not None:
            nan = order.nan.to(low.device)
            order = dataclasses.replace(order, low=convert(order.low), high=convert(order.high), nan=nan)
        return Summaries(self.keep, dataclasses.replace(sums, low=low, high=high), order)

    @override
    def merged(self, other: Store) -> Summaries:
        _check_same_kind(self, other)
        if not isinstance(other, Summaries) or self.order is not None:
            raise ValueError(
                f"keep={self.keep!r} cannot be merged: the percentiles of two sets of draws do not tell those of both. "
                "Attribute with keep='draws', or with keep='moments' for what moments tell."
            )
        return Summaries(self.keep, self.sums.merged(other.sums))

    @override
    def state(self) -> dict[str, Any]:
        parts = {"sums": self.sums, "order": self.order}
        return {
            "keep": self.keep,
            **{name: None if part is None else dict(vars(part)) for name, part in parts.items()},
        }


def restored(state: Any) -> Store:
    """The store of some plain data.

    Args:
        state: What :meth:`Store.state` gave.

    Returns:
        The store.
    """
    if isinstance(state, Tensor):
        return Draws(state)
    order = None if state["order"] is None else OrderStatistics(**state["order"])
    return Summaries(state["keep"], MomentSums(**state["sums"]), order)


def _check_same_kind(one: Store, other: Store) -> None:
    if one.keep != other.keep:
        raise ValueError(f"merge needs results that keep the same, got keep={one.keep!r} and keep={other.keep!r}.")
