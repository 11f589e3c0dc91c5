"""Relevance seen on its way, at a module that has no rule of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from captum_uq._captum import PropagationRule
from captum_uq.lrp.base import uses_of


class ObserveRule(PropagationRule):  # type: ignore[misc]  # Captum is not typed for us
    """Changes nothing, and keeps the relevance of a module's inputs and output for Captum's LayerLRP."""

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """No weight is changed."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Nothing to remember."""

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """The inputs, watched; a copy, since others may use the same tensor."""
        return tuple(self._watched(x, index, len(inputs)) for index, x in enumerate(inputs))

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """The output, watched; the module's uses are counted."""
        uses_of(module).count += 1
        if isinstance(outputs, Tensor) and outputs.requires_grad:
            outputs = outputs.clone()
            outputs.register_hook(self._keep_output)
        return outputs

    def _watched(self, value: Any, index: int, count: int) -> Any:
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        value = value.clone()

        def keep(relevance: Tensor) -> None:
            known = self.relevance_input.get(relevance.device) or (None,) * count
            parts = (*known[:index], relevance.detach(), *known[index + 1 :])
            self.relevance_input[relevance.device] = parts

        if count > 1:
            value.register_hook(keep)
        else:
            value.register_hook(self._keep_input)
        return value

    def _keep_output(self, relevance: Tensor) -> None:
        self.relevance_output[relevance.device] = relevance.detach()

    def _keep_input(self, relevance: Tensor) -> None:
        self.relevance_input[relevance.device] = relevance.detach()

    def __repr__(self) -> str:
        return "ObserveRule()"
