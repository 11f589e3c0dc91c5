"""Targets that a network names itself: its own prediction, in each draw or as it stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from captum_uq._rng import isolated
from captum_uq.execution.method import Call
from captum_uq.samplers._agreement import classes_of

TARGET, DRAW, PREDICTED = "target", "draw", "predicted"


def resolve(
    call: Call, as_it_stands: Callable[[], AbstractContextManager[object]]
) -> tuple[Call, Callable[[Call], Any]]:
    """Make of ``target="draw"`` and ``target="predicted"`` what Captum takes.

    Args:
        call: One call of a method; any other target is left alone.
        as_it_stands: A context in which the network is deterministic.

    Returns:
        The call, its target the predicted classes ``(N,)`` for ``"predicted"``; and what runs such a call, at the
        class that the network predicts at that moment for ``"draw"``.

    Raises:
        ValueError: Another word, or the network's outputs are not ``(N, C)``.
    """
    target = call.argument(TARGET)
    if not isinstance(target, str) or call.forward_arguments is None:
        return call, Call.run  # a language model's target is a text, and its inputs no tensors
    if target not in (DRAW, PREDICTED):
        raise ValueError(f"target is labels, None, {PREDICTED!r} or {DRAW!r}, got {target!r}.")
    if target == DRAW:
        return call, lambda one: one.with_argument(TARGET, predicted(one)).run()
    with as_it_stands():
        call = call.with_argument(TARGET, predicted(call))
    return call, Call.run


def predicted(call: Call) -> Tensor:
    """The class that the network predicts at this moment, ``(N,)``.

    Args:
        call: One call of a method.

    Returns:
        The classes.

    Raises:
        ValueError: The method's inputs are not the network's, or its outputs are not ``(N, C)``.
    """
    arguments = call.forward_arguments
    outputs = None
    if arguments is not None:
        with torch.no_grad(), isolated():
            outputs = call.method.forward_func(*arguments)
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            "A predicted target is the largest of the outputs (N, C) of the network on the method's inputs, got "
            f"{shape}. Give the target's number, or leave target out for a regression."
        )
    return classes_of(outputs)
