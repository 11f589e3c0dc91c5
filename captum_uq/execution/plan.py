"""How the draws of a call are run: the fastest road that gives the loop's values, checked by running."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from captum.attr import Attribution, NeuronAttribution
from torch import nn

from captum_uq._model_state import fingerprint
from captum_uq._rng import isolated
from captum_uq._trees import batch_size, leaves
from captum_uq.distribution.execution import FOLD, LOOP, PREFIX, Execution
from captum_uq.execution.foldable import FORWARDS, Folding, folding
from captum_uq.execution.job import Job
from captum_uq.execution.known import key_of
from captum_uq.execution.layout import better_laid_out, may_be_laid_out
from captum_uq.execution.loop import loop_draw
from captum_uq.execution.method import propagates_relevance, wrapped_forward
from captum_uq.execution.sizes import ONE, Asked, Sizes, sizes
from captum_uq.execution.trial import NothingShownError, differing_draw, slow_is_refused, tried
from captum_uq.execution.work import RowCount, Work, forward_work
from captum_uq.execution.worth import FEW, why_never, why_slower
from captum_uq.samplers.base import Checked, DrawError, original

AUTO = "auto"
ROADS = (AUTO, LOOP, FOLD, PREFIX)

_REMEMBERED = 256
"""So many checks of one network are remembered, the last ones."""

_LEAST = 5
"""Fewer draws are no reason to check a faster road, which takes as long as three."""


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
    state = fingerprint(job.model, written=not propagates_relevance(job.call.method))  # Captum's LRP writes them back
    asked = (execution, reason, min(n_draws, FEW))
    key = (asked, key_of(job))
    before, choice = known.get(key, (None, None))
    if choice is None or before != state:
        with isolated():
            choice = _laid_out(job, reason) if reason else _choose(job, how, n_draws, execution)
        if choice.holds:
            known[key] = known[asked, key_of(job)] = state, choice  # some methods keep what a call makes
            while len(known) > _REMEMBERED:
                del known[next(iter(known))]
    job.checked = choice.checked
    return choice.execution(n_draws, draws_per_eval)


_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, tuple[Hashable, _Choice]]] = weakref.WeakKeyDictionary()
"""What was checked before, for each network, and the state that it was in."""


def _why_not(job: Job, how: Folding, n_draws: int, execution: str) -> str:
    """Why a call must loop; empty where it need not."""
    return next((reason for holds, reason in _obstacles(job, how, n_draws, execution) if holds), "")


def _obstacles(job: Job, how: Folding, n_draws: int, execution: str) -> Iterator[tuple[bool, str]]:
    """What makes a call loop, each with whether it holds."""
    method = type(job.call.method).__name__
    yield execution == LOOP, "asked for"
    yield n_draws == 1, "there is one draw"
    yield job.deterministic, "every draw is the same network"
    yield how.way is None, f"{method} does not fold: {how.reason}"
    yield how.random and job.noise.independent, f"every draw has its own random numbers of {method}"
    yield job.model is None or job.call.forward_arguments is None, "the network or its inputs are not known"
    forward_func = job.call.method.forward_func
    yield original(forward_func) is not forward_func, "the network is compiled"
    yield execution == AUTO and n_draws < _LEAST, f"fewer than {_LEAST} draws are not worth a check of a faster road"


@dataclass(frozen=True)
class _Choice:
    road: str
    reason: str
    sizes: Sizes = ONE
    channels_last: bool = False
    holds: bool = True
    checked: Checked = field(default_factory=lambda: Checked(done=True))

    def execution(self, n_draws: int, draws_per_eval: int | str) -> Execution:
        if self.road == LOOP:
            return Execution(LOOP, 1, self.reason, channels_last=self.channels_last)
        many = self.sizes.draws_per_eval(n_draws) if isinstance(draws_per_eval, str) else min(draws_per_eval, n_draws)
        product = min(self.sizes.draws_per_product, many)
        return Execution(self.road, many, self.reason, product, self.channels_last)


def _laid_out(job: Job, reason: str) -> _Choice:
    """The loop, in the layout that it may have."""
    return _Choice(LOOP, reason, ONE, better_laid_out(job))


def _choose(job: Job, how: Folding, n_draws: int, execution: str) -> _Choice:
    """The first road that is worth it and gives the loop's values.

    Raises:
        DrawError: The network draws something that cannot be held for a draw.
    """
    layout = may_be_laid_out(job, how) and better_laid_out(job)
    works, hopeless = _counted(job, how, execution)
    if hopeless:
        return _Choice(LOOP, hopeless, ONE, layout)
    rows = RowCount()
    try:
        other = differing_draw(job, n_draws)
        with wrapped_forward(job.call.method, rows.counting):
            seen = _Seen(layout, works, other, loop_draw(job, other), rows)
    except DrawError:
        raise
    except NothingShownError as error:
        return _Choice(LOOP, str(error), ONE, layout, holds=False)
    except Exception as error:  # the loop will say it
        return _Choice(LOOP, f"the loop raised {type(error).__name__}", holds=False)
    return _first_road(job, how, n_draws, execution, seen)


class _Seen(NamedTuple):
    """What is known before a road is tried.

    Attributes:
        layout: Whether the network sees pictures with their channels last.
        works: What a forward does, where that was counted.
        draw: A draw unlike draw 0.
        result: Its attributions and predictions, by the loop.
        rows: How many rows its forwards had.
    """

    layout: bool
    works: Mapping[bool, Work]
    draw: int
    result: tuple[Any, Any]
    rows: RowCount


def _first_road(job: Job, how: Folding, n_draws: int, execution: str, seen: _Seen) -> _Choice:
    """The first road that is worth it and gives the loop's values."""
    refused, holds = list[str](), True
    for share in _candidates(how, execution):
        road = PREFIX if share else FOLD
        try:
            with slow_is_refused():
                work = seen.works[share] if share in seen.works else forward_work(job, share)
                many = sizes(work, share, _asked(job.call.method, how, seen.rows), job)
                usual = seen.rows.usual
                slower = why_slower(work, share, usual, many, job, seen.layout, n_draws) if execution == AUTO else ""
                if not slower:
                    checked = tried(job, how, share, seen.layout, seen.result, seen.draw)
                    reason = "; ".join(refused) or how.reason
                    return _Choice(road, reason, many, seen.layout, checked=checked)
            refused.append(slower)
        except Exception as error:
            refused.append(f"{road} is not possible: {error}")
            holds &= not isinstance(error, NothingShownError)
    return _Choice(LOOP, "; ".join(refused), ONE, seen.layout, holds)


def _counted(job: Job, how: Folding, execution: str) -> tuple[dict[bool, Work], str]:
    """What a forward does by each road that may be taken, and why no road can be faster; empty where one may be."""
    works, reasons = dict[bool, Work](), list[str]()
    if execution != AUTO:
        return works, ""
    least = 1 if how.random else batch_size(leaves(job.call.forward_arguments))  # LIME runs example by example
    for share in _candidates(how, execution):
        try:
            with slow_is_refused():
                works[share] = forward_work(job, share)
        except Exception:  # is told when the road is tried
            return works, ""
        reasons.append(why_never(works[share], share, least, job))
    return works, "; ".join(reasons) if all(reasons) else ""


def _asked(method: Attribution, how: Folding, count: RowCount) -> Asked:
    """What a method asks of the network for one draw; for the gradients of a neuron's outputs it asks one by one."""
    held = count.together if how.gradients and how.way == FORWARDS else 0
    roots = count.largest if how.gradients and isinstance(method, NeuronAttribution) else 0
    return Asked(count.largest, count.usual, held, roots)


def _candidates(how: Folding, execution: str) -> Iterator[bool]:
    if execution in (AUTO, PREFIX) and not how.inside:
        yield True
    yield False
