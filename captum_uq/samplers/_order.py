"""How the rows of many draws lie in one forward: taken draw by draw, and put back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Order(NamedTuple):
    """The rows of a forward, draw by draw.

    Attributes:
        rows: The rows of each draw in the forward, ``(D', U)``.
        back: Where the forward's rows are among these, ``(R,)``; None where they lie draw by draw already.
        drawn: Which draws are in the forward, ``(D',)``; None where all are, in their order.
    """

    rows: Tensor
    back: Tensor | None
    drawn: Tensor | None

    @classmethod
    def of(cls, draws: Tensor, count: int) -> Order | None:
        """The order of the rows of a forward.

        Args:
            draws: Which draw each row belongs to, ``(R,)``.
            count: How many draws there are, `D`.

        Returns:
            The order; None where the draws have different numbers of rows.
        """
        there = int(torch.bincount(draws).count_nonzero())
        if len(draws) % there:
            return None
        rows = draws.argsort(stable=True).view(there, -1)
        if not bool((draws[rows] == draws[rows[:, :1]]).all()):
            return None
        back = rows.flatten().argsort()
        in_order = torch.equal(back, torch.arange(len(back), device=back.device))
        return cls(rows, None if in_order else back, None if there == count else draws[rows[:, 0]])

    def apart(self, leaf: Tensor) -> Tensor:
        """A tensor with a row for each row of the forward, ``(R, *row)``, draw by draw, ``(D', U, *row)``."""
        flat: Tensor = leaf if self.back is None else _Permuted.apply(leaf, self.rows.flatten(), self.back)
        return flat.view(*self.rows.shape, *leaf.shape[1:])

    def together(self, leaf: Tensor) -> Tensor:
        """What `apart` gave, or what was made of it, as the rows of the forward, ``(R, *row)``."""
        flat = leaf.flatten(0, 1)
        joined: Tensor = flat if self.back is None else _Permuted.apply(flat, self.back, self.rows.flatten())
        return joined

    def of_draws(self, stack: Tensor) -> Tensor:
        """What each draw has, ``(D, *shape)``, of those in the forward, ``(D', *shape)``."""
        return stack if self.drawn is None else stack[self.drawn]


class _Permuted(torch.autograd.Function):
    """Rows in another order; backwards too they are read, where autograd would add to each in turn."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.back = back
        return rows[order]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.back], None, None
