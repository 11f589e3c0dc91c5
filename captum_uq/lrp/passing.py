"""The rule of layers that act on each element by itself, or move it."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from captum_uq._rng import isolated
from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule

STAYING = (
    *(nn.Identity, nn.Flatten, nn.Unflatten),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid),
)
"""Layers that keep every element, and all in their order."""

MOVING = (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
"""Layers that keep every element in another order."""


class PassRule(LayerRule):
    """Relevance passes unchanged: element-wise activations, dropout, reshaping, moving, the identity.

    ``R_i = R_j`` for the output ``j`` that input ``i`` became. Where a layer without parameters moves its elements and
    does nothing else, as a permutation of dimensions does, ``j`` is where it moved ``i``; else it is the element of the
    same position. A neuron that a held mask drops has, in front of a linear layer, no relevance to pass.

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
        origin = step.once("origin", lambda: _origin(step))
        if origin is not None:
            relevance = torch.empty_like(relevance.flatten()).scatter_(0, origin, relevance.flatten())
        return (relevance.reshape(step.inputs[0].shape),)

    def __repr__(self) -> str:
        return "PassRule()"


@torch.no_grad()
def _origin(step: Step) -> Tensor | None:
    """Which element of the input each of the output is, as positions; None where all keep their order.

    The layer is asked: it runs on the positions of its input.
    """
    module, (given,) = step.module, step.inputs
    if module is None or isinstance(module, STAYING) or any(True for _ in module.parameters()):
        return None
    exact = torch.float32 if given.numel() <= 2**24 else torch.float64
    positions = torch.arange(given.numel(), dtype=exact, device=given.device)
    with isolated(), contextlib.suppress(Exception):  # it need not take such numbers
        moved = step.function(positions.view(given.shape)).flatten()
        if not torch.equal(moved, positions) and torch.equal(moved.sort().values, positions):
            return moved.long()
    return None
