"""The draws of one call, by the road that was chosen."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_uq.distribution.execution import LOOP, Execution
from captum_uq.execution.fold import fold_draws
from captum_uq.execution.foldable import folding
from captum_uq.execution.job import Job
from captum_uq.execution.kept import Kept, one_draw
from captum_uq.execution.loop import eased, loop_draw
from captum_uq.samplers.base import AmbiguousRowsError


def run_draws(
    job: Job, draws: Kept, execution: Execution, progress: str | None = None
) -> tuple[Tensor | None, Execution]:
    """Run the call for each draw.

    Args:
        job: The call.
        draws: Takes the results; it knows how many draws there are, `T`.
        execution: The road.
        progress: What to call the progress bar; None for no bar.

    Returns:
        The predictions, ``(T, N, *outputs)``, and the road that was taken to the end.
    """
    n_draws, predictions, first = draws.n_draws, Kept(draws.n_draws), 0
    with nullcontext() if progress is None else tqdm(total=n_draws, desc=progress, unit="draw") as bar:
        while first < n_draws:
            indices = range(first, min(first + execution.draws_per_eval, n_draws))
            try:
                result, prediction = _several(job, indices, execution)
            except Exception as error:
                if execution.road == LOOP and not execution.channels_last:
                    raise
                execution = _next_road(execution, len(indices), error)
                continue
            draws.put(first, result)
            if prediction is not None:
                predictions.put(first, prediction)
            first += len(indices)
            if bar is not None:
                bar.update(len(indices))
    job.noise.finish()
    outputs: Tensor | None = predictions.stacked()
    return outputs, execution


def _several(job: Job, indices: range, execution: Execution) -> tuple[Any, Tensor | None]:
    """Some draws, leaves ``(D, *shape)``."""
    if execution.road == LOOP:
        result, prediction = loop_draw(job, indices[0], eased(job, execution.channels_last))
        return one_draw(result), one_draw(prediction)
    how = folding(job.call.method)
    return fold_draws(job, how, indices, execution.draws_per_product, execution.channels_last)


def _next_road(execution: Execution, count: int, error: Exception) -> Execution:
    """What to go on with after an error: fewer draws at once where that may help, else the loop."""
    if isinstance(error, AmbiguousRowsError) and count > 1:
        return replace(execution, draws_per_eval=count - 1)
    if _out_of_memory(error) and count > 1:
        return replace(execution, draws_per_eval=count // 2, draws_per_product=min(execution.draws_per_product, 1))
    layout = ", channels last" if execution.road == LOOP else ""
    why = "memory ran out" if _out_of_memory(error) else f"{execution.road}{layout} stopped: {error}"
    return Execution(LOOP, 1, why)


def _out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on any device."""
    cpu = isinstance(error, RuntimeError) and "not enough memory" in str(error)
    return cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))
