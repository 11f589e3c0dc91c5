"""The map of mean and certainty: its colours by an own computation, in print and for colour-blind eyes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from captum_uq import visualization
from captum_uq.visualization._palette import ABOVE, BELOW, DIVIDED, blend, certainty_of, ink_on
from visualization.maps import DRAWS, HEIGHT, WIDTH, batch, contrast, heat, linear, luminance, of_map, random_draws

STRENGTHS, CERTAINTIES = np.meshgrid(np.linspace(0, 1, 31), np.linspace(0, 1, 31))
# What dichromats see, of linear red, green and blue: Machado, Oliveira and Fernandes, 2009, severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear_rgb.clip(0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def reference(draws: np.ndarray, certainty: str, most: float) -> np.ndarray:
    """The colours of draws ``(T, H, W)``, entry by entry."""
    colours = np.empty((*draws.shape[1:], 3))
    for place in itertools.product(*map(range, draws.shape[1:])):
        values = draws[(slice(None), *place)]
        mean, above, below = values.mean(), (values > 0).mean(), (values < 0).mean()
        sure = abs(above - below) if certainty == "sign" else abs(mean) / (abs(mean) + values.std(ddof=1))
        hue = np.array(to_rgb(ABOVE if mean > 0 else BELOW))
        strength = min(abs(mean) / most, 1)
        colours[place] = (1 - strength) + strength * (sure * hue + (1 - sure) * DIVIDED)
    return colours


@pytest.mark.parametrize("certainty", ["sign", "snr"])
def test_colours_are_those_of_mean_and_certainty(certainty: str) -> None:
    dist = batch()[1]
    _, (axes,) = visualization.visualize_bivariate(dist, certainty=certainty, outlier_perc=0, use_pyplot=False)
    draws = dist.draws.sum(dim=1).double().numpy()
    expected = reference(draws, certainty, np.abs(draws.mean(0)).max())
    np.testing.assert_allclose(heat(axes), expected, atol=1e-5)


def test_outliers_get_the_full_colour_and_the_legend_says_where_it_ends() -> None:
    draws = torch.ones(DRAWS, HEIGHT, WIDTH)
    draws[:, 0, 0] = 3
    figure, (axes,) = visualization.visualize_bivariate(of_map(draws), outlier_perc=10, use_pyplot=False)
    np.testing.assert_allclose(heat(axes), np.broadcast_to(to_rgb(ABOVE), (HEIGHT, WIDTH, 3)))
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["\N{MINUS SIGN}1", "0", "1"]


@pytest.mark.parametrize(
    ("value", "ticks", "label"),
    [
        (0.25, "0.25", "mean"),
        (3e-5, "3", "mean / 1e\N{MINUS SIGN}5"),
        (123456.0, "1.2", "mean / 1e5"),
        (9.99e5, "1", "mean / 1e6"),
        (0.0, "1", "mean"),
    ],
)
def test_the_legend_writes_long_numbers_over_a_power_of_ten(value: float, ticks: str, label: str) -> None:
    figure, _ = visualization.visualize_bivariate(of_map(torch.full((DRAWS, 2, 2), value)), use_pyplot=False)
    square = figure.axes[-1]
    assert [each.get_text() for each in square.get_xticklabels()] == ["\N{MINUS SIGN}" + ticks, "0", ticks]
    assert square.get_xlabel() == label


@pytest.mark.parametrize("certainty", ["sign", "snr"])
def test_the_legend_has_two_dimensions_and_the_colours_of_the_map(certainty: str) -> None:
    figure, (axes,) = visualization.visualize_bivariate(batch()[0], certainty=certainty, use_pyplot=False)
    map_axes, square = figure.axes
    assert map_axes is axes
    colours, (left, right, bottom, top) = heat(square), square.images[0].get_extent()
    assert (left, bottom, top) == (-right, 0, 1)
    assert square.images[0].origin == "lower"
    np.testing.assert_allclose(colours[-1, -1], to_rgb(ABOVE))  # large, above 0 and certain
    np.testing.assert_allclose(colours[-1, 0], to_rgb(BELOW))
    np.testing.assert_allclose(colours[0, [0, -1]], np.full((2, 3), DIVIDED))
    np.testing.assert_allclose(colours[:, colours.shape[1] // 2], np.ones((len(colours), 3)))  # a mean of 0
    words = {"sign": ["divided", "agree"], "snr": ["noise", "signal"]}[certainty]
    assert [label.get_text() for label in square.get_yticklabels()] == words
    assert len(visualization.visualize_bivariate(batch()[0], show_colorbar=False, use_pyplot=False)[0].axes) == 1


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("divided", [DIVIDED, 1.0])
def test_darker_is_more_relevant_and_more_certain(sign: int, divided: float) -> None:
    seen = luminance(blend(sign * STRENGTHS, CERTAINTIES, divided))
    assert np.diff(seen, axis=0)[:, 1:].max() < 0  # more certain
    assert np.diff(seen, axis=1)[1:].max() < 0  # more relevant
    assert (np.diff(seen, axis=1) <= 0).all()
    assert seen.max() == 1


def test_the_two_hues_are_equally_dark() -> None:
    above, below = (luminance(np.array(to_rgb(colour))) for colour in (ABOVE, BELOW))
    assert above == pytest.approx(below, rel=0.02)
    assert above < 0.2


@pytest.mark.parametrize("eyes", EYES)
def test_the_sign_is_seen_by_all_eyes(eyes: str) -> None:
    """The difference of a pair (CIE 1976) where strength times certainty is a half: 20 is a plain difference."""
    strong = np.sqrt(0.5)
    pair = [blend(np.array(sign * strong), np.array(strong)) for sign in (-1, 1)]
    here, there = (lab(linear(colour) @ np.array(EYES[eyes]).T) for colour in pair)
    assert np.linalg.norm(here - there) > 20


def test_letters_can_be_read_on_every_colour() -> None:
    for sign, strength, certainty in itertools.product((-1, 1), np.linspace(0, 1, 21), np.linspace(0, 1, 21)):
        colour = blend(np.array(sign * strength), np.array(certainty), divided=1.0)
        assert contrast(colour, np.array(to_rgb(ink_on(colour)))) >= 4.5


def test_certainty_at_its_ends() -> None:
    draws = torch.tensor([[0.0, 3.0, -3.0, 1.0], [0.0, 3.0, -3.0, -1.0]])
    assert certainty_of(draws, "sign").tolist() == [0, 1, 1, 0]
    assert certainty_of(draws, "snr").tolist() == [0, 1, 1, 0]
    assert certainty_of(draws[:1], "snr").tolist() == [0, 1, 1, 1]
    with pytest.raises(ValueError, match=r"certainty is one of \('sign', 'snr'\), got 'spread'"):
        visualization.visualize_bivariate(of_map(random_draws(2, 2)), certainty="spread", use_pyplot=False)


def test_the_image_stands_beside() -> None:
    image = torch.rand(3, HEIGHT, WIDTH)
    _, axes = visualization.visualize_bivariate(batch()[0], image, use_pyplot=False)
    assert [each.get_title() for each in axes] == ["image", "mean and certainty"]
    np.testing.assert_allclose(heat(axes[0]), image.movedim(0, -1), atol=1e-6)
    with pytest.raises(ValueError, match=r"height and width \(6, 9\)"):
        visualization.visualize_bivariate(batch()[0], image[:, 1:], use_pyplot=False)
