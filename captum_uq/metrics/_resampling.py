"""Bootstrap and sign flips over paired differences, from private generators."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from captum_uq.metrics._student import t_level, t_quantile

__all__ = ["Bootstrapped", "bootstrap", "holm", "sign_flip_p_value"]

_CHUNK = 2**20  # numbers drawn at a time
_LEAST_ERROR = 0.25  # a resample of few examples may have no spread at all: no less than this share of the sample's
_EXACT = 12  # up to 2**12 sign patterns are enumerated


class Bootstrapped(NamedTuple):
    """What the bootstrap says of a mean difference.

    Attributes:
        low: Lower end of its confidence interval.
        high: Upper end.
        p_value: Two-sided, of no difference: at most ``1 - level`` exactly where the interval does not hold 0.
    """

    low: float
    high: float
    p_value: float


def bootstrap(differences: Tensor, level: float, n_resamples: int, seed: int) -> Bootstrapped:
    """Confidence interval of a mean difference: the bootstrap-t interval, at neither end inside Student's t interval.

    Examples are drawn with replacement, and the mean of each resample is divided by its own standard error [1], which
    follows a skewed distribution where percentiles of the mean, corrected (BCa) or not, fall short. Where tails are
    heavy on both sides it is the bootstrap that falls short and Student's interval that holds, hence the two
    together. Where the differences come from draws of a model, each resample of the examples also resamples the
    draws, one set for all its examples, since a draw is one network that explained all of them [2]; the standard
    error then has a part of the examples and one of the draws.

    Few examples do not show how skewed their population is: 20 numbers have a skewness of at most 4.1, the log-normal
    distribution has 6.2, and of 20 such differences 95% intervals cover 92%. Hall's transformation [3] brings 93% with
    intervals 1.44 times as wide (``benchmarks/interval_coverage.py``), and has no form for draws.

    Args:
        differences: Paired differences, shape ``(N,)`` or ``(T, N)``, float64, on the CPU.
        level: Confidence, in (0, 1).
        n_resamples: Number of resamples.
        seed: Of the private generator.

    Returns:
        The interval, and the p value of the same resamples.

    Raises:
        ValueError: So few resamples have no tail at that level, or it is no number in (0, 1).

    References:
        [1] Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 12.5.
        [2] Owen, "The pigeonhole bootstrap", 2007, for examples and draws.
        [3] Hall, "On the removal of skewness by transformation", 1992.
    """  # noqa: DOC502 (raised by the helpers)
    draws = differences if differences.ndim == 2 else differences.unsqueeze(0)
    n_draws, n = draws.shape
    mean, *parts = (float(x) for x in _moments(draws, draws.new_ones(1, n), draws.new_ones(1, n_draws)))
    freedom, standard_error = _student(parts, (n, n_draws))
    half, error = t_quantile(level, freedom) * standard_error, math.sqrt(sum(parts))
    outermost = _outermost(level, n_resamples)
    if error == 0:
        return Bootstrapped(mean, mean, float(mean == 0))
    generator, resampled = torch.Generator().manual_seed(seed), []
    for size in _chunks(n_resamples, n + n_draws):
        examples = _multiplicities(size, n, generator)
        networks = _multiplicities(size, n_draws, generator) if n_draws > 1 else examples.new_ones(size, 1)
        means, by_examples, by_draws = _moments(draws, examples, networks)
        resampled.append((means - mean) / (by_examples + by_draws).sqrt().clamp(min=_LEAST_ERROR * error))
    studentised = torch.cat(resampled)
    low, high = (float(studentised.kthvalue(rank).values) for rank in (outermost, 1 + n_resamples - outermost))
    beyond = (studentised * math.copysign(1, mean) >= abs(mean) / error).sum()  # resamples as far out on this side
    by_bootstrap = min(1.0, 2 * (1 + int(beyond)) / (1 + n_resamples))
    p_value = max(by_bootstrap, 1 - t_level(abs(mean) / standard_error, freedom))
    return Bootstrapped(mean - max(half, high * error), mean + max(half, -low * error), p_value)


def _outermost(level: float, n_resamples: int) -> int:
    """The rank of the resample at which either tail of an interval begins, 1 the outermost.

    Counted as the p value counts, the sample being one more, so that both say the same of 0.

    Raises:
        ValueError: So few resamples have none.
    """
    least = math.ceil(2 / (1 - level) - 1e-6) - 1
    if n_resamples < least:
        raise ValueError(
            f"n_resamples must be at least {least} for level={level:g}, got {n_resamples}: fewer have no tail of "
            f"{(1 - level) / 2:.3g}. Pass more, or a lower level."
        )
    return math.floor((1 + n_resamples) * (1 - level) / 2 + 1e-6)


def _moments(draws: Tensor, examples: Tensor, networks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of each resample, and what examples and draws add to its squared standard error, shape ``(R,)`` each.

    Args:
        draws: Shape ``(T, N)``.
        examples: How often each example is drawn, shape ``(R, N)``.
        networks: How often each draw is, shape ``(R, T)``.
    """
    n_draws, n = draws.shape
    of_examples, of_draws = networks @ draws / n_draws, examples @ draws.T / n
    mean = (of_examples * examples).sum(1, keepdim=True) / n
    by_examples = ((of_examples - mean) ** 2 * examples).sum(1) / n**2
    by_draws = ((of_draws - mean) ** 2 * networks).sum(1) / n_draws**2
    return mean.squeeze(1), by_examples, by_draws


