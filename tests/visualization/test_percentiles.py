"""B-LRP's row, the certainty of sign, and single draws: values, limits, titles and colour bars."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq import stats, visualization
from captum_uq.distribution import DistributionAttribution
from captum_uq.normalization import signed_max
from visualization.maps import (
    DRAWS,
    HEIGHT,
    WIDTH,
    batch,
    colour,
    heat,
    is_white,
    limits,
    of_map,
    random_draws,
)


@pytest.mark.parametrize("with_image", [False, True])
def test_percentiles_are_scaled_map_by_map_under_one_bar(with_image: bool) -> None:
    ranks = (5, 50, 97.5)
    dist = batch().map(lambda draw: draw * 3)
    with pytest.warns(UserWarning, match=r"97.5 needs at least 40 draws"):
        figure, axes = visualization.visualize_percentiles(
            dist[0], torch.rand(3, HEIGHT, WIDTH) if with_image else None, ranks, use_pyplot=False
        )
    assert [each.get_title() for each in axes] == ["image"] * with_image + ["5%", "50%", "97.5%"]
    assert len(figure.axes) == len(axes) + 1
    draws = dist.draws[:, 0].sum(1).double()
    for rank, each in zip(ranks, axes[with_image:], strict=True):
        expected = signed_max(torch.quantile(draws, rank / 100, dim=0)[None])[0]
        np.testing.assert_allclose(heat(each), expected.numpy(), rtol=1e-4, atol=1e-6)
        assert limits(each) == (-1, 1)
        assert each.images[-1].get_cmap().name == "seismic"
        assert is_white(colour(each, 0))


def test_the_row_of_blrp_is_one_call() -> None:
    dist = batch()[1]
    with_image = {"original_image": torch.rand(3, HEIGHT, WIDTH), "show_deterministic": True}
    _, axes = visualization.visualize_percentiles(dist, **with_image, use_pyplot=False)
    assert [each.get_title() for each in axes] == ["image", "deterministic", "5%", "25%", "50%", "75%", "95%"]
    expected = signed_max(dist.deterministic.sum(0)[None])[0]
    np.testing.assert_allclose(heat(axes[1]), expected, rtol=1e-4, atol=1e-6)
    for q in (50, torch.tensor(50.0), np.array(50)):
        _, axes = visualization.visualize_percentiles(dist, q=q, use_pyplot=False)
        assert [each.get_title() for each in axes] == ["50%"]
    bare = DistributionAttribution(random_draws(1, 3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="dist keeps none"):
        visualization.visualize_percentiles(bare, show_deterministic=True, use_pyplot=False)


def test_sign_certainty_tells_which_sign_and_that_0_has_none() -> None:
    positive = torch.arange(DRAWS + 1)
    share = positive / DRAWS
    draws = torch.where(torch.arange(DRAWS)[:, None] < positive, 1.0, -1.0)
    draws = torch.cat([draws, torch.zeros(DRAWS, 1)], dim=1)[:, None]
    _, axes = visualization.visualize_sign_certainty(of_map(draws), use_pyplot=False)
    np.testing.assert_allclose(heat(axes)[0, :-1], 2 * share - 1, atol=1e-6)
    assert heat(axes)[0, -1] == 0
    np.testing.assert_allclose(np.abs(heat(axes)[0, :-1]), 2 * stats.sign_certainty(draws)[0, :-1] - 1, atol=1e-6)
    assert limits(axes) == (-1, 1)
    assert is_white(colour(axes, 0))
    assert axes.images[-1].colorbar.ax.get_xlabel()


@pytest.mark.parametrize(("asked", "shown"), [(1, 1), (5, 5), (16, 16), (100, DRAWS)])
def test_draws_are_the_first_ones_on_one_scale(asked: int, shown: int) -> None:
    dist = batch()
    figure, axes = visualization.visualize_draws(dist[0], asked, outlier_perc=0, use_pyplot=False)
    maps = dist.draws[:shown, 0].double().sum(1)
    assert [each.get_title() for each in axes] == [f"draw {at}" for at in range(shown)]
    np.testing.assert_allclose([heat(each) for each in axes], maps, rtol=1e-6)
    assert {limits(each) for each in axes} == {(-maps.double().abs().max().item(), maps.double().abs().max().item())}
    assert len(figure.axes) == shown + 1
    places = {tuple(each.get_position().bounds) for each in axes}
    assert len(places) == shown
