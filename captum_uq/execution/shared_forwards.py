"""Forwards that all draws share, for methods that ask about one example at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_uq._trees import batch_size, leaves, tree_map
from captum_uq.execution.rows import repeated
from captum_uq.samplers.base import CannotFoldError


class SharedForwards:
    """A forward function that answers the first of many draws for all of them.

    All draws ask about the same inputs in the same order, since they share the method's own random numbers. Whatever
    else they ask is computed for them alone.

    Args:
        forward_func: The folded forward function.
        count: How many draws, `D`.
    """

    def __init__(self, forward_func: Callable[..., Any], count: int) -> None:
        self._forward_func, self._count = forward_func, count
        self._answers: list[tuple[Any, Tensor]] = []
        self._draw = self._position = 0

    def begin(self, draw: int) -> None:
        """Draw number ``draw`` of these begins to ask."""
        self._draw, self._position = draw, 0

    def __call__(self, *args: Any) -> Any:
        """The network of this draw on the arguments."""
        if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves(args)):
            return self._alone(args)  # an answer of all draws has no graph
        position, self._position = self._position, self._position + 1
        if not self._draw:
            kept = tree_map(Tensor.clone, args)  # a method may write the next question into the same tensor
            self._answers.append((kept, self._for_all(args)))
        if position < len(self._answers) and _same(self._answers[position][0], args):
            return self._answers[position][1][self._draw]
        return self._alone(args)

    def _for_all(self, args: Any) -> Tensor:
        size = batch_size(leaves(args))
        many = tree_map(lambda leaf: repeated(leaf, self._count) if leaf.shape[:1] == (size,) else leaf, args)
        draws = torch.arange(self._count, device=next(leaves(args)).device).repeat_interleave(size)
        with torch.no_grad():
            outputs = self._forward_func(*many, draws)
        if not isinstance(outputs, Tensor):
            raise CannotFoldError("the network does not return one tensor")
        answers: Tensor = outputs.unflatten(0, (self._count, -1))
        return answers

    def _alone(self, args: Any) -> Any:
        size = batch_size(leaves(args))
        return self._forward_func(*args, torch.full((size,), self._draw, device=next(leaves(args)).device))


def _same(one: Any, other: Any) -> bool:
    """Whether two lists of arguments are equal, as far as they are tensors."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
