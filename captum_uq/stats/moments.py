"""Statistics made of mean and spread: ``(T, *shape) -> (*shape)``.

All of them divide each entry by a power of two first, subtract its first draw, and only then sum. Both steps
are exact for draws that agree, so equal draws have a spread of exactly 0; nothing cancels when the mean is
large; and neither 1e-30 nor 1e30 leaves the range of float32 on the way to a ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_uq.stats._draws import check_order, checked, needs_more_than, power_of_two, ratio, result_dtype, working


class _Centred(NamedTuple):
    """Draws split into ``scale * (mean + deviations)``."""

    mean: Tensor  # shape: (*shape)
    deviations: Tensor  # shape: (T, *shape), their mean over T is 0
    scale: Tensor  # shape: (*shape), a power of two


def _centre(draws: Tensor) -> _Centred:
    values = working(checked(draws))
    scale = power_of_two(*torch.aminmax(values, dim=0))
    deviations = values / scale
    first = torch.nan_to_num(deviations[0], nan=0.0, posinf=0.0, neginf=0.0)
    deviations -= first
    shift = deviations.mean(dim=0)
    deviations -= shift
    return _Centred(first + shift, deviations, scale)


def _spread(deviations: Tensor, correction: int) -> Tensor:
    """Standard deviation of draws that are centred already; overwrites ``deviations``."""
    return (deviations.square_().sum(dim=0) / (len(deviations) - correction)).sqrt()


def expectation(draws: Tensor) -> Tensor:
    """Mean over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``1/T sum_t draws[t]`` (eq. 7 of [1]), shape ``shape``. One draw comes back as it is, dtype included.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> expectation(torch.tensor([1.0, 2.0, 6.0]))
        tensor(3.)
    """
    if len(checked(draws)) == 1:
        return draws[0].clone()
    mean, _, scale = _centre(draws)
    return (mean * scale).to(result_dtype(draws))


def variance(draws: Tensor, correction: int = 1) -> Tensor:
    """Variance over draws, in two passes.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: Taken from ``T`` in the divisor: 1 is the unbiased estimator, 0 that of [1].

    Returns:
        ``sum_t (draws[t] - mean)^2 / (T - correction)``, shape ``shape``. ``correction=0`` gives eq. 8 of
        [1], without that equation's cancellation.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> variance(torch.tensor([1.0, 2.0, 6.0]))
        tensor(7.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "variance")
    _, deviations, scale = _centre(draws)
    spread = deviations.square_().sum(dim=0) / (len(draws) - correction)
    return (spread * scale * scale).to(result_dtype(draws))


def stdev(draws: Tensor, correction: int = 1) -> Tensor:
    """Standard deviation over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: Taken from ``T`` in the divisor; see :func:`variance`.

    Returns:
        ``sqrt(variance)`` (eq. 8 of [1]), shape ``shape``, in the units of ``draws``.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> stdev(torch.tensor([1.0, 2.0, 3.0]))
        tensor(1.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "stdev")
    _, deviations, scale = _centre(draws)
    return (_spread(deviations, correction) * scale).to(result_dtype(draws))


def moment(draws: Tensor, k: int, central: bool = True, standardized: bool = False) -> Tensor:
    """Moment of order ``k`` over draws, of the draws as they are (divisor ``T``).

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        k: Order, at least 1.
        central: Subtract the mean first.
        standardized: Divide by the standard deviation (divisor ``T``) to the power ``k``; 0/0 is 0.

    Returns:
        ``1/T sum_t (draws[t] - mean)^k``, or without ``- mean``, or over ``stdev^k``; shape ``shape``.

    Raises:
        ValueError: If ``k`` is no whole number of at least 1.

    Example:
        >>> moment(torch.tensor([0.0, 0.0, 3.0]), 3)
        tensor(2.)
    """  # noqa: DOC502 (raised in check_order)
    check_order(k)
    mean, deviations, scale = _centre(draws)
    powers = deviations if central else deviations + mean
    if standardized:
        powers = ratio(powers, _spread(deviations.clone(), correction=0))
    result = powers.pow(k).mean(dim=0)
    for _ in range(0 if standardized else k):
        result = result * scale  # one by one: 0 times an overflowing scale**k would be NaN
    return result.to(result_dtype(draws))


def skewness(draws: Tensor) -> Tensor:
    """Skewness over draws: the third standardized moment.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``g1 = m3 / m2^(3/2)`` of [1], ``m_k`` the central moments; shape ``shape``; 0 where draws agree.

    References:
        [1] Joanes and Gill, Comparing measures of sample skewness and kurtosis, 1998.

    Example:
        >>> skewness(torch.tensor([-1.0, 0.0, 1.0]))
        tensor(0.)
    """
    return moment(draws, 3, standardized=True)


def kurtosis(draws: Tensor) -> Tensor:
    """Kurtosis over draws: the fourth standardized moment, 3 for a normal distribution.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``b2 = m4 / m2^2`` of [1], ``m_k`` the central moments; shape ``shape``; 0 where draws agree. Subtract
        3 for the excess.

    References:
        [1] Joanes and Gill, Comparing measures of sample skewness and kurtosis, 1998.

    Example:
        >>> kurtosis(torch.tensor([-1.0, 1.0]))
        tensor(1.)
    """
    return moment(draws, 4, standardized=True)


def snr(draws: Tensor, correction: int = 1) -> Tensor:
    """Signal-to-noise ratio over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``mean / stdev`` (section 3.1 of [1]), shape ``shape``; 0/0 is 0, x/0 infinity with the sign of x.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> snr(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [2.0, 5.0, 0.0]]))
        tensor([2., inf, 0.])
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "snr")
    mean, deviations, _ = _centre(draws)
    return ratio(mean, _spread(deviations, correction)).to(result_dtype(draws))


def confusion(draws: Tensor, correction: int = 1) -> Tensor:
    """Confusion over draws: large where a feature matters and the model is unsure of it.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``mean * stdev`` (section 3.1 of [1]), shape ``shape``, with the sign of the mean.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> confusion(torch.tensor([1.0, 2.0, 3.0]))
        tensor(2.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "confusion")
    mean, deviations, scale = _centre(draws)
    return (mean * _spread(deviations, correction) * scale * scale).to(result_dtype(draws))


def cv(draws: Tensor, correction: int = 1) -> Tensor:
    """Coefficient of variation over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``stdev / |mean|`` [1], shape ``shape``; 0/0 is 0, x/0 infinity.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Mulye and Valdenegro-Toro, Uncertainty quantification for gradient-based explanations in neural
        networks, 2024 (there over the mean; the magnitude keeps it a measure of spread).

    Example:
        >>> cv(torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [-3.0, 0.0]]))
        tensor([0.5000, 0.0000])
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "cv")
    mean, deviations, _ = _centre(draws)
    return ratio(_spread(deviations, correction), mean.abs()).to(result_dtype(draws))
