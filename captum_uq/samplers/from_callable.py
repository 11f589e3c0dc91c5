"""A function of the user's as a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from captum_uq._rng import generator, isolated, seed_global
from captum_uq.samplers._folded_weights import FoldedWeights
from captum_uq.samplers._members import Matcher, Member, copied, require_difference
from captum_uq.samplers._numbers import is_whole
from captum_uq.samplers._weights import BoundWeights
from captum_uq.samplers.base import BoundSampler, Rows, Sampler

_KINDS = ("posterior", "perturbation")


def from_callable(
    fn: Callable[[int, torch.Generator], Member],
    model: nn.Module | None = None,
    *,
    max_draws: int | None = None,
    kind: str = "posterior",
) -> FromCallable:
    """A sampler whose draw ``t`` is the network that a function gives for it.

    Args:
        fn: ``fn(index, generator)``: the draw as a module of the model's architecture, or as a state dict. It draws
            from ``generator``, a `torch.Generator` on the CPU that depends on ``(seed, index)`` alone; the global
            generators are set from the same two while it runs, and put back. It may load every draw into one module.
        model: The network; None to find it in the attribution method.
        max_draws: How many draws there are; None where there is no end.
        kind: ``"posterior"`` or ``"perturbation"``.

    Returns:
        The sampler.

    Raises:
        TypeError: ``fn`` cannot be called.
        ValueError: An unknown kind, or ``max_draws`` no whole number of at least 1.

    Example:
        >>> def halve_or_double(index, generator):
        ...     return {"weight": torch.ones(1, 2) * 2 ** torch.randn((), generator=generator)}
        >>> sampler = from_callable(halve_or_double, nn.Linear(2, 1))
        >>> bool((sampler.network(0, seed=1).weight == sampler.network(0, seed=1).weight).all())
        True
    """  # noqa: DOC502 -- raised by the class
    name = f"from_callable({getattr(fn, '__name__', type(fn).__name__)})"
    return FromCallable(fn, model, max_draws=max_draws, kind=kind, partial=True, name=name)


class FromCallable(Sampler):
    """What `from_callable` returns.

    Args:
        fn: ``fn(index, generator)``: a module or a state dict.
        model: The network; None to find it in the attribution method.
        max_draws: How many draws there are; None where there is no end.
        kind: ``"posterior"`` or ``"perturbation"``.
        partial: Whether a state dict may leave weights out.
        name: How it is shown.

    Raises:
        TypeError: ``fn`` cannot be called.
        ValueError: An unknown kind, or ``max_draws`` no whole number of at least 1.
    """

    def __init__(
        self,
        fn: Callable[[int, torch.Generator], Member],
        model: nn.Module | None = None,
        *,
        max_draws: int | None = None,
        kind: str = "posterior",
        partial: bool = True,
        name: str = "FromCallable",
    ) -> None:
        super().__init__(model)
        if not callable(fn):
            raise TypeError(f"A sampler is made from a function fn(index, generator), got {type(fn).__name__}.")
        if kind not in _KINDS:
            raise ValueError(f"kind is one of {_KINDS}, got {kind!r}.")
        if max_draws is not None and (not is_whole(max_draws) or max_draws < 1):
            raise ValueError(f"max_draws is a whole number of at least 1, or None for no end, got {max_draws!r}.")
        self.fn = fn
        self.kind = kind  # type: ignore[misc]  # a fact of this function, not of the class
        self.max_draws = None if max_draws is None else int(max_draws)
        self.default_draws = min(type(self).default_draws, self.max_draws or type(self).default_draws)
        self._partial = partial
        self._name = name

    def bind(self, model: nn.Module) -> BoundSampler:
        """The function's networks, for ``model``.

        Raises:
            ValueError: The function gives another architecture.
            NothingToDrawError: Its first draws are all the same.
        """  # noqa: DOC502 -- raised by the helpers
        match, looked_at = Matcher(model), range(min(3, self.max_draws or 3))

        def weights(index: int, seed: int) -> dict[str, Tensor]:
            member = self._member(model, index, seed)
            return match.matched(member, f"Draw {index} of {self!r}", partial=self._partial)

        require_difference((copied(weights(index, 0)) for index in looked_at), self)
        return _BoundFunction(model, weights)

    def _member(self, model: nn.Module, index: int, seed: int) -> Member:
        """What the function gives for a draw.

        Raises:
            ValueError: There is no such draw, or the function returns the model that the draw is made in.
        """
        if self.max_draws is not None and not 0 <= index < self.max_draws:
            raise ValueError(f"{self!r} has {self.max_draws} draws; draw {index} is none of them.")
        with isolated():
            seed_global(seed, "from_callable", index)
            rng = torch.Generator().manual_seed(int(generator(seed, "from_callable", index).integers(2**32)))
            member = self.fn(index, rng)
        if member is model:
            raise ValueError(
                f"{self!r} returned the model itself, which would be changed for good. Return a copy, or a state dict."
            )
        return member

    def __repr__(self) -> str:
        return self._name


class _BoundFunction(BoundWeights):
    """The function's draws; side by side they are copies, since it may write each to the memory of the one before."""

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[None]:
        """The model with the weights of many draws at once."""
        return FoldedWeights(self.model, [copied(self.weights(index, seed)) for index in indices], rows)
