"""The sampler that changes nothing."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import ClassVar

from torch import nn

from captum_uq.samplers.base import BoundSampler, Sampler


class Unchanged(Sampler):
    """Draws the network as it is, flags and all: for tests and comparisons (design law 6).

    One draw of it is plain Captum. Its draws have no spread, so a result of it says nothing about uncertainty.
    """

    deterministic: ClassVar[bool] = True
    kind: ClassVar[str] = "perturbation"
    default_draws: int = 1

    def bind(self, model: nn.Module) -> BoundSampler:
        """The network as it is."""
        return _AsItIs()


class _AsItIs(BoundSampler):
    def draw(self, index: int, seed: int) -> AbstractContextManager[object]:
        return contextlib.nullcontext()
