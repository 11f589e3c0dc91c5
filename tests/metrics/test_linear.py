"""On linear models every curve is a cumulative sum, worked out by hand."""

import numpy as np
import pytest
import torch

from captum_uq.metrics import deletion, insertion, pixel_flipping

N, F = 6, 12
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(N, F, dtype=torch.float64, generator=GENERATOR)
WEIGHTS = torch.randn(F, dtype=torch.float64, generator=GENERATOR)
CONTRIBUTIONS = (INPUTS * WEIGHTS).numpy()


def linear(inputs):
    return inputs @ WEIGHTS


def by_hand(order, counts):
    """Scores after removing the first features of an order, from the contributions alone."""
    removed = np.take_along_axis(CONTRIBUTIONS, order, axis=1).cumsum(1)
    removed = np.concatenate([np.zeros((N, 1)), removed], axis=1)[:, counts]
    return CONTRIBUTIONS.sum(1, keepdims=True) - removed


@pytest.mark.parametrize(("order", "sign"), [("morf", -1), ("lerf", 1)])
@pytest.mark.parametrize(
    ("n_steps", "counts"),
    [(12, range(13)), (4, [0, 3, 6, 9, 12]), (5, [0, 2, 5, 7, 10, 12])],  # five steps of 3 would be but four
)
def test_deletion_is_the_total_less_a_cumulative_sum(order, sign, n_steps, counts):
    counts = list(counts)
    curve = pixel_flipping(linear, INPUTS, INPUTS * WEIGHTS, order=order, n_steps=n_steps)
    expected = by_hand(np.argsort(sign * CONTRIBUTIONS, axis=1), counts)
    np.testing.assert_allclose(curve.scores, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.fractions, np.array(counts) / F, rtol=0, atol=1e-15)
    area = np.trapezoid(expected, np.array(counts) / F, axis=1)
    np.testing.assert_allclose(curve.auc, area, rtol=0, atol=1e-12)


def test_insertion_is_a_cumulative_sum():
    curve = insertion(linear, INPUTS, INPUTS * WEIGHTS, n_steps=F)
    expected = np.sort(CONTRIBUTIONS, axis=1)[:, ::-1].cumsum(1)
    np.testing.assert_allclose(curve.scores[:, 0], 0.0)
    np.testing.assert_allclose(curve.scores[:, 1:], expected, rtol=0, atol=1e-12)


def test_an_uneven_last_step_is_included_and_weighs_what_it_flips():
    weights = torch.ones(10, dtype=torch.float64)
    curve = deletion(
        lambda x: x @ weights,
        torch.ones(1, 10, dtype=torch.float64),
        torch.arange(10.0).view(1, 10),
        n_steps=3,
    )
    assert curve.fractions.tolist() == [0.0, 0.4, 0.8, 1.0]
    assert curve.scores.tolist() == [[10.0, 6.0, 2.0, 0.0]]
    assert curve.auc.item() == pytest.approx(0.4 * 8 + 0.4 * 4 + 0.2 * 1)


@pytest.mark.parametrize(("max_fraction", "flipped"), [(0.5, 6), (0.3, 4), (1.0, 12)])
def test_the_last_point_flips_max_fraction_and_the_area_is_a_mean_score(max_fraction, flipped):
    curve = deletion(linear, INPUTS, INPUTS * WEIGHTS, n_steps=4, max_fraction=max_fraction)
    assert curve.fractions[-1].item() == pytest.approx(flipped / F)
    order = np.argsort(-CONTRIBUTIONS, axis=1)
    np.testing.assert_allclose(curve.scores[:, -1], by_hand(order, [flipped])[:, 0], atol=1e-12)
    flat = deletion(lambda x: torch.ones(len(x)), INPUTS, INPUTS, n_steps=4, max_fraction=max_fraction)
    np.testing.assert_allclose(flat.auc, 1.0, rtol=1e-6)


def test_a_faithful_map_beats_any_other_on_a_linear_model():
    best = deletion(linear, INPUTS, INPUTS * WEIGHTS, n_steps=F).auc
    for seed in range(20):
        assert (best <= deletion(linear, INPUTS, INPUTS, n_steps=F, order="random", seed=seed).auc + 1e-12).all()
