"""Methods that explain a network by a surrogate (LIME): one call for all draws, and a surrogate fitted to each."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum_uq._captum import SURROGATES_OF_MANY_OUTPUTS
from captum_uq._rng import GlobalState
from captum_uq._trees import tree_map
from captum_uq.execution.foldable import Folding
from captum_uq.execution.method import Call
from captum_uq.samplers.base import CannotFoldError


def by_surrogate(call: Call, folding: Folding) -> bool:
    """Whether one call answers for all draws: a method with a surrogate, and the same targets in every draw."""
    return folding.surrogate and not isinstance(call.argument("target"), str)


class Surrogates:
    """Stands in one call for the method's surrogate, and for the forward function, in every draw.

    Of the outputs of a row the method picks one, and the surrogate's coefficients it puts where their features are. So
    both are given to it as numbers, by which the values of every draw are then looked up.

    Args:
        model: The method's own surrogate (``interpretable_model``); it is left fitted to the last draw, as by a loop.
        count: How many draws, `D`.
    """

    def __init__(self, model: Any, count: int) -> None:
        self._model, self._count = model, count
        self._outputs: list[Tensor] = []
        self._coefficients: list[Tensor] = []
        self._numbers = torch.empty(0)

    def around(self, forward_func: Callable[..., Any]) -> Callable[..., Tensor]:
        """Of a forward that answers for every draw, ``(D * R, *outputs)``, the numbers of its outputs."""

        def numbered(*args: Any, **kwargs: Any) -> Tensor:
            outputs = forward_func(*args, **kwargs)
            if not isinstance(outputs, Tensor):
                raise CannotFoldError("the network does not return one tensor")
            apart = outputs.detach().unflatten(0, (self._count, -1))
            self._outputs.append(apart.flatten(2) if apart.dim() > 2 else apart.unsqueeze(2))
            shape = apart.shape[2:]
            return _numbers(0, outputs.new_empty(shape, dtype=torch.float32)).expand(apart.shape[1:])

        return numbered

    def fit(self, loader: DataLoader[Any]) -> None:
        """Fit the surrogate to every draw.

        Args:
            loader: The features ``(n, K)``, the numbers of the outputs ``(n,)`` and the weights ``(n,)``.
        """
        features, numbers, weights = loader.dataset.tensors  # type: ignore[attr-defined]  # a TensorDataset
        last = torch.cat(self._outputs, 1)[:, -len(numbers) :]  # Captum may have asked about the inputs first
        self._outputs.clear()
        index = numbers.long()[None, :, None].expand(self._count, -1, 1)
        outputs = last.gather(2, index).squeeze(2).to(numbers.dtype)
        coefficients = self._fitted(
            lambda y: DataLoader(TensorDataset(features, y, weights), loader.batch_size), outputs
        )
        start = 1 + sum(known[0].numel() for known in self._coefficients)
        self._numbers = _numbers(start, coefficients[0])
        self._coefficients.append(coefficients)

    def _fitted(self, loader: Callable[[Tensor], Any], outputs: Tensor) -> Tensor:
        """The surrogate's coefficients for the outputs ``(D, n)`` of every draw, ``(D, *coefficients)``."""
        before = GlobalState.now()

        def fitted(model: Any, y: Tensor) -> Tensor:
            before.restore()
            model.fit(loader(y))
            found: Tensor = model.representation().clone()
            return found

        if type(self._model) not in SURROGATES_OF_MANY_OUTPUTS:
            return torch.stack([fitted(self._model, y) for y in outputs])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Creating a tensor from a list of numpy.ndarrays")  # Captum's, of biases
            every = fitted(copy.deepcopy(self._model), outputs.T)
        return every.reshape(self._count, *fitted(self._model, outputs[-1]).shape)

    def representation(self) -> Tensor:
        """The numbers of the coefficients, from 1."""
        return self._numbers

    def looked_up(self, result: Any) -> Any:
        """What the method returned, in every draw: a tree with leaves ``(D, *shape)``; 0 where no feature is."""
        coefficients = [known.flatten(1) for known in self._coefficients]
        every = torch.cat([torch.zeros_like(coefficients[0][:, :1]), *coefficients], 1)
        return tree_map(lambda leaf: every.to(leaf.device, leaf.dtype)[:, leaf.long()], result)


def _numbers(start: int, like: Tensor) -> Tensor:
    """Numbers from ``start`` for the entries of a tensor, of its dtype; Captum makes float32 of most.

    Raises:
        CannotFoldError: There are too many.
    """
    exact = torch.arange(start, start + like.numel(), device=like.device).view(like.shape)
    numbers = exact.to(like.dtype)
    if not torch.equal(numbers.float().long(), exact):
        raise CannotFoldError("there are more outputs or coefficients than floating-point numbers tell apart")
    return numbers
