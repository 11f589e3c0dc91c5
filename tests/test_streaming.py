"""The laws of draws that come in chunks: their statistics are those of the draws, whatever the chunks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.stats import moment_sums, streaming
from captum_uq.stats._draws import NotKept, working
from captum_uq.stats.moment_sums import MomentSums
from captum_uq.stats.order_statistics import OrderStatistics, rows_needed
from captum_uq.stats.streaming import StreamingMoments, StreamingPercentiles

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool)
ROADS = {"one by one": (1, 1), "in chunks": (40, 7), "in larger chunks": (1, 9), "at once": (2**15, 1000)}
"""Numbers that wait in a buffer, and draws in a chunk: the values may depend on neither."""

# name -> arguments, and the same of the draws in float64 by numpy
Reference = Callable[[np.ndarray], np.ndarray]


def standardized(x: np.ndarray, k: int) -> np.ndarray:
    return ((x - x.mean(0)) ** k).mean(0) / x.std(0) ** k


MOMENTS: dict[str, tuple[str, tuple[Any, ...], Reference]] = {
    "expectation": ("expectation", (), lambda x: x.mean(0)),
    "variance": ("variance", (), lambda x: x.var(0, ddof=1)),
    "variance of MCRP": ("variance", (0,), lambda x: x.var(0)),
    "stdev": ("stdev", (), lambda x: x.std(0, ddof=1)),
    "second moment": ("moment", (2,), lambda x: x.var(0)),
    "third moment": ("moment", (3,), lambda x: ((x - x.mean(0)) ** 3).mean(0)),
    "fourth moment": ("moment", (4,), lambda x: ((x - x.mean(0)) ** 4).mean(0)),
    "raw first": ("moment", (1, False), lambda x: x.mean(0)),
    "raw second": ("moment", (2, False), lambda x: (x**2).mean(0)),
    "raw third": ("moment", (3, False), lambda x: (x**3).mean(0)),
    "raw fourth": ("moment", (4, False), lambda x: (x**4).mean(0)),
    "raw third, standardized": ("moment", (3, False, True), lambda x: (x**3).mean(0) / x.std(0) ** 3),
    "skewness": ("skewness", (), lambda x: standardized(x, 3)),
    "kurtosis": ("kurtosis", (), lambda x: standardized(x, 4)),
    "snr": ("snr", (), lambda x: x.mean(0) / x.std(0, ddof=1)),
    "confusion": ("confusion", (), lambda x: x.mean(0) * x.std(0, ddof=1)),
    "cv": ("cv", (), lambda x: x.std(0, ddof=1) / np.abs(x.mean(0))),
    "probability_positive": ("probability_positive", (), lambda x: (x > 0).mean(0)),
    "sign_certainty": ("sign_certainty", (), lambda x: np.maximum((x > 0).mean(0), (x <= 0).mean(0))),
}
every_moment = pytest.mark.parametrize("name", MOMENTS)


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    draws = 0.5 + torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return draws > 0 if dtype == torch.bool else (draws * (1 if dtype.is_floating_point else 9)).to(dtype)


def close(ours: Tensor, expected: Any, rtol: float) -> None:
    """As close as that to the largest entry: where large numbers cancel, that is what can be known."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(ours.double(), expected, rtol=rtol, atol=rtol * float(expected.abs().max()))


