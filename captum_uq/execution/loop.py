"""The reference: one call of Captum for each draw, one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_uq._model_state import ModelState
from captum_uq._rng import GlobalState, isolated, seed_global
from captum_uq._trees import tree_map
from captum_uq.samplers.base import BoundSampler, evaluation_mode

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
        self._independent = mode == INDEPENDENT
        self._seed = seed
        self._follows_global = follows_global
        self._start = self._end = GlobalState.now()

    @contextlib.contextmanager
    def of_draw(self, index: int) -> Iterator[None]:
        """The global generators as the method finds them in draw ``index``."""
        self._before(index)
        yield
        if index == 0:
            self._end = GlobalState.now()

    def _before(self, index: int) -> None:
        if self._independent and index and self._seed is not None:
            seed_global(self._seed, "estimator", index)
        elif not self._follows_global and self._seed is not None:
            seed_global(self._seed, "estimator", 0)
        elif not (self._independent and index):
            self._start.restore()

    def finish(self) -> None:
        """Leave the global generators as the law says."""
        (self._end if self._follows_global else self._start).restore()


@dataclass
class Job:
    """One call, to be run for several draws.

    Attributes:
        call: Runs the method and gives what Captum returns.
        predict: Runs the network on the inputs, ``(N, *outputs)``; None to keep no predictions.
        model: The network, where it is known.
        bound: The sampler at work on it.
        deterministic: Whether the sampler draws nothing.
        seed: Seed of the draws; None for a sampler that draws nothing.
        noise: The method's own random numbers.
    """

    call: Callable[[], Any]
    predict: Callable[[], Any] | None
    model: nn.Module | None
    bound: BoundSampler
    deterministic: bool
    seed: int | None
    noise: EstimatorNoise

    def __post_init__(self) -> None:
        self._before = None if self.model is None else ModelState(self.model)

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """The network in eval mode, and put back afterwards."""
        try:
            if self.model is not None and not self.deterministic:
                evaluation_mode(self.model)
            yield
        finally:
            if self._before is not None:
                self._before.restore()

    @contextlib.contextmanager
    def draw(self, index: int) -> Iterator[None]:
        """The network as draw ``index``."""
        with self.untouched(), self.bound.draw(index, self.seed or 0):
            yield


def run_draws(job: Job, n_draws: int, progress: str | None = None) -> tuple[Any, Tensor | None]:
    """Run the call for each draw.

    Args:
        job: The call.
        n_draws: How many draws, `T`.
        progress: What to call the progress bar; None for no bar.

    Returns:
        The draws, a tree as Captum returns it with leaves ``(T, *shape)``, and the predictions ``(T, N, *outputs)``.
    """
    draws, predictions = _Stack(n_draws), _Stack(n_draws)
    for index in tqdm(range(n_draws), desc=progress, unit="draw", disable=progress is None):
        with job.draw(index):
            with job.noise.of_draw(index):
                result = job.call()
            draws.put(index, result)
            if job.predict is not None:
                with isolated():
                    predictions.put(index, job.predict())
    job.noise.finish()
    return draws.tree, predictions.tree


def run_deterministic(job: Job) -> Any:
    """What Captum returns for the network as it stands, with nothing drawn."""
    with job.untouched(), isolated(), job.noise.of_draw(0):
        return tree_map(_plain, job.call())


def run_prediction(job: Job) -> Any:
    """What the network as it stands predicts on the inputs, ``(N, *outputs)``."""
    with job.untouched(), isolated():
        return None if job.predict is None else job.predict()


class _Stack:
    """Trees of one structure, stacked draw by draw."""

    def __init__(self, n_draws: int) -> None:
        self._n_draws = n_draws
        self.tree: Any = None

    def put(self, index: int, tree: Any) -> None:
        if index == 0:
            self.tree = tree_map(lambda leaf: _plain(leaf).new_empty((self._n_draws, *leaf.shape)), tree)

        def copy(stack: Tensor, leaf: Tensor) -> Tensor:
            if stack.shape[1:] != leaf.shape:
                raise ValueError(
                    f"Draw {index} returned shape {tuple(leaf.shape)}, draw 0 shape {tuple(stack.shape[1:])}: "
                    "draws of different shapes have no distribution. Give a target that does not change with the draw."
                )
            stack[index] = _plain(leaf)
            return stack

        tree_map(copy, self.tree, tree)


def _plain(leaf: Tensor) -> Tensor:
    """Without the graph behind it, which would keep every draw's activations alive."""
    return leaf.detach().as_subclass(torch.Tensor)
