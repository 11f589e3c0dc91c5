"""The rule of layers that act on each element by itself."""

from __future__ import annotations

from torch import Tensor

from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule


class PassRule(LayerRule):
    """Relevance passes unchanged: element-wise activations, dropout, reshaping, the identity.

    ``R_i = R_j`` for the output ``j`` that input ``i`` became. A neuron that a held mask drops has, in front of a
    linear layer, no relevance to pass.

    References:
        Bach et al., 2015, section "Multilayer networks".
    """

    keeps_inputs = False

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the input.

        Raises:
            ValueError: The layer does not keep its elements.
        """
        if len(step.inputs) != 1 or step.inputs[0].numel() != relevance.numel():
            shapes = [tuple(x.shape) for x in step.inputs]
            raise ValueError(
                f"PassRule is for layers that keep every element, and {step.name} made {tuple(relevance.shape)} of "
                f"{shapes}. Give it EpsilonRule() if it is linear in its inputs."
            )
        return (relevance.reshape(step.inputs[0].shape),)

    def __repr__(self) -> str:
        return "PassRule()"
