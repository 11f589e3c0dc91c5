"""Every text of a picture can be read, however awkward what is drawn: its scale, its shape, its names, its axes."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import DRAWS, of_map, random_draws
from visualization.pictures import PICTURES, assert_on_the_canvas, assert_readable, comparison, curves, distribution

every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
NAMES = [
    "native-country = Outlying-US(Guam-USVI-etc)",
    "_marital-status = Married-civ-spouse, in $, of the household",
    "$a_b$",
    "income_$/cost_$",
    r"_$\frac$",
]
SINGLE = {
    "statistic": lambda dist: visualization.visualize_distribution(dist, panels="probability_positive"),
    "percentile": lambda dist: visualization.visualize_percentiles(dist, q=50),
    "sign certainty": visualization.visualize_sign_certainty,
    "draw": lambda dist: visualization.visualize_draws(dist, 1),
    "bivariate": lambda dist: visualization.visualize_bivariate(dist),
    "bivariate with its image": lambda dist: visualization.visualize_bivariate(dist, torch.rand(dist.shape[-2:])),
    "slider": lambda dist: visualization.percentile_picture(dist).draw(5),
}
NAMED = {
    "features": lambda row: visualization.visualize_features(row, NAMES, show_deterministic=True, use_pyplot=False),
    "boxes": lambda row: visualization.visualize_feature_draws(row, NAMES, use_pyplot=False),
    "channels": lambda row: visualization.visualize_channels(row, NAMES, use_pyplot=False),
    "curves": lambda _: visualization.visualize_curves(
        dict(zip(NAMES, [*curves().values()] * 2, strict=False)), title=NAMES[-1], use_pyplot=False
    ),
    "comparison": lambda _: visualization.visualize_comparison(comparison(names=NAMES, to=NAMES[-1]), use_pyplot=False),
}


@every_picture
@pytest.mark.parametrize("scale", [3e-20, 3e-5, 123456.0])
def test_numbers_of_any_size_can_be_read(picture, scale: float) -> None:
    figure, _ = picture.draw(*picture.arguments(scale=scale), use_pyplot=False)
    assert_readable(figure)


@pytest.mark.parametrize("size", [(1, 300), (8, 40), (12, 12), (40, 8), (300, 1)], ids=str)
@pytest.mark.parametrize("draw", SINGLE.values(), ids=SINGLE)
def test_a_map_of_any_shape_fits_a_figure_of_common_size(draw, size: tuple[int, int], monkeypatch) -> None:
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    figure, _ = draw(of_map(random_draws(*size)))
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 13


@pytest.mark.parametrize("draw", NAMED.values(), ids=NAMED)
def test_names_are_read_as_they_are_written_and_leave_room_for_what_they_name(draw) -> None:
    figure, axes = draw(distribution((len(NAMES),))[0])
    written = " ".join(text for text, _ in assert_on_the_canvas(figure))
    assert all(name in written for name in NAMES)
    assert_readable(figure)
    assert axes.get_window_extent().width > 3 * figure.dpi


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("name", [name for name, picture in PICTURES.items() if (picture.axes or 1) == 1])
def test_in_axes_of_the_users_own_everything_stays_on_the_canvas(name: str, layout: str | None) -> None:
    figure, picture = Figure((6.4, 4.8) if layout else (5, 4.2), layout=layout), PICTURES[name]
    picture.draw(*picture.arguments(), plt_fig_axis=(figure, figure.subplots()), use_pyplot=False)
    assert_on_the_canvas(figure)


def test_the_heads_of_a_comparison_stand_close_above_axes_of_any_height() -> None:
    figure = Figure((5, 4.2))
    own = figure, figure.subplots()
    visualization.visualize_comparison(comparison(names=["curve"]), plt_fig_axis=own, use_pyplot=False)
    assert_on_the_canvas(figure)


def test_a_legend_in_the_users_axes_keeps_what_the_user_drew() -> None:
    figure = Figure()
    axes = figure.subplots()
    (own,) = axes.plot([0, 1], [0, 0], label="random")
    axes.plot([0, 1], [1, 1])  # without a name
    visualization.visualize_curves({"_mean": curves()["mean"]}, plt_fig_axis=(figure, axes), use_pyplot=False)
    assert [text.get_text().split(" ")[0] for text in axes.get_legend().get_texts()] == ["random", "_mean"]
    assert axes.get_legend().legend_handles[0].get_color() == own.get_color()


def test_a_token_wider_than_the_axes_is_written_smaller() -> None:
    tokens = ["short", 200 * "x", "end"]
    dist = DistributionAttribution(random_draws(1, 3))
    figure, axes = visualization.visualize_text(dist, tokens, font_size=12, use_pyplot=False)
    assert_readable(figure)
    sizes = [each.get_fontsize() for each in axes.texts]
    assert sizes[0] == sizes[2] == 12 > sizes[1]
    assert [each.get_text() for each in axes.texts] == tokens


@pytest.mark.parametrize(("value", "kinds"), [(3.0, ["box", "violin"]), (-1e5, ["box"])])
def test_strokes_of_equal_draws_lie_inside_the_axes(value: float, kinds: list[str]) -> None:
    draws = value * torch.tensor([1.0, -2.0, 0.5]).expand(DRAWS, 1, 3)
    for kind in kinds:
        _, axes = visualization.visualize_feature_draws(DistributionAttribution(draws), kind=kind, use_pyplot=False)
        low, high = axes.get_xlim()
        ends = sorted([value, -2 * value])
        assert low < ends[0] - 0.01 * (high - low)
        assert high > ends[1] + 0.01 * (high - low)
