"""One map for many draws, by the name of a statistic."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from captum_uq.stats._draws import checked
from captum_uq.stats.certainty import confusion, cv, snr
from captum_uq.stats.moments import expectation, kurtosis, skewness, stdev, variance
from captum_uq.stats.order import (
    intersection,
    median,
    percentile,
    probability_positive,
    sign_certainty,
    union,
)

Summary = str | Callable[[Tensor], Tensor]
"""A point estimate: a name such as ``"mean"`` or ``"percentile:5"``, or a function of the draws."""

_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": expectation,
    "median": median,
    "stdev": stdev,
    "variance": variance,
    "snr": snr,
    "confusion": confusion,
    "cv": cv,
    "probability_positive": probability_positive,
    "sign_certainty": sign_certainty,
    "skewness": skewness,
    "kurtosis": kurtosis,
    "union": union,
    "intersection": intersection,
}
_BY_FUNCTION: dict[str, Callable[..., Tensor]] = {each.__name__: each for each in _BY_NAME.values()}
_BY_NAME_AND_PERCENTILE: dict[str, Callable[..., Tensor]] = {
    "percentile": percentile,
    "union": union,
    "intersection": intersection,
}


def summarize(draws: Tensor, summary: Summary) -> Tensor:
    """One map for many draws, by the name of a statistic.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        summary: The name of a statistic: ``"mean"``, ``"median"``, ``"stdev"``, ``"variance"``, ``"snr"``,
            ``"confusion"``, ``"cv"``, ``"probability_positive"``, ``"sign_certainty"``, ``"skewness"``,
            ``"kurtosis"``, ``"union"``, ``"intersection"``; or one with its percentile: ``"percentile:5"``,
            ``"union:90"``, ``"intersection:10"``; or a function ``(T, *shape) -> (*shape)``.

    Returns:
        What that statistic returns, shape ``shape``.

    Raises:
        ValueError: If no statistic has that name, or a function changes the shape of the map.
        TypeError: If ``summary`` is neither a name nor a function, or the function returns no tensor.

    Example:
        >>> import torch
        >>> summarize(torch.arange(21.0), "percentile:5")
        tensor(1.)
    """
    if isinstance(summary, str):
        return _by_name(draws, summary)
    if not callable(summary):
        raise TypeError(f"summary is the name of a statistic or a function of the draws, got {summary!r}.")
    result = summary(checked(draws))
    if not isinstance(result, Tensor):
        raise TypeError(f"summary must return a tensor, got {type(result).__name__} from {summary!r}.")
    if result.shape != draws.shape[1:]:
        raise ValueError(
            f"summary must give one map of shape {tuple(draws.shape[1:])} for draws of shape "
            f"{tuple(draws.shape)}, got {tuple(result.shape)} from {summary!r}; reduce dim 0, and only it."
        )
    return result


def named(summary: str) -> tuple[str, tuple[float, ...]]:
    """The statistic that a name means.

    Args:
        summary: A name of :func:`summarize`.

    Returns:
        The name of a function of :mod:`captum_uq.stats`, and what it takes after the draws.

    Raises:
        ValueError: If no statistic has that name.

    Example:
        >>> named("percentile:5"), named("mean")
        (('percentile', (5.0,)), ('expectation', ()))
    """
    name, colon, q = summary.partition(":")
    if not colon and name in _BY_NAME:
        return _BY_NAME[name].__name__, ()
    if colon and name in _BY_NAME_AND_PERCENTILE:
        return _BY_NAME_AND_PERCENTILE[name].__name__, (_number(q, summary),)
    names = ", ".join([*_BY_NAME, *(f"{each}:q" for each in _BY_NAME_AND_PERCENTILE)])
    raise ValueError(f"no statistic is called {summary!r}; the names are {names}. A function does as well.")


@functools.lru_cache
def check_named(summary: str) -> None:
    """Refuse what is no name of a statistic, before there are draws.

    Args:
        summary: A name of :func:`summarize`.

    Raises:
        ValueError: If no statistic has that name, or none its percentile.
    """  # noqa: DOC502 (raised by the statistic)
    _by_name(torch.zeros(100, 1), summary)


def _by_name(draws: Tensor, summary: str) -> Tensor:
    name, arguments = named(summary)
    return (_BY_NAME_AND_PERCENTILE if arguments else _BY_FUNCTION)[name](draws, *arguments)


def _number(text: str, summary: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"summary {summary!r} needs a number after the colon, as in 'union:90'.") from None
