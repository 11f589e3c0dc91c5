"""Student's t distribution, whose quantiles torch does not have."""

import math
from statistics import NormalDist

from captum_uq.metrics._inputs import checked_level

__all__ = ["t_level", "t_quantile"]

_MANY = 200  # degrees of freedom from which the expansion is exact to 1e-9


def t_level(t: float, freedom: int) -> float:
    """How much of Student's distribution lies within ``-t`` and ``t``.

    Args:
        t: At least 0.
        freedom: Degrees of freedom, at least 1.

    Returns:
        The share, in [0, 1].

    References:
        Abramowitz and Stegun, "Handbook of mathematical functions", 1964, equations 26.7.3 and 26.7.4.
    """
    angle, odd = math.atan2(t, math.sqrt(freedom)), freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= math.cos(angle) ** 2 * (2 * k - 1 + odd) / (2 * k + odd)
        if term < 1e-18:
            break
    return (2 / math.pi * (angle + math.sin(angle) * total)) if odd else math.sin(angle) * total


def t_quantile(level: float, freedom: int) -> float:
    """Half width of Student's t interval in standard errors.

    Args:
        level: Confidence, in (0, 1).
        freedom: Degrees of freedom, at least 1.

    Returns:
        The ``(1 + level) / 2`` quantile.

    Raises:
        ValueError: A level that is no number in (0, 1).
    """  # noqa: DOC502 (raised by the check)
    level = checked_level(level)
    if freedom > _MANY:
        return _expanded(NormalDist().inv_cdf((1 + level) / 2), freedom)
    low, high = 0.0, 1.0
    while t_level(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_level(middle, freedom) < level else (low, middle)
    return high


def _expanded(z: float, freedom: int) -> float:
    """Around the normal quantile: Abramowitz and Stegun, equation 26.7.5."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return float(z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4)
