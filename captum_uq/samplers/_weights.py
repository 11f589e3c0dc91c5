"""Weights swapped in place: a model's own parameters and buffers hold a draw's values, then their own again.

A swap replaces ``.data``: parameters keep their identity, so hooks, layer methods and optimisers still hold, and
tied weights stay tied. Nothing is copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_uq._bulk import fill_bernoulli, fill_standard_normal
from captum_uq._caches import forget_weights
from captum_uq._inside import as_written, named_tensors
from captum_uq.samplers._folded_weights import FoldedWeights
from captum_uq.samplers.base import BoundSampler, Rows

Weights = Mapping[str, Tensor]
"""Values of parameters and buffers by name, each in the shape of its own."""


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters by name; tied ones once, under their first name; a compiled part's name as it was written."""
    return {as_written(name): parameter for name, parameter in model.named_parameters()}


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; tied ones once, under their first name."""
    first: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in written_tensors(model):
        first.setdefault(id(tensor), (name, tensor))
    return dict(first.values())


def names_of(model: nn.Module) -> dict[str, str]:
    """For every name of a parameter or buffer, tied ones' further names too, the name in `tensors_of`."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in written_tensors(model)}


def written_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers under every name that they have; a compiled part's as it was written."""
    return [(as_written(name), tensor) for name, tensor in named_tensors(model)]


def standard_normal(like: Tensor, seed: int, *path: int | str) -> Tensor:
    """Standard normal numbers that depend on the seed and the path alone, whatever the device and dtype.

    Args:
        like: Gives shape, device and dtype.
        seed: Seed of the draws.
        path: What the numbers are for: the sampler, the draw, the parameter's name.

    Returns:
        The numbers, shape ``like.shape``.
    """
    return fill_normal(torch.empty_like(like, requires_grad=False), seed, *path)


def fill_normal(out: Tensor, seed: int, *path: int | str) -> Tensor:
    """`standard_normal`, written to a tensor that there is; returns it."""
    return _filled(out, lambda numbers: fill_standard_normal(numbers, seed, *path))


def fill_mask(out: Tensor, rate: float, seed: int, *path: int | str) -> Tensor:
    """0 with probability ``rate``, else 1, written to a tensor that there is; returns it."""
    return _filled(out, lambda numbers: fill_bernoulli(numbers, rate, seed, *path))


def _filled(out: Tensor, fill: Callable[[NDArray[np.float32]], None]) -> Tensor:
    """The tensor with numbers made on the CPU, in place where they are of its kind."""
    if out.device.type == "cpu" and out.dtype == torch.float32 and out.is_contiguous():
        fill(out.view(-1).numpy())
        return out
    numbers = np.empty(out.numel(), np.float32)
    fill(numbers)
    return out.copy_(torch.as_tensor(numbers).view(out.shape))


class SwappedWeights(AbstractContextManager[None]):
    """A context inside which tensors of a model hold other values.

    Args:
        tensors: The model's own tensors, by name.
        values: Makes the values on entering, in the tensors' shapes; not every tensor need have one.
        done: Told on leaving that the values are no longer held.
    """

    def __init__(
        self, tensors: Weights, values: Callable[[], Weights], done: Callable[[], object] | None = None
    ) -> None:
        self._tensors = tensors
        self._values = values
        self._done = done
        self._before: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> None:
        values = self._values()
        try:
            for name, value in values.items():
                self._put(name, value)
        except BaseException:
            self._restore()
            raise
        forget_weights()

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
        alike = value.dtype == tensor.dtype and value.device == tensor.device
        tensor.data = value if alike else value.detach().to(tensor)

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            tensor, data = self._before.pop()
            tensor.data = data
        forget_weights()
        if self._done is not None:
            self._done()


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
        self.model = model
        self.tensors = tensors_of(model)
        self._buffers = {name for name, tensor in self.tensors.items() if not isinstance(tensor, nn.Parameter)}
        self._draw_weights = draw_weights

    def weights(self, index: int, seed: int) -> Weights:
        """The weights that draw ``index`` changes, by name."""
        return self._draw_weights(index, seed)

    def draw(self, index: int, seed: int) -> AbstractContextManager[None]:
        """The model with the weights of draw ``index``."""
        return SwappedWeights(self.tensors, functools.partial(self._held, index, seed))

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[None]:
        """The model with the weights of many draws at once."""
        return FoldedWeights(self.model, [self._held(index, seed) for index in indices], rows)

    def _held(self, index: int, seed: int) -> Weights:
        """What the model holds in a draw: buffers in memory of their own, since a forward may write into them."""
        weights = self.weights(index, seed)
        buffers = self._buffers.intersection(weights)
        return {**weights, **{name: weights[name].detach().clone() for name in buffers}} if buffers else weights


class BoundNoise(BoundWeights):
    """Weights that are all drawn anew: written for each draw to the memory of the draw before, once that is left.

    Fresh memory for a draw costs more than drawing into it.

    Args:
        model: The network.
        own: The parameters that draw, by name.
        write: ``(out, own, index, seed, name)``: puts a draw of the parameter ``own`` into ``out``, which is like it.
    """

    def __init__(
        self, model: nn.Module, own: Weights, write: Callable[[Tensor, Tensor, int, int, str], object]
    ) -> None:
        super().__init__(model, lambda index, seed: self._written(self._fresh(), index, seed))
        self._own, self._write = own, write
        self._spare: list[Weights] = []

    def draw(self, index: int, seed: int) -> AbstractContextManager[None]:
        """The model with the weights of draw ``index``."""
        memory = self._spare.pop() if self._spare else self._fresh()
        values = functools.partial(self._written, memory, index, seed)
        return SwappedWeights(self.tensors, values, functools.partial(self._spare.append, memory))

    def _fresh(self) -> Weights:
        return {name: torch.empty_like(own, requires_grad=False) for name, own in self._own.items()}

    def _written(self, memory: Weights, index: int, seed: int) -> Weights:
        for name, out in memory.items():
            self._write(out, self._own[name].detach(), index, seed, name)
        return memory
