"""Linear layers and convolutions of many draws, each one operation: what `torch.vmap` makes of them, less its Python.

Under autocast it runs in the dtype of the layers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_uq._inside import own_class

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Affine = nn.Linear | Convolution

_CONVOLVE: tuple[Callable[..., Tensor], ...] = (functional.conv1d, functional.conv2d, functional.conv3d)


def affine_layer(module: nn.Module, drawn: Iterable[str]) -> Affine | None:
    """A module as a layer that runs as one operation for all draws.

    Args:
        module: Any module.
        drawn: Names of its tensors that are drawn.

    Returns:
        The module, if its forward is that of `nn.Linear` or of a convolution that pads with 0, and it has nothing but
        a weight and a bias; else None.
    """
    if not isinstance(module, Affine) or own_class(module) not in get_args(Affine) or "forward" in vars(module):
        return None
    if isinstance(module, Convolution) and module.padding_mode != "zeros":
        return None
    own = {name for name, _ in module.named_parameters()}
    return module if set(drawn) <= own <= {"weight", "bias"} else None


def affine_of_draws(layer: Affine, drawn: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """A layer for all draws.

    Args:
        layer: The layer.
        drawn: Its weight ``(D, *shape)``, or its bias ``(D, out)``, or both.
        inputs: Shape ``(D, U, *row)``.

    Returns:
        Shape ``(D, U, *outputs)``.
    """
    weight, bias = (
        drawn[name] if name in drawn else _repeated(layer, name, len(inputs)) for name in ("weight", "bias")
    )
    assert weight is not None
    return _linear(weight, bias, inputs) if isinstance(layer, nn.Linear) else _convolved(layer, weight, bias, inputs)


def _repeated(layer: Affine, name: str, count: int) -> Tensor | None:
    """What a layer has in every draw."""
    own: Tensor | None = getattr(layer, name)
    return None if own is None else own.expand(count, *own.shape)


def _linear(weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """A batched product."""
    rows = inputs.flatten(1, -2)
    outputs = torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)
    result: Tensor = outputs.unflatten(1, inputs.shape[1:-1])
    return result


def _convolved(layer: Convolution, weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """One convolution whose groups are the draws; nothing is copied where each has one row."""
    count = len(inputs)
    outputs = _CONVOLVE[len(layer.kernel_size) - 1](
        inputs.transpose(0, 1).flatten(1, 2),
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        layer.stride,
        layer.padding,
        layer.dilation,
        count * layer.groups,
    )
    result: Tensor = outputs.unflatten(1, (count, -1)).transpose(0, 1)
    return result
