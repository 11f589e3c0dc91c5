"""Many draws in one batch: which draw each row of a forward belongs to, and the part of it that all draws share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._trees import leaves, tree_map


class CannotFoldError(RuntimeError):
    """The draws of this call cannot share a batch: they run one after another instead. Never reaches the user."""


class Rows:
    """The rows of a forward that many draws share.

    The last argument of the forward names the draw of each row; it is taken off before the network sees it. Where
    something is shared, the rows that only differ by their draw run as one, up to the first module at which the draws
    part (`part_before`).

    Args:
        count: How many draws, `D`.
        draws_per_product: What comes before the draws part runs once for all of them, and backwards for so many of
            them at once; 0 where nothing is shared.

    Attributes:
        draws: Which draw each row of the forward under way belongs to, ``(R,)``, each in 0 to D - 1.
        when_parted: Called where the draws part.
    """

    def __init__(self, count: int, draws_per_product: int) -> None:
        self.count = count
        self.draws: Tensor | None = None
        self.when_parted: Callable[[], object] = lambda: None
        self._draws_per_product = draws_per_product
        self._prefix: _Prefix | None = None
        self._orders: tuple[Tensor, Tensor | None] | None = None

    def folded(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """``forward``, which takes the draws of its rows as one more argument."""

        def folded_forward(*args: Any, **kwargs: Any) -> Any:
            if self.draws is not None:  # the network inside a function around it
                return forward(*args, **kwargs)
            args, draws = args[:-1], args[-1]
            if not isinstance(draws, Tensor) or draws.dtype != torch.int64 or draws.dim() != 1:
                raise CannotFoldError("the arguments of the forward are not those that the method was given")
            with self._forward(draws, args, kwargs) as (args, kwargs):
                output = forward(*args, **kwargs)
                self._check(output)
            return output

        return folded_forward

    @contextlib.contextmanager
    def _forward(self, draws: Tensor, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
        if self._orders is None or self._orders[0].shape != draws.shape or not torch.equal(self._orders[0], draws):
            self._orders = (draws, self._order_of(draws))
        self.draws, order = draws, self._orders[1]
        self._prefix = None
        try:
            if self._draws_per_product and order is not None:
                self._prefix, (args, kwargs) = _Prefix.of(order, (args, kwargs), self._draws_per_product)
            yield args, kwargs
        finally:
            self.draws = self._prefix = None

    def _order_of(self, draws: Tensor) -> Tensor | None:
        """The rows of each draw, ``(D', U)``, in their order; None where draws have different numbers of rows."""
        count = int(torch.bincount(draws).count_nonzero())
        if len(draws) % count:
            return None
        order = draws.argsort(stable=True).view(count, -1)
        return order if bool((draws[order] == draws[order[:, :1]]).all()) else None

    @property
    def order(self) -> Tensor:
        """The rows of each draw, ``(D', U)``, in the forward under way.

        Raises:
            CannotFoldError: The draws have different numbers of rows.
        """
        if self._orders is None or self._orders[1] is None:
            raise CannotFoldError("the draws of a forward have different numbers of rows")
        return self._orders[1]

    def part_before(self, module: nn.Module) -> Callable[[], None]:
        """Have the draws part before a module, and before any other hook of it; returns what undoes it."""
        hook = module.register_forward_pre_hook(
            lambda module, args, kwargs: self._reach(args, kwargs), with_kwargs=True, prepend=True
        )
        return hook.remove

    def _reach(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of a module at which the draws part: from here on every row runs."""
        if self._prefix is None or self._prefix.passed:
            return args, kwargs
        self.when_parted()
        parted: tuple[Any, Any] = self._prefix.part((args, kwargs))
        return parted

    def _check(self, output: Any) -> None:
        """Refuse an output that some rows reached by a path around the place where the draws part.

        Raises:
            CannotFoldError: There is such a path, or the output has other rows.
        """
        size = 0 if self.draws is None else len(self.draws)
        if any(leaf.shape[:1] != (size,) for leaf in leaves(output)):
            raise CannotFoldError("the network does not return one output for each row")
        if self._prefix is not None:
            self._prefix.check(output)


class _Prefix:
    """The distinct rows of one forward, before the draws part.

    Where a backward pass will come, there are copies of them: as many as the draws that it runs at once.

    Args:
        order: The rows of each draw, ``(D, U)``.
        copies: How many there are, `C`.
    """

    def __init__(self, order: Tensor, copies: int) -> None:
        self.order, self.copies = order, copies
        self.source = torch.empty_like(order.flatten())
        self.source[order.flatten()] = torch.arange(order.shape[1], device=order.device).repeat(order.shape[0])
        self.full: list[Tensor] = []
        self.own: list[Tensor] = []
        self.passed = False

    @classmethod
    def of(cls, order: Tensor, arguments: Any, draws_per_product: int) -> tuple[_Prefix | None, Any]:
        """The prefix and its arguments, with ``C * U`` rows; None where the rows of the draws differ."""
        size = order.numel()
        batched = [leaf for leaf in leaves(arguments) if leaf.shape[:1] == (size,)]
        backwards = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in batched)
        products = math.ceil(len(order) / draws_per_product)
        prefix = cls(order, math.ceil(len(order) / products) if backwards else 1)
        if not batched or not all(prefix._same_in_all_draws(leaf) for leaf in batched):
            return None, arguments
        return prefix, tree_map(lambda leaf: prefix._distinct(leaf) if leaf.shape[:1] == (size,) else leaf, arguments)

    def _same_in_all_draws(self, leaf: Tensor) -> bool:
        leaf = leaf.detach()
        return torch.equal(leaf, leaf[self.order[0]][self.source])

    def _distinct(self, leaf: Tensor) -> Tensor:
        """The rows of the first draw, which stand for all; a gradient that reaches them is given to the right draw."""
        own = leaf.detach()[self.order[0].repeat(self.copies)]
        if leaf.requires_grad and torch.is_grad_enabled():
            own.requires_grad_()
            self.full.append(leaf)
            self.own.append(own)
        return own

    def part(self, arguments: Any) -> Any:
        """The arguments with a row for each row of the forward.

        Raises:
            CannotFoldError: None of them has the prefix's rows.
        """
        self.passed = True
        size = self.copies * self.order.shape[1]
        batched = [leaf for leaf in leaves(arguments) if leaf.shape[:1] == (size,)]
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
    def forward(ctx: Any, prefix: _Prefix, activations: list[Tensor], *full: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG004
        ctx.prefix, ctx.activations = prefix, activations
        ctx.set_materialize_grads(True)
        return tuple(activation.detach()[prefix.source] for activation in activations)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        prefix: _Prefix = ctx.prefix
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
