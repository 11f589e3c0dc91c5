"""Bootstrap, sign flips and Student's t over paired differences, from private generators."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import torch
from torch import Tensor

__all__ = ["bootstrap_interval", "holm", "sign_flip_p_value", "t_quantile"]

_CHUNK = 2**22  # numbers drawn at a time
_EXACT = 12  # up to 2**12 sign patterns are enumerated


def t_quantile(level: float, freedom: int) -> float:
    """Half width of Student's t interval in standard errors.

    Args:
        level: Confidence, in (0, 1).
        freedom: Degrees of freedom, at least 1; exact for 1 and 2, above them the expansion around the normal [1].

    Returns:
        The ``(1 + level) / 2`` quantile.

    Raises:
        ValueError: A level outside (0, 1).

    References:
        [1] Abramowitz and Stegun, "Handbook of mathematical functions", 1964, equation 26.7.5.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}. Pass 0.95 for a 95% interval.")
    if freedom == 1:
        return math.tan(math.pi * level / 2)
    if freedom == 2:
        return level * math.sqrt(2 / (1 - level**2))
    z = NormalDist().inv_cdf((1 + level) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return float(z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4)


def bootstrap_interval(differences: Tensor, level: float, n_resamples: int, seed: int) -> tuple[float, float]:
    """Confidence interval of a mean difference over examples, by the expanded percentile bootstrap.

    Examples are drawn with replacement; where the differences come from draws of a model, each resample of the
    examples also resamples the draws, one set for all its examples, since a draw is one network that explained all
    of them. The percentiles are widened for the narrowness of the bootstrap in small samples [2].

    Args:
        differences: Paired differences, shape ``(N,)`` or ``(T, N)``, float64, on the CPU.
        level: Confidence, in (0, 1).
        n_resamples: Number of resamples.
        seed: Of the private generator.

    Returns:
        The lower and the upper end.

    References:
        [1] Owen, "The pigeonhole bootstrap", 2007, for examples and draws.
        [2] Hesterberg, "What teachers should know about the bootstrap", 2015, section 5.3, for the percentiles.
    """
    draws = differences if differences.ndim == 2 else differences.unsqueeze(0)
    n_draws, n = draws.shape
    generator = torch.Generator().manual_seed(seed)
    means = []
    for size in _chunks(n_resamples, n + n_draws):
        outer = _multiplicities(size, n, generator)
        inner = _multiplicities(size, n_draws, generator) if n_draws > 1 else outer.new_ones(size, 1)
        means.append(((inner @ draws) * outer).sum(1) / (n * n_draws))
    tail = NormalDist().cdf(-t_quantile(level, n - 1) * (n / (n - 1)) ** 0.5)
    low, high = torch.cat(means).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def sign_flip_p_value(differences: Tensor, n_resamples: int, seed: int) -> float:
    """Two-sided p value of "each difference could as well have the other sign", exact for up to 12 examples.

    Args:
        differences: Paired differences, shape ``(N,)``, float64, on the CPU.
        n_resamples: Number of random sign patterns where there are too many to enumerate.
        seed: Of the private generator.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    References:
        [1] Fisher, "The design of experiments", 1935, section 21.
        [2] Phipson and Smyth, "Permutation p-values should never be zero", 2010, for the pattern that came.
    """
    n = len(differences)
    bar = differences.sum().abs() - 1e-12 * differences.abs().sum()
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
