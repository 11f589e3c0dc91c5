"""The network shown pictures with their channels last: faster on a CPU, and the same to rounding.

Only for methods without gradients: outputs are continuous, gradients are not. Behind another rounding some of the
millions of units of a large network fall on the other side of 0, and each moves the gradient by far more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captum_uq._layout import channels_last, convolves, moves, same_outputs
from captum_uq._rng import isolated
from captum_uq._trees import batch_size, first_row, leaves, tree_map
from captum_uq.execution.activations import ActivationBytes
from captum_uq.execution.foldable import Folding
from captum_uq.execution.job import Job

_WEIGHTS = 2**24
"""Weights of convolutions of so many bytes leave the cache, and every forward lays them out anew: that takes more than
it saves where its activations are smaller."""


def laid_out(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward``, which sees pictures with their channels last."""

    def laid_out_forward(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map(channels_last, (args, kwargs))
        return forward(*args, **kwargs)

    return laid_out_forward


def may_be_laid_out(job: Job, how: Folding) -> bool:
    """Whether a network could be shown pictures in another layout, and be faster."""
    arguments = job.call.forward_arguments
    if how.gradients or how.inside or arguments is None or not convolves(job.model):
        return False
    return any(map(moves, leaves(arguments)))


def better_laid_out(job: Job) -> bool:
    """Whether the network gives the same for the first example, and is faster; what raises does not."""
    assert job.model is not None
    arguments, forward = first_row(job.call.forward_arguments), job.call.method.forward_func
    weights = [p for module in job.model.modules() if isinstance(module, nn.Conv2d) for p in module.parameters()]
    with job.untouched(), isolated(), torch.no_grad(), contextlib.suppress(Exception):
        with ActivationBytes(weights) as memory:
            plain = forward(*tree_map(torch.clone, arguments))
        rows = batch_size(leaves(job.call.forward_arguments)) * (job.call.argument("perturbations_per_eval") or 1)
        size = sum(weight.nbytes for weight in weights)
        if size > _WEIGHTS and rows * memory.total < size:
            return False
        return same_outputs(laid_out(forward)(*tree_map(torch.clone, arguments)), plain)
    return False
