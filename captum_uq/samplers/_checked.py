"""What the check of a road saw of a network, on which the calls after it rely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from captum_uq._trees import leaves
from captum_uq.samplers._prefix import CannotFoldError


class AmbiguousRowsError(CannotFoldError):
    """A tensor that has no rows has as many entries as a forward has rows; with other draws at once it has not."""


@dataclass
class Checked:
    """What was seen while a few draws ran at once, whose number of rows tells rows from anything else.

    Attributes:
        sizes: First dimensions of tensors that are no rows: a table of positions, a mask over tokens.
        drawn: Names of the weights that were drawn together: fewer of them run other modules as a whole.
        done: Whether the check is over, and nothing new may come.
    """

    sizes: set[int] = field(default_factory=set)
    drawn: set[frozenset[str]] = field(default_factory=set)
    done: bool = False

    def rows(self, tree: Any, size: int) -> list[Tensor]:
        """The tensors of a tree that have a row for each row of a forward, ``(size, *row)``.

        Raises:
            AmbiguousRowsError: What has no rows has so many entries too. Of one row it does no harm.
        """
        if not self.done:
            self.sizes |= {leaf.shape[0] for leaf in leaves(tree) if leaf.dim() and leaf.shape[0] != size}
        if size > 1 and size in self.sizes:
            raise AmbiguousRowsError(f"a tensor that has no rows has {size} entries, as many as there are rows")
        return [leaf for leaf in leaves(tree) if leaf.shape[:1] == (size,)]

    def meet(self, drawn: Iterable[str]) -> None:
        """Weights are drawn.

        Raises:
            CannotFoldError: The check has not seen these drawn, and no others.
        """
        names = frozenset(drawn)
        if not self.done:
            self.drawn.add(names)
        if names not in self.drawn:
            raise CannotFoldError("the check did not see these weights drawn, but others")
