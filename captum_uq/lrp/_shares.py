"""Sums that share relevance among their terms, made ready for many draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_uq._layout import lying_as
from captum_uq.lrp._affine import Affine, Change, negative, positive
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


def by_sign(
    affine: Affine, x: Tensor, relevance: Tensor, weight: Change, bias: Change | None, for_negative: Change
) -> tuple[tuple[Tensor, ...], Tensor]:
    """A layer with one weight for its positive inputs and another for its negative ones.

    Args:
        affine: The layer.
        x: Its input, ``(N, *F)``.
        relevance: Of its output, ``(N, *outputs)``.
        weight: What is made of the layer's for what is positive, with a bias made by the next.
        bias: None for no bias.
        for_negative: What is made of the weight for what is negative.

    Returns:
        The positive and the negative part as leaves, the second only where there is one, and the output.
    """
    inputs: tuple[Tensor, ...] = (apart(positive(x.detach()), relevance),)
    total = affine(inputs[0], weight, bias)
    low = negative(x.detach())
    if not low.any():  # after a ReLU: half the work
        return inputs, total
    inputs = (*inputs, apart(low, relevance))
    return inputs, total + affine(inputs[1], for_negative)


def stabilized(z: Tensor, epsilon: float | Tensor) -> Tensor:
    """``z + epsilon sign(z)`` with ``sign(0) = 1`` (Bach et al. 2015, eq. 58), by signs: CPUs have vectors for them.

    An epsilon that the dtype does not have, such as 1e-9 in float16, is LRP-0's: as a number it would be 0, and 0/0.
    """
    if isinstance(epsilon, float) and 0 < epsilon < torch.finfo(z.dtype).tiny:
        return not_zero(z)
    return z.sign().add_(0.5).sign_().mul_(epsilon).add_(z)


def not_zero(z: Tensor) -> Tensor:
    """A divisor that passes nothing on from an output of 0 (LRP-0)."""
    return z.masked_fill(z == 0, math.inf)


def above(total: Tensor, least: float) -> Tensor:
    """A divisor that passes nothing on where a total is not above the least."""
    return F.threshold(total, least, math.inf)


def least_shared(total: Tensor) -> float:
    """What a total of terms of 0 or more must be above to be divided by: a stabilizer would take from small ones.

    Of float16, which has few numbers below, 1e-4: its root would be 0.008.
    """
    return min(1e-4, float(torch.finfo(total.dtype).tiny ** 0.5))


def mask(chosen: Tensor, relevance: Tensor) -> Tensor:
    """1 where chosen, else 0: of numbers, which multiply faster than truth values."""
    return chosen.to(relevance.dtype)
