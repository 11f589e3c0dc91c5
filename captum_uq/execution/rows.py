"""One call of a method for many draws: its arguments with a row for each draw, its results told apart again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_uq._trees import batch_size, leaves, tree_map
from captum_uq.execution.foldable import Folding
from captum_uq.execution.method import Call
from captum_uq.samplers.base import CannotFoldError, as_tuple

_STEPS = "internal_batch_size"
"""Rows a forward, which Captum divides by the number of examples."""


def by_outputs(call: Call, folding: Folding) -> bool:
    """Whether the draws of a call are further outputs of its forwards, not further examples.

    Args:
        call: One call of a method.
        folding: How the method folds.

    Returns:
        It is so where the method allows, asks about one perturbation at a time, and has one mask for all examples.
    """
    one_mask = all(mask.shape[:1] in ((), (1,)) for mask in leaves(call.argument("feature_mask")))
    return folding.outputs and one_mask and call.argument("perturbations_per_eval") in (None, 1)


def fold_outputs(call: Call, count: int) -> Call:
    """The call with a target for every output of so many draws, draw after draw."""
    target = call.argument("target")
    return call if target is None else call.with_argument("target", _fold_target(target, count))


def fold_call(call: Call, count: int, distributions: tuple[str, ...]) -> Call:
    """The call with its examples repeated for each draw, draw after draw; the draws are its last forward argument.

    Args:
        call: One call of a method, on `N` examples.
        count: How many draws, `D`.
        distributions: Arguments that are no entries for each example.

    Returns:
        A call on ``D * N`` examples.

    Raises:
        CannotFoldError: The inputs are no tensors of one batch.
    """
    given = call.arguments
    inputs = as_tuple(given.get("inputs"))
    size = batch_size(inputs) if all(isinstance(tensor, Tensor) for tensor in inputs) else 0
    if not size or any(tensor.shape[:1] != (size,) for tensor in inputs):
        raise CannotFoldError("its inputs are no tensors of one batch")

    def folded(name: str, value: Any) -> Any:
        if name == "target":
            return _fold_target(value, count)
        if name == _STEPS:
            return value if value is None else value * count
        if name in ("inputs", "additional_forward_args"):
            return tree_map(lambda leaf: repeated(leaf, count) if leaf.shape[:1] == (size,) else leaf, value)
        return value if name in distributions else tree_map(lambda leaf: _fold_entries(leaf, count, size), value)

    kwargs = {name: folded(name, value) for name, value in given.items()}
    draws = torch.arange(count, device=inputs[0].device).repeat_interleave(size)
    kwargs["additional_forward_args"] = (*as_tuple(kwargs.get("additional_forward_args")), draws)
    return replace(call, args=(), kwargs=kwargs)


def _fold_entries(leaf: Tensor, count: int, size: int) -> Tensor:
    """A tensor with an entry for each example; a single entry stands for all anyway."""
    return repeated(leaf, count) if size > 1 and leaf.shape[:1] == (size,) else leaf


def _fold_target(target: Any, count: int) -> Any:
    if isinstance(target, list):
        return target * count
    return repeated(target, count) if isinstance(target, Tensor) and target.numel() > 1 else target


def repeated(leaf: Tensor, count: int) -> Tensor:
    """The rows of a tensor, once for each draw, draw after draw."""
    copies: Tensor = leaf.detach().repeat(count, *[1] * (leaf.dim() - 1))
    return copies.requires_grad_(leaf.requires_grad)


def unfold(result: Any, count: int) -> Any:
    """The results of each draw, ``(D, *shape)``.

    Raises:
        CannotFoldError: A result has no rows for each draw.
    """  # noqa: DOC502 -- raised in the function inside

    def told_apart(leaf: Tensor) -> Tensor:
        if not leaf.dim() or leaf.shape[0] % count:
            raise CannotFoldError("it does not return one attribution for each example")
        apart: Tensor = leaf.detach().unflatten(0, (count, -1))
        return apart

    return tree_map(told_apart, result)
