"""Many draws of a replayed network at once: every site gives each row the values of the row's own draw."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_uq._rng import generator
from captum_uq.samplers._held import HeldDraw, Network, Replay
from captum_uq.samplers._masks import scaled_mask
from captum_uq.samplers._prefix import CannotFoldError
from captum_uq.samplers._random_calls import RandomCall
from captum_uq.samplers._rows import Rows


class FoldedDraws(HeldDraw):
    """A context inside which each row of a forward meets the network of its own draw.

    Args:
        network: The network with its sites.
        indices: The draws.
        seed: Seed of the draws.
        rows: Tells which of the draws each row belongs to.
    """

    def __init__(self, network: Network, indices: Sequence[int], seed: int, rows: Rows) -> None:
        super().__init__(network, indices[0], seed)
        self._seed, self._indices, self._rows = seed, indices, rows

    def _be_at(self, name: str) -> None:
        """A site is where the draws part."""
        super()._be_at(name)
        self._undo.callback(self._rows.part_before(self._network.names[name]))

    def _apply_mask(self, activations: Tensor, name: str, use: int, call: RandomCall) -> Tensor:
        key = (name, use, call.shape, activations.dtype, activations.device)
        if key not in self._variates:
            self._variates[key] = scaled_mask(call, self._stack(name, use, 0, call, activations.device), activations)
        masks, draws = self._variates[key].flatten(0, 1), self._draws()
        if len(draws) != len(activations):
            raise CannotFoldError("a module that draws does not take one row for each")
        return activations * (masks if self._rows.one_each else masks[draws])

    def _variate(self, replay: Replay, call: RandomCall, recorded: RandomCall, device: torch.device) -> Tensor:
        """The standard variate of a random call, each row's that of its own draw."""
        stack = self._stack(replay.name, replay.use, replay.position, recorded, device)
        return _spread(stack, self._draws(), call.shape)

    def _draws(self) -> Tensor:
        if self._rows.draws is None:
            raise CannotFoldError("a module that draws runs outside the network's forward")
        return self._rows.draws

    def _stack(self, name: str, use: int, position: int, call: RandomCall, device: torch.device) -> Tensor:
        """The standard variates of one random call in every draw, ``(D, *row)``."""
        key = (name, use, position, call.shape, device)
        if key not in self._variates:
            generators = [generator(self._seed, index, name, use, position) for index in self._indices]
            self._variates[key] = call.samples(generators).to(device)
        return self._variates[key]


def _spread(stack: Tensor, draws: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Each row's value, from those of the draws.

    Args:
        stack: The values of one row in each draw, ``(D, *row)``.
        draws: The draw of each row, ``(R,)``.
        shape: Shape of the same random operation on all rows: one dimension of ``row`` is `R` times as large.

    Returns:
        The values, of that shape.

    Raises:
        CannotFoldError: No dimension is, or several are: the rows cannot be told.
    """
    row, size = stack.shape[1:], len(draws)
    grown = [d for d in range(len(shape)) if len(shape) == len(row) and shape[d] != row[d]]
    if size == 1 and not grown:
        return stack[draws[0]]
    if len(grown) != 1 or shape[grown[0]] != size * row[grown[0]]:
        raise CannotFoldError("a random tensor is not drawn row by row")
    return stack[draws].movedim(0, grown[0]).reshape(shape)
