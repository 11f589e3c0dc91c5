"""Intervals of a mean difference: they cover as often as they say, and their ends are those of scipy."""

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from captum_uq.metrics._resampling import _student, bootstrap, sign_flip_p_value
from captum_uq.metrics._student import t_level, t_quantile

POPULATIONS = {  # frozen distributions of scipy; "sparse" differs from 0 for one example in five
    "normal": scipy_stats.norm(0.3, 1),
    "uniform": scipy_stats.uniform(-1, 3),
    "heavy tails": scipy_stats.t(3, loc=0.1),
    "Laplace": scipy_stats.laplace(),
    "exponential": scipy_stats.expon(),
    "log-normal": scipy_stats.lognorm(1.0),
    "negative log-normal": scipy_stats.lognorm(1.0),
    "sparse": scipy_stats.norm(),
}


def samples(name, repeats, *shape, seed=0):
    """Samples of a population and its mean, float64."""
    rng = np.random.default_rng(seed)
    values, mean = POPULATIONS[name].rvs((repeats, *shape), random_state=rng), POPULATIONS[name].mean()
    if name == "sparse":
        values *= rng.random(values.shape) < 0.2
    sign = -1 if name == "negative log-normal" else 1
    return torch.from_numpy(sign * values), sign * mean


def covered(several, mean, level=0.95):
    intervals = np.array([bootstrap(sample, level, 499, seed)[:2] for seed, sample in enumerate(several)])
    return ((intervals[:, 0] <= mean) & (mean <= intervals[:, 1])).mean()


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_of_50_examples_cover_as_often_as_they_say(name):
    assert covered(*samples(name, 1500, 50)) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("name", ["normal", "heavy tails", "exponential"])
def test_other_levels_are_covered_too(name, level):
    assert covered(*samples(name, 800, 50), level) == pytest.approx(level, abs=0.035)


@pytest.mark.parametrize(("n", "least"), [(15, 0.90), (200, 0.93)])
def test_few_skewed_examples_are_covered_less_and_many_as_they_should_be(n, least):
    assert least < covered(*samples("log-normal", 800, n)) < 0.97


@pytest.mark.parametrize("n_resamples", [99, 199, 999, 1000])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.975])
@pytest.mark.parametrize("shape", [(12,), (5, 12)], ids=["examples", "draws and examples"])
def test_an_interval_holds_0_exactly_where_the_p_value_is_above_one_minus_its_level(shape, level, n_resamples):
    rng, found = np.random.default_rng(1), []
    for seed in range(120):
        sign, shift = rng.choice([-1, 1]), 1.2 * t_quantile(level, 11) / 12**0.5
        values = torch.from_numpy(sign * (rng.normal(shift, 1, size=shape[-1]) + 0.1 * rng.normal(size=shape)))
        low, high, p_value = bootstrap(values, level, n_resamples, seed)
        found.append(not low <= 0 <= high)
        assert found[-1] == (p_value <= 1 - level + 1e-9)
    assert 0.2 < np.mean(found) < 0.8


@pytest.mark.parametrize(("level", "least"), [(0.95, 39), (0.98, 99), (0.99, 199), (0.999, 1999), (0.9, 19)])
def test_as_many_resamples_are_needed_as_have_a_tail(level, least):
    """With one fewer even a sample beyond all resamples has a p value above one minus the level."""
    values = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) + 50
    assert bootstrap(values, level, least, 0).p_value == pytest.approx(1 - level)
    with pytest.raises(ValueError, match=rf"at least {least} for level={level}, got {least - 1}: .* Pass more"):
        bootstrap(values, level, least - 1, 0)


