"""One call of Captum for each draw, one after another: the reference, and what makes it faster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from captum_uq.execution.foldable import ROWS, folding
from captum_uq.execution.job import Job
from captum_uq.execution.layout import laid_out
from captum_uq.execution.method import replaced_forward_func, wrapped_forward
from captum_uq.execution.roots import asked_together

_NOTHING = contextlib.nullcontext()


def loop_draw(job: Job, index: int, ease: AbstractContextManager[None] = _NOTHING) -> tuple[Any, Tensor | None]:
    """One draw, by Captum as it is.

    Args:
        job: The call.
        index: Which draw.
        ease: What makes it faster, within the draw: see `eased`.

    Returns:
        What Captum returns for it, and the network's prediction ``(N, *outputs)``.
    """
    with job.draw(index), ease:
        with job.seeing(job.call) as seen, job.noise.of_draw(index):
            result = job.run(job.call)
        return result, job.prediction(seen)


@contextlib.contextmanager
def eased(job: Job, channels_last: bool) -> Iterator[None]:
    """What makes the draws of a loop faster, and changes rounding at most.

    Args:
        job: The call.
        channels_last: Whether the network sees pictures with their channels last.
    """
    method, how = job.call.method, folding(job.call.method)
    with contextlib.ExitStack() as stack:
        if channels_last:
            stack.enter_context(wrapped_forward(method, laid_out))
        hooks = hasattr(method, "model")  # they would see it
        if how.way == ROWS and how.gradients and not how.inside and not hooks:
            stack.enter_context(replaced_forward_func(method, asked_together(method.forward_func)))
        yield
