"""Areas that are equal on paper are equal: ties against exact integers, and one map measured twice."""

import itertools

import numpy as np
import pytest
import torch

from captum_uq.metrics import PerturbationCurve, compare, pixel_flipping
from captum_uq.metrics._resampling import sign_flip_p_value


def drawn(rng, n_examples, n_steps, falling, *draws):
    """Scores of 0 and 1, at random or right until the prediction flips, shape (*draws, N, K + 1)."""
    if falling:
        return np.minimum.accumulate(rng.random((*draws, n_examples, n_steps + 1)) < 0.8, axis=-1)
    return rng.random((*draws, n_examples, n_steps + 1)) < 0.5


def areas(scores):
    """The area of each curve in units of 1 / 2K: an integer, hence exact."""
    whole = scores.astype(int)
    return (whole[..., 1:] + whole[..., :-1]).sum(-1)


def curve(scores, dtype, **facts):
    points = torch.linspace(0, 1, scores.shape[-1], dtype=torch.float64).to(dtype)
    return PerturbationCurve(points, torch.from_numpy(scores).to(dtype), torch.zeros(scores.shape[:-1]), **facts)


def win_rate(differences):
    return (differences < 0).mean() + 0.5 * (differences == 0).mean()


SIZES = [(5, 10), (6, 11), (8, 3), (9, 64), (12, 7)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_p_value_and_wins_of_scores_of_zero_and_one_are_those_of_whole_numbers(n, k, falling, dtype):
    rng, signs = np.random.default_rng(0), np.array(list(itertools.product((1, -1), repeat=n)))
    for _ in range(20):
        first, second = (drawn(rng, n, k, falling) for _ in range(2))
        exact = areas(first) - areas(second)
        row = compare(curve(first, dtype), curve(second, dtype), n_resamples=99)[0]
        assert row.p_value == (abs(signs @ exact) >= abs(exact.sum())).mean()
        assert row.win_rate == pytest.approx(win_rate(exact))
        assert row.difference == pytest.approx(exact.mean() / (2 * k), abs=1e-6)


@pytest.mark.parametrize("n_draws", [None, 3])
@pytest.mark.parametrize(("n", "k"), [(30, 10), (200, 32), (60, 784)])
def test_of_many_examples_too_and_of_draws(n, k, n_draws):
    rng, draws = np.random.default_rng(1), [n_draws] * bool(n_draws)
    for seed in range(5):
        first, second = drawn(rng, n, k, True, *draws), drawn(rng, n, k, True)
        exact = areas(first) - areas(second)
        exact = exact if n_draws is None else exact.sum(0)
        row = compare(curve(first, torch.float32), curve(second, torch.float32), n_resamples=199, seed=seed)[0]
        by_signs = sign_flip_p_value(torch.from_numpy(exact).double(), 199, seed)
        assert row.win_rate == pytest.approx(win_rate(exact))
        assert row.p_value == by_signs if n_draws is None else row.p_value >= by_signs


@pytest.mark.parametrize("score", ["output", "softmax", "log_softmax", "margin"])
@pytest.mark.parametrize("seed", range(4))
def test_one_map_measured_twice_differs_by_nothing(seed, score):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"first": (64, 128), "second": (128, 10), "inputs": (30, 64), "maps": (30, 64)}
    made = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}

    def model(rows):
        return (rows @ made["first"] / 8).relu() @ made["second"] / 11

    once, again = (
        pixel_flipping(
            model, made["inputs"], made["maps"], target=1, n_steps=16, score=score, max_examples_per_batch=rows
        )
        for rows in (1, 256)
    )
    assert not torch.equal(once.scores, again.scores), "there is rounding, or this tests nothing"
    row = compare(once, again, n_resamples=99)[0]
    assert row.effect_size == 0
    assert row.p_value == 1
    assert row.win_rate == pytest.approx(0.5, abs=0.02)
    assert abs(row.difference) < 1e-8


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
def test_a_large_score_of_one_example_makes_no_ties_of_the_others(scale):
    scores = torch.rand(20, 9, generator=torch.Generator().manual_seed(0))
    scores[0] *= scale
    points, ties = torch.linspace(0, 1, 9), torch.zeros(20)
    smaller, whole = (PerturbationCurve(points, factor * scores, ties) for factor in (0.999, 1))
    row = compare(smaller, whole, n_resamples=99)[0]
    assert row.win_rate == 1


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_a_random_order_takes_the_direction_of_what_it_is_compared_with(order, mode):
    rng = np.random.default_rng(0)
    ranked, chance = (curve(rng.random((20, 5)), torch.float64, mode=mode, order=o) for o in (order, "random"))
    better = (lambda a, b: a < b) if ranked.direction == "lower" else (lambda a, b: a > b)
    expected = better(ranked.auc, chance.auc).double().mean().item()
    for named in ({"map": ranked, "chance": chance}, {"chance": chance, "map": ranked}):
        table = compare(named, "chance", n_resamples=99)
        assert table.direction == ranked.direction
        assert table["map"].win_rate == pytest.approx(expected)
        row = compare(named, n_resamples=99)[0]
        assert row.win_rate == pytest.approx(expected if row.curve == "map" else 1 - expected)


def test_both_orders_against_a_random_one_have_no_common_direction():
    scores = np.random.default_rng(0).random((20, 5))
    named = {order: curve(scores, torch.float64, order=order) for order in ("morf", "lerf", "random")}
    with pytest.raises(ValueError, match=r"one direction, got 'morf' and 'lerf'.*Compare each"):
        compare(named, "random")
