"""How the draws of a call are run: the fastest road that gives the loop's values, checked by running."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._rng import isolated
from captum_uq._trees import leaves, tree_map
from captum_uq.distribution.execution import FOLD, LOOP, PREFIX, Execution
from captum_uq.execution.fold import fold_draws
from captum_uq.execution.foldable import Folding, folding
from captum_uq.execution.job import Job
from captum_uq.execution.loop import loop_draw
from captum_uq.execution.method import wrapped_forward
from captum_uq.execution.work import RowCount, Work, forward_work
from captum_uq.samplers.base import CannotFoldError, DrawError, original

AUTO = "auto"
ROADS = (AUTO, LOOP, FOLD, PREFIX)

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Largest difference from the loop, relative to the largest attribution or, where attributions are differences of
outputs, the largest output; for other dtypes 1e-2."""

_FEW = 8
"""So few draws are no reason to check a faster road."""


def check_execution(execution: str, draws_per_eval: Any) -> None:
    """Refuse what is no road and no number of draws.

    Raises:
        ValueError: It is not.
    """
    if execution not in ROADS:
        raise ValueError(f"execution is one of {', '.join(map(repr, ROADS))}, got {execution!r}.")
    number = isinstance(draws_per_eval, int) and not isinstance(draws_per_eval, bool) and draws_per_eval >= 1
    if draws_per_eval != AUTO and not number:
        raise ValueError(f"draws_per_eval is 'auto' or a positive integer, got {draws_per_eval!r}.")


def plan(job: Job, n_draws: int, execution: str, draws_per_eval: int | str) -> Execution:
    """Choose the road of a call.

    Args:
        job: The call.
        n_draws: How many draws it wants, `T`.
        execution: The road asked for; what is not exact falls back to the next, ``"prefix"``, ``"fold"``, ``"loop"``.
        draws_per_eval: How many draws at once; ``"auto"`` for as many as fit.

    Returns:
        The road. It is checked by running two draws of it against the loop, once for each network, method, sampler
        and shapes.
    """
    how = folding(job.call.method)
    reason = _why_not(job, how, n_draws, execution)
    if reason:
        return Execution(LOOP, 1, reason)
    assert job.model is not None
    known = _KNOWN.setdefault(job.model, {})
    key = (execution, _key(job))
    if key not in known:
        with isolated():
            known[key] = _choose(job, how, execution)
    choice = known[key]
    return choice.execution(n_draws, draws_per_eval)


_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, _Choice]] = weakref.WeakKeyDictionary()
"""What was checked before, for each network."""


def _why_not(job: Job, how: Folding, n_draws: int, execution: str) -> str:
    """Why a call must loop; empty where it need not."""
    if execution == LOOP:
        return "asked for"
    method = type(job.call.method).__name__
    if n_draws == 1:
        return "there is one draw"
    if how.way is None:
        return f"{method} does not fold: {how.reason}"
    if how.random and job.noise.independent:
        return f"every draw has its own random numbers of {method}"
    if job.model is None or job.call.forward_arguments is None:
        return "the network or its inputs are not known"
    if original(job.call.method.forward_func) is not job.call.method.forward_func:
        return "the network is compiled"
    if execution == AUTO and n_draws < _FEW:
        return f"fewer than {_FEW} draws are not worth a check of a faster road"
    return ""


def _key(job: Job) -> Hashable:
    """What a check holds for: network, sampler, method and its arguments, values of tensors and targets aside."""
    call, model = job.call, job.model
    assert model is not None
    structure = tuple((name, type(module)) for name, module in model.named_modules())
    given = call.arguments
    given["target"] = type(given.get("target"))
    arguments = str(tree_map(lambda leaf: (leaf.shape, leaf.dtype, leaf.device), given))
    forward = getattr(call.method.forward_func, "__code__", type(call.method.forward_func))
    settings = (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), job.predicts)
    return structure, job.sampler, type(call.method), _options(call.method), forward, arguments, settings


def _options(method: Any) -> Hashable:
    """The options that a method was made with, as far as they are values; of others the type."""
    known = {name: value for name, value in vars(method).items() if not isinstance(value, (list, dict, tuple))}
    plain = (str, int, float, type(None))
    return tuple(
        (name, value if isinstance(value, plain) else id(value) if isinstance(value, nn.Module) else type(value))
        for name, value in known.items()
    )


