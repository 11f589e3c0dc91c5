"""What tensors know of themselves and torch has no public name for; ``tests/test_tensors.py`` tells when it moves."""

from __future__ import annotations

from torch import Tensor


def times_written(tensor: Tensor) -> int | None:
    """How often a tensor was written to; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


def viewed(tensor: Tensor) -> Tensor | None:
    """The tensor that one is a view of; None where it is none."""
    return tensor._base