@pytest.mark.parametrize("name", ["log-normal", "negative log-normal", "heavy tails"])
def test_they_cover_more_often_than_the_bca_intervals_of_scipy(name):
    several, mean = samples(name, 300, 50, seed=5)
    options = {"n_resamples": 499, "method": "BCa", "vectorized": True, "axis": -1}
    bca = scipy_stats.bootstrap((several.numpy(),), np.mean, random_state=np.random.default_rng(0), **options)
    low, high = bca.confidence_interval
    assert covered(several, mean) > ((low <= mean) & (mean <= high)).mean() + 0.01


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_ends_are_the_studentised_quantiles_of_scipy_or_student(name):
    values = samples(name, 1, 40, seed=9)[0][0]
    x, options = values.numpy(), {"n_resamples": 40_000, "method": "percentile", "vectorized": True}

    def studentised(resamples, axis):
        return (resamples.mean(axis) - x.mean()) / np.maximum(resamples.std(axis), x.std() / 4)

    options["random_state"] = np.random.default_rng(0)
    quantiles = scipy_stats.bootstrap((x,), studentised, **options).confidence_interval
    student = scipy_stats.t.interval(0.95, 39, x.mean(), scipy_stats.sem(x))
    low = min(student[0], x.mean() - quantiles.high * x.std())
    high = max(student[1], x.mean() - quantiles.low * x.std())
    np.testing.assert_allclose(bootstrap(values, 0.95, 40_000, 0)[:2], (low, high), atol=0.03 * (high - low))


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("name", POPULATIONS)
def test_no_interval_lies_inside_that_of_student_and_all_are_finite(name, n):
    for seed, values in enumerate(samples(name, 5, n, seed=n)[0]):
        low, high = bootstrap(values, 0.9, 499, seed)[:2]
        half = t_quantile(0.9, n - 1) * float(values.std()) / n**0.5
        assert low <= values.mean() - half + 1e-9
        assert high >= values.mean() + half - 1e-9
        assert high - low <= 16 * half


def test_one_example_that_differs_among_many_has_a_finite_interval():
    values = torch.zeros(30, dtype=torch.float64)
    values[4] = 1.0
    low, high = bootstrap(values, 0.95, 999, 0)[:2]
    assert -0.05 < low < 0 < high < 0.3


@pytest.mark.parametrize("shape", [(20,), (6, 20)], ids=["examples", "draws and examples"])
def test_intervals_move_and_stretch_with_the_differences(shape):
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()
    low, high = bootstrap(values, 0.95, 999, 3)[:2]
    assert bootstrap(2 * values + 5, 0.95, 999, 3)[:2] == pytest.approx((2 * low + 5, 2 * high + 5))
    assert bootstrap(-values, 0.95, 999, 3)[:2] == pytest.approx((-high, -low), rel=1e-2)
    constant = torch.full_like(values, 0.1)
    assert bootstrap(constant, 0.95, 999, 3)[:2] == pytest.approx((0.1, 0.1), abs=1e-12)


@pytest.mark.parametrize("name", ["normal", "heavy tails", "exponential"])
@pytest.mark.parametrize(("of_examples", "of_draws"), [(1.0, 1.5), (1.5, 0.5), (1.0, 0.0)])
def test_nested_intervals_cover_the_spread_of_shared_draws(name, of_examples, of_draws):
    """An effect of each example, one of each draw that all examples share, and the rest."""
    repeats, n_draws, n = 500, 30, 40
    examples, mean = samples(name, repeats, 1, n, seed=1)
    networks, noise = samples(name, repeats, n_draws, 1, seed=2)[0], samples("normal", repeats, n_draws, n, seed=3)[0]
    several = of_examples * examples + of_draws * (networks - mean) + 0.5 * (noise - 0.3)
    assert covered(several, of_examples * mean) == pytest.approx(0.95, abs=0.025)
    if of_draws > 1:
        assert covered(several.mean(1), of_examples * mean) < 0.85


@pytest.mark.parametrize("parts", [(1.0, 0.0), (0.0, 1.0), (0.3, 0.7), (0.7, 0.3)])
@pytest.mark.parametrize("sizes", [(40, 12), (12, 40), (100, 100)])
def test_students_interval_of_two_sources_is_that_of_satterthwaite(parts, sizes):
    variances = [part * size / (size - 1) for part, size in zip(parts, sizes, strict=True)]
    freedom = sum(variances) ** 2 / sum(v**2 / (size - 1) for v, size in zip(variances, sizes, strict=True))
    expected = scipy_stats.t.ppf(0.975, int(freedom + 1e-9)) * sum(variances) ** 0.5
    found, error = _student(list(parts), sizes)
    assert t_quantile(0.95, found) * error == pytest.approx(expected, rel=1e-9)


