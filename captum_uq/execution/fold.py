"""Many draws in one batch: as further examples of one call, or in every forward of a call for each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_uq._trees import tree_map
from captum_uq.execution.foldable import FORWARDS, Folding
from captum_uq.execution.job import Job
from captum_uq.execution.layout import laid_out
from captum_uq.execution.method import Call, replaced_forward_func, wrapped_forward
from captum_uq.execution.one_channel import one_channel
from captum_uq.execution.roots import asked_together
from captum_uq.execution.rows import by_outputs, fold_call, fold_outputs, unfold
from captum_uq.execution.seen import Seen
from captum_uq.execution.shared_forwards import SharedForwards
from captum_uq.execution.surrogates import Surrogates, by_surrogate
from captum_uq.samplers.base import CannotFoldError, Rows


def fold_draws(
    job: Job, folding: Folding, indices: Sequence[int], draws_per_product: int, channels_last: bool = False
) -> tuple[Any, Tensor | None]:
    """Several draws at once.

    Args:
        job: The call.
        folding: How its method folds.
        indices: Which draws, `D` of them.
        draws_per_product: As in `Rows`: 0 where the draws share nothing.
        channels_last: Whether the network sees pictures with their channels last.

    Returns:
        The draws, a tree with leaves ``(D, *shape)``, and the predictions ``(D, N, *outputs)``.

    Raises:
        CannotFoldError: This call cannot be folded.
    """  # noqa: DOC502 -- raised by the helpers
    count, surrogate = len(indices), by_surrogate(job.call, folding)
    outputs = surrogate or by_outputs(job.call, folding)
    with folded(job, indices, draws_per_product, channels_last, outputs):
        if surrogate:
            return _one_call_fitted(job, indices), _predictions(job, count, Seen(job.call))
        if outputs:
            return _one_call(job, fold_outputs(job.call, count), indices)
        if folding.way == FORWARDS:
            draws = _one_call_each(job, indices)
            return draws, _predictions(job, count, Seen(fold_call(job.call, count, ()))) if job.predicts else None
        return _one_call(job, fold_call(job.call, count, folding.distributions), indices)


@contextlib.contextmanager
def folded(
    job: Job, indices: Sequence[int], draws_per_product: int, channels_last: bool = False, outputs: bool = False
) -> Iterator[Rows]:
    """The network as several draws at once.

    Its forward takes the draws of its rows as its last argument, or, with ``outputs``, gives those of every draw.

    Raises:
        CannotFoldError: The sampler makes one network at a time.
    """
    rows = Rows(len(indices), draws_per_product, job.checked)
    context = job.bound.folded(indices, job.seed or 0, rows)
    if context is None:
        raise CannotFoldError("the sampler makes one network at a time")

    def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
        forward = laid_out(forward) if channels_last else forward
        return rows.of_every_draw(forward) if outputs else rows.folded(forward)

    assert job.model is not None
    with job.untouched(), one_channel(job.model), context, wrapped_forward(job.call.method, wrap):
        yield rows


def _one_call(job: Job, call: Call, indices: Sequence[int]) -> tuple[Any, Tensor | None]:
    """The draws as further examples, or outputs, of one call; and the predictions."""
    with job.seeing(call) as seen, job.noise.of_draw(indices[0]), wrapped_forward(call.method, asked_together):
        draws = unfold(job.run(call), len(indices))
    return draws, _predictions(job, len(indices), seen)


def _one_call_each(job: Job, indices: Sequence[int]) -> Any:
    """A call for each draw, whose forwards are shared."""
    shared, results = SharedForwards(len(indices)), []
    with wrapped_forward(job.call.method, lambda forward: asked_together(shared.around(forward))):
        for number, index in enumerate(indices):
            shared.begin(number)
            with job.noise.of_draw(index):
                results.append(job.run(job.call))
    return tree_map(lambda *leaves: torch.stack([leaf.detach() for leaf in leaves]), *results)


def _one_call_fitted(job: Job, indices: Sequence[int]) -> Any:
    """One call, whose surrogate is fitted to each draw."""
    method = job.call.method
    surrogates = Surrogates(method.interpretable_model, len(indices))
    with replaced_forward_func(method, surrogates.around(method.forward_func)), job.noise.of_draw(indices[0]):
        method.interpretable_model, own = surrogates, method.interpretable_model
        try:
            return surrogates.looked_up(job.run(job.call))
        finally:
            method.interpretable_model = own


def _predictions(job: Job, count: int, seen: Seen) -> Tensor | None:
    prediction = job.prediction(seen)
    return None if prediction is None else unfold(prediction, count)
