"""Captum's LRP runs a network forward twice: once is enough where no rule changes weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_uq.lrp._observe import ObserveRule
from captum_uq.lrp.base import LayerRule


class OneForward:
    """What `LRP` and `LayerLRP` add to Captum's: its first forward is the one that it passes backwards.

    In its first forward Captum has the rules change the weights and remembers the inputs of layers; in the second they
    run on these. Rules of this package change nothing, and both forwards are the same. Where Captum registers the
    hooks of the first it registers those of the second here, and the second gives what is kept.
    ``tests/test_structure.py`` tells when one of these methods moves.
    """

    _once = False
    _kept: Any = None

    def _compute_output_and_change_weights(self, inputs: Any, target: Any, additional_forward_args: Any) -> Tensor:
        captum: Any = super()
        self._once = all(map(_changes_nothing, self.layers))  # type: ignore[attr-defined]
        with torch.set_grad_enabled(self._once or torch.is_grad_enabled()):
            output: Tensor = captum._compute_output_and_change_weights(inputs, target, additional_forward_args)
        return output.detach() if self._once else output

    def _register_weight_hooks(self) -> None:
        captum: Any = super()
        if not self._once:
            captum._register_weight_hooks()
            return
        captum._register_pre_hooks()
        captum._register_forward_hooks()
        self.forward_handles.append(self.model.register_forward_hook(self._keep))  # type: ignore[attr-defined]

    def _register_pre_hooks(self) -> None:
        if not self._once:
            super()._register_pre_hooks()  # type: ignore[misc]

    def _register_forward_hooks(self) -> None:
        if not self._once:
            super()._register_forward_hooks()  # type: ignore[misc]

    def _forward_fn_wrapper(self, *inputs: Any) -> Any:
        return self._kept if self._once else super()._forward_fn_wrapper(*inputs)  # type: ignore[misc]

    def _restore_state(self) -> None:
        """Copy every weight into the network: nothing to do where none was changed."""
        if not self._once:
            super()._restore_state()  # type: ignore[misc]

    def _restore_model(self) -> None:
        try:
            super()._restore_model()  # type: ignore[misc]
        finally:
            self._once, self._kept = False, None

    def _keep(self, model: nn.Module, inputs: Any, output: Any) -> None:
        self._kept = output


def _changes_nothing(layer: nn.Module) -> bool:
    """Whether a layer's rule is one of ours, which leaves weights and inputs as they are."""
    rule: Any = layer.rule
    ours = next((kind for kind in (LayerRule, ObserveRule) if isinstance(rule, kind)), None)
    return ours is not None and type(rule).forward_hook_weights is ours.forward_hook_weights
