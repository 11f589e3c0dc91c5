"""What a flipped feature becomes: a constant, the mean of its channel, or the noise of the papers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from captum_uq.metrics._inputs import as_plain
from captum_uq.metrics._noise import ExampleNoise

__all__ = ["ChannelMean", "Constant", "Fill", "UniformNoise", "check_floats"]


class Fill(ABC):
    """What a flipped feature becomes.

    A subclass gives ``values``, made once for each example; random ones come from ``noise``, so that every step
    and every map under test meets the same. One whose result depends on which features are flipped overrides
    ``apply`` too, row by row: no row may depend on another.
    """

    @abstractmethod
    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Make the values of flipped features.

        Args:
            inputs: Shape ``(N, *F)``.
            noise: The random numbers of the examples.
            stream: The stream of ``noise`` kept for this input.

        Returns:
            Shape ``(N, *F)`` or ``(1, *F)`` or anything between that broadcasts, in the inputs' dtype and device.
        """

    def apply(self, rows: Tensor, flipped: Tensor, values: Tensor) -> Tensor:
        """Fill the flipped features of some rows.

        Args:
            rows: Examples, one for each row, shape ``(R, *F)``, made for this call: it writes into them where it can.
            flipped: Which features are flipped, bool, broadcastable to ``rows``.
            values: What ``values`` gave for these rows, broadcastable to ``rows``.

        Returns:
            The perturbed rows, shape ``(R, *F)``, in their memory format.
        """
        return torch.where(flipped, values, rows, out=rows)


@dataclass(frozen=True)
class Constant(Fill):
    """A number, or a tensor that broadcasts with the inputs: what ``baselines`` means.

    Args:
        value: A number; a tensor ``(N, *F)``, ``(1, *F)`` or ``(*F)``; for integer inputs a token id.
    """

    value: float | Tensor = 0.0

    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Bring the value to the inputs' dtype and device; see ``Fill.values``.

        Args:
            inputs: Shape ``(N, *F)``.
            noise: Not used.
            stream: Not used.

        Returns:
            Shape ``(N or 1, *F)``, broadcast.

        Raises:
            TypeError: Neither number nor tensor, or a fraction for integer inputs.
            ValueError: A tensor that does not broadcast with the inputs.
        """  # noqa: DOC502 (one is raised by the helper)
        value = _exact(self.value, "baselines")
        if not inputs.is_floating_point() and not bool((value == value.to(inputs.dtype)).all()):
            raise TypeError(
                f"baselines of integer inputs must be token ids, got {self.value!r} for inputs of {inputs.dtype}. "
                "Pass an integer such as the id of the padding or mask token."
            )
        return _broadcast(value, inputs).to(inputs.dtype).to(inputs.device)


@dataclass(frozen=True)
class ChannelMean(Fill):
    """The mean of each channel of the example itself.

    For the mean over a data set pass it as a tensor, ``baselines=mean.view(1, C, 1, 1)``.
    """

    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Average each channel; see ``Fill.values``.

        Args:
            inputs: Shape ``(N, C, *spatial)``.
            noise: Not used.
            stream: Not used.

        Returns:
            Shape ``(N, C, 1, ...)``.

        Raises:
            ValueError: Inputs without channels or of integers.
        """  # noqa: DOC502 (raised by the helper)
        check_floats("ChannelMean", inputs, least_dims=3)
        return inputs.mean(dim=tuple(range(2, inputs.ndim)), keepdim=True)


@dataclass(frozen=True)
class UniformNoise(Fill):
    """The random fill of B-LRP, ``(U - mean) / std`` with ``U`` uniform on [0, 1).

    Args:
        mean: Mean of the raw values over the training set, a number or a tensor that broadcasts with the inputs.
        std: Their standard deviation; with the defaults the fill is ``U`` itself.

    References:
        Bykov et al., "How much can I trust you?", 2020, appendix A.
    """

    mean: float | Tensor = 0.0
    std: float | Tensor = 1.0

    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Draw one value for each feature of each example; see ``Fill.values``.

        Args:
            inputs: Shape ``(N, *F)``.
            noise: The random numbers of the examples.
            stream: The stream of ``noise`` kept for this input.

        Returns:
            Shape ``(N, *F)``.

        Raises:
            TypeError: A mean or std that is neither number nor tensor.
            ValueError: Integer inputs, a mean or std that does not broadcast, or a std that is not positive.
        """  # noqa: DOC502 (one is raised by the helper)
        check_floats("UniformNoise", inputs, least_dims=1)
        exact = (_exact(value, "mean and std of UniformNoise") for value in (self.mean, self.std))
        mean, std = (_broadcast(value.double().cpu(), inputs) for value in exact)
        if not bool((std > 0).all()):
            raise ValueError(
                f"UniformNoise needs std above 0, got {float(std.min())} at the least. For pixels that never vary "
                "in the training set, clamp: std.clamp(min=1e-3)."
            )
        return ((noise.uniform(tuple(inputs.shape[1:]), stream) - mean) / std).to(inputs)


def _exact(value: float | Tensor, name: str) -> Tensor:
    """A tensor as it is; a number in the precision of Python's floats, not of torch's default.

    Raises:
        TypeError: Neither number nor tensor.
    """
    if not isinstance(value, (Real, Tensor)):
        raise TypeError(
            f"{name} must be numbers or tensors, got {type(value).__name__}. Lists and arrays become tensors by "
            "torch.as_tensor; fills such as ChannelMean() are passed as perturb_func."
        )
    if isinstance(value, Tensor):
        return as_plain(value)
    return torch.tensor(int(value)) if isinstance(value, Integral) else torch.tensor(float(value), dtype=torch.float64)


def _broadcast(value: Tensor, inputs: Tensor) -> Tensor:
    """Bring a value to ``(N or 1, *F)`` without copying it.

    Raises:
        ValueError: It does not broadcast with the inputs.
    """
    if value.ndim < inputs.ndim:
        value = value.reshape((1,) * (inputs.ndim - value.ndim) + tuple(value.shape))
    fits = value.ndim == inputs.ndim
    if not fits or any(v not in {1, x} for v, x in zip(value.shape, inputs.shape, strict=True)):
        raise ValueError(
            f"a baseline, or a mean or std of a fill, must broadcast with the inputs: got {tuple(value.shape)} for "
            f"{tuple(inputs.shape)}. Give it the inputs' shape, or 1 in the dimensions it does not depend on, such as "
            "(1, C, 1, 1) for the channels of pictures."
        )
    return value


def check_floats(name: str, inputs: Tensor, least_dims: int, most_dims: int | None = None) -> None:
    """Check that a fill can be made for these inputs.

    Args:
        name: Name of the fill, for the error.
        inputs: Shape ``(N, *F)``.
        least_dims: Dimensions needed, the batch included.
        most_dims: Dimensions allowed.

    Raises:
        ValueError: Integers, or too few or too many dimensions.
    """
    if not inputs.is_floating_point() or inputs.ndim < least_dims or (most_dims and inputs.ndim > most_dims):
        wanted = {1: "any shape", 3: "shape (N, C, *spatial)", 4: "shape (N, C, H, W)"}[least_dims]
        raise ValueError(
            f"{name} fills floating point inputs of {wanted}, got {inputs.dtype} of {tuple(inputs.shape)}. "
            f"Use baselines= for tokens and tables; beside other inputs perturb_func=(Constant(0), {name}())."
        )
