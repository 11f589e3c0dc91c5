"""Mean, spread and higher moments over draws: ``(T, *shape) -> (*shape)``."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_uq.stats._centre import centre, mean, shifted, spread
from captum_uq.stats._draws import checked, checked_order, needs_more_than, ratio, result_dtype


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
        >>> import torch
        >>> expectation(torch.tensor([1.0, 2.0, 6.0]))
        tensor(3.)
    """
    if len(checked(draws)) == 1:
        return draws[0].clone()
    return mean(draws).to(result_dtype(draws))


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
        >>> import torch
        >>> variance(torch.tensor([1.0, 2.0, 6.0]))
        tensor(7.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "variance")
    _, deviations, scale = centre(draws)
    squares = deviations.square_().sum(dim=0) / (len(draws) - correction)
    return (squares * scale * scale).to(result_dtype(draws))


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
        >>> import torch
        >>> stdev(torch.tensor([1.0, 2.0, 3.0]))
        tensor(1.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "stdev")
    _, deviations, scale = centre(draws)
    return (spread(deviations, correction) * scale).to(result_dtype(draws))


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
        >>> import torch
        >>> moment(torch.tensor([0.0, 0.0, 3.0]), 3)
        tensor(2.)
    """  # noqa: DOC502 (raised in checked_order)
    k = checked_order(k)
    if standardized:
        return _standardized(draws, k, central).to(result_dtype(draws))
    if central:
        _, values, scale = centre(draws)
    else:
        first, values, scale = shifted(draws)
        values = values + first
    result = values.pow(k).mean(dim=0)
    for _ in range(k):
        result = result * scale  # one by one: 0 times an overflowing scale**k would be NaN
    return result.to(result_dtype(draws))


def _standardized(draws: Tensor, k: int, central: bool) -> Tensor:
    """Moment of order ``k`` in units of the standard deviation."""
    about, deviations, _ = centre(draws)
    size = spread(deviations.clone(), correction=0)
    agree = size == 0
    values = (deviations if central else deviations + about) / size.masked_fill(agree, 1)
    result = values.pow(k).mean(dim=0)
    if central:
        return result
    return torch.where(agree, ratio(about.detach(), size.detach()).pow(k), result)


def skewness(draws: Tensor) -> Tensor:
    """Skewness over draws: the third standardized moment.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``g1 = m3 / m2^(3/2)`` of [1], ``m_k`` the central moments; shape ``shape``; 0 where draws agree.

    References:
        [1] Joanes and Gill, Comparing measures of sample skewness and kurtosis, 1998.

    Example:
        >>> import torch
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
        >>> import torch
        >>> kurtosis(torch.tensor([-1.0, 1.0]))
        tensor(1.)
    """
    return moment(draws, 4, standardized=True)
