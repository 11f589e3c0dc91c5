"""Whether a road is worth it: counted, never timed, so that a call repeated takes the same road."""

from __future__ import annotations

from captum_uq._trees import leaves
from captum_uq.execution.job import Job
from captum_uq.execution.sizes import Sizes
from captum_uq.execution.work import Work

_LARGE = {"cpu": 1e9}
"""Operations of a forward from which a larger batch is no gain; elsewhere 1e12."""

_TOGETHER, _TOGETHER_BEHIND = 3, 8
"""So many folded draws must fit one eval: a batch of two costs more to make than it saves. So many behind a prefix that
is less than half of the operations: what it saves is less than what larger batches cost once they leave the cache."""

_TOGETHER_CONVOLVED = 4
"""So many for each row of a draw where every draw convolves with weights of its own, for which the layout does nothing:
a loop that is laid out is faster from a few rows."""

FEW = 8
"""Fewer draws of weights must all fit one eval: to lay weights side by side for some of them costs what it saves."""


def why_never(work: Work, share: bool, rows: int, job: Job) -> str:
    """Why a road could not be faster than the next one, whatever the memory: that is told before the method runs.

    Args:
        work: What the network does for one row.
        share: Whether the draws share what comes before they part.
        rows: Rows of a forward of one draw, or the least that they can be.
        job: The call.

    Returns:
        The reason; empty where the road may be worth it.
    """
    device = next(leaves(job.call.forward_arguments)).device.type
    if share and work.shared < 0.1 * work.operations:
        return "draws part so early that there is little to share"
    if not share and work.operations * rows > _LARGE.get(device, 1e12):
        return "the network is large: its arithmetic takes the time"
    return ""


def why_slower(work: Work, share: bool, rows: int, many: Sizes, job: Job, layout: bool, n_draws: int) -> str:
    """Why a road would not be faster than the next one.

    Args:
        work: What the network does for one row.
        share: Whether the draws share what comes before they part.
        rows: Rows of a usual forward of one draw.
        many: How many draws run at once.
        job: The call.
        layout: Whether a loop would show the network pictures with their channels last.
        n_draws: How many draws there are, `T`.

    Returns:
        The reason; empty where the road is worth it.
    """
    mostly_shared = share and work.shared >= 0.5 * work.operations
    least = _TOGETHER_BEHIND if share else _least_folded(rows, work, layout, n_draws)
    too_few = "too few draws fit one batch" if many.cached < least and not mostly_shared else ""
    return why_never(work, share, rows, job) or too_few


def _least_folded(rows: int, work: Work, layout: bool, n_draws: int) -> int:
    """How many draws that share nothing must fit one eval."""
    if not work.drawn_bytes:
        return _TOGETHER
    return max(_TOGETHER, _TOGETHER_CONVOLVED * rows if layout else 0, n_draws if n_draws < FEW else 0)
