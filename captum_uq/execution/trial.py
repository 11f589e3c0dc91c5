"""Whether a road gives the loop's values: tried on a few draws."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from captum_uq._rng import isolated
from captum_uq._trees import leaves
from captum_uq.execution.fold import fold_draws
from captum_uq.execution.foldable import Folding
from captum_uq.execution.job import Job
from captum_uq.samplers.base import CannotFoldError, Checked

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Largest difference from the loop, relative to the largest attribution or, where attributions are differences of
outputs, the largest output; for other dtypes 1e-2."""

_OTHERS = 16
"""So many draws are looked at for one that differs from draw 0; a check on draws that agree would show nothing."""


class NothingShownError(CannotFoldError):
    """A check that says nothing of other draws or weights, and is made again at the next call."""


def differing_draw(job: Job, n_draws: int) -> int:
    """A draw whose predictions are not those of draw 0.

    Args:
        job: The call.
        n_draws: How many draws there are.

    Returns:
        Its number; 1 where the network's outputs are no tensor.

    Raises:
        NothingShownError: There is none among the first.
    """
    first = None
    with isolated():
        for index in range(min(n_draws, _OTHERS)):
            with job.draw(index):
                outputs = job.call.predict()
            if outputs is None:
                return 1
            if first is not None and not torch.equal(outputs, first):
                return index
            first = outputs if first is None else first
    raise NothingShownError("the first draws predict the same, so that a check of a faster road would show nothing")


def tried(job: Job, how: Folding, share: bool, layout: bool, reference: tuple[Any, Any], other: int) -> Checked:
    """Run a few draws by a road and compare them with the loop: two that are passed backwards at once, and one alone.

    Args:
        job: The call.
        how: How its method folds.
        share: Whether the draws share what comes before they part.
        layout: Whether the network sees pictures with their channels last.
        reference: Attributions and predictions of a draw, by the loop.
        other: Which draw that is, unlike draw 0.

    Returns:
        What was seen of the network meanwhile.

    Raises:
        CannotFoldError: They are not the loop's.
        NothingShownError: All is 0.
    """  # noqa: DOC502 -- raised by the check
    job.checked = Checked()
    trial = fold_draws(job, how, (0, other, 0), 2 if share else 0, layout)
    outputs = 0.0 if how.gradients else _output_scale(job)
    _check(reference, trial, outputs)
    job.checked.done = True
    return job.checked


@contextlib.contextmanager
def slow_is_refused() -> Iterator[None]:
    """What torch can only vectorise by a loop of its own, and warns of, is no gain.

    Raises:
        CannotFoldError: It warns.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="There is a performance drop")
        try:
            yield
        except UserWarning as warning:
            raise CannotFoldError("torch vectorises some of the network by a loop of its own") from warning


def _output_scale(job: Job) -> float:
    """The largest output of the network as it stands."""
    with job.untouched():
        return _scale(job.call.predict())


def _check(reference: tuple[Any, Any], trial: tuple[Any, Any], outputs: float) -> None:
    """Compare the second of three draws with the loop, and the first with the third, which is the same draw.

    A convergence delta, about 0, is compared on the scale of the attributions.

    Args:
        reference: Attributions and predictions of the loop.
        trial: Those of a road, of three draws.
        outputs: The scale of the outputs that attributions are differences of; 0 where they are not.

    Raises:
        CannotFoldError: It is not the loop's.
        NothingShownError: All is 0.
    """
    for whole, others in zip(reference, trial, strict=True):
        scale = _scale(whole) or _scale(others)  # a draw without anything of it is compared too
        if whole is not None and not max(scale, outputs):
            raise NothingShownError("all is 0 on these inputs, so that a check shows nothing")
        for expected, got in zip(leaves(whole), leaves(others), strict=True):
            if expected.shape != got.shape[1:]:
                raise CannotFoldError("it does not return one attribution for each example")
            limit = _TOLERANCE.get(expected.dtype, 1e-2) * max(scale, outputs)
            pairs = ((got[1], expected.detach()), (got[2], got[0]))
            if not all(torch.allclose(a.double(), b.double(), rtol=0, atol=limit, equal_nan=True) for a, b in pairs):
                raise CannotFoldError("its values were not those of the loop")


def _scale(tree: Any) -> float:
    """The largest number of a tree."""
    return max((float(leaf.detach().abs().max()) for leaf in leaves(tree) if leaf.numel()), default=0.0)