@dataclass(frozen=True)
class _Choice:
    road: str
    reason: str
    most: int = 1

    def execution(self, n_draws: int, draws_per_eval: int | str) -> Execution:
        most = self.most if isinstance(draws_per_eval, str) else draws_per_eval
        return Execution(self.road, 1 if self.road == LOOP else min(most, n_draws), self.reason)


def _choose(job: Job, how: Folding, execution: str) -> _Choice:
    """The first road that is worth it and gives the loop's values.

    Raises:
        DrawError: The network draws something that cannot be held for a draw.
    """
    refused: list[str] = []
    count = RowCount()
    try:
        with wrapped_forward(job.call.method, count.counting):
            reference = loop_draw(job, 1)
    except DrawError:
        raise
    except Exception as error:  # the loop will say it
        return _Choice(LOOP, f"the loop raised {type(error).__name__}")
    for share in _candidates(how, execution):
        road = PREFIX if share else FOLD
        try:
            work = forward_work(job, share)
            slower = _why_slower(work, how, share, count.largest, job) if execution == AUTO else ""
            if not slower:
                _check(reference, fold_draws(job, how, (0, 1), share), 0.0 if how.gradients else _output_scale(job))
                most = _most(work, share, count.largest, job)
                return _Choice(road, "; ".join(refused) or how.reason, most)
            refused.append(slower)
        except Exception as error:
            refused.append(f"{road} is not possible: {error}")
    return _Choice(LOOP, "; ".join(refused))


def _output_scale(job: Job) -> float:
    """The largest output of the network as it stands."""
    with job.untouched():
        return _scale(job.call.predict())


def _candidates(how: Folding, execution: str) -> Iterator[bool]:
    if execution in (AUTO, PREFIX) and not how.inside:
        yield True
    yield False


_WORTH = {"cpu": 3e7}
"""Operations of a forward from which a product for each draw takes longer than to call it; elsewhere 1e10."""

_LARGE = {"cpu": 1e9}
"""Operations of a forward from which a larger batch is no gain; elsewhere 1e12."""


def _why_slower(work: Work, how: Folding, share: bool, rows: int, job: Job) -> str:
    """Why a road would not be faster than the next one."""
    device = next(leaves(job.call.forward_arguments)).device.type
    if share:
        if work.shared < 0.1 * work.operations:
            return "draws part so early that there is little to share"
        if how.gradients and work.shared * rows < _WORTH.get(device, 1e10):
            return "the shared part is small"
        return ""
    large = work.operations * rows > _LARGE.get(device, 1e12)
    return "the network is large: its arithmetic takes the time" if large else ""


_MEMORY = 2**30
"""Bytes that the draws that run at once may take."""

_CACHE = {"cpu": 2**25}
"""Bytes of activations from which a larger batch of folded draws is slower, since it leaves the cache."""


def _most(work: Work, share: bool, rows: int, job: Job) -> int:
    """How many draws at once fit the memory."""
    arguments = list(leaves(job.call.forward_arguments))
    row = sum(leaf.nbytes for leaf in arguments) / max(1, arguments[0].shape[0])
    own = 1 - work.shared / max(1, work.operations) if share else 1.0
    size = rows * (4 * row + 2 * own * work.bytes)
    most = _MEMORY // max(1, int(size))
    cache = _CACHE.get(arguments[0].device.type)
    if cache is not None and not share:
        most = min(most, cache // max(1, rows * work.bytes))
    return max(1, most)


def _check(reference: tuple[Any, Any], trial: tuple[Any, Any], outputs: float) -> None:
    """Compare draw 1: a convergence delta, about 0, on the scale of the attributions.

    Args:
        reference: Attributions and predictions of the loop.
        trial: Those of a road, of two draws.
        outputs: The scale of the outputs that attributions are differences of; 0 where they are not.

    Raises:
        CannotFoldError: It is not the loop's.
    """
    for whole, other in zip(reference, trial, strict=True):
        scale = max((_scale(leaf) for leaf in leaves(whole)), default=0.0)
        for expected, got in zip(leaves(whole), leaves(other), strict=True):
            if expected.shape != got.shape[1:]:
                raise CannotFoldError("it does not return one attribution for each example")
            limit = _TOLERANCE.get(expected.dtype, 1e-2) * max(scale, outputs)
            if not torch.allclose(got[1].double(), expected.detach().double(), rtol=0, atol=limit, equal_nan=True):
                raise CannotFoldError("its values were not those of the loop")


def _scale(leaf: Tensor | None) -> float:
    return float(leaf.detach().abs().max()) if leaf is not None and leaf.numel() else 0.0
