"""Sums that share relevance among their terms, made ready for many draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_uq._layout import lying_as
from captum_uq.lrp.base import propagate_gradient

TINY = 1e-12
"""Keeps 0/0 at 0 in rules whose papers have no epsilon."""


@dataclass(frozen=True)
class Shares:
    """``R_i = x_i sum_j (d z_j / d x_i) R_j / divisor_j``: all of it that does not depend on the relevance.

    Attributes:
        inputs: ``x``, leaves outside the network's graph, ``(N, *F)`` each.
        total: ``z``, with the graph from them, ``(N, *outputs)``.
        divisor: What relevance is divided by, ``(N, *outputs)``; infinite where none is shared.
    """

    inputs: tuple[Tensor, ...]
    total: Tensor
    divisor: Tensor

    def of(self, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of each input, of a relevance ``(N, *outputs)``."""
        return propagate_gradient(self.total, self.inputs, relevance / self.divisor)


def apart(value: Tensor, relevance: Tensor) -> Tensor:
    """A value as a leaf, in the memory format of the relevance: products of two formats are slow."""
    return lying_as(value.detach(), relevance).requires_grad_()


def stabilized(z: Tensor, epsilon: float | Tensor) -> Tensor:
    """``z + epsilon sign(z)`` with ``sign(0) = 1`` (Bach et al. 2015, eq. 58), by signs: CPUs have vectors for them."""
    return z.sign().add_(0.5).sign_().mul_(epsilon).add_(z)


def not_zero(z: Tensor) -> Tensor:
    """A divisor that passes nothing on from an output of 0 (LRP-0)."""
    return z.masked_fill(z == 0, math.inf)


def above(total: Tensor, least: float) -> Tensor:
    """A divisor that passes nothing on where a total is not above the least."""
    return F.threshold(total, least, math.inf)


def least_shared(total: Tensor) -> float:
    """What a total of terms of 0 or more must be above to be divided by: a stabilizer would take from small ones."""
    return float(torch.finfo(total.dtype).tiny ** 0.5)
