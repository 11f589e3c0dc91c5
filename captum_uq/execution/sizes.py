"""How many draws run at once: as many as fit the memory, and on a CPU the cache."""

from __future__ import annotations

import math
from typing import NamedTuple

from captum_uq._trees import leaves
from captum_uq.execution.job import Job
from captum_uq.execution.work import Work

_MEMORY = 2**30
"""Bytes that the draws that run at once may take."""

_CACHE = {"cpu": 2**24}
"""Bytes of activations, or of drawn weights, from which more folded draws at once are slower: they leave the cache."""

_OWN, _DRAWS = {"cpu": 2**26}, 100
"""The same for what comes after the draws part, for so many draws: more of them take no more than `_CACHE`, so that the
memory of many draws is about that of few."""

_SHARING = 5
"""So many draws run together wherever they fit: what they share, which every eval runs once, is then little of it."""

_PRODUCT = {"cpu": 2**22}
"""The same for the part that draws share, which they pass backwards together."""

_ROWS, _ROWS_CACHE = 8, {"cpu": 2**26}
"""So many rows are passed backwards together even where they leave the cache, up to these bytes: what an operation
takes whatever its rows, such as laying out the weights of a convolution, is then theirs together."""

_ROOTS = 1300
"""So many outputs may be asked for their gradients one by one, as Captum asks for those inside a network: autograd's
time for it grows with the square of their number, and is then about that of an eval."""


class Sizes(NamedTuple):
    """How many draws run at once.

    Attributes:
        fits: The most that memory allows.
        cached: The most that are faster together.
        draws_per_product: How many of them what they share is passed backwards for at once; 0 where they share nothing.
    """

    fits: int
    cached: int
    draws_per_product: int

    def draws_per_eval(self, n_draws: int) -> int:
        """Draws of each eval, so that all evals have about the same number of them."""
        cached = max(self.cached, min(self.fits, _SHARING)) if self.draws_per_product else self.cached
        return math.ceil(n_draws / max(1, math.ceil(n_draws / self.fits), round(n_draws / cached)))


ONE = Sizes(1, 1, 0)


class Asked(NamedTuple):
    """What one draw of a method asks of the network.

    Attributes:
        largest: Rows of the largest forward.
        usual: Rows of the forward that a row is in, on average.
        held: Rows whose gradients are held until the last draw has asked for them.
        roots: Outputs whose gradients are asked for one by one.
    """

    largest: int
    usual: int
    held: int = 0
    roots: int = 0


def sizes(work: Work, share: bool, asked: Asked, job: Job) -> Sizes:
    """How many draws to run at once.

    Args:
        work: What the network does for one row.
        share: Whether the draws share what comes before they part.
        asked: What the method asks of it for one draw.
        job: The call.

    Returns:
        The numbers.
    """
    arguments = list(leaves(job.call.forward_arguments))
    device = arguments[0].device.type
    row = sum(leaf.nbytes for leaf in arguments) / max(1, arguments[0].shape[0])
    own, drawn = work.bytes - work.shared_bytes, work.drawn_bytes
    fits = _draws(_MEMORY, asked.largest * (4 * row + 2 * own) + asked.held * row + 2 * drawn)  # drawn, and stacked
    if asked.roots:
        fits = min(fits, _draws(_ROOTS, asked.roots))
    cached = _draws(_CACHE.get(device, _MEMORY), asked.usual * own)
    if not share:
        return Sizes(fits, min(fits, cached, _draws(_CACHE.get(device, _MEMORY), drawn)), 0)
    cached = min(_draws(_OWN.get(device, _MEMORY), asked.usual * own), max(cached, _DRAWS))
    return Sizes(fits, min(fits, cached), _draws_per_product(work.shared_bytes, asked.usual, device))


def _draws_per_product(row: int, rows: int, device: str) -> int:
    """How many draws pass what they share backwards together, each with so many rows of so many bytes."""
    cached = _draws(_PRODUCT.get(device, _MEMORY), rows * row)
    return max(cached, min(_ROWS // rows, _draws(_ROWS_CACHE.get(device, _MEMORY), rows * row)))


def _draws(limit: int, each: float) -> int:
    return max(1, int(limit // max(1, each)))