def _student(parts: list[float], sizes: tuple[int, int]) -> tuple[int, float]:
    """Degrees of freedom, with draws those of Satterthwaite (1946), and the unbiased standard error."""
    unbiased = [part * size / max(size - 1, 1) for part, size in zip(parts, sizes, strict=True)]
    spread = sum(part**2 / max(size - 1, 1) for part, size in zip(unbiased, sizes, strict=True))
    freedom = int(sum(unbiased) ** 2 / spread + 1e-9) if spread > 0 else sizes[0] - 1
    return max(freedom, 1), math.sqrt(sum(unbiased))


def sign_flip_p_value(differences: Tensor, n_resamples: int, seed: int, rounding: float = 0.0) -> float:
    """Two-sided p value of "each difference could as well have the other sign", exact for up to 12 examples.

    Args:
        differences: Paired differences, shape ``(N,)``, float64, on the CPU.
        n_resamples: Number of random sign patterns where there are too many to enumerate.
        seed: Of the private generator.
        rounding: How far the sums of two patterns may differ that are equal on paper, as those of 0/1 scores often are.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    References:
        [1] Fisher, "The design of experiments", 1935, section 21.
        [2] Phipson and Smyth, "Permutation p-values should never be zero", 2010, for the pattern that came.
    """
    n = len(differences)
    bar = differences.sum().abs() - 1e-12 * differences.abs().sum() - rounding
    if n <= _EXACT:
        bits = torch.arange(2**n).unsqueeze(1).bitwise_right_shift(torch.arange(n)) & 1
        return float(((1 - 2 * bits).double() @ differences).abs().ge(bar).double().mean())
    generator = torch.Generator().manual_seed(seed)
    extreme = 0
    for size in _chunks(n_resamples, n):
        signs = torch.randint(2, (size, n), generator=generator, dtype=torch.int8).double() * 2 - 1
        extreme += int((signs @ differences).abs().ge(bar).sum())
    return (1 + extreme) / (1 + n_resamples)


def holm(p_values: list[float]) -> list[float]:
    """Adjust p values so that the chance of any false discovery stays at the level.

    Args:
        p_values: One for each comparison.

    Returns:
        Adjusted p values in the same order.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _chunks(total: int, width: int) -> Iterator[int]:
    size = max(1, _CHUNK // width)
    yield from (min(size, total - start) for start in range(0, total, size))


def _multiplicities(n_resamples: int, n: int, generator: torch.Generator) -> Tensor:
    """How often each of ``n`` things is drawn in each resample of ``n``, shape ``(n_resamples, n)``, float64."""
    chosen = torch.randint(n, (n_resamples, n), generator=generator)
    return torch.zeros(n_resamples, n, dtype=torch.float64).scatter_add_(
        1, chosen, torch.ones(()).double().expand_as(chosen)
    )
