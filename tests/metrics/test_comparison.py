"""The statistics of a comparison: p values that are uniform, numbers by hand, a table, errors."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from captum_uq.metrics import PerturbationCurve, UniformNoise, compare, deletion, pixel_flipping
from captum_uq.metrics._resampling import holm, sign_flip_p_value


def curve(areas, mode="deletion", **facts):
    """A curve of a straight line for each example, whose area is the one given."""
    areas = torch.as_tensor(areas, dtype=torch.float64)
    scores = areas.unsqueeze(-1).expand(*areas.shape, 3)
    return PerturbationCurve(torch.tensor([0, 0.5, 1.0]).double(), scores, torch.zeros(areas.shape), mode, **facts)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_curve_compared_with_itself_differs_by_nothing():
    c = curve(normal(30))
    (row,) = compare(c, c)
    assert (row.difference, row.low, row.high, row.effect_size, row.win_rate) == (0, 0, 0, 0, 0.5)
    assert row.p_value == row.p_adjusted == 1
    assert row.n == 30


@pytest.mark.parametrize(("mode", "wins"), [("deletion", 0.3), ("insertion", 0.7)])
def test_the_numbers_of_a_comparison_are_their_formulas(mode, wins):
    first, second = torch.arange(10.0).double(), torch.arange(10.0).double()
    first[:6] += 1.0
    first[6:8] -= 0.5
    row = compare({"a": curve(first, mode), "b": curve(second, mode)}, "b")["a"]
    difference = np.array([1.0] * 6 + [-0.5] * 2 + [0.0] * 2)
    assert row.difference == pytest.approx(difference.mean())
    assert row.effect_size == pytest.approx(difference.mean() / difference.std(ddof=1))
    assert row.win_rate == pytest.approx(wins)
    assert row.low < row.difference < row.high


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
def test_the_sign_flip_test_of_few_examples_is_exact(n):
    differences = normal(n) + 0.5
    flips = np.array(list(itertools.product([-1, 1], repeat=n))) @ differences.numpy()
    expected = (np.abs(flips) >= abs(differences.sum().item()) - 1e-9).mean()
    assert sign_flip_p_value(differences, 999, 0) == pytest.approx(expected)


def test_the_sign_flip_test_of_many_examples_agrees_with_the_t_test():
    for shift in (0.1, 0.2, 0.3):
        differences = normal(100) + shift
        expected = scipy_stats.ttest_1samp(differences.numpy(), 0).pvalue
        assert sign_flip_p_value(differences, 9999, 0) == pytest.approx(expected, abs=0.015)


def test_holm_is_the_step_down_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    curves = {name: curve(normal(40, seed=i) + i / 10) for i, name in enumerate("abcd")}
    table = compare(curves, "a", n_resamples=999)
    assert [row.p_adjusted for row in table] == holm([row.p_value for row in table])
    assert all(r.p_value == r.p_adjusted for r in compare(curves, "a", correction="none", n_resamples=999))


def test_p_values_of_two_random_orders_are_uniform():
    inputs = normal(40, 6)
    weights = normal(6, seed=1)
    p_values = []
    for seed in range(300):
        first, second = (
            pixel_flipping(lambda x: x @ weights, inputs, inputs, n_steps=6, order="random", seed=2 * seed + k)
            for k in range(2)
        )
        p_values.append(compare(first, second, n_resamples=199)[0].p_value)
    assert scipy_stats.kstest(p_values, "uniform").pvalue > 0.01


def test_curves_of_draws_are_compared_with_a_curve_of_one_map():
    draws, single = curve(normal(20, 30) + 1.0), curve(normal(30, seed=5))
    row = compare({"draws": draws, "single": single}, "single")["draws"]
    expected = draws.auc.mean(0) - single.auc
    assert row.difference == pytest.approx(expected.mean().item())
    assert row.n == 30
    assert row.low < row.difference < row.high
    (same,) = compare(draws, draws)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_without_a_reference_every_pair_is_compared():
    curves = {name: curve(normal(20, seed=i)) for i, name in enumerate("abc")}
    table = compare(curves, n_resamples=199)
    assert [(row.curve, row.reference) for row in table] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert table["b"].reference == "c"
    assert table["a", "c"] is table[1]
    with pytest.raises(KeyError, match="must name one comparison, it names 2"):
        table["a"]
    assert len(compare(curves, curve(normal(20)), n_resamples=199)) == 3


def test_the_same_seed_gives_the_same_comparison_and_no_global_state_moves():
    curves = {"a": curve(normal(50)), "b": curve(normal(50, seed=1))}
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = compare(curves, seed=3), compare(curves, seed=3)
    assert first == second
    assert first != compare(curves, seed=4)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_a_comparison_prints_as_a_table_and_goes_to_json():
    weak, strong = torch.zeros(100).double(), normal(100) * 0.1 - 0.37
    table = compare({"percentile:25": curve(strong), "deterministic": curve(weak)}, "deterministic")
    lines = str(table).splitlines()
    assert lines[0] == "Difference of area, curve - reference (lower is better)"
    assert lines[1].split()[:3] == ["curve", "reference", "difference"]
    assert lines[1].split()[3:] == ["95%", "interval", "p", "(holm)", "effect", "wins", "n"]
    assert lines[3].startswith("percentile:25  deterministic")
    assert "<0.001" in lines[3]
    assert "100%" in lines[3]
    assert "-0.3" in lines[3]
    assert len({len(line) for line in lines[1:]}) == 1
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["n"] == 100


def test_constant_differences_have_an_infinite_effect():
    row = compare(curve(torch.ones(20) * 2), curve(torch.ones(20)))[0]
    assert row.effect_size == float("inf")
    assert row.p_value == pytest.approx(1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("n_points", [3, 33, 785])
@pytest.mark.parametrize("n_draws", [None, 4])
def test_scores_that_differ_by_a_constant_have_an_infinite_effect_whatever_their_precision(
    dtype, scale, n_points, n_draws
):
    scores = scale * normal(50, n_points).to(dtype)
    points, ties = torch.linspace(0, 1, n_points, dtype=dtype), torch.zeros(50)
    flat = PerturbationCurve(points, scores, ties)
    shape = (*[n_draws] * bool(n_draws), 50, n_points)
    for shift in (1.0, -0.3):
        moved = PerturbationCurve(points, (scores + shift).expand(shape), ties.expand(shape[:-1]))
        row = compare({"moved": moved, "flat": flat}, "flat", n_resamples=99)["moved"]
        assert row.effect_size == np.sign(shift) * np.inf
    noisy = replace(flat, scores=scores + 1 + scale * 1e-4 * normal(50, 1, seed=7).to(dtype))
    assert compare(noisy, flat, n_resamples=99)[0].effect_size == pytest.approx(1e4 / scale, rel=0.3)


A, B = curve(normal(20)), curve(normal(20, seed=1))
BAD = {
    "compare needs two curves at least": ({"a": A}, {}),
    "compare needs two curves": ({"a": A}, {"reference": "a"}),
    "reference must name one of the curves": ({"a": A, "b": B}, {"reference": "c"}),
    r"'a' and 'b' differ in mode \('deletion' and 'insertion'\)": (
        {"a": A, "b": curve(normal(20), "insertion")},
        {},
    ),
    r"differ in order \('morf' and 'lerf'\)": ({"a": A, "b": curve(normal(20), order="lerf")}, {}),
    r"differ in score \(": ({"a": A, "b": curve(normal(20), score="softmax")}, {}),
    "same examples, 2 at least": ({"a": A, "b": curve(normal(21))}, {}),
    "examples, 2 at least": ({"a": curve(normal(1)), "b": curve(normal(1))}, {}),
    r"differ in steps \(2 and 1\)": ({"a": A, "b": replace(A, scores=A.scores[:, :2])}, {}),
    r"differ in max_fraction \(1.0 and 0.5\)": ({"a": A, "b": replace(A, max_fraction=0.5)}, {}),
    "other shares of the features": ({"a": A, "b": replace(A, fractions=A.fractions**2)}, {}),
    "takes a PerturbationCurve, or a dict of them by name, got list": ([A, B], {}),
    r"dict of them by name, got \['PerturbationCurve', 'Tensor'\]": ({"a": A, "b": A.scores}, {}),
    "reference is a name or a PerturbationCurve": ({"a": A, "b": B}, {"reference": ["b"]}),
    "level must lie between 0 and 1, got '95%'": ({"a": A, "b": B}, {"level": "95%"}),
    r"differ in draws \(3 and 4\)": ({"a": curve(normal(3, 20)), "b": curve(normal(4, 20))}, {}),
    "needs finite areas": ({"a": A, "b": curve(torch.full((20,), float("nan")))}, {}),
    "level must lie between 0 and 1, got 95": ({"a": A, "b": B}, {"level": 95}),
    "correction must be one of": ({"a": A, "b": B}, {"correction": "bonferroni"}),
    "n_resamples must be at least 199 for level=0.99, got 198.*Pass more": (
        {"a": A, "b": B},
        {"n_resamples": 198, "level": 0.99},
    ),
    "n_resamples must be at least 199 for level=0.99, got 99": (
        {"a": A, "b": A},
        {"n_resamples": 99, "level": 0.99},
    ),
    "n_resamples must be an integer of at least 99": ({"a": A, "b": B}, {"n_resamples": 9}),
    "seed must be": ({"a": A, "b": B}, {"seed": -1}),
}


@pytest.mark.parametrize("match", BAD)
def test_what_cannot_be_compared_says_why(match):
    curves, options = BAD[match]
    with pytest.raises((ValueError, KeyError, TypeError), match=match):
        compare(curves, **options)


def test_a_random_order_is_compared_with_a_map_and_a_map_with_all_draws():
    compare({"map": A, "random": curve(normal(20), order="random")})
    compare({"map": A, "draws": curve(normal(3, 20))})


def test_a_reference_gets_a_name_that_no_curve_has():
    table = compare({"reference": A, "the reference": B}, reference=A)
    assert [row.reference for row in table] == ["the the reference"] * 2
    assert table["reference"].p_value == 1
    assert table["the reference"].difference != 0


@pytest.mark.parametrize("n_draws", [0, 3])
def test_the_way_out_of_areas_that_are_not_finite_works(n_draws):
    a, b = (curve(normal(*[n_draws] * bool(n_draws), 20, seed=k)) for k in (0, 1))
    a, b = (replace(c, scores=c.scores.clone()) for c in (a, b))
    a.scores[..., 4, 1] = b.scores[..., 7, 0] = float("nan")
    with pytest.raises(ValueError, match=r"isfinite\(\)" + (r"\.all\(0\)" if n_draws else ", then")):
        compare({"a": a, "b": b})
    finite = (a.auc - b.auc).isfinite()
    finite = finite.all(0) if n_draws else finite
    assert compare({"a": a.select(finite), "b": b.select(finite)})[0].n == 18


def test_the_p_value_of_draws_is_no_smaller_than_that_of_their_means():
    draws = curve(normal(6, 20) + 3 * normal(6, 1, seed=4))
    flat = curve(torch.zeros(20))
    nested, means = (compare(c, flat)[0] for c in (draws, replace(draws, scores=draws.per_example())))
    assert nested.difference == pytest.approx(means.difference)
    assert nested.p_value > 10 * means.p_value


def test_common_fills_reduce_the_variance_of_a_difference_of_areas():
    inputs, weights = normal(20, 64), normal(64, seed=1)
    maps = inputs * weights
    near = maps + 0.05 * normal(20, 64, seed=2)

    def area(attributions, seed):
        fill = UniformNoise(0.5, 0.3)
        return deletion(lambda x: x @ weights, inputs, attributions, perturb_func=fill, seed=seed).auc.mean().item()

    common = np.var([area(maps, seed) - area(near, seed) for seed in range(30)])
    separate = np.var([area(maps, seed) - area(near, 100 + seed) for seed in range(30)])
    assert separate > 10 * common