@pytest.fixture(params=ROADS)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Draws in a chunk."""
    entries, chunk = ROADS[request.param]
    monkeypatch.setattr(streaming, "ENTRIES", entries)
    return chunk


def sums(draws: Tensor, size: int) -> MomentSums:
    stream = StreamingMoments()
    for chunk in draws.split(size):
        stream.put(chunk)
    return stream.result()


def order(draws: Tensor, size: int, levels: list[float]) -> OrderStatistics:
    stream = StreamingPercentiles(levels, len(draws))
    for chunk in draws.split(size):
        stream.put(chunk)
    return stream.result()


@pytest.fixture
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- moments


@every_moment
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_moment_of_chunks_is_that_of_the_draws(name: str, size: int, dtype: torch.dtype) -> None:
    statistic, arguments, reference = MOMENTS[name]
    draws = normal(40, 2, 3, dtype=dtype)
    ours, whole = getattr(sums(draws, size), statistic)(*arguments), getattr(stats, statistic)(draws, *arguments)
    assert (ours.dtype, ours.shape) == (whole.dtype, whole.shape)
    rtol = 1e-12 if dtype == torch.float64 else max(1e-6, torch.finfo(whole.dtype).eps)
    close(ours, whole, rtol)
    close(ours, reference(draws.double().numpy()), rtol)


@every_moment
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_no_mean_makes_it_less_exact_than_two_passes(name: str, size: int, offset: float) -> None:
    """In float32, the error is no larger than that of the formula in two passes, but for the last rounding."""
    statistic, arguments, reference = MOMENTS[name]
    draws = offset + normal(100, 20)
    expected = reference(draws.double().numpy())
    scale = np.abs(expected).max() + 1e-30

    def error(values: Tensor) -> float:
        return float(np.abs(values.double().numpy() - expected).max() / scale)

    two_passes = getattr(stats, statistic)(draws, *arguments)
    assert error(getattr(sums(draws, size), statistic)(*arguments)) <= error(two_passes) + 6e-8


@every_moment
def test_ten_thousand_draws_lose_nothing(name: str) -> None:
    statistic, arguments, reference = MOMENTS[name]
    draws = 100 + normal(10_000, 3)
    ours = getattr(sums(draws, 64), statistic)(*arguments)
    close(ours, reference(draws.double().numpy()), 1e-7)


@every_moment
@pytest.mark.parametrize("exponent", [-100, -30, 30, 60])
def test_it_follows_a_change_of_units(name: str, exponent: int, size: int) -> None:
    statistic, arguments, _ = MOMENTS[name]
    draws = 0.5 + normal(20, 6)
    ours = getattr(sums(draws * 2.0**exponent, size), statistic)(*arguments)
    whole = getattr(stats, statistic)(draws * 2.0**exponent, *arguments)
    normal_range = (whole.abs() > 1e-37) & (whole.abs() < 1e38)
    if normal_range.any():
        close(ours[normal_range], whole[normal_range], 1e-6)


@pytest.mark.parametrize("exponents", [(-400, -395), (300, 305), (-300, 300)])
def test_float64_keeps_its_range_while_magnitudes_change(exponents: tuple[int, int], size: int) -> None:
    """Its fourth powers would leave it: 2^-1600 is 0, 2^1200 infinite."""
    units = 2.0 ** torch.linspace(*exponents, 20, dtype=torch.float64)[:, None]
    draws = normal(20, 4, dtype=torch.float64) * units
    for name in ("skewness", "kurtosis", "snr", "cv"):
        close(getattr(sums(draws, size), name)(), getattr(stats, name)(draws), 1e-12)


@every_moment
@pytest.mark.parametrize(("dtype", "exponent"), [(torch.float64, -532), (torch.float64, -1060), (torch.float32, -120)])
def test_zeros_before_or_after_tiny_draws_are_draws_like_others(name: str, dtype: torch.dtype, exponent: int) -> None:
    """0 has no unit of its own: from another unit to that of 2^-532, squares would grow by an infinite factor."""
    statistic, arguments, _ = MOMENTS[name]
    zeros, tiny = torch.zeros(5, 3, dtype=dtype), normal(5, 3, dtype=dtype) * 2.0**exponent
    for parts in ((zeros, tiny), (tiny, zeros)):
        merged, draws = MomentSums.of(parts[0]).merged(MomentSums.of(parts[1])), torch.cat(parts)
        torch.testing.assert_close(
            getattr(merged, statistic)(*arguments),
            getattr(stats, statistic)(draws, *arguments),
            rtol=torch.finfo(dtype).eps * 100,
            atol=torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps,
        )


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-40, 3e38])
def test_equal_draws_have_no_spread_at_all(size: int, value: float) -> None:
    kept = sums(torch.full((12, 2), value), size)
    for spread in (kept.variance(), kept.stdev(0), kept.skewness(), kept.kurtosis(), kept.moment(4)):
        assert (spread == 0).all()
    assert (kept.expectation() == value).all()


@every_moment
@pytest.mark.parametrize("values", [(torch.nan,), (torch.inf,), (-torch.inf,), (torch.inf, -torch.inf)], ids=str)
def test_what_is_not_finite_gives_what_the_draws_give(name: str, size: int, values: tuple[float, ...]) -> None:
    statistic, arguments, _ = MOMENTS[name]
    draws = normal(12, 3)
    draws[torch.arange(4, 4 + 3 * len(values), 3), 1] = torch.tensor(values)
    ours, whole = getattr(sums(draws, size), statistic)(*arguments), getattr(stats, statistic)(draws, *arguments)
    torch.testing.assert_close(ours, whole, rtol=1e-6, atol=1e-6, equal_nan=True)


@every_moment
@pytest.mark.parametrize("share", [1, 10, 39])
def test_merged_sums_are_those_of_all_draws(name: str, share: int) -> None:
    statistic, arguments, reference = MOMENTS[name]
    draws = 1e4 + normal(40, 5)
    merged = MomentSums.of(draws[:share]).merged(MomentSums.of(draws[share:]))
    assert merged.n_draws == 40
    close(getattr(merged, statistic)(*arguments), reference(draws.double().numpy()), 1e-7)


@every_moment
def test_a_device_without_float64_has_float32_and_no_cancellation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_sums, "widest", working)
    monkeypatch.setattr(streaming, "ENTRIES", 1)
    statistic, arguments, reference = MOMENTS[name]
    draws = 1e4 + normal(300, 5)
    kept = sums(draws, 1)
    assert kept.m2.dtype == torch.float32
    close(getattr(kept, statistic)(*arguments), reference(draws.double().numpy()), 1e-5)


def test_one_draw_has_a_mean_and_no_spread() -> None:
    for draws in (normal(1, 3), torch.tensor([[1, 2]]), torch.tensor([[True, False]])):
        assert torch.equal(sums(draws, 1).expectation(), draws[0])
        assert sums(draws, 1).expectation().dtype == draws.dtype
        with pytest.raises(ValueError, match="variance with correction=1 needs at least 2 draws, got 1"):
            sums(draws, 1).variance()


def test_a_fifth_moment_is_not_kept() -> None:
    for k in (0, 1.5, None, np.float64(2)):
        with pytest.raises(ValueError, match="whole order k of at least 1"):
            sums(normal(9, 2), 3).moment(k)
    assert torch.equal(sums(normal(9, 2), 3).moment(np.int64(3)), sums(normal(9, 2), 3).moment(3))
    with pytest.raises(NotKept, match="up to order 4"):
        sums(normal(9, 2), 3).moment(5)


def test_moments_of_no_draw_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 draw"):
        StreamingMoments().result()
    with pytest.raises(ValueError, match="at least 1 draw"):
        StreamingMoments().put(torch.ones(0, 3))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 2, 3)], ids=str)
def test_any_shape_streams(shape: tuple[int, ...]) -> None:
    draws = normal(30, *shape)
    torch.testing.assert_close(sums(draws, 4).variance(), stats.variance(draws))
    assert torch.equal(order(draws, 4, [5, 95]).percentile(5), stats.percentile(draws, 5))


def test_what_was_put_may_be_written_into_afterwards() -> None:
    draws = normal(30, 2)
    moments, percentiles = StreamingMoments(), StreamingPercentiles([10], 30)
    for draw in draws.clone().split(1):
        moments.put(draw)
        percentiles.put(draw)
        draw.zero_()
    torch.testing.assert_close(moments.result().expectation(), stats.expectation(draws))
    assert torch.equal(percentiles.result().percentile(10), stats.percentile(draws, 10))


# ---- percentiles

LEVELS: tuple[list[float], ...] = ([5, 95], [5], [95], [50], [0, 100], [2.3, 33.3], [5, 25, 50, 75, 95], [100])


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("n_draws", [1, 2, 3, 20, 101, 203])
@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_a_percentile_of_chunks_is_exactly_that_of_the_draws(levels: list[float], n_draws: int, size: int) -> None:
    draws = normal(n_draws, 2, 3)
    kept = order(draws, size, levels)
    assert torch.equal(kept.percentile(levels), stats.percentile(draws, levels))
    assert torch.equal(kept.percentile(levels[0]), stats.percentile(draws, levels[0]))
    for q in np.linspace(0, 100, 37):  # the draws beyond a percentile give those beyond it as well
        if q <= max((q for q in levels if q <= 50), default=-1) or q >= min((q for q in levels if q > 50), default=101):
            assert torch.equal(kept.percentile(q), stats.percentile(draws, q)), q


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_percentiles_keep_their_dtype(dtype: torch.dtype, size: int) -> None:
    draws = normal(60, 4, dtype=dtype)
    kept = order(draws, size, [5, 50, 95])
    for ours, whole in (
        (kept.percentile(np.array(5)), stats.percentile(draws, 5)),
        (kept.percentile(torch.tensor([5.0])), stats.percentile(draws, [5])),
        (kept.percentile([5, 95]), stats.percentile(draws, [5, 95])),
        (torch.stack(kept.interval()), torch.stack(stats.interval(draws))),
        (kept.union(), stats.union(draws)),
        (kept.intersection(), stats.intersection(draws)),
        (kept.median(), stats.median(draws)),
    ):
        assert ours.dtype == whole.dtype
        assert torch.equal(ours, whole)


def test_draws_in_any_order_with_ties_have_the_same_percentiles(size: int) -> None:
    draws = normal(90, 4).mul(3).round()
    for rows in (draws, draws.sort(0).values, draws.sort(0, descending=True).values):
        assert torch.equal(order(rows, size, [10, 90]).percentile([10, 90]), stats.percentile(draws, [10, 90]))


@pytest.mark.parametrize("level", [5, 50, 95])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_percentiles_of_what_is_not_finite(value: float, level: float, size: int) -> None:
    draws = normal(60, 3)
    draws[17, 1] = value
    ours, whole = order(draws, size, [level]).percentile(level), stats.percentile(draws, level)
    torch.testing.assert_close(ours, whole, rtol=0, atol=0, equal_nan=True)
    assert ours[1].isnan() == (value != value)


def test_a_percentile_between_those_kept_is_refused(size: int) -> None:
    kept = order(normal(200, 3), size, [5, 95])
    for q in (7, 50, 93.5):
        with pytest.raises(NotKept, match=r"Of the 200 draws .* smallest and the .* largest are known"):
            kept.percentile(q)
    with pytest.raises(NotKept):
        kept.median()
    with pytest.raises(ValueError, match="from 0 to 100"):
        kept.percentile(101)
    for level in (0, None, "0.9"):
        with pytest.raises(ValueError, match="a level above 0"):
            kept.interval(level)
    with pytest.raises(ValueError, match="from 0 to 100"):
        kept.union(None)


def test_too_few_draws_for_a_percentile_are_told() -> None:
    with pytest.warns(UserWarning, match="percentile 5 needs at least 20 draws, got 9"):
        order(normal(9, 3), 2, [5]).percentile(5)
    with pytest.warns(UserWarning, match="needs at least 20 draws, got 9"):
        order(normal(9, 3), 2, [5, 95]).interval()


def test_as_many_draws_come_as_were_told() -> None:
    stream = StreamingPercentiles([5], 4)
    with pytest.raises(ValueError, match="of 4 draws were asked for, got 0 draws so far"):
        stream.result()
    stream.put(normal(3, 2))
    with pytest.raises(ValueError, match="got 3 draws so far"):
        stream.result()
    with pytest.raises(ValueError, match="of 4 draws were asked for, got 5 draws"):
        stream.put(normal(2, 2))
    with pytest.raises(ValueError, match="from 0 to 100"):
        StreamingPercentiles([-1], 4)


@pytest.mark.parametrize("n_draws", [1, 2, 20, 21, 100, 101, 1000, 10_000])
@pytest.mark.parametrize("q", [0, 2.5, 5, 25, 50, 75, 95, 97.5, 100])
def test_no_more_rows_are_kept_than_the_percentile_needs(q: float, n_draws: int) -> None:
    position = q * (n_draws - 1) / 100
    beyond = min(np.ceil(position) + 1, n_draws - np.floor(position))  # the draws to the nearer end, both neighbours in
    low, high = rows_needed([q], n_draws)
    assert beyond <= low + high <= min(beyond + 1, n_draws)
    assert low == 0 or high == 0


@pytest.mark.parametrize("size", [1, 50, 4000])
def test_a_stream_of_percentiles_holds_little_more_than_its_rows(size: int) -> None:
    stream = StreamingPercentiles([5, 95], 4000)
    for chunk in normal(4000, 200).split(size):
        stream.put(chunk)
        held = sum(side._rows.untyped_storage().nbytes() for side in (stream._low, stream._high)) / 800
        assert held <= 402 * 17 / 16 + 2 * streaming.ENTRIES / 200
    kept = stream.result()
    assert [len(rows) for rows in (kept.low, kept.high)] == [201, 201]


def test_a_stream_of_moments_holds_as_much_after_ten_draws_as_after_a_thousand() -> None:
    def held(n_draws: int) -> int:
        stream = StreamingMoments()
        for chunk in normal(n_draws, 50, 60).split(5):
            stream.put(chunk)
        tensors = [value for value in vars(stream.result()).values() if isinstance(value, Tensor)]
        return sum(tensor.untyped_storage().nbytes() for tensor in (*tensors, stream._buffer))

    assert held(1000) == held(20) <= (16 * 3000 + streaming.ENTRIES) * 4
