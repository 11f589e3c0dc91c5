"""What many draws of one forward share: it runs once for all of them, and backwards for each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from captum_uq._layout import channels_last, moves
from captum_uq._shared_graph import sharing
from captum_uq._trees import leaves, tree_map
from captum_uq.samplers._order import Order


class CannotFoldError(RuntimeError):
    """The draws of this call cannot share a batch: they run one after another instead. Never reaches the user."""


class Prefix:
    """The distinct rows of one forward, before the draws part.

    Where a backward pass will come, there are copies of them: as many as the draws that it runs at once.

    Args:
        order: The rows of each draw.
        copies: How many there are, `C`.
    """

    def __init__(self, order: Order, copies: int) -> None:
        rows = order.rows
        self.order, self.copies, self.draw_by_draw = rows, copies, order.back is None
        self.source = torch.empty_like(rows.flatten())
        self.source[rows.flatten()] = torch.arange(rows.shape[1], device=rows.device).repeat(rows.shape[0])
        self.full: list[Tensor] = []
        self.own: list[Tensor] = []
        self.passed = False

    @property
    def size(self) -> int:
        """How many rows it has, ``C * U``."""
        return self.copies * self.order.shape[1]

    @classmethod
    def of(cls, order: Order, arguments: Any, draws_per_product: int) -> tuple[Prefix | None, Any]:
        """The prefix and its arguments, with ``C * U`` rows; None where the rows of the draws differ."""
        size = order.rows.numel()
        batched = [leaf for leaf in leaves(arguments) if leaf.shape[:1] == (size,)]
        backwards = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in batched)
        count = len(order.rows)
        products = math.ceil(count / draws_per_product)
        prefix = cls(order, math.ceil(count / products) if backwards else 1)
        if not batched or not all(prefix._same_in_all_draws(leaf) for leaf in batched):
            return None, arguments
        return prefix, tree_map(lambda leaf: prefix._distinct(leaf) if leaf.shape[:1] == (size,) else leaf, arguments)

    def _same_in_all_draws(self, leaf: Tensor) -> bool:
        leaf, count = leaf.detach(), self.order.shape[1]
        if self.draw_by_draw:
            return torch.equal(leaf[count:], leaf[:-count])
        return torch.equal(leaf, leaf[self.order[0]][self.source])

    def _distinct(self, leaf: Tensor) -> Tensor:
        """The rows of the first draw, which stand for all; a gradient that reaches them is given to the right draw."""
        own = leaf.detach()[self.order[0].repeat(self.copies)]
        if leaf.requires_grad and torch.is_grad_enabled():
            own.requires_grad_()
            self.full.append(leaf)
            self.own.append(own)
        return own

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A forward whose first part the draws share.

        What a backward pass will need of it is kept with its channels last. The forward itself runs as its inputs lie,
        so that no unit falls on another side of 0 by rounding; backwards there are only products and sums, faster so,
        and a prefix is passed backwards many times. Not for pictures of one channel, whose gradients are faster
        otherwise (`captum_uq.execution.one_channel`).
        """
        lies_otherwise = any(own.shape[1:2] != (1,) and moves(own) for own in self.own)
        kept = saved_tensors_hooks(self._saved, lambda saved: saved) if lies_otherwise else contextlib.nullcontext()
        many = len(self.order) > self.copies
        with sharing(lambda: many and not self.passed), kept:
            yield

    def _saved(self, saved: Tensor) -> Tensor:
        """What an operation of the prefix keeps: pictures, weights, the places of maxima.

        Outside the graph: an operation that kept its own result in it would keep itself alive for ever.
        """
        saved = saved.detach()
        return saved if self.passed else channels_last(saved, of=(torch.float32, torch.int64))

    def part(self, arguments: Any) -> Any:
        """The arguments with a row for each row of the forward.

        Raises:
            CannotFoldError: None of them has the prefix's rows.
        """
        self.passed = True
        batched = [leaf for leaf in leaves(arguments) if leaf.shape[:1] == (self.size,)]
        if not batched:
            raise CannotFoldError("the first dimension of what a module takes is not the batch's")
        flowing = [leaf for leaf in batched if leaf.requires_grad] if self.own else []
        parted = {id(leaf): leaf.detach()[self.source] for leaf in batched if leaf not in set(flowing)}
        if flowing:
            outputs = _Part.apply(self, flowing, *self.full)
            parted |= {id(leaf): output for leaf, output in zip(flowing, outputs, strict=True)}
        return tree_map(lambda leaf: parted.get(id(leaf), leaf), arguments)

    def check(self, output: Any) -> None:
        """Refuse an output that does not come from behind the place where the draws part, or not only.

        Raises:
            CannotFoldError: Some of it does not.
        """
        if not self.passed:
            raise CannotFoldError("nothing of the network differs between the draws")
        own = {id(leaf) for leaf in self.own}
        seen, waiting = set(), [leaf.grad_fn for leaf in leaves(output) if leaf.grad_fn is not None]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if id(getattr(node, "variable", None)) in own:
                raise CannotFoldError("a path of the network leads around the first module that draws")
            waiting += [parent for parent, _ in node.next_functions if parent is not None]


class _Part(torch.autograd.Function):
    """Activations of the prefix, one row for each row of the forward; backwards, one product for each draw."""

    @staticmethod
    def forward(ctx: Any, prefix: Prefix, activations: list[Tensor], *full: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG004
        ctx.prefix, ctx.activations = prefix, activations
        ctx.set_materialize_grads(True)
        return tuple(activation.detach()[prefix.source] for activation in activations)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        prefix: Prefix = ctx.prefix
        results: list[Tensor | None] = [None] * len(prefix.full)
        for rows in map(Tensor.flatten, prefix.order.split(prefix.copies)):
            products = [
                _with_rows(g[rows], len(activation)) for g, activation in zip(gradients, ctx.activations, strict=True)
            ]
            parts = torch.autograd.grad(ctx.activations, prefix.own, products, retain_graph=True, allow_unused=True)
            for place, part in enumerate(parts):
                if part is not None:
                    result = results[place]
                    if result is None:
                        result = results[place] = torch.zeros_like(prefix.full[place])
                    result[rows] = part[: len(rows)]
        return (None, None, *results)


def _with_rows(tensor: Tensor, size: int) -> Tensor:
    """A tensor with rows of 0 at its end, ``(size, *row)``."""
    missing = size - len(tensor)
    return tensor if not missing else torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])
