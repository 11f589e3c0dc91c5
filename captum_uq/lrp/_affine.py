"""A linear or convolutional layer as a function of its weight and its bias, which rules change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
"""Layers with a weight and a bias, which every rule knows."""

_TRANSPOSED_FUNCTIONS: tuple[Any, ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@dataclass(frozen=True)
class Affine:
    """A layer ``z = W x + b`` at the weight and bias it has when they are asked for.

    Attributes:
        module: A layer of a type in `AFFINE`.
        size: Spatial shape of the output, which a transposed convolution leaves open.
        changed: Another weight and bias than the layer's own.
    """

    module: nn.Module
    size: tuple[int, ...]
    changed: tuple[Tensor, Tensor | None] | None = None

    @property
    def weight(self) -> Tensor:
        """``W``, in the layer's own layout."""
        return self.changed[0] if self.changed else self._own("weight")

    @property
    def bias(self) -> Tensor | None:
        """``b``, shape ``(outputs,)``, or None."""
        if self.changed:
            return self.changed[1]
        return None if self.module.bias is None else self._own("bias")

    def _own(self, name: str) -> Tensor:
        """Of the layer; read where a rule needs it, since it may be of no draw."""
        tensor: Tensor = getattr(self.module, name)
        return tensor.detach()

    def __call__(self, inputs: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """The layer's output; with a weight given, for this weight and bias.

        Args:
            inputs: Shape ``(N, *F)``.
            weight: In place of the layer's own weight **and bias**.
            bias: With ``weight``; None for no bias.

        Returns:
            The output, shape ``(N, *outputs)``.
        """
        if weight is None:
            weight, bias = self.weight, self.bias
        if isinstance(self.module, TRANSPOSED):
            return self._transposed(self.module, inputs, weight, bias)
        if isinstance(self.module, CONVOLUTIONS):
            output: Tensor = self.module._conv_forward(inputs, weight, bias)
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

    def scaled(self, scale: Tensor, shift: Tensor) -> Affine:
        """The layer followed by ``scale * z + shift``, one number for each output, as one layer."""
        weight = self.weight
        if isinstance(self.module, TRANSPOSED):
            groups = int(self.module.groups)
            by_group = weight.reshape(groups, -1, *weight.shape[1:]) * _by_channel(scale.reshape(groups, 1, -1), weight)
            weight = by_group.reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        bias = shift if self.bias is None else self.bias * scale + shift
        return Affine(self.module, self.size, (weight, bias))


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
    size = tuple(output.shape[2:]) if output.dim() == module.weight.dim() else tuple(output.shape[1:])
    return Affine(module, size)


def is_affine(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a layer has a weight and a bias that rules know."""
    return isinstance(module, AFFINE)


def _by_channel(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(*scale.shape, *[1] * (weight.dim() - 2))


def _spread(value: int | Sequence[int] | str, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else [int(v) for v in value]


def positive(tensor: Tensor) -> Tensor:
    """The positive part."""
    return torch.clamp(tensor, min=0)


def negative(tensor: Tensor) -> Tensor:
    """The negative part, negative numbers or 0."""
    return torch.clamp(tensor, max=0)
