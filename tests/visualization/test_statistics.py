"""The panels of MCRP's row: their values, limits, titles and colour bars."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq import stats, visualization
from captum_uq.distribution import DistributionAttribution
from captum_uq.normalization import channel_mean, min_max
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

SIGNED = ("mean", "median", "snr", "confusion", "skewness", "percentile:5", "union", "intersection:10", "deterministic")


SPREADS = ("stdev", "variance", "cv", "kurtosis")


@pytest.mark.parametrize("name", [*SIGNED, *SPREADS, "sign_certainty", "probability_positive"])
def test_panels_hold_the_statistic_of_the_summed_channels(name: str) -> None:
    dist = batch()
    _, (axes,) = visualization.visualize_distribution(dist[1], panels=(name,), use_pyplot=False)
    draws = dist.draws[:, 1].sum(dim=1)
    expected = draws[0] / 2 if name == "deterministic" else stats.summarize(draws, name)
    np.testing.assert_allclose(heat(axes), expected.numpy(), rtol=1e-4, atol=1e-6)


def test_the_row_of_mcrp_is_one_call() -> None:
    dist = batch().map(channel_mean).map(min_max)
    _, axes = visualization.visualize_distribution(
        dist[1], torch.rand(3, HEIGHT, WIDTH), ("image", "mean", "stdev", "snr", "confusion"), use_pyplot=False
    )
    assert [each.get_title() for each in axes] == ["image", "mean", "stdev", "SNR", "confusion"]
    np.testing.assert_allclose(heat(axes[1]), dist.expectation()[1, 0], rtol=1e-4)


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("outlier_perc", [0, 2, 30])
def test_signed_panels_are_symmetric_and_white_at_0(name: str, outlier_perc: float) -> None:
    _, (axes,) = visualization.visualize_distribution(
        batch()[0], panels=(name,), outlier_perc=outlier_perc, use_pyplot=False
    )
    low, high = limits(axes)
    assert low == -high < 0
    assert is_white(colour(axes, 0))
    assert axes.images[-1].colorbar.extend == ("both" if np.abs(heat(axes)).max() > high else "neither")
    assert outlier_perc == 2 or (np.abs(heat(axes)).max() == high) == (outlier_perc == 0)
    beyond = np.abs(heat(axes))[np.abs(heat(axes)) > high].sum()
    assert beyond <= outlier_perc / 100 * np.abs(heat(axes)).sum()


@pytest.mark.parametrize("name", SPREADS)
def test_spreads_start_at_0_in_a_sequential_map(name: str) -> None:
    _, (axes,) = visualization.visualize_distribution(batch()[0], panels=(name,), outlier_perc=0, use_pyplot=False)
    assert limits(axes) == (0, heat(axes).max())
    assert axes.images[-1].get_cmap().name == "Greens"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sign_certainty", (0.5, 1)), ("probability_positive", (0, 1)), ("cv", None), ("confusion", None)],
)
def test_shares_have_fixed_limits(name: str, expected: tuple[float, float] | None) -> None:
    _, (axes,) = visualization.visualize_distribution(batch()[0], panels=(name,), use_pyplot=False)
    assert expected is None or limits(axes) == expected
    if name == "probability_positive":
        assert is_white(colour(axes, 0.5))


def test_titles_are_the_names_of_the_field() -> None:
    names = ("image", "deterministic", "mean", "snr", "cv", "percentile:5", "union:90", "sign_certainty")
    figure, axes = visualization.visualize_distribution(
        batch()[0], torch.rand(3, HEIGHT, WIDTH), names, use_pyplot=False
    )
    titles = ["image", "deterministic", "mean", "SNR", "CV", "5%", "union 90%", "sign certainty"]
    assert [each.get_title() for each in axes] == titles
    assert [each.images[-1].colorbar is None for each in axes] == [True] + [False] * 7
    assert len(figure.axes) == 8 + 7
    _, axes = visualization.visualize_distribution(batch()[0], panels="stdev", use_pyplot=False)
    assert [each.get_title() for each in axes] == ["stdev"]


def test_infinite_ratios_become_the_largest_finite_one_with_their_sign() -> None:
    draws = random_draws(HEIGHT, WIDTH)
    draws[:, 0, 0], draws[:, 0, 1], draws[:, 0, 2] = 2.0, -2.0, 0.0
    _, (axes,) = visualization.visualize_distribution(of_map(draws), panels=("snr",), outlier_perc=0, use_pyplot=False)
    snr = stats.snr(draws)
    assert snr[0, 0] == -snr[0, 1] == torch.inf
    largest = snr[snr.isfinite()].abs().max().item()
    np.testing.assert_allclose(heat(axes)[0, :3], [largest, -largest, 0], rtol=1e-6)
    assert np.isfinite(heat(axes)).all()
    assert axes.images[-1].colorbar.extend == "both"
    assert limits(axes) == pytest.approx((-largest, largest))


def test_where_every_ratio_is_infinite_or_0_the_signs_are_still_seen() -> None:
    draws = torch.tensor([[3.0, -3.0, 0.0]]).expand(DRAWS, 1, 3)
    _, (axes,) = visualization.visualize_distribution(of_map(draws), panels=("snr",), use_pyplot=False)
    assert heat(axes).tolist() == [[1, -1, 0]]
    written = [label.get_text() for label in axes.images[-1].colorbar.ax.get_xticklabels()]
    assert written == ["\N{MINUS SIGN}\N{INFINITY}", "0", "\N{INFINITY}"]


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 1e-4), (torch.bfloat16, 1e-20), (torch.float32, 1e-30)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_draws_of_any_precision_keep_their_squares(dtype: torch.dtype, scale: float, channels: int) -> None:
    draws = (scale * random_draws(1, channels, HEIGHT, WIDTH)).to(dtype)
    panels = ("stdev", "variance", "confusion")
    _, axes = visualization.visualize_distribution(DistributionAttribution(draws)[0], panels=panels, use_pyplot=False)
    summed = draws[:, 0].double().sum(1)
    for each, name in zip(axes, panels, strict=True):
        expected = stats.summarize(summed, name).numpy()
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(heat(each), expected, rtol=1e-6)
