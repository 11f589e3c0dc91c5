"""The laws of captum_uq.stats, each against numpy in float64."""

import re
import warnings

import numpy as np
import pytest
import torch

from captum_uq import stats
from captum_uq.stats.moment_sums import MomentSums

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
RTOL = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 2e-5, torch.float64: 1e-10}


def np_standardized(x, k):
    deviations = x - x.mean(0)
    return (deviations**k).mean(0) / (deviations**2).mean(0) ** (k / 2)


# name -> (ours, an independent reference, the degree with which it scales, the draws it needs)
STATISTICS = {
    "expectation": (stats.expectation, lambda x: x.mean(0), 1, 1),
    "variance": (stats.variance, lambda x: x.var(0, ddof=1), 2, 2),
    "variance of MCRP": (lambda d: stats.variance(d, correction=0), lambda x: x.var(0), 2, 1),
    "stdev": (stats.stdev, lambda x: x.std(0, ddof=1), 1, 2),
    "stdev of MCRP": (lambda d: stats.stdev(d, correction=0), lambda x: x.std(0), 1, 1),
    "central moment": (lambda d: stats.moment(d, 3), lambda x: ((x - x.mean(0)) ** 3).mean(0), 3, 1),
    "raw moment": (lambda d: stats.moment(d, 2, central=False), lambda x: (x**2).mean(0), 2, 1),
    "raw standardized moment": (
        lambda d: stats.moment(d, 2, central=False, standardized=True),
        lambda x: (x**2).mean(0) / x.var(0),
        0,
        2,
    ),
    "skewness": (stats.skewness, lambda x: np_standardized(x, 3), 0, 2),
    "kurtosis": (stats.kurtosis, lambda x: np_standardized(x, 4), 0, 2),
    "median": (stats.median, lambda x: np.median(x, 0), 1, 1),
    "percentile": (lambda d: stats.percentile(d, 37.5), lambda x: np.percentile(x, 37.5, axis=0), 1, 3),
    "low end": (lambda d: stats.interval(d, 0.5)[0], lambda x: np.percentile(x, 25, axis=0), 1, 4),
    "high end": (lambda d: stats.interval(d, 0.5)[1], lambda x: np.percentile(x, 75, axis=0), 1, 4),
    "union": (lambda d: stats.union(d, 60), lambda x: np.percentile(x, 60, axis=0), 1, 3),
    "intersection": (lambda d: stats.intersection(d, 40), lambda x: np.percentile(x, 40, axis=0), 1, 3),
    "snr": (stats.snr, lambda x: x.mean(0) / x.std(0, ddof=1), 0, 2),
    "confusion": (stats.confusion, lambda x: x.mean(0) * x.std(0, ddof=1), 2, 2),
    "cv": (stats.cv, lambda x: x.std(0, ddof=1) / np.abs(x.mean(0)), 0, 2),
    "probability_positive": (stats.probability_positive, lambda x: (x > 0).mean(0), 0, 1),
    "sign_certainty": (
        stats.sign_certainty,
        lambda x: np.maximum((x > 0).mean(0), (x <= 0).mean(0)),
        0,
        1,
    ),
}
SPREADS = {"variance", "stdev", "snr", "confusion", "cv"}
RANKED = {"percentile", "low end", "high end", "union", "intersection"}
every_statistic = pytest.mark.parametrize("name", STATISTICS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def normal(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def close(actual, expected, rtol):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual.double().numpy(), expected, rtol=rtol, atol=rtol * 0.05)


# ---- values


@every_statistic
@every_dtype
@pytest.mark.parametrize("n_draws", [4, 100])
def test_a_statistic_equals_its_numpy_reference(name, dtype, n_draws):
    ours, reference, _, _ = STATISTICS[name]
    draws = 0.5 + normal(n_draws, 3, 4, dtype=dtype)
    result = ours(draws)
    assert result.dtype == dtype
    assert result.shape == (3, 4)
    # a ratio to a small mean magnifies the rounding of half precision, so cv and snr get room for it
    close(result, reference(draws.double().numpy()), RTOL[dtype] * (3 if name in {"cv", "confusion"} else 1))


@pytest.mark.parametrize("name", [name for name, row in STATISTICS.items() if row[3] <= 2])
@every_dtype
def test_two_draws_suffice_where_the_formula_needs_no_more(name, dtype):
    ours, reference, _, _ = STATISTICS[name]
    draws = 1.0 + normal(2, 5, dtype=dtype).abs()
    close(ours(draws), reference(draws.double().numpy()), RTOL[dtype])


@every_statistic
def test_a_large_mean_cancels_nothing(name):
    ours, reference, _, _ = STATISTICS[name]
    draws = 1e4 + 0.1 * normal(100, 7)
    result, expected = ours(draws).double().numpy(), reference(draws.double().numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("at", [0, 1, -1])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e7, -1e7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_mean_loses_no_digits_to_an_outlier_wherever_it_is(at, size, dtype):
    draws = 1 + 0.1 * normal(1000, 50, dtype=dtype)
    draws[at] = size
    expected = draws.double().numpy().astype(np.longdouble).mean(0)
    np.testing.assert_allclose(stats.expectation(draws).double(), expected, rtol=16 * torch.finfo(dtype).eps)


def test_variance_survives_a_large_mean_over_many_draws():
    draws = 1e4 + 0.1 * normal(5000, 3)
    close(stats.variance(draws), draws.double().numpy().var(0, ddof=1), 1e-4)


@every_statistic
@pytest.mark.parametrize("exponent", [-100, -30, 30, 60])
def test_a_statistic_follows_a_change_of_units(name, exponent):
    ours, _, degree, _ = STATISTICS[name]
    draws = 0.5 + normal(20, 6)
    scaled = ours(draws * 2.0**exponent).double()
    expected = ours(draws).double() * 2.0 ** (exponent * degree)
    representable = (expected.abs() < 1e38) & (expected.abs() > 1e-37)
    torch.testing.assert_close(scaled[representable], expected[representable], rtol=1e-6, atol=0.0)


@every_statistic
def test_the_order_of_the_draws_does_not_matter(name):
    ours, _, _, _ = STATISTICS[name]
    draws = 0.5 + normal(20, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(draws.flip(0)), ours(draws))


@every_statistic
def test_a_statistic_leaves_its_draws_alone_and_keeps_none_of_their_memory(name):
    ours, _, _, needed = STATISTICS[name]
    for n_draws in {max(needed, 1), 20}:
        draws = 0.5 + normal(n_draws, 6)
        before = draws.clone()
        ours(draws).fill_(7.0)
        assert torch.equal(draws, before)


@every_statistic
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (0, 4)], ids=str)
def test_a_statistic_takes_any_shape_the_empty_ones_included(name, shape):
    ours, _, _, _ = STATISTICS[name]
    result = ours(normal(20, *shape))
    assert result.shape == shape
    assert result.dtype == torch.float32


