"""Many draws in one batch: which draw each row of a forward belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._trees import batch_size, leaves, tree_map
from captum_uq.samplers._checked import Checked
from captum_uq.samplers._order import Order
from captum_uq.samplers._prefix import CannotFoldError, Prefix


class Rows:
    """The rows of a forward that many draws share.

    The last argument of the forward names the draw of each row; it is taken off before the network sees it. Where
    something is shared, the rows that only differ by their draw run as one, up to the first module at which the draws
    part (`part_before`).

    Args:
        count: How many draws, `D`.
        draws_per_product: What comes before the draws part runs once for all of them, and backwards for so many of
            them at once; 0 where nothing is shared.
        checked: What was seen of the network before.

    Attributes:
        draws: Which draw each row of the forward under way belongs to, ``(R,)``, each in 0 to D - 1.
        when_parted: Called where the draws part.
    """

    def __init__(self, count: int, draws_per_product: int, checked: Checked | None = None) -> None:
        self.count = count
        self.checked = Checked() if checked is None else checked
        self.draws: Tensor | None = None
        self.when_parted: Callable[[], object] = lambda: None
        self._draws_per_product = draws_per_product
        self._prefix: Prefix | None = None
        self._known: tuple[Tensor, Order | None] | None = None

    def folded(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """``forward``, which takes the draws of its rows as one more argument."""

        def folded_forward(*args: Any, **kwargs: Any) -> Any:
            if self.draws is not None:  # the network inside a function around it
                return forward(*args, **kwargs)
            args, draws = args[:-1], args[-1]
            if not isinstance(draws, Tensor) or draws.dtype != torch.int64 or draws.dim() != 1:
                raise CannotFoldError("the arguments of the forward are not those that the method was given")
            return self._run(forward, draws, args, kwargs)

        return folded_forward

    def of_every_draw(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """``forward``, which runs its rows for every draw: of `N` rows ``(D * N, *outputs)``, draw after draw."""

        def every_forward(*args: Any, **kwargs: Any) -> Any:
            if self.draws is not None:  # the network inside a function around it
                return forward(*args, **kwargs)
            given = list(leaves((args, kwargs)))
            every = torch.arange(self.count, device=given[0].device)
            return self._run(forward, every.repeat_interleave(batch_size(given)), args, kwargs, once=True)

        return every_forward

    def _run(self, forward: Callable[..., Any], draws: Tensor, args: Any, kwargs: Any, once: bool = False) -> Any:
        """What ``forward`` gives for rows of these draws; ``once``: the arguments have the rows of one draw."""
        with self._forward(draws, args, kwargs, once) as (args, kwargs):
            output = forward(*args, **kwargs)
            self._check(output)
        return output

    @contextlib.contextmanager
    def _forward(self, draws: Tensor, args: Any, kwargs: Any, once: bool) -> Iterator[tuple[Any, Any]]:
        if self._known is None or self._known[0].shape != draws.shape or not torch.equal(self._known[0], draws):
            self._known = (draws, Order.of(draws, self.count))
        self.draws, order = draws, self._known[1]
        self._prefix = None
        try:
            if once:
                args, kwargs = self._of_one_draw(args, kwargs)
            elif self._draws_per_product and order is not None:
                self.checked.rows((args, kwargs), len(draws))
                self._prefix, (args, kwargs) = Prefix.of(order, (args, kwargs), self._draws_per_product)
            with contextlib.nullcontext() if self._prefix is None else self._prefix.running():
                yield args, kwargs
        finally:
            self.draws = self._prefix = None

    def _of_one_draw(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments with the rows of one draw: where something is shared as they are, else once for each draw."""
        size = self.order.rows.shape[1]
        if self._draws_per_product:
            self.checked.rows((args, kwargs), size)
            self._prefix = Prefix(self.order, 1)
            return args, kwargs

        def repeated(leaf: Tensor) -> Tensor:
            return leaf.repeat(self.count, *[1] * (leaf.dim() - 1)) if leaf.shape[:1] == (size,) else leaf

        many: tuple[Any, Any] = tree_map(repeated, (args, kwargs))
        return many

    @property
    def one_each(self) -> bool:
        """Whether the forward under way has one row for each draw, in their order."""
        draws = self.draws
        return draws is not None and len(draws) == self.count and torch.equal(draws.cpu(), torch.arange(self.count))

    @property
    def order(self) -> Order:
        """How the rows of the forward under way lie.

        Raises:
            CannotFoldError: The draws have different numbers of rows.
        """
        if self._known is None or self._known[1] is None:
            raise CannotFoldError("the draws of a forward have different numbers of rows")
        return self._known[1]

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
        self.checked.rows((args, kwargs), self._prefix.size)
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
