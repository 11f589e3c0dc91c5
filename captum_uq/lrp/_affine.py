"""A linear or convolutional layer as a function of its weight and its bias, which rules change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq.samplers._of_no_draw import OfNoDraw
from captum_uq.samplers._order import Order

Change = Callable[[Tensor], Tensor]
"""What a rule makes of a weight or a bias."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
"""Layers with a weight and a bias, which every rule knows."""

_TRANSPOSED_FUNCTIONS: tuple[Any, ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@dataclass(frozen=True)
class Affine:
    """A layer ``z = W x + b`` at the weight and bias it has when it is called; of many draws, each row's own.

    Attributes:
        module: A layer of a type in `AFFINE`.
        size: Spatial shape of the output, which a transposed convolution leaves open.
        order: How the rows of the draws lie, where weights are drawn.
        changed: Another weight and bias than the layer's own.
    """

    module: nn.Module
    size: tuple[int, ...]
    order: Order | None = None
    changed: tuple[Tensor, Tensor | None] | None = None

    def __call__(self, inputs: Tensor, weight: Change | None = None, bias: Change | None = None) -> Tensor:
        """The layer's output; with a change, for another weight and bias.

        Args:
            inputs: Shape ``(N, *F)``.
            weight: What is made of the weight, in the layer's own layout, before it is used.
            bias: What is made of the bias, shape ``(outputs,)``, where there is one; with ``weight`` alone there is
                no bias.

        Returns:
            The output, shape ``(N, *outputs)``.
        """
        change, change_bias = (unchanged, unchanged) if weight is None else (weight, bias)

        def run(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return self._run(inputs, change(weight), None if change_bias is None or bias is None else change_bias(bias))

        own, own_bias = self._weight_and_bias()
        if self.order is None:
            return run(inputs, own, own_bias)
        drawn = (0, 0 if own.dim() > self._dims else None, 0 if own_bias is not None and own_bias.dim() > 1 else None)
        result: Tensor = torch.vmap(run, drawn)(self.order.apart(inputs), own, own_bias)
        return self.order.together(result)

    @property
    def written_by_torch(self) -> bool:
        """Whether the layer runs as torch wrote it: a subclass may mask its weight, pad its inputs or add to it."""
        kind, base = type(self.module), _kind(self.module)
        return all(getattr(kind, name, None) is getattr(base, name, None) for name in ("forward", "_conv_forward"))

    @torch.no_grad()
    def gives(self, output: Tensor, *inputs: Any) -> bool:
        """Whether the layer's weight and bias alone make its output of its inputs."""
        try:
            found = self(*inputs)
        except (TypeError, ValueError, RuntimeError):  # it takes other inputs
            return False
        limit = torch.finfo(output.dtype).eps ** 0.5 * float(output.abs().max())
        return found.shape == output.shape and torch.allclose(found, output, rtol=0, atol=limit)

    def has_channels_second(self, dims: int) -> bool:
        """Whether an output's second dimension, which a BatchNorm scales, is that of the layer's outputs."""
        return dims == self._dims

    @property
    def _dims(self) -> int:
        return _weight_dims(self.module)

    def _weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Of all draws ``(D, *shape)`` where they are drawn; read where a rule needs them."""
        if self.changed:
            return self.changed
        weight = own_tensor(self.module, "weight", self.order)
        assert weight is not None  # as every layer of `AFFINE`
        return weight, own_tensor(self.module, "bias", self.order)

    def _run(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        weight = weight.to(inputs.dtype)  # of a forward under autocast, which is over
        bias = None if bias is None else bias.to(inputs.dtype)
        if isinstance(self.module, TRANSPOSED):
            return self._transposed(self.module, inputs, weight, bias)
        if isinstance(self.module, CONVOLUTIONS):
            kind: Any = _kind(self.module)  # torch's own, whatever a subclass makes of it
            output: Tensor = kind._conv_forward(self.module, inputs, weight, bias)
            return output
        return F.linear(inputs, weight, bias)

    def _transposed(self, module: nn.Module, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The transposed convolution that gives an output of the size that the layer gave."""
        dims = weight.dim() - 2
        stride, padding, dilation = (_spread(getattr(module, n), dims) for n in ("stride", "padding", "dilation"))
        reach = [dilation[d] * (weight.shape[2 + d] - 1) + 1 for d in range(dims)]
        least = [(inputs.shape[-dims + d] - 1) * stride[d] - 2 * padding[d] + reach[d] for d in range(dims)]
        extra = [size - low for size, low in zip(self.size, least, strict=True)]
        groups: Any = module.groups
        output: Tensor = _TRANSPOSED_FUNCTIONS[dims - 1](inputs, weight, bias, stride, padding, extra, groups, dilation)
        return output

    def scaled(self, scale: Tensor, shift: Tensor, order: Order | None = None) -> Affine:
        """The layer followed by ``scale * z + shift``, as one layer.

        Args:
            scale: One number for each output, shape ``(outputs,)``; of many draws ``(D, outputs)``.
            shift: The same.
            order: How the rows of the draws lie, where these are drawn.

        Returns:
            The one layer.
        """
        (weight, bias), dims = self._weight_and_bias(), self._dims
        if isinstance(self.module, TRANSPOSED):
            groups = int(self.module.groups)
            by_group = _by_channel(scale.unflatten(-1, (groups, 1, -1)), dims - 2)
            weight = (weight.unflatten(-dims, (groups, -1)) * by_group).flatten(-dims - 1, -dims)
        else:
            weight = weight * _by_channel(scale, dims - 1)
        bias = shift if bias is None else bias * scale + shift
        return Affine(self.module, self.size, self.order or order, (weight, bias))


def affine_of(module: nn.Module, output: Tensor) -> Affine | None:
    """A layer as it is at this moment; None for one without weight and bias.

    Args:
        module: Any layer.
        output: What it gave, shape ``(N, *outputs)``.

    Returns:
        The layer as a function.
    """
    if not is_affine(module):
        return None
    size = tuple(output.shape[2:]) if output.dim() == _weight_dims(module) else tuple(output.shape[1:])
    return Affine(module, size, order_of(module, "weight", "bias"))


def _kind(module: nn.Module) -> type[nn.Module]:
    """Which of `AFFINE` a layer is."""
    return next(kind for kind in AFFINE if isinstance(module, kind))


def _weight_dims(module: nn.Module) -> int:
    """How many dimensions the weight of a layer has, without reading it: it may be computed."""
    size: Any = getattr(module, "kernel_size", ())
    return 2 + len(size)


def order_of(module: nn.Module, *names: str) -> Order | None:
    """How the rows of the draws lie in the forward under way, where a tensor of a module is drawn; else None."""
    tensors = (getattr(module, name) for name in names)
    return next((tensor.under_way() for tensor in tensors if isinstance(tensor, OfNoDraw)), None)


def own_tensor(module: nn.Module, name: str, order: Order | None) -> Tensor | None:
    """A tensor of a module outside any graph; where it is drawn, of all draws of a forward, ``(D, *shape)``."""
    tensor = getattr(module, name)
    if isinstance(tensor, OfNoDraw) and order is not None:
        return order.of_draws(tensor.of_draws())
    return None if tensor is None else tensor.detach()


def is_affine(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a layer has a weight and a bias that rules know."""
    return isinstance(module, AFFINE)


def _by_channel(scale: Tensor, dims: int) -> Tensor:
    """A number for each output, with so many dimensions behind it."""
    return scale.reshape(*scale.shape, *[1] * dims)


def _spread(value: int | Sequence[int] | str, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else [int(v) for v in value]


def positive(tensor: Tensor) -> Tensor:
    """The positive part."""
    return torch.clamp(tensor, min=0)


def negative(tensor: Tensor) -> Tensor:
    """The negative part, negative numbers or 0."""
    return torch.clamp(tensor, max=0)


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor."""
    return tensor
