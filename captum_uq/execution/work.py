"""What one forward of a network costs, and how much of it all draws share: counted, so that it never wobbles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from captum_uq._inside import named_tensors
from captum_uq._rng import isolated
from captum_uq._trees import batch_size, first_row, leaves, tree_map
from captum_uq.execution.activations import ActivationBytes
from captum_uq.execution.fold import folded
from captum_uq.execution.job import Job


class Work(NamedTuple):
    """What the network does for one row.

    Attributes:
        operations: Floating-point operations of a forward.
        shared: Those before the draws part.
        bytes: Size of all activations of a forward.
        shared_bytes: Of those before the draws part.
        drawn_bytes: Size of the weights that each draw has of its own.
    """

    operations: int
    shared: int
    bytes: int
    shared_bytes: int
    drawn_bytes: int = 0


def forward_work(job: Job, share: bool) -> Work:
    """Count the work of one forward on the first example.

    Args:
        job: The call.
        share: Whether to look for the place where the draws part.

    Returns:
        The work.

    Raises:
        CannotFoldError: The network cannot run folded, or there is no such place.
    """  # noqa: DOC502 -- raised by the helpers
    arguments = tree_map(_fresh, first_row(job.call.forward_arguments))
    shared: list[tuple[int, int]] = []
    assert job.model is not None
    own = named_tensors(job.model)
    counter, memory = FlopCounterMode(display=False), ActivationBytes(tensor for _, tensor in own)
    with isolated(), torch.enable_grad(), folded(job, (0,), int(share)) as rows, memory, counter:
        rows.when_parted = lambda: shared.append((counter.get_total_flops(), memory.total))
        job.call.method.forward_func(*arguments, torch.zeros(1, dtype=torch.int64, device=arguments[0].device))
        before, size = shared[0] if shared else (0, 0)
        drawn = sum(tensor.nbytes for name, tensor in own if any(name in names for names in rows.checked.drawn))
        return Work(counter.get_total_flops(), before, memory.total, size, drawn)


def _fresh(leaf: Tensor) -> Tensor:
    return leaf.detach().clone().requires_grad_(leaf.is_floating_point())


class RowCount:
    """How many rows the forwards of a network have, while a method runs."""

    def __init__(self) -> None:
        self._each: list[int] = []

    @property
    def largest(self) -> int:
        """The most that one had."""
        return max(self._each, default=1)

    @property
    def usual(self) -> int:
        """Those of the forward that a row is in, on average: a few forwards of other sizes hardly count."""
        return round(sum(rows**2 for rows in self._each) / max(1, self.together)) or 1

    @property
    def together(self) -> int:
        """Those of all."""
        return sum(self._each)

    def counting(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """``forward``, counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._each.append(batch_size(leaves((args, kwargs))))
            return forward(*args, **kwargs)

        return counted
