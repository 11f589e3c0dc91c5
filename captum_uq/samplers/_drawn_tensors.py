"""The tensors of one module in every draw, and the module's forward with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from captum_uq.samplers._order import Order

_LARGE = 2**20
"""Bytes of a module's tensors from which to copy those of all draws side by side takes longer than a call for each."""


class DrawnTensors:
    """Tensors of a module that are drawn.

    Args:
        draws: What each of the `D` draws changes in the network, by name.
        own: The tensors of the module that are drawn, by their names in it: the name in the draw, and its own value,
            for draws that leave it out.

    Attributes:
        names: Their names in the module.
    """

    def __init__(self, draws: Sequence[Mapping[str, Tensor]], own: Mapping[str, tuple[str, Tensor]]) -> None:
        self.names = list(own)
        self._each = [
            {key: weights.get(name, tensor).detach().to(tensor) for key, (name, tensor) in own.items()}
            for weights in draws
        ]
        self._large = sum(tensor.nbytes for _, tensor in own.values()) > _LARGE
        self._stacks = {} if self._large else {key: self._stacked(key) for key in own}

    def stack(self, key: str) -> Tensor:
        """The values of one tensor in every draw, ``(D, *shape)``."""
        return self._stacks[key] if key in self._stacks else self._stacked(key)

    def _stacked(self, key: str) -> Tensor:
        return torch.stack([tensors[key] for tensors in self._each])

    def of(self, order: Order) -> dict[str, Tensor] | None:
        """All of them in each draw of a forward, ``(D', *shape)``; None where they are large."""
        return None if self._large else {key: order.of_draws(stack) for key, stack in self._stacks.items()}

    def run(self, one: Callable[..., tuple[Tensor, ...]], order: Order, rows: Sequence[Tensor]) -> Sequence[Tensor]:
        """A function in each draw of a forward: vectorised, or where the tensors are large one draw after another.

        Args:
            one: Takes the tensors of a draw by name, and then its rows.
            order: How the rows of the draws lie.
            rows: Rows of each draw, ``(D', U, *row)``.

        Returns:
            What it gives, ``(D', *shape)`` each.
        """
        stacks = self.of(order)
        if stacks is not None:
            vectorised: tuple[Tensor, ...] = torch.vmap(one)(stacks, *rows)
            return vectorised
        each = self._each if order.drawn is None else [self._each[draw] for draw in order.drawn.tolist()]
        results = [one(tensors, *own) for tensors, *own in zip(each, *(part.unbind() for part in rows), strict=True)]
        return [torch.stack(parts) for parts in zip(*results, strict=True)]
