"""How the draws of a distribution were run, as the distribution tells it."""

from __future__ import annotations

from dataclasses import dataclass

LOOP, FOLD, PREFIX = "loop", "fold", "prefix"


@dataclass(frozen=True)
class Execution:
    """How the draws of one call were run.

    Attributes:
        road: ``"loop"``: one after another, the reference. ``"fold"``: many draws in one batch. ``"prefix"``: folded,
            and what comes before the first random module or drawn weight ran once for all draws.
        draws_per_eval: How many draws ran at once.
        reason: Why this road, and no faster one.
        draws_per_product: By ``"prefix"``, how many draws at once what they share was passed backwards for; else 0.
        channels_last: Whether the network saw pictures in ``torch.channels_last``, which CPUs convolve faster.
    """

    road: str
    draws_per_eval: int
    reason: str
    draws_per_product: int = 0
    channels_last: bool = False

    def __str__(self) -> str:
        many = f", {self.draws_per_eval} draws at once" if self.road != LOOP else ""
        layout = ", channels last" if self.channels_last else ""
        return f"{self.road}{many}{layout}: {self.reason}"
