"""The accessors of a DistributionAttribution: each is one function of :mod:`captum_uq.stats` over its draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from captum_uq.distribution.record import Recorded

# MCRP: Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach, 2020.
# B-LRP: Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks, 2020.


class DrawStatistics(Recorded):
    """Statistics over draws; all return plain tensors of the attribution's shape.

    Where not all draws were kept (``keep=`` of `StochasticAttribution.attribute`), what needs them raises a ValueError
    that says what was kept.
    """

    def _map(self, name: str, *arguments: Any) -> Tensor:
        result: Tensor = self._record.store.statistic(name, *arguments)
        return result

    def expectation(self) -> Tensor:
        """Mean over draws, ``1/T sum_t draws[t]`` (MCRP eq. 7). See :func:`captum_uq.stats.expectation`."""
        return self._map("expectation")

    def variance(self, correction: int = 1) -> Tensor:
        """``sum_t (draws[t] - mean)^2 / (T - correction)``; 0 gives MCRP eq. 8.

        See :func:`captum_uq.stats.variance`.
        """
        return self._map("variance", correction)

    def stdev(self, correction: int = 1) -> Tensor:
        """``sqrt(variance)`` (MCRP eq. 8), in the units of the attribution.

        See :func:`captum_uq.stats.stdev`.
        """
        return self._map("stdev", correction)

    def moment(self, k: int, central: bool = True, standardized: bool = False) -> Tensor:
        """``1/T sum_t (draws[t] - mean)^k``, over ``stdev^k`` if standardized.

        See :func:`captum_uq.stats.moment`.
        """
        return self._map("moment", k, central, standardized)

    def skewness(self) -> Tensor:
        """Third standardized moment, ``m3 / m2^(3/2)``. See :func:`captum_uq.stats.skewness`."""
        return self._map("skewness")

    def kurtosis(self) -> Tensor:
        """Fourth standardized moment, ``m4 / m2^2``, 3 for a normal. See :func:`captum_uq.stats.kurtosis`."""
        return self._map("kurtosis")

    def percentile(self, q: float | Sequence[float]) -> Tensor:
        """Entry-wise percentile over draws (B-LRP eq. 5), ``numpy.percentile``'s linear interpolation.

        Several ``q`` give one more axis in front. Warns where there are too few draws for ``q``. See
        :func:`captum_uq.stats.percentile`.
        """
        return self._map("percentile", q)

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """``(low, high)``: percentiles ``50 - 50 level`` and ``50 + 50 level`` (B-LRP eq. 5).

        See :func:`captum_uq.stats.interval`.
        """
        low, high = self._record.store.statistic("interval", level)
        return low, high

    def snr(self, correction: int = 1) -> Tensor:
        """Signal-to-noise ratio, ``mean / stdev`` (MCRP section 3.1). See :func:`captum_uq.stats.snr`."""
        return self._map("snr", correction)

    def confusion(self, correction: int = 1) -> Tensor:
        """``mean * stdev`` (MCRP section 3.1). See :func:`captum_uq.stats.confusion`."""
        return self._map("confusion", correction)

    def cv(self, correction: int = 1) -> Tensor:
        """Coefficient of variation, ``stdev / |mean|`` (Mulye and Valdenegro-Toro, 2024).

        See :func:`captum_uq.stats.cv`.
        """
        return self._map("cv", correction)

    def probability_positive(self) -> Tensor:
        """``p``, the share of draws above 0. See :func:`captum_uq.stats.probability_positive`."""
        return self._map("probability_positive")

    def sign_certainty(self) -> Tensor:
        """``max(p, 1 - p)``; a draw of 0 is not above 0. See :func:`captum_uq.stats.sign_certainty`."""
        return self._map("sign_certainty")

    def union(self, q: float = 95.0) -> Tensor:
        """The liberal map, a high percentile (Bykov et al., 2021). See :func:`captum_uq.stats.union`."""
        return self._map("union", q)

    def intersection(self, q: float = 5.0) -> Tensor:
        """The cautious map, a low percentile (Bykov et al., 2021). See :func:`captum_uq.stats.intersection`."""
        return self._map("intersection", q)
