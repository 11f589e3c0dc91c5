"""Weights swapped in place: a model's own parameters and buffers hold a draw's values, then their own again.

A swap replaces ``.data``: parameters keep their identity, so hooks, layer methods and optimisers still hold, and
tied weights stay tied. Nothing is copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from captum_uq._rng import generator
from captum_uq.samplers.base import BoundSampler

Weights = Mapping[str, Tensor]
"""Values of parameters and buffers by name, each in the shape of its own."""


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters by name; tied ones once, under their first name; a compiled part's name as it was written."""
    return {_written(name): parameter for name, parameter in model.named_parameters()}


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; tied ones once."""
    return parameters_of(model) | {_written(name): buffer for name, buffer in model.named_buffers()}


def names_of(model: nn.Module) -> dict[str, str]:
    """For every name of a parameter or buffer, tied ones' further names too, the name in `tensors_of`."""
    first = {id(tensor): name for name, tensor in tensors_of(model).items()}
    every = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return {_written(name): first[id(tensor)] for name, tensor in every}


def _written(name: str) -> str:
    return name.replace("_orig_mod.", "")


def standard_normal(like: Tensor, seed: int, *path: int | str) -> Tensor:
    """Standard normal numbers that depend on the seed and the path alone, whatever the device and dtype.

    Args:
        like: Gives shape, device and dtype.
        seed: Seed of the draws.
        path: What the numbers are for: the sampler, the draw, the parameter's name.

    Returns:
        The numbers, shape ``like.shape``.
    """
    numbers = generator(seed, *path).standard_normal(tuple(like.shape), dtype=np.float32)
    return torch.as_tensor(np.asarray(numbers)).to(like)


class SwappedWeights(AbstractContextManager[None]):
    """A context inside which tensors of a model hold other values.

    Args:
        tensors: The model's own tensors, by name.
        values: Makes the values on entering, in the tensors' shapes; not every tensor need have one.
    """

    def __init__(self, tensors: Weights, values: Callable[[], Weights]) -> None:
        self._tensors = tensors
        self._values = values
        self._before: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> None:
        values = self._values()
        try:
            for name, value in values.items():
                self._put(name, value)
        except BaseException:
            self._restore()
            raise

    def _put(self, name: str, value: Tensor) -> None:
        """Give one tensor its value; ``.data`` would take any shape.

        Raises:
            ValueError: The model has no such tensor, or one of another shape.
        """
        if name not in self._tensors:
            raise ValueError(f"A draw gives values to the model's own tensors, got one for {name!r}, which is none.")
        tensor = self._tensors[name]
        if value.shape != tensor.shape:
            raise ValueError(
                f"A draw keeps the shapes of the model: {name} has {tuple(tensor.shape)}, its value "
                f"{tuple(value.shape)}."
            )
        self._before.append((tensor, tensor.data))
        tensor.data = value.detach().to(tensor)

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            tensor, data = self._before.pop()
            tensor.data = data


class BoundWeights(BoundSampler):
    """A sampler of weights at work on one model: all it needs is the weights of a draw.

    Args:
        model: The network.
        draw_weights: ``(index, seed) -> weights``: new values of any of the model's parameters and buffers, a
            function of the two alone. It is called while the model has its own weights, or those that the samplers
            before it in a `Compose` gave it.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> bound = BoundWeights(model, lambda index, seed: {"weight": torch.full((1, 2), float(index))})
        >>> with bound.draw(3, seed=0):
        ...     model.weight.tolist()
        [[3.0, 3.0]]
    """

    def __init__(self, model: nn.Module, draw_weights: Callable[[int, int], Weights]) -> None:
        self.tensors = tensors_of(model)
        self._draw_weights = draw_weights

    def weights(self, index: int, seed: int) -> Weights:
        """The weights that draw ``index`` changes, by name."""
        return self._draw_weights(index, seed)

    def draw(self, index: int, seed: int) -> AbstractContextManager[None]:
        """The model with the weights of draw ``index``."""
        return SwappedWeights(self.tensors, functools.partial(self.weights, index, seed))
