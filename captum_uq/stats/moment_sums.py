"""Sums of powers of draws: what the moments of many draws need, without the draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq.stats._draws import (
    NotKept,
    checked,
    checked_order,
    needs_more_than,
    power_of_two,
    ratio,
    result_dtype,
    widest,
    working,
)

HIGHEST = 4
"""The highest moment that the sums know."""


@dataclass(frozen=True)
class MomentSums:
    """The first four moments, the extremes and the signs of draws, each a map of the shape of a draw.

    As where the draws are kept, they are divided by a power of two and a first draw is subtracted, so
    that equal draws have a spread of exactly 0 and nothing cancels; sums are in float64 where the device has it.
    Statistics give what the function of the same name gives for the draws, in the draws' dtype.

    Attributes:
        n_draws: ``T``.
        low: The smallest draw, in the draws' dtype; NaN where a draw is.
        high: The largest draw.
        positive: How many draws are above 0.
        scale: A power of two.
        origin: The first draw, over ``scale``.
        mean: Mean of ``draws / scale - origin``.
        m2: Sum over draws of ``(draws / scale - origin - mean)^2``.
        m3: Of the third powers.
        m4: Of the fourth powers.
    """

    n_draws: int
    low: Tensor
    high: Tensor
    positive: Tensor
    scale: Tensor
    origin: Tensor
    mean: Tensor
    m2: Tensor
    m3: Tensor
    m4: Tensor

    @classmethod
    def of(cls, draws: Tensor) -> MomentSums:
        """The sums of some draws, in two passes.

        Args:
            draws: Attributions, shape ``(T, *shape)``.

        Returns:
            Their sums.
        """
        low, high = torch.amin(checked(draws), dim=0), torch.amax(draws, dim=0)
        scale = power_of_two(widest(low), widest(high))
        deviations = widest(draws) / scale
        origin = torch.nan_to_num(deviations[0], nan=0.0, posinf=0.0, neginf=0.0)
        deviations -= origin
        mean = deviations.mean(dim=0)
        deviations -= mean
        squares = deviations.square()
        m2, m3 = squares.sum(dim=0), deviations.mul_(squares).sum(dim=0)
        m4 = squares.square_().sum(dim=0)
        positive = torch.count_nonzero(draws > 0, dim=0)
        return cls(len(draws), low, high, positive, scale, origin, mean, m2, m3, m4)

    def merged(self, other: MomentSums) -> MomentSums:
        """The sums of both sets of draws.

        Args:
            other: Sums of other draws of the same shape.

        Returns:
            What :meth:`of` gives for all the draws.

        References:
            Pebay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
            moments, SAND2008-6212, 2008: the pairwise update. For the variance also Chan, Golub and LeVeque, 1979.
        """
        low, high = torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        scale = power_of_two(widest(low), widest(high))
        a, b = self._rescaled(scale), other._rescaled(scale)
        n, delta = a.n_draws + b.n_draws, b.origin - a.origin + b.mean - a.mean
        p, q = a.n_draws / n, b.n_draws / n
        apart = delta.square() * (p * b.n_draws)
        third = apart * (p - q) + 3 * (p * b.m2 - q * a.m2)
        fourth = apart * (p * p - p * q + q * q) + 6 * (p * p * b.m2 + q * q * a.m2)
        return MomentSums(
            n,
            low,
            high,
            positive=self.positive + other.positive,
            scale=scale,
            origin=a.origin,
            mean=a.mean + delta * q,
            m2=a.m2 + b.m2 + apart,
            m3=a.m3 + b.m3 + delta * third,
            m4=a.m4 + b.m4 + delta * (delta * fourth + 4 * (p * b.m3 - q * a.m3)),
        )

    def _rescaled(self, scale: Tensor) -> MomentSums:
        """The same sums in another unit; exact, as both are powers of two.

        Only where all draws are 0, or some not finite, is the new unit the smaller one: there the sums are 0, or lost,
        in any unit, and the square of the factor might be infinite, of which 0 would make NaN.
        """
        factor = (self.scale / scale).clamp_(max=1)
        square = factor.square()
        return dataclasses.replace(
            self,
            scale=scale,
            origin=self.origin * factor,
            mean=self.mean * factor,
            m2=self.m2 * square,
            m3=self.m3 * square * factor,
            m4=self.m4 * square * square,
        )

    def over(self, fn: Callable[[Tensor], Tensor]) -> MomentSums:
        """The sums with ``fn`` applied to each map, shape ``(*shape)``: an index, a copy, a move."""
        n_draws, *maps = (getattr(self, each.name) for each in dataclasses.fields(self))
        return MomentSums(n_draws, *map(fn, maps))

    def _result(self, values: Tensor) -> Tensor:
        return values.to(result_dtype(self.low))

    def _centre(self) -> Tensor:
        return self.origin + self.mean

    def _spread(self, correction: int) -> Tensor:
        return (self.m2 / (self.n_draws - correction)).sqrt()

    def expectation(self) -> Tensor:
        """Mean over draws; see :func:`captum_uq.stats.expectation`."""
        if self.n_draws == 1:
            return self.low.clone()
        return self._result(self._of_finite(self._centre() * self.scale, 1))

    def _of_finite(self, values: Tensor, k: int) -> Tensor:
        """Raw moments of order ``k`` of finite draws; where one is infinite or NaN, what that makes of them."""
        low, high = widest(self.low), widest(self.high)
        return torch.where(low.isfinite() & high.isfinite(), values, low**k + high**k)

    def variance(self, correction: int = 1) -> Tensor:
        """Variance over draws; see :func:`captum_uq.stats.variance`."""
        needs_more_than(self.n_draws, correction, "variance")
        return self._result(self.m2 / (self.n_draws - correction) * self.scale * self.scale)

    def stdev(self, correction: int = 1) -> Tensor:
        """Standard deviation over draws; see :func:`captum_uq.stats.stdev`."""
        needs_more_than(self.n_draws, correction, "stdev")
        return self._result(self._spread(correction) * self.scale)

    def moment(self, k: int, central: bool = True, standardized: bool = False) -> Tensor:
        """Moment of order ``k`` up to 4; see :func:`captum_uq.stats.moment`.

        Raises:
            NotKept: ``k`` is above 4.
        """
        k = checked_order(k)
        if k > HIGHEST:
            raise NotKept(f"Their powers are summed up to order {HIGHEST}.")
        one, none = torch.ones_like(self.m2), self.m2 * 0
        moments = (one, none, self.m2 / self.n_draws, self.m3 / self.n_draws, self.m4 / self.n_draws)
        mean = none if central else self._centre()
        raw = torch.stack([math.comb(k, j) * mean ** (k - j) * moments[j] for j in range(k + 1)]).sum(dim=0)
        if standardized:
            spread = self._spread(0)
            return self._result(torch.where(spread == 0, ratio(mean, spread) ** k, raw / spread**k))
        for _ in range(k):
            raw = raw * self.scale  # one by one: 0 times an overflowing scale**k would be NaN
        return self._result(raw if central else self._of_finite(raw, k))

    def skewness(self) -> Tensor:
        """Third standardized moment; see :func:`captum_uq.stats.skewness`."""
        return self.moment(3, standardized=True)

    def kurtosis(self) -> Tensor:
        """Fourth standardized moment; see :func:`captum_uq.stats.kurtosis`."""
        return self.moment(4, standardized=True)

    def snr(self, correction: int = 1) -> Tensor:
        """Signal-to-noise ratio; see :func:`captum_uq.stats.snr`."""
        needs_more_than(self.n_draws, correction, "snr")
        return self._result(ratio(self._centre(), self._spread(correction)))

    def confusion(self, correction: int = 1) -> Tensor:
        """``mean * stdev``; see :func:`captum_uq.stats.confusion`."""
        needs_more_than(self.n_draws, correction, "confusion")
        return self._result(self._centre() * self._spread(correction) * self.scale * self.scale)

    def cv(self, correction: int = 1) -> Tensor:
        """Coefficient of variation; see :func:`captum_uq.stats.cv`."""
        needs_more_than(self.n_draws, correction, "cv")
        return self._result(ratio(self._spread(correction), self._centre().abs()))

    def probability_positive(self) -> Tensor:
        """Share of draws above 0; see :func:`captum_uq.stats.probability_positive`."""
        share = self.positive.to(working(self.low).dtype) / self.n_draws
        return self._result(torch.where(working(self.low).isnan(), torch.nan, share))

    def sign_certainty(self) -> Tensor:
        """``max(p, 1 - p)``; see :func:`captum_uq.stats.sign_certainty`."""
        positive = self.probability_positive()
        return torch.maximum(positive, 1 - positive)