def nested_by_hand(values, rng, repeats):
    """Crossed resamples one by one, each table of its own, and Student's interval by Satterthwaite."""

    def parts(table, correction):
        by_examples = table.mean(0).var(ddof=correction) / table.shape[1]
        return np.array([by_examples, table.mean(1).var(ddof=correction) / table.shape[0]])

    (n_draws, n), mean, error = values.shape, values.mean(), parts(values, 0).sum() ** 0.5
    studentised = np.empty(repeats)
    for i in range(repeats):
        table = values[rng.integers(n_draws, size=n_draws)][:, rng.integers(n, size=n)]
        studentised[i] = (table.mean() - mean) / max(parts(table, 0).sum() ** 0.5, error / 4)
    low, high = np.quantile(studentised, [0.025, 0.975])
    first, second = parts(values, 1)
    freedom = (first + second) ** 2 // (first**2 / (n - 1) + second**2 / (n_draws - 1))
    student = scipy_stats.t.interval(0.95, freedom, mean, (first + second) ** 0.5)
    return min(student[0], mean - high * error), max(student[1], mean - low * error)


@pytest.mark.parametrize(("of_examples", "of_draws"), [(1.0, 0.0), (0.2, 1.0), (1.0, 1.0)])
def test_nested_ends_are_those_of_resampled_tables(of_examples, of_draws):
    rng = np.random.default_rng(8)
    examples, networks = rng.lognormal(size=(1, 25)), rng.lognormal(size=(20, 1))
    values = of_examples * examples + of_draws * networks + 0.1 * rng.standard_normal((20, 25))
    low, high = nested_by_hand(values, rng, 8000)
    found = bootstrap(torch.from_numpy(values), 0.95, 40_000, 0)[:2]
    np.testing.assert_allclose(found, (low, high), atol=0.03 * (high - low))


@pytest.mark.parametrize("shape", [(1, 25), (25,)])
def test_a_single_draw_is_no_draw(shape):
    values = torch.randn(25, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert bootstrap(values.view(shape), 0.95, 999, 0)[:2] == bootstrap(values, 0.95, 999, 0)[:2]


@pytest.mark.parametrize("level", [0.01, 0.8, 0.9, 0.95, 0.99, 0.9999])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 30, 199, 200, 201, 1000])
def test_students_distribution_is_that_of_scipy(level, freedom):
    quantile = scipy_stats.t.ppf((1 + level) / 2, freedom)
    assert t_quantile(level, freedom) == pytest.approx(quantile, rel=1e-8)
    assert t_level(quantile, freedom) == pytest.approx(level, abs=1e-11)


@pytest.mark.parametrize(("of_examples", "of_draws"), [(1.0, 1.0), (0.5, 1.5), (1.0, 0.0), (0.0, 1.0)])
def test_the_p_value_of_draws_knows_that_other_draws_would_differ(of_examples, of_draws):
    """Under the null no more than 5% fall below 0.05, where sign flips of the examples alone let many pass."""
    rng, found = np.random.default_rng(3), []
    for _ in range(400):
        examples, networks, rest = rng.normal(size=(1, 20)), rng.normal(size=(12, 1)), rng.normal(size=(12, 20))
        values = torch.from_numpy(of_examples * examples + of_draws * networks + 0.3 * rest)
        result = bootstrap(values, 0.95, 499, 0)
        assert (result.p_value < 0.05) == (result.low > 0 or result.high < 0)
        alone = sign_flip_p_value(values.mean(0), 199, 0)
        found.append((result.p_value < 0.05, alone < 0.05))
    ours, flips = np.mean(found, axis=0)
    assert ours < 0.075
    assert of_draws == 0 or flips > 0.12


def test_a_p_value_of_draws_is_small_for_a_difference_that_is_sure():
    values = 1 + 0.1 * torch.randn(12, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    assert bootstrap(values, 0.95, 999, 0).p_value == bootstrap(-values, 0.95, 999, 0).p_value == 2 / 1000
    assert bootstrap(torch.zeros(3, 4).double(), 0.95, 99, 0).p_value == 1
