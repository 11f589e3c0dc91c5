"""Random numbers in bulk: their laws, to far more numbers than a network has."""

import numpy as np
import pytest
import torch
from scipy import stats

from captum_uq._bulk import fill_bernoulli, fill_standard_normal
from captum_uq.samplers._weights import fill_mask, standard_normal

COUNT = 2_000_000


def normal(count, *path):
    out = np.full(count, np.nan, np.float32)
    fill_standard_normal(out, *path)
    return out


def bernoulli(count, rate, *path):
    out = np.full(count, np.nan, np.float32)
    fill_bernoulli(out, rate, *path)
    return out


def test_normal_numbers_are_standard_normal_and_independent():
    """Moments, tails and the distribution function within Monte Carlo error of a million pairs."""
    z = normal(COUNT, 3, "z").astype(np.float64)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - expected) <= 5 * (variance / COUNT) ** 0.5, power
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for limit in (3.0, 4.0, 5.0):
        share = 2 * stats.norm.sf(limit)
        assert abs((abs(z) > limit).mean() - share) <= 5 * (share / COUNT) ** 0.5
    for lag in (1, 2, 1 << 14, 1 << 15, 1 << 16):  # the two numbers of a pair are half a block apart
        for one, other in ((z[lag:], z[:-lag]), (z[lag:] ** 2 - 1, z[:-lag] ** 2 - 1)):
            assert abs((one * other).mean()) <= 5 * (one.var() * other.var() / COUNT) ** 0.5


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.25, 0.3, 0.5, 0.9, 255.5 / 256, 0.9999])
def test_bernoulli_numbers_have_their_rate_to_the_last_bit(rate):
    kept = bernoulli(COUNT, rate, 1, "keep")
    assert set(np.unique(kept)) <= {0.0, 1.0}
    assert abs((kept == 0).mean() - rate) <= 5 * (rate * (1 - rate) / COUNT) ** 0.5
    for lag in (1, 7, 8, 64):
        product = (kept[lag:] - 1 + rate) * (kept[:-lag] - 1 + rate)
        # A rate near 0 or 1 makes a pair so rare that a few of them are more than five deviations.
        assert abs(product.mean()) <= 5 * rate * (1 - rate) / COUNT**0.5 + 5 / COUNT


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 1001, (1 << 16) - 1, 1 << 16, (1 << 18) + 1])
def test_every_number_is_written_and_depends_on_seed_and_path_alone(count):
    for make in (normal, lambda count, *path: bernoulli(count, 0.3, *path)):
        numbers = make(count, 5, "a", 1)
        assert np.isfinite(numbers).all()
        assert np.array_equal(numbers, make(count, 5, "a", 1))
        if count > 100:
            assert not np.array_equal(numbers, make(count, 6, "a", 1))
            assert not np.array_equal(numbers, make(count, 5, "b", 1))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "float32"])
def test_tensors_of_any_kind_get_the_same_numbers(dtype):
    like = torch.empty(3, 4, 5, 2)
    expected, mask = standard_normal(like, 1, "a"), fill_mask(like.clone(), 0.3, 1, "a")
    assert expected.flatten().tolist() == normal(120, 1, "a").tolist()
    other = like.to(getattr(torch, dtype)).to(memory_format=torch.channels_last)
    assert torch.equal(standard_normal(other, 1, "a"), expected.to(other.dtype))
    assert torch.equal(fill_mask(other, 0.3, 1, "a"), mask.to(other.dtype))
    assert standard_normal(torch.nn.Parameter(like), 1, "a").requires_grad is False
