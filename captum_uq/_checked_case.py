"""A sampler on a network, as the laws look at it: what it draws and predicts, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._checked_state import checked_state
from captum_uq._rng import isolated
from captum_uq.samplers.base import BoundSampler, Sampler, as_tuple

SEED = 20240501
_ROWS = 4


class Case:
    """A sampler maker and a network on which it is checked."""

    def __init__(self, make_sampler: Callable[[], Sampler], model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.make_sampler, self.model, self.inputs = make_sampler, model, inputs
        limit = make_sampler().max_draws
        self.endless = limit is None
        self.indices = range(3 if limit is None else min(3, limit))
        self._own = set[str]()
        self._own = self._changed_by_a_forward()

    def state(self) -> dict[str, Any]:
        """The network's observable state, without what a plain forward changes: that is the network's own doing."""
        return {key: value for key, value in checked_state(self.model).items() if key not in self._own}

    def _changed_by_a_forward(self) -> set[str]:
        """What a forward changes in the network as it stands.

        Raises:
            TypeError: It returns something else than a tensor.
        """
        with torch.no_grad():
            output = self.model(*self.inputs)  # what appears in the first forward only
            before = self.state()
            self.model(*self.inputs)
        if not isinstance(output, Tensor):
            raise TypeError(
                f"check_sampler compares outputs that are one tensor, (N, *outputs), got a {type(output).__name__}. "
                "Give a network around this one that picks the tensor out."
            )
        after = self.state()
        return {key for key in {**before, **after} if before.get(key) != after.get(key)}

    def bound(self, inputs: tuple[Tensor, ...] | None = None) -> BoundSampler:
        """A new sampler that has seen the network run."""
        sampler = self.make_sampler()
        bound = sampler.bind(self.model)
        with isolated():
            bound.probe(self.model, self.inputs if inputs is None else inputs, {})
        return bound

    def outputs(self, bound: BoundSampler, index: int, inputs: tuple[Tensor, ...] | None = None) -> Tensor:
        """What draw ``index`` predicts, ``(N, *outputs)``."""
        with torch.no_grad(), bound.draw(index, SEED):
            output: Tensor = self.model(*(self.inputs if inputs is None else inputs))
            return output.clone()  # it may be a view of a weight


def inputs_of(model: nn.Module, inputs: Tensor | tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    """The inputs of the check.

    Raises:
        ValueError: None were given and none can be made up, or there is a single row.
    """
    if inputs is None:
        first = next((each for each in model.modules() if any(True for _ in each.parameters(recurse=False))), None)
        if not isinstance(first, nn.Linear):
            raise ValueError("check_sampler makes up inputs for a model that begins with a Linear layer; give inputs=.")
        rng = torch.Generator().manual_seed(SEED)
        inputs = torch.randn(_ROWS, first.in_features, generator=rng).to(first.weight)
    inputs = as_tuple(inputs)
    if any(len(tensor) < 2 for tensor in inputs):
        raise ValueError("check_sampler compares a batch with its rows: give inputs of at least 2 rows.")
    return inputs
