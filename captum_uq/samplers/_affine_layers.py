"""Linear layers and convolutions of many draws, each one operation: what `torch.vmap` makes of them, less its Python.

Under autocast it runs in the dtype of the layers themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_uq._inside import own_class

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Affine = nn.Linear | Convolution

_CONVOLVE: tuple[Callable[..., Tensor], ...] = (functional.conv1d, functional.conv2d, functional.conv3d)


def affine_layer(module: nn.Module, drawn: Collection[str]) -> Affine | None:
    """A module as a layer that runs as one operation for all draws.

    Args:
        module: Any module.
        drawn: Names of its tensors that are drawn.

    Returns:
        The module, if its forward is that of `nn.Linear` or of a convolution that pads with 0, and it has nothing but
        a weight and a bias; else None.
    """
    if not isinstance(module, Affine) or not _written_by_torch(module):
        return None
    if isinstance(module, Convolution) and module.padding_mode != "zeros":
        return None
    own = {name for name, _ in module.named_parameters()}
    return module if set(drawn) <= own <= {"weight", "bias"} else None


def _written_by_torch(module: nn.Module) -> bool:
    """Whether a layer runs as torch wrote it; people change how one convolves, for one layer or for all."""
    kind = own_class(module)
    return (
        kind in _METHODS
        and _METHODS[kind] == _methods_of(kind)
        and vars(module).keys().isdisjoint(("forward", "_conv_forward"))
    )


def _methods_of(kind: type[nn.Module]) -> tuple[Any, ...]:
    return kind.forward, getattr(kind, "_conv_forward", None)


_METHODS = {kind: _methods_of(kind) for kind in get_args(Affine)}
"""The layers' own methods, as they are when this file is read."""


def affine_of_draws(layer: Affine, drawn: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """A layer for all draws.

    Args:
        layer: The layer.
        drawn: Its weight ``(D, *shape)``, or its bias ``(D, out)``, or both.
        inputs: Shape ``(D, U, *row)``.

    Returns:
        Shape ``(D, U, *outputs)``.
    """
    if "weight" not in drawn:
        return _shared(layer, drawn["bias"], inputs)
    weight, bias = drawn["weight"], drawn.get("bias")
    if bias is None and layer.bias is not None:
        bias = layer.bias.expand(len(inputs), -1)
    return _linear(weight, bias, inputs) if isinstance(layer, nn.Linear) else _convolved(layer, weight, bias, inputs)


def _shared(layer: Affine, bias: Tensor, inputs: Tensor) -> Tensor:
    """One layer for all rows, whose weight is the same in every draw."""
    rows = inputs.flatten(0, 1)
    if isinstance(layer, nn.Linear):
        outputs, behind = functional.linear(rows, layer.weight), 0
    else:
        outputs, behind = _convolution(layer)(rows, layer.weight, None), len(layer.kernel_size)
    spread = bias.to(outputs.dtype).view(len(bias), *[1] * (outputs.dim() - 1 - behind), -1, *[1] * behind)
    result: Tensor = outputs.unflatten(0, inputs.shape[:2]) + spread
    return result


def _linear(weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """A batched product."""
    rows = inputs.flatten(1, -2)
    outputs = torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)
    result: Tensor = outputs.unflatten(1, inputs.shape[1:-1])
    return result


def _convolved(layer: Convolution, weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """One convolution whose groups are the draws; nothing is copied where each has one row."""
    count = len(inputs)
    rows, biases = inputs.transpose(0, 1).flatten(1, 2), None if bias is None else bias.flatten()
    outputs = _convolution(layer, count)(rows, weight.flatten(0, 1), biases)
    result: Tensor = outputs.unflatten(1, (count, -1)).transpose(0, 1)
    return result


def _convolution(layer: Convolution, times: int = 1) -> Callable[..., Tensor]:
    """A layer's convolution as a function of its input, weight and bias, for so many times its groups."""
    convolve, groups = _CONVOLVE[len(layer.kernel_size) - 1], times * layer.groups
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": groups}
    return functools.partial(convolve, **options)
