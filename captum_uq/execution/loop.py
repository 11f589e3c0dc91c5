"""The reference: one call of Captum for each draw, one after another."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_uq.execution.job import Job


def loop_draw(job: Job, index: int) -> tuple[Any, Tensor | None]:
    """One draw.

    Args:
        job: The call.
        index: Which draw.

    Returns:
        What Captum returns for it, and the network's prediction ``(N, *outputs)``.
    """
    with job.draw(index):
        with job.noise.of_draw(index):
            result = job.run(job.call)
        return result, job.prediction()
