"""What Captum returns for each draw, taken chunk by chunk, and as much of it kept as was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_uq import stats
from captum_uq._trees import leaves, tree_map
from captum_uq.distribution.checks import check_finite, check_nan_policy, plain
from captum_uq.distribution.keep import DRAWS, Keep
from captum_uq.distribution.stores import Draws, Store, Summaries
from captum_uq.stats.streaming import StreamingMoments, StreamingPercentiles


def one_draw(tree: Any) -> Any:
    """What Captum returned for one draw as a chunk of one, leaves ``(1, *shape)``."""
    return tree_map(lambda leaf: leaf[None], tree)


def check_summary(summary: stats.Summary, keep: str, n_draws: int) -> None:
    """Refuses a summary that what is kept does not give, before anything is drawn.

    Args:
        summary: A name or function of :func:`captum_uq.stats.summarize`, or ``"deterministic"``.
        keep: What is to be kept.
        n_draws: Of how many draws.

    Raises:
        ValueError: It does not; or ``keep`` is none of those there are.
    """  # noqa: DOC502 (raised further down)
    if Keep.parse(keep).text == DRAWS or summary == "deterministic":
        return
    draws = Kept(n_draws, keep)
    draws.put(0, torch.zeros(n_draws, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws, which is said when they are there
        draws.finish(lambda store: store.summarize(summary))


class Kept:
    """Takes the draws of one call, trees of one structure, in the order of their numbers.

    Args:
        n_draws: How many draws will come, `T`.
        keep: What is kept of them: see `captum_uq.distribution.keep.Keep`.
        nan_policy: ``"raise"`` on NaN or infinity as soon as it comes, or ``"propagate"``. Where the draws themselves
            are kept, the distribution made of them checks them.

    Raises:
        ValueError: ``keep`` or ``nan_policy`` is none of those there are.
    """

    def __init__(self, n_draws: int, keep: str = DRAWS, nan_policy: str = "propagate") -> None:
        check_nan_policy(nan_policy)
        self.n_draws = n_draws
        self._keep = Keep.parse(keep)
        self._nan_policy = nan_policy
        self._tree: Any = None
        self._leaves: list[_Leaf] = []

    def put(self, first_index: int, tree: Any) -> None:
        """Takes the next draws.

        Args:
            first_index: The number of the first of them.
            tree: What Captum returned for them, leaves ``(D, *shape)``, with ``D`` at least 1.

        Raises:
            ValueError: A leaf has another shape than in draw 0, or is not finite.
        """  # noqa: DOC502 (raised by the leaves)
        if first_index == 0:
            self._tree = tree_map(lambda leaf: leaf.new_empty(0), tree)
            self._leaves = [self._leaf(chunk) for chunk in leaves(tree)]
        remaining = iter(self._leaves)
        tree_map(lambda _, chunk: next(remaining).put(first_index, plain(chunk)), self._tree, tree)

    def _leaf(self, chunk: Tensor) -> _Leaf:
        if self._keep.text == DRAWS:
            return _Stack(chunk, self.n_draws)
        return _Stream(chunk, self.n_draws, self._keep, self._nan_policy)

    def finish(self, result: Callable[..., Any], *rest: Any) -> Any:
        """A tree as Captum returns it, of what was kept of each tensor.

        Args:
            result: Takes a `Store` and its counterparts in ``rest``.
            rest: Trees of the same structure.

        Returns:
            The tree of results.
        """
        remaining = iter(self._leaves)
        return tree_map(lambda _, *others: result(next(remaining).store(), *others), self._tree, *rest)

    def stacked(self) -> Any:
        """The tree of the draws themselves, leaves ``(T, *shape)``; None where nothing came.

        Raises:
            ValueError: They were not kept.
        """  # noqa: DOC502 (raised in the store)
        return self.finish(lambda store: store.draws)

    def first(self) -> Any:
        """Draw 0, as Captum returned it."""
        remaining = iter(self._leaves)
        return tree_map(lambda _: next(remaining).first, self._tree)


class _Leaf:
    """One tensor of what Captum returns, of all draws."""

    def __init__(self, chunk: Tensor) -> None:
        self._shape = chunk.shape[1:]

    @property
    def first(self) -> Tensor:
        raise NotImplementedError

    def put(self, first_index: int, chunk: Tensor) -> None:
        if chunk.shape[1:] != self._shape:
            raise ValueError(
                f"Draw {first_index} returned shape {tuple(chunk.shape[1:])}, draw 0 shape {tuple(self._shape)}: "
                "draws of different shapes have no distribution. Give a target that does not change with the draw."
            )
        self.take(first_index, chunk)

    def take(self, first_index: int, chunk: Tensor) -> None:
        raise NotImplementedError

    def store(self) -> Store:
        raise NotImplementedError


class _Stack(_Leaf):
    """All draws."""

    def __init__(self, chunk: Tensor, n_draws: int) -> None:
        super().__init__(chunk)
        self._draws = plain(chunk).new_empty((n_draws, *self._shape))

    @property
    def first(self) -> Tensor:
        return self._draws[0]

    def take(self, first_index: int, chunk: Tensor) -> None:
        self._draws[first_index : first_index + len(chunk)] = chunk

    def store(self) -> Draws:
        return Draws(self._draws)


class _Stream(_Leaf):
    """Moments of the draws, and percentiles."""

    def __init__(self, chunk: Tensor, n_draws: int, keep: Keep, nan_policy: str) -> None:
        super().__init__(chunk)
        self._first = plain(chunk)[0].clone()
        self._keep, self._nan_policy = keep, nan_policy
        self._moments = StreamingMoments()
        self._percentiles = None if keep.levels is None else StreamingPercentiles(keep.levels, n_draws)

    @property
    def first(self) -> Tensor:
        return self._first

    def take(self, first_index: int, chunk: Tensor) -> None:
        if self._nan_policy == "raise":
            check_finite(chunk, first_index)
        self._moments.put(chunk)
        if self._percentiles is not None:
            self._percentiles.put(chunk)

    def store(self) -> Summaries:
        order = None if self._percentiles is None else self._percentiles.result()
        return Summaries(self._keep.text, self._moments.result(), order)