@every_statistic
def test_a_statistic_takes_draws_of_any_layout(name):
    ours, _, _, _ = STATISTICS[name]
    draws = 0.5 + normal(20, 4, 6)
    torch.testing.assert_close(ours(draws.permute(2, 0, 1).contiguous().permute(1, 2, 0)), ours(draws))
    torch.testing.assert_close(ours(draws[:, ::2, 1:]), ours(draws)[::2, 1:])


def test_every_public_function_is_in_the_table_of_laws():
    covered = {*STATISTICS, "moment", "interval", "Summary", "summarize"}
    assert set(stats.__all__) <= covered


# ---- gradients

STEPS = {"probability_positive", "sign_certainty"}


@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in STEPS])
def test_the_gradient_of_a_statistic_is_its_derivative_and_so_is_the_second(name):
    ours, _, _, _ = STATISTICS[name]
    draws = (0.5 + normal(6, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(ours, draws)
    assert torch.autograd.gradgradcheck(ours, draws)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in STEPS])
def test_where_draws_agree_a_gradient_is_finite_and_that_of_a_spread_0(name, value):
    ours, _, _, _ = STATISTICS[name]
    draws = normal(30, 2)
    draws[:, 0] = value
    draws.requires_grad_()
    result = ours(draws)
    (gradient,) = torch.autograd.grad(result[result.isfinite()].sum(), draws, retain_graph=True)
    assert gradient.isfinite().all()
    assert torch.autograd.grad(result.sum(), draws)[0].isfinite().all()
    assert gradient[:, 1].any()
    if name in {*SPREADS, "variance of MCRP", "stdev of MCRP", "skewness", "kurtosis"}:
        assert not gradient[:, 0].any()
    alone = draws.detach()[:, 1:].requires_grad_()
    torch.testing.assert_close(gradient[:, 1:], torch.autograd.grad(ours(alone).sum(), alone)[0], rtol=1e-5, atol=1e-5)


