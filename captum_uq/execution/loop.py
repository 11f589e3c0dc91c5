"""The reference: one call of Captum for each draw, one after another."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from torch import Tensor

from captum_uq.execution.job import Job
from captum_uq.execution.layout import laid_out
from captum_uq.execution.method import wrapped_forward


def loop_draw(job: Job, index: int, channels_last: bool = False) -> tuple[Any, Tensor | None]:
    """One draw.

    Args:
        job: The call.
        index: Which draw.
        channels_last: Whether the network sees pictures with their channels last; the reference does not.

    Returns:
        What Captum returns for it, and the network's prediction ``(N, *outputs)``.
    """
    layout = wrapped_forward(job.call.method, laid_out) if channels_last else nullcontext()
    with job.draw(index), layout:
        with job.noise.of_draw(index):
            result = job.run(job.call)
        return result, job.prediction()
