"""Statistics made of order and sign: ``(T, *shape) -> (*shape)``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_uq.stats._draws import checked, result_dtype, working
from captum_uq.stats._ranks import between, checked_ranks, several, tails, warn_if_few
from captum_uq.stats._sorting import of_ranks


def _percentiles(draws: Tensor, ranks: Sequence[float]) -> list[Tensor]:
    """One map per percentile, by sorting: ``torch.quantile`` refuses half precision and 16M elements."""
    if len(checked(draws)) == 1:
        return [draws[0].clone() for _ in ranks]
    last = len(draws) - 1
    positions = [q * last / 100 for q in ranks]
    needed = {rank for position in positions for rank in (int(position), min(int(position) + 1, last))}
    known = of_ranks(draws, sorted(needed | {last}))
    maps = [between(known.__getitem__, position) for position in positions]
    if draws.is_floating_point():
        maps = [torch.where(known[last].isnan(), torch.nan, each) for each in maps]  # NaN is sorted last
    return [each.to(result_dtype(draws)) for each in maps]


def median(draws: Tensor) -> Tensor:
    """Median over draws; between the two middle ones where ``T`` is even.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        The 50th percentile, shape ``shape``. One draw comes back as it is, dtype included.

    Example:
        >>> median(torch.tensor([1.0, 9.0, 2.0, 4.0]))
        tensor(3.)
    """
    return _percentiles(draws, [50.0])[0]


def percentile(draws: Tensor, q: float | Sequence[float]) -> Tensor:
    """Entry-wise percentile over draws, with linear interpolation as ``numpy.percentile`` (type 7 of [2]).

    Warns with a ``UserWarning`` when ``q`` would need more draws than there are: less than one draw in
    expectation lies beyond it (the 5th wants at least 20 draws).

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        q: Percentile from 0 to 100, or several.

    Returns:
        Eq. 5 of [1], shape ``shape``; for several ``q`` with one more axis in front, ``(len(q), *shape)``. An
        entry with a NaN among its draws is NaN. One draw comes back as it is, dtype included.

    Raises:
        ValueError: If a percentile lies outside 0 to 100, or there is none.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.
        [2] Hyndman and Fan, Sample quantiles in statistical packages, 1996.

    Example:
        >>> percentile(torch.arange(21.0), [5, 50, 95])
        tensor([ 1., 10., 19.])
    """  # noqa: DOC502 (raised in checked_ranks)
    ranks = checked_ranks(q)
    warn_if_few(len(checked(draws)), ranks)
    maps = _percentiles(draws, ranks)
    return torch.stack(maps) if several(q) else maps[0]


def interval(draws: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
    """Equal-tailed interval over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        level: Share of draws inside, above 0 and at most 1.

    Returns:
        ``(low, high)``: percentiles ``50 - 50 level`` and ``50 + 50 level`` (eq. 5 of [1]), each of shape
        ``shape``. Warns as :func:`percentile` does.

    Raises:
        ValueError: If ``level`` is not above 0 and at most 1.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.

    Example:
        >>> interval(torch.arange(21.0))
        (tensor(1.), tensor(19.))
    """  # noqa: DOC502 (raised in tails)
    ranks = tails(level)
    warn_if_few(len(checked(draws)), ranks)
    low, high = _percentiles(draws, ranks)
    return low, high


def union(draws: Tensor, q: float = 95.0) -> Tensor:
    """The liberal map of [1]: what at least a few of the networks find relevant.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        q: A high percentile.

    Returns:
        :func:`percentile` ``q``, shape ``shape``; warns as it does.

    References:
        [1] Bykov et al., Explaining Bayesian neural networks, 2021 (union and intersection explanations).

    Example:
        >>> union(torch.arange(21.0))
        tensor(19.)
    """
    return percentile(draws, checked_ranks([q])[0])


def intersection(draws: Tensor, q: float = 5.0) -> Tensor:
    """The cautious map of [1]: what nearly all of the networks find relevant.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        q: A low percentile.

    Returns:
        :func:`percentile` ``q``, shape ``shape``; warns as it does.

    References:
        [1] Bykov et al., Explaining Bayesian neural networks, 2021 (union and intersection explanations).

    Example:
        >>> intersection(torch.arange(21.0))
        tensor(1.)
    """
    return percentile(draws, checked_ranks([q])[0])


def probability_positive(draws: Tensor) -> Tensor:
    """Share of draws above 0. A draw of exactly 0 is not above 0.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``#{t: draws[t] > 0} / T``, shape ``shape``, from 0 to 1; NaN where a draw is NaN.

    Example:
        >>> probability_positive(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
        tensor(0.5000)
    """
    above = torch.count_nonzero(checked(draws) > 0, dim=0)
    share = above.to(working(draws[0]).dtype) / len(draws)
    if draws.is_floating_point():
        share = torch.where(draws.isnan().any(dim=0), torch.nan, share)
    return share.to(result_dtype(draws))


def sign_certainty(draws: Tensor) -> Tensor:
    """How far the draws agree on whether an entry is above 0.

    A draw of exactly 0 counts with the negative ones: an entry that is 0 in all draws is certain not to be
    positive.

    Args:
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``max(p, 1 - p)`` with ``p`` of :func:`probability_positive`, shape ``shape``, from 0.5 to 1.

    Example:
        >>> sign_certainty(torch.tensor([-1.0, -2.0, -3.0, 2.0]))
        tensor(0.7500)
    """
    positive = probability_positive(draws)
    return torch.maximum(positive, 1 - positive)
