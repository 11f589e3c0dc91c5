"""Draws in ascending order, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BLOCK = 2**18
"""Numbers that are sorted at a time, in the cache, so that only what is asked for takes memory."""

_VECTORISED = (torch.float32, torch.float64)
"""What NumPy sorts on a CPU with vector instructions, and torch without."""


def ascending(draws: Tensor) -> Tensor:
    """The draws of each column in ascending order, NaN last; in memory of its own.

    Args:
        draws: Shape ``(T, entries)``.

    Returns:
        The same shape.
    """
    differentiable = draws.requires_grad and torch.is_grad_enabled()
    if draws.device.type != "cpu" or draws.dtype not in _VECTORISED or differentiable:
        return torch.sort(draws, dim=0).values
    copy = draws.detach().t().clone(memory_format=torch.contiguous_format)
    try:
        rows = copy.numpy()
    except RuntimeError:  # under torch.vmap a tensor has no memory of its own
        return torch.sort(draws, dim=0).values
    rows.sort(axis=1)
    return torch.from_numpy(rows).t()


def of_ranks(draws: Tensor, ranks: Sequence[int]) -> dict[int, Tensor]:
    """The draws of some ranks, 0 the smallest.

    Args:
        draws: Shape ``(T, *shape)``.
        ranks: From 0 to ``T - 1``.

    Returns:
        Those of each rank, ``(*shape)``.
    """
    columns, chosen = draws.unsqueeze(1).flatten(1), list(ranks)
    parts = columns.split(max(1, _BLOCK // len(draws)), dim=1)
    found = torch.cat([ascending(part)[chosen] for part in parts], dim=1)
    return {rank: each.view(draws.shape[1:]) for rank, each in zip(chosen, found, strict=True)}
