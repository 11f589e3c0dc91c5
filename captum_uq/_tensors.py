"""What tensors know of themselves and torch has no public name for; ``tests/test_tensors.py`` tells when it moves."""

from __future__ import annotations

import torch
from torch import Tensor


def times_written(tensor: Tensor) -> int | None:
    """How often a tensor was written to; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


def address(tensor: Tensor) -> int:
    """Where a tensor's values lie; of a sparse one, which has no memory of its own, who it is."""
    return tensor.data_ptr() if tensor.layout is torch.strided else id(tensor)


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, sparse ones too: `torch.equal` does not take those."""
    if one.layout is torch.strided and other.layout is torch.strided:
        return torch.equal(one, other)
    return torch.equal(one.to_dense(), other.to_dense())


def viewed(tensor: Tensor) -> Tensor | None:
    """The tensor that one is a view of; None where it is none."""
    return tensor._base
