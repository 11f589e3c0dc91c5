"""Where the channels of a picture lie in memory: CPUs convolve and pool faster where they come last."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def channels_last(tensor: Tensor, of: tuple[torch.dtype, ...] = (torch.float32,)) -> Tensor:
    """The same numbers in ``torch.channels_last``, where that makes a network faster.

    Args:
        tensor: Any tensor.
        of: The dtypes of pictures.

    Returns:
        Pictures ``(N, C, H, W)`` on a CPU with their channels last; anything else as it is.
    """
    picture = tensor.dim() == 4 and tensor.dtype in of and tensor.device.type == "cpu"
    return tensor.to(memory_format=torch.channels_last) if picture else tensor


def moves(tensor: Tensor) -> bool:
    """Whether `channels_last` makes a difference to a tensor."""
    return channels_last(tensor[:1]).stride() != tensor[:1].stride()


def has_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor's second dimension varies fastest in memory."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def lying_as(tensor: Tensor, other: Tensor) -> Tensor:
    """The same numbers, with the channels last where another tensor has them last; else as they lie."""
    last = has_channels_last(other) and tensor.dim() == 4
    return tensor.contiguous(memory_format=torch.channels_last) if last else tensor


def convolves(function: object) -> bool:
    """Whether a function is a module with convolutions of pictures."""
    return isinstance(function, nn.Module) and any(isinstance(module, nn.Conv2d) for module in function.modules())


def same_outputs(found: Tensor, wanted: Tensor) -> bool:
    """Whether two layouts gave the same, to 1e-5 of the largest output."""
    found, wanted = found.double(), wanted.double()
    limit = 1e-5 * float(wanted.abs().max())
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=0, atol=limit, equal_nan=True)
