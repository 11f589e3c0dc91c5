"""One call of a method, as every road of execution takes it: the network, the sampler at work on it, the noise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from captum_uq._model_state import ModelState
from captum_uq._rng import GlobalState, isolated, seed_global
from captum_uq._trees import tree_map
from captum_uq.execution.method import Call
from captum_uq.execution.seen import Seen
from captum_uq.samplers.base import BoundSampler, Checked

SHARED, INDEPENDENT = "shared", "independent"


class EstimatorNoise:
    """The random numbers of the method itself: the same in every draw, or others in each (design laws 4 and 7).

    Args:
        mode: ``"shared"`` or ``"independent"``.
        seed: Seed of the call; None for a sampler that draws nothing.
        follows_global: Whether the numbers come from the global generators (``seed=None``), which then stand
            afterwards where one plain call would leave them.
    """

    def __init__(self, mode: str, seed: int | None, follows_global: bool) -> None:
        self.independent = mode == INDEPENDENT
        self._seed = seed
        self._start = self._end = GlobalState.now() if follows_global else None

    @contextlib.contextmanager
    def of_draw(self, index: int) -> Iterator[None]:
        """The global generators as the method finds them in draw ``index``."""
        self._before(index)
        yield
        if index == 0 and self._end is not None:
            self._end = GlobalState.now()

    def _before(self, index: int) -> None:
        if self._seed is not None and (self._start is None or (self.independent and index)):
            seed_global(self._seed, "estimator", index if self.independent else 0)
        elif self._start is not None and not (self.independent and index):
            self._start.restore()

    def aside(self) -> AbstractContextManager[None]:
        """A context that leaves no mark on the numbers of the method; those of a seed begin anew in each draw."""
        return contextlib.nullcontext() if self._start is None else isolated()

    def finish(self) -> None:
        """Leave the global generators as the law says; whoever gives a seed puts them back at the end of the call."""
        if self._end is not None:
            self._end.restore()


@dataclass
class Job:
    """One call, to be run for several draws.

    Attributes:
        call: The call.
        run: Runs it, or a folded one, and gives what Captum returns.
        predicts: Whether to run the network on the inputs too.
        model: The network, where it is known.
        bound: The sampler at work on it.
        sampler: What it is, in words.
        deterministic: Whether the sampler draws nothing.
        seed: Seed of the draws; None for a sampler that draws nothing.
        noise: The method's own random numbers.
        checked: What the check of its road saw.
    """

    call: Call
    run: Callable[[Call], Any]
    predicts: bool
    model: nn.Module | None
    bound: BoundSampler
    sampler: str
    deterministic: bool
    seed: int | None
    noise: EstimatorNoise
    checked: Checked = field(default_factory=Checked)

    def __post_init__(self) -> None:
        self._before = None if self.model is None else ModelState(self.model, buffers=True)

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """The network in eval mode, and put back afterwards."""
        try:
            if self._before is not None and not self.deterministic:
                self._before.evaluation_mode()
            yield
        finally:
            if self._before is not None:
                self._before.restore()

    @contextlib.contextmanager
    def as_it_stands(self) -> Iterator[None]:
        """The network with nothing drawn."""
        with self.untouched(), self.bound.undrawn():
            yield

    @contextlib.contextmanager
    def draw(self, index: int) -> Iterator[None]:
        """The network as draw ``index``."""
        with self.untouched(), self.bound.draw(index, self.seed or 0):
            yield

    @contextlib.contextmanager
    def seeing(self, call: Call) -> Iterator[Seen]:
        """See what the network predicts on the inputs of a call, where that is asked for."""
        seen = Seen(call)
        with seen.watching() if self.predicts else contextlib.nullcontext():
            yield seen

    def prediction(self, seen: Seen) -> Tensor | None:
        """What the network gives for the inputs, ``(N, *outputs)``; None where that is not asked for."""
        if not self.predicts or seen.outputs is not None:
            return seen.outputs
        with self.noise.aside():
            return seen.call.predict()


def run_deterministic(job: Job) -> tuple[Any, Tensor | None]:
    """What Captum returns for the network as it stands, with nothing drawn, and the network's prediction."""
    with job.as_it_stands():
        with job.noise.aside(), job.noise.of_draw(0), job.seeing(job.call) as seen:
            result = tree_map(Tensor.detach, job.run(job.call))
        return result, job.prediction(seen)


def run_prediction(job: Job) -> Tensor | None:
    """What the network as it stands predicts on the inputs, ``(N, *outputs)``."""
    with job.as_it_stands():
        return job.prediction(Seen(job.call))