@every_statistic
def test_a_statistic_is_the_same_with_and_without_a_graph(name):
    ours, _, _, _ = STATISTICS[name]
    draws = 0.5 + normal(20, 4)
    draws[:, 0], draws[:, 1] = 0, 2
    draws.requires_grad_()
    with torch.no_grad():
        assert torch.equal(ours(draws), ours(draws.detach()))
    assert torch.equal(ours(draws), ours(draws.detach()))
    assert ours(draws).requires_grad == (name not in STEPS)


@pytest.mark.parametrize("name", ["expectation", *sorted(SPREADS)])
def test_one_copy_of_the_draws_is_made_where_no_graph_is_recorded(name):
    draws = normal(64, 2**16)
    with torch.profiler.profile(profile_memory=True) as profile:
        getattr(stats, name)(draws)
    made = sum(max(0, each.self_cpu_memory_usage) for each in profile.key_averages())
    assert made < 1.5 * draws.nbytes


# ---- degenerate draws


@every_statistic
@every_dtype
@pytest.mark.parametrize("value", [0.1, -0.1, 0.0])
def test_draws_that_agree_have_no_spread_and_give_no_nan(name, dtype, value):
    ours, _, _, _ = STATISTICS[name]
    draws = torch.full((30, 2), value, dtype=dtype)
    result = ours(draws)
    assert not result.isnan().any()
    constant = draws[0]
    if name in {"expectation", "median", *RANKED}:
        assert torch.equal(result, constant)
    if name in {"variance", "variance of MCRP", "stdev", "stdev of MCRP", "confusion", "cv", "skewness", "kurtosis"}:
        assert torch.equal(result, torch.zeros_like(constant))
    if name == "snr":
        assert torch.equal(result, torch.where(constant == 0, 0.0, constant / 0))


