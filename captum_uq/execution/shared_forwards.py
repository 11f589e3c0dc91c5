"""Forwards that all draws share, for methods whose draws ask the same questions one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captum_uq._trees import batch_size, leaves, tree_map
from captum_uq.execution.rows import repeated
from captum_uq.samplers.base import CannotFoldError


class SharedForwards:
    """Has the first of many draws ask for all of them.

    All draws ask about the same inputs in the same order, since they share the method's own random numbers, and pass
    the same gradients back. Whatever else they ask is computed for them alone.

    Args:
        count: How many draws, `D`.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._answers: list[_Answer] = []
        self._draw = self._position = 0

    def begin(self, draw: int) -> None:
        """Draw number ``draw`` of these begins to ask."""
        self._draw, self._position = draw, 0

    def around(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Of a folded forward the forward of the draw that asks."""

        def shared(*args: Any) -> Any:
            position, self._position = self._position, self._position + 1
            if not self._draw:
                self._answers.append(_Answer(forward, self._count, args))
            if position < len(self._answers) and self._answers[position].answers(args):
                return self._answers[position].of(self._draw, args)
            return _alone(forward, self._draw, args)

        return shared


class _Answer:
    """What the network says to one question in every draw, and how it is passed backwards.

    Args:
        forward_func: The folded forward function.
        count: How many draws, `D`.
        args: The question, ``(R, *F)`` the batched tensors.

    Raises:
        CannotFoldError: The network does not return one tensor, or a gradient is asked for what has no rows.
    """

    def __init__(self, forward_func: Callable[..., Any], count: int, args: Any) -> None:
        self._forward_func, self._count = forward_func, count
        self._args = tree_map(lambda leaf: leaf.detach().clone(), args)  # a method may write into the same tensor
        size, flowing = batch_size(leaves(args)), _flowing(args)
        if any(leaf.shape[:1] != (size,) for leaf in flowing):
            raise CannotFoldError("a gradient is asked for what has no row for each example")
        many = tree_map(lambda leaf: repeated(leaf, count) if leaf.shape[:1] == (size,) else leaf, args)
        draws = torch.arange(count, device=next(leaves(args)).device).repeat_interleave(size)
        with torch.set_grad_enabled(bool(flowing)):
            outputs = forward_func(*many, draws)
        if not isinstance(outputs, Tensor):
            raise CannotFoldError("the network does not return one tensor")
        self._outputs, self._flowing = outputs, _flowing(many)
        self._asked = _asked(args)
        self._passed: tuple[Tensor, list[Tensor | None]] | None = None

    def answers(self, args: Any) -> bool:
        """Whether this is the question."""
        return _asked(args) == self._asked and _same(self._args, args)

    def of(self, draw: int, args: Any) -> Tensor:
        """The outputs of a draw, ``(R, *outputs)``."""
        if any(self._asked):
            answered: Tensor = _Answered.apply(self, draw, *_flowing(args))
            return answered
        return self.outputs(draw)

    def outputs(self, draw: int) -> Tensor:
        """The same, outside any graph."""
        apart: Tensor = self._outputs.detach().unflatten(0, (self._count, -1))
        return apart[draw]

    def gradients(self, draw: int, gradient: Tensor) -> list[Tensor | None]:
        """A gradient of a draw's outputs passed backwards, which the first passes backwards for all draws."""
        if self._passed is None:
            rows = repeated(gradient, self._count)
            parts = torch.autograd.grad(self._outputs, self._flowing, rows, allow_unused=True)
            apart = [None if part is None else part.unflatten(0, (self._count, -1)) for part in parts]
            self._passed, self._outputs, self._flowing = (gradient, apart), self._outputs.detach(), []
        first, apart = self._passed
        if torch.equal(first, gradient):
            return [None if part is None else part[draw] for part in apart]
        return self._gradients_alone(draw, gradient)

    def _gradients_alone(self, draw: int, gradient: Tensor) -> list[Tensor | None]:
        args = tree_map(Tensor.clone, self._args)
        flowing = [leaf.requires_grad_() for leaf, asked in zip(leaves(args), self._asked, strict=True) if asked]
        with torch.enable_grad():
            outputs = _alone(self._forward_func, draw, args)
        return list(torch.autograd.grad(outputs, flowing, gradient, allow_unused=True))


class _Answered(torch.autograd.Function):
    """The outputs of one draw, in the graph of the inputs that it was asked about."""

    @staticmethod
    def forward(ctx: Any, answer: _Answer, draw: int, *flowing: Tensor) -> Tensor:  # noqa: ARG004
        ctx.answer, ctx.draw = answer, draw
        return answer.outputs(draw).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        return (None, None, *ctx.answer.gradients(ctx.draw, gradient))


def _alone(forward_func: Callable[..., Any], draw: int, args: Any) -> Any:
    size = batch_size(leaves(args))
    return forward_func(*args, torch.full((size,), draw, device=next(leaves(args)).device))


def _asked(args: Any) -> list[bool]:
    """Of which tensors a gradient is asked for."""
    return [torch.is_grad_enabled() and leaf.requires_grad for leaf in leaves(args)]


def _flowing(args: Any) -> list[Tensor]:
    """The tensors that a gradient is asked for."""
    return [leaf for leaf, asked in zip(leaves(args), _asked(args), strict=True) if asked]


def _same(one: Any, other: Any) -> bool:
    """Whether two lists of arguments are equal, as far as they are tensors."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
