"""Relevance seen on its way, at a module that has no rule of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._captum import PropagationRule
from captum_uq._tensors import times_written
from captum_uq.lrp._producer import pass_on
from captum_uq.lrp._step import propagated
from captum_uq.lrp.base import add_relevance, uses_of


class ObserveRule(PropagationRule):  # type: ignore[misc]  # Captum is not typed for us
    """Changes nothing, and keeps the relevance of a module's inputs and output for Captum's LayerLRP."""

    def __init__(self) -> None:
        self._open: list[tuple[Any, ...]] = []

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """No weight is changed."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Nothing to remember."""

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """The inputs, watched; a copy, since others may use the same tensor."""
        self._open.append(inputs)
        reached = [x for x in inputs if _is_reached(x)]
        keeps = (partial(self._keep_input, reached, index) for index in range(len(reached)))
        return tuple(_watched(x, next(keeps)) if _is_reached(x) else x for x in inputs)

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """The output, watched; the module's uses are counted."""
        uses_of(module).count += 1
        for own, seen in zip(self._open.pop(), inputs, strict=True):
            if seen is not own and times_written(seen):  # what else uses the tensor sees what the module wrote
                with torch.no_grad():
                    own.copy_(seen)
        return _watched(outputs, self._keep_output) if _is_reached(outputs) else outputs

    def _keep_output(self, relevance: Tensor) -> None:
        add_relevance(self.relevance_output, relevance)

    def _keep_input(self, inputs: list[Tensor], index: int, relevance: Tensor) -> None:
        parts = tuple(relevance if i == index else torch.zeros_like(x) for i, x in enumerate(inputs))
        add_relevance(self.relevance_input, parts if len(parts) > 1 else relevance)

    def __repr__(self) -> str:
        return "ObserveRule()"


def _is_reached(value: Any) -> bool:
    """Whether relevance may reach a value."""
    return isinstance(value, Tensor) and value.requires_grad


def _watched(value: Tensor, keep: Callable[[Tensor], None]) -> Tensor:
    """A copy of what relevance may reach; ``keep`` sees the relevance that does."""

    def passing(relevance: Tensor) -> tuple[Tensor]:
        keep(relevance)
        return (relevance,)

    watched = propagated(passing, value, (value,))
    pass_on(value, watched, keep)
    return watched