def test_a_ratio_over_zero_is_infinity_with_the_sign_of_the_numerator():
    balanced = torch.tensor([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert torch.equal(stats.cv(balanced), torch.tensor([torch.inf, 0.0, 0.0]))
    assert torch.equal(stats.snr(-balanced), torch.tensor([0.0, -torch.inf, 0.0]))


@every_statistic
@every_dtype
def test_extreme_but_finite_draws_never_give_nan(name, dtype):
    ours, _, _, _ = STATISTICS[name]
    info = torch.finfo(dtype)
    values = torch.tensor([info.max, info.min, info.tiny, -info.tiny, 0.0, 1.0, info.max, info.max], dtype=dtype)
    draws = torch.stack([values.roll(shift) for shift in range(8)] + [torch.full_like(values, info.max)])
    assert not ours(draws).isnan().any()
    assert not ours(draws[:, :0]).isnan().any()
    for column in (info.max, info.smallest_normal / 2, info.min):
        assert not ours(torch.full((8, 2), column, dtype=dtype)).isnan().any()


def test_draws_below_the_normal_range_keep_their_ratios():
    draws = torch.tensor([1e-40, 3e-40])
    assert stats.expectation(draws).item() == pytest.approx(2e-40, rel=1e-4)
    assert stats.snr(draws, correction=0).item() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_mean_of_the_largest_numbers_does_not_overflow(dtype):
    largest = torch.finfo(dtype).max
    assert stats.expectation(torch.full((50,), largest, dtype=dtype)) == largest
    assert stats.expectation(torch.tensor([largest, -largest, largest, -largest], dtype=dtype)) == 0


def test_half_precision_overflows_to_infinity_not_to_nan():
    draws = torch.tensor([[60000.0], [-60000.0]], dtype=torch.float16)
    assert stats.variance(draws).item() == torch.inf
    assert stats.expectation(draws).item() == 0


@every_statistic
def test_a_nan_makes_its_entry_nan_and_no_other(name):
    ours, _, _, _ = STATISTICS[name]
    draws = 0.5 + normal(20, 3)
    clean = ours(draws)
    draws[4, 1] = torch.nan
    result = ours(draws)
    assert result.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(result[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_one_infinite_draw_makes_the_mean_infinite_and_the_median_not(at, value):
    draws = normal(21, 2)
    draws[at, 0] = value
    assert stats.expectation(draws)[0] == value
    assert stats.expectation(draws)[1].isfinite()
    assert stats.median(draws).isfinite().all()
    assert stats.percentile(draws, 50 + 50 * np.sign(value))[0] == value
    assert stats.variance(draws)[0].isnan()


@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("k", [1, 2, 3])
@every_dtype
def test_infinite_draws_make_a_raw_moment_what_numpy_says(k, at, dtype):
    draws = normal(21, 5, dtype=dtype)
    for column, value in enumerate((torch.inf, -torch.inf, torch.nan)):
        draws[at, column] = value
    draws[[at, at - 1], 3] = torch.tensor([torch.inf, -torch.inf], dtype=dtype)
    with np.errstate(invalid="ignore"):
        expected = (draws.double().numpy() ** k).mean(0)
    for found in (stats.moment(draws, k, central=False), MomentSums.of(draws).moment(k, central=False)):
        np.testing.assert_allclose(found.double(), expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@every_dtype
def test_ties_are_counted_as_numpy_counts_them(dtype):
    draws = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0], dtype=dtype).repeat(3)
    for q in (0, 10, 33.3, 50, 66.6, 90, 100):
        assert stats.percentile(draws, q).item() == pytest.approx(np.percentile(draws.double(), q), rel=1e-2)
    assert stats.probability_positive(draws).item() == pytest.approx(0.7, abs=4e-3)


def test_zeros_count_as_not_positive():
    draws = torch.tensor([[0.0, -0.0, 1.0], [0.0, -1.0, 0.0]])
    assert stats.probability_positive(draws).tolist() == [0.0, 0.0, 0.5]
    assert stats.sign_certainty(draws).tolist() == [1.0, 1.0, 0.5]


# ---- one draw, integers


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int64, torch.bool, torch.uint8], ids=str)
@pytest.mark.parametrize("name", ["mean", "median", "union", "intersection", "percentile:50"])
def test_one_draw_comes_back_exactly_in_its_dtype(name, dtype):
    draw = normal(1, 4).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if name not in {"mean", "median"} else "error")
        result = stats.summarize(draw, name)
    assert result.dtype == dtype
    assert torch.equal(result, draw[0])


@every_statistic
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool], ids=str)
def test_integers_are_promoted_to_the_default_dtype(name, dtype):
    ours, reference, _, _ = STATISTICS[name]
    draws = (normal(30, 3) > 0.3).to(dtype) if dtype == torch.bool else (10 * normal(30, 3)).to(dtype)
    result = ours(draws)
    assert result.dtype == torch.get_default_dtype()
    close(result, reference(draws.double().numpy()), 1e-4)


