"""Mean, variance and last deviations of a parameter along a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Moments:
    """What SWAG keeps of one parameter, on the CPU.

    Attributes:
        max_rank: How many deviations to keep.
        count: How many values were added.
        mean: Their mean, ``(*shape)``.
        squares: Sum of squared deviations from the mean, by Welford: ``E[x^2] - E[x]^2`` would cancel.
        deviations: The last values less the mean at their time, at most ``max_rank``.
    """

    max_rank: int
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))
    deviations: list[Tensor] = field(default_factory=list)

    def add(self, value: Tensor) -> None:
        """Take in a value, shape ``(*shape)``."""
        value = value.cpu().float() if value.dtype in (torch.float16, torch.bfloat16) else value.cpu()
        self.count += 1
        before = value - self.mean
        self.mean = self.mean + before / self.count
        after = value - self.mean
        self.squares = self.squares + before * after
        self.deviations = [*self.deviations, after][-self.max_rank :]

    def variance(self) -> Tensor:
        """Population variance, ``(*shape)``."""
        return (self.squares / self.count).clamp_min(0)

    def spread(self) -> bool:
        """Whether the values differ."""
        return self.count > 1 and bool(self.squares.any())

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        names = ("count", "mean", "squares", "deviations")
        return {name: getattr(self, name) for name in names}
