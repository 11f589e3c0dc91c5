"""What stands for the rule of a layer that has none: it raises once relevance reaches the layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from captum_uq._trees import leaves
from captum_uq.lrp._observe import ObserveRule
from captum_uq.lrp._step import refuse_relevance


class NoRule(ObserveRule):
    """No rule: a layer that is there and not used, or whose output no relevance reaches, needs none.

    Args:
        error: What it raises with.
    """

    def __init__(self, error: str) -> None:
        super().__init__()
        self._error = error

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """The inputs as they are."""
        return inputs

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """The output as it is, watched."""
        refuse_relevance(leaves(outputs), TypeError(self._error))
        return outputs

    def __repr__(self) -> str:
        return "no rule"