@pytest.mark.parametrize("name", sorted(SPREADS))
def test_a_spread_of_one_draw_is_refused_with_the_way_out(name):
    function = getattr(stats, name)
    with pytest.raises(ValueError, match=rf"^{name} with correction=1 needs at least 2 draws, got 1; draw more"):
        function(torch.ones(1, 3))
    with pytest.raises(ValueError, match="at least 4 draws, got 3"):
        function(torch.ones(3, 2), correction=3)
    with pytest.raises(ValueError, match="correction of at least 0, got -1"):
        function(torch.ones(3, 2), correction=-1)
    assert not function(torch.ones(1, 3), correction=0).isnan().any()


@every_statistic
def test_no_draws_at_all_are_refused(name):
    ours, _, _, _ = STATISTICS[name]
    with pytest.raises(ValueError, match="at least 1 draw"):
        ours(torch.ones(0, 3))
    with pytest.raises(ValueError, match="at least 1 draw"):
        ours(torch.tensor(1.0))
    with pytest.raises(TypeError, match="real numbers"):
        ours(torch.ones(4, 2, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"got list; torch\.stack"):
        ours([torch.ones(2)])


@pytest.mark.parametrize("k", [0, -1, 1.5, np.int64(0), np.float64(2), None, "2", torch.tensor(0)], ids=repr)
def test_a_moment_needs_a_whole_order(k):
    with pytest.raises(ValueError, match=re.escape(f"whole order k of at least 1, got {k!r}.")):
        stats.moment(torch.ones(3), k)


@pytest.mark.parametrize("of", [np.int64, np.uint8, torch.tensor])
def test_a_whole_order_may_come_from_any_library(of):
    draws = 0.5 + normal(20, 3)
    for k in (1, 3):
        assert torch.equal(stats.moment(draws, of(k), central=False), stats.moment(draws, k, central=False))


@pytest.mark.parametrize("name", sorted(SPREADS))
@pytest.mark.parametrize("correction", ["a", None, float("nan"), [1]], ids=repr)
def test_a_correction_is_a_number(name, correction):
    with pytest.raises(ValueError, match=re.escape(f"{name} needs a correction of at least 0, got {correction!r}.")):
        getattr(stats, name)(torch.ones(4, 2), correction)


# ---- percentiles


@every_dtype
def test_several_percentiles_have_an_axis_in_front(dtype):
    draws = normal(101, 2, 3, dtype=dtype)
    ranks = [5, 25.0, 50, 75, 95]
    result = stats.percentile(draws, ranks)
    assert result.shape == (5, 2, 3)
    assert result.dtype == dtype
    close(result, np.percentile(draws.double().numpy(), ranks, axis=0), RTOL[dtype])
    assert torch.equal(stats.percentile(draws, np.array(ranks)), result)
    assert stats.percentile(draws, [50]).shape == (1, 2, 3)


@pytest.mark.parametrize("of", [np.array, torch.tensor, np.float32, np.int64], ids=lambda of: of.__name__)
def test_one_number_is_one_percentile_whatever_holds_it(of):
    draws = normal(101, 2, 3)
    for function, q in ((stats.percentile, 5), (stats.union, 95), (stats.intersection, 5)):
        assert torch.equal(function(draws, of(q)), stats.percentile(draws, q))


def test_a_percentile_stays_between_its_neighbours():
    draws = normal(7, 1000, dtype=torch.float32)
    ordered = draws.sort(0).values
    for q in np.linspace(15, 85, 29):
        below = int(q * 6 / 100)
        result = stats.percentile(draws, q)
        assert (result >= ordered[below]).all()
        assert (result <= ordered[min(below + 1, 6)]).all()


def test_more_entries_than_torch_quantile_takes_are_no_limit():
    draws = torch.arange(3.0)[:, None].expand(3, 6_000_000)  # 18M, and older torch.quantile stops at 16M
    assert (stats.median(draws) == 1).all()


@pytest.mark.parametrize(
    ("q", "needed"), [(5, 20), (95, 20), (1, 100), (99.9, 1000), (10, 10), (3, 34), (50, 2), (0, 1), (100, 1)]
)
def test_a_percentile_warns_below_the_draws_it_needs_and_not_at_them(q, needed):
    stats.percentile(torch.arange(float(needed)), q)
    if needed > 1:
        with pytest.warns(UserWarning, match=rf"percentile {q:g} needs at least {needed} draws, got {needed - 1}"):
            stats.percentile(torch.arange(float(needed - 1)), q)


@pytest.mark.parametrize("function", [stats.union, stats.intersection, stats.interval])
def test_what_is_made_of_percentiles_warns_as_they_do(function):
    function(torch.arange(20.0))
    with pytest.warns(UserWarning, match="needs at least 20 draws, got 19") as caught:
        function(torch.arange(19.0))
    assert len(caught) == 1


OFF = [-1, 101, float("nan"), [], [50, 120], None, "5", object(), [[5, 50]], np.array([[5, 50]]), torch.ones(2, 2)]


@pytest.mark.parametrize("q", OFF, ids=str)
@pytest.mark.parametrize("function", [stats.percentile, stats.union, stats.intersection])
def test_a_percentile_lies_from_0_to_100(function, q):
    with pytest.raises(ValueError, match="from 0 to 100"):
        function(torch.arange(50.0), q)


@pytest.mark.parametrize("level", [0, -0.1, 1.1, 90, float("nan"), None, "0.9", [0.9, 0.5]], ids=repr)
def test_an_interval_has_a_level_above_0_and_at_most_1(level):
    with pytest.raises(ValueError, match=r"90% is level=0\.9"):
        stats.interval(torch.arange(50.0), level)


def test_the_whole_interval_reaches_from_the_smallest_to_the_largest_draw():
    low, high = stats.interval(torch.arange(5.0), level=1)
    assert (low.item(), high.item()) == (0.0, 4.0)


# ---- summarize

NAMED = {
    "mean": stats.expectation,
    "median": stats.median,
    "stdev": stats.stdev,
    "variance": stats.variance,
    "snr": stats.snr,
    "confusion": stats.confusion,
    "cv": stats.cv,
    "probability_positive": stats.probability_positive,
    "sign_certainty": stats.sign_certainty,
    "skewness": stats.skewness,
    "kurtosis": stats.kurtosis,
    "union": stats.union,
    "intersection": stats.intersection,
    "percentile:5": lambda draws: stats.percentile(draws, 5),
    "percentile:37.5": lambda draws: stats.percentile(draws, 37.5),
    "union:90": lambda draws: stats.union(draws, 90),
    "intersection:10": lambda draws: stats.intersection(draws, 10),
}


@pytest.mark.parametrize("name", NAMED)
@every_dtype
def test_a_summary_gives_exactly_the_values_of_its_statistic(name, dtype):
    draws = normal(40, 3, 2, dtype=dtype)
    assert torch.equal(stats.summarize(draws, name), NAMED[name](draws))
    assert torch.equal(stats.summarize(draws, NAMED[name]), NAMED[name](draws))


@pytest.mark.parametrize("name", ["average", "", "percentile", "mean:5", "deterministic", "Mean", "union:90:1"])
def test_an_unknown_summary_is_told_the_names(name):
    expected = "needs a number after the colon" if name == "union:90:1" else "the names are mean, median, stdev"
    with pytest.raises(ValueError, match=expected):
        stats.summarize(torch.ones(4, 2), name)


def test_the_percentile_of_a_summary_is_checked_as_any_other():
    with pytest.raises(ValueError, match="from 0 to 100"):
        stats.summarize(torch.ones(40, 2), "percentile:500")


def test_a_summary_function_gives_one_map():
    with pytest.raises(ValueError, match=r"one map of shape \(2,\) .* got \(\)"):
        stats.summarize(torch.ones(4, 2), torch.mean)
    with pytest.raises(TypeError, match="must return a tensor, got float"):
        stats.summarize(torch.ones(4, 2), lambda draws: draws.sum().item())
    with pytest.raises(TypeError, match="name of a statistic or a function"):
        stats.summarize(torch.ones(4, 2), 5)
