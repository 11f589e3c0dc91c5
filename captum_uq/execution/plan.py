"""How the draws of a call are run: the fastest road that gives the loop's values, checked by running."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import Attribution, NeuronAttribution
from torch import Tensor, nn

from captum_uq._rng import isolated
from captum_uq._trees import leaves, tree_map
from captum_uq.distribution.execution import FOLD, LOOP, PREFIX, Execution
from captum_uq.execution.fold import fold_draws
from captum_uq.execution.foldable import FORWARDS, Folding, folding
from captum_uq.execution.job import Job
from captum_uq.execution.layout import may_be_laid_out, same_laid_out
from captum_uq.execution.loop import loop_draw
from captum_uq.execution.method import wrapped_forward
from captum_uq.execution.sizes import ONE, Asked, Sizes, sizes
from captum_uq.execution.work import RowCount, forward_work
from captum_uq.execution.worth import why_slower
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
        The road. It is checked by running some draws of it against the loop, once for each network, method, sampler
        and shapes.
    """
    how = folding(job.call.method)
    reason = _why_not(job, how, n_draws, execution)
    if reason and (execution != AUTO or n_draws == 1 or not may_be_laid_out(job, how)):
        return Execution(LOOP, 1, reason)
    assert job.model is not None
    known = _KNOWN.setdefault(job.model, {})
    key = (execution, reason, _key(job))
    if key not in known:
        with isolated():
            choice = _Choice(LOOP, reason, ONE, same_laid_out(job)) if reason else _choose(job, how, execution)
        known[key] = known[execution, reason, _key(job)] = choice  # some methods keep new attributes from a call
    return known[key].execution(n_draws, draws_per_eval)


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
    given = {**call.arguments, "target": type(call.argument("target"))}
    arguments = str(tree_map(lambda leaf: (leaf.shape, leaf.dtype, leaf.device), given))
    forward = getattr(call.method.forward_func, "__code__", type(call.method.forward_func))
    settings = (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), job.predicts)
    return structure, job.sampler, type(call.method), _options(call.method, model), forward, arguments, settings


def _options(method: Any, model: nn.Module) -> Hashable:
    """The options that a method was made with, as far as they are values or parts of the network; else their types."""
    parts, plain = set(model.modules()), (str, int, float, type(None))
    known = {name: value for name, value in vars(method).items() if not isinstance(value, (list, dict, tuple))}

    def told(value: Any) -> Any:
        if isinstance(value, nn.Module) and value in parts:
            return id(value)
        return value if isinstance(value, plain) else type(value)

    return tuple((name, told(value)) for name, value in known.items())


@dataclass(frozen=True)
class _Choice:
    road: str
    reason: str
    sizes: Sizes = ONE
    channels_last: bool = False

    def execution(self, n_draws: int, draws_per_eval: int | str) -> Execution:
        if self.road == LOOP:
            return Execution(LOOP, 1, self.reason, channels_last=self.channels_last)
        many = self.sizes.draws_per_eval(n_draws) if isinstance(draws_per_eval, str) else min(draws_per_eval, n_draws)
        product = min(self.sizes.draws_per_product, many)
        return Execution(self.road, many, self.reason, product, self.channels_last)


_TRIAL = (0, 0, 1)
"""Draws that a road is checked on: two are passed backwards at once, and then one, which is compared."""


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
    layout = may_be_laid_out(job, how) and same_laid_out(job)
    for share in _candidates(how, execution):
        road = PREFIX if share else FOLD
        try:
            work = forward_work(job, share)
            many = sizes(work, share, _asked(job.call.method, how, count), job)
            slower = why_slower(work, share, count.usual, many, job, layout) if execution == AUTO else ""
            if not slower:
                trial = fold_draws(job, how, _TRIAL, 2 if share else 0, layout)
                _check(reference, trial, 0.0 if how.gradients else _output_scale(job))
                return _Choice(road, "; ".join(refused) or how.reason, many, layout)
            refused.append(slower)
        except Exception as error:
            refused.append(f"{road} is not possible: {error}")
    return _Choice(LOOP, "; ".join(refused), ONE, layout)


def _asked(method: Attribution, how: Folding, count: RowCount) -> Asked:
    """What a method asks of the network for one draw; for the gradients of a neuron's outputs it asks one by one."""
    held = count.together if how.gradients and how.way == FORWARDS else 0
    roots = count.largest if how.gradients and isinstance(method, NeuronAttribution) else 0
    return Asked(count.largest, count.usual, held, roots)


def _output_scale(job: Job) -> float:
    """The largest output of the network as it stands."""
    with job.untouched():
        return _scale(job.call.predict())


def _candidates(how: Folding, execution: str) -> Iterator[bool]:
    if execution in (AUTO, PREFIX) and not how.inside:
        yield True
    yield False


def _check(reference: tuple[Any, Any], trial: tuple[Any, Any], outputs: float) -> None:
    """Compare the last draw: a convergence delta, about 0, on the scale of the attributions.

    Args:
        reference: Attributions and predictions of the loop.
        trial: Those of a road, of `_TRIAL`.
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
            if not torch.allclose(got[-1].double(), expected.detach().double(), rtol=0, atol=limit, equal_nan=True):
                raise CannotFoldError("its values were not those of the loop")


def _scale(leaf: Tensor | None) -> float:
    return float(leaf.detach().abs().max()) if leaf is not None and leaf.numel() else 0.0
