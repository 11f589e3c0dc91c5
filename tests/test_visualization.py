"""Plots, by what the artists hold: data, limits, titles, colour bars. Nobody needs a screen, nothing is NaN."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import stats, visualization
from captum_uq.distribution import DistributionAttribution
from captum_uq.normalization import channel_mean, min_max, signed_max

mpl.use("Agg")
DRAWS, HEIGHT, WIDTH = 24, 6, 9
SIGNED = ("mean", "median", "snr", "confusion", "skewness", "percentile:5", "union", "intersection:10", "deterministic")
SPREADS = ("stdev", "variance", "cv", "kurtosis")
PLOTS = {
    "distribution": visualization.visualize_distribution,
    "percentiles": visualization.visualize_percentiles,
    "sign certainty": visualization.visualize_sign_certainty,
    "draws": visualization.visualize_draws,
}
WITH_IMAGE = [name for name in PLOTS if name != "draws"]
PANELS = {"distribution": 4, "percentiles": 5, "sign certainty": 1, "draws": 16}


def random_draws(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(DRAWS, *shape, generator=generator) + torch.randn(*shape, generator=generator)


def batch(channels: int = 3, examples: int = 2) -> DistributionAttribution:
    draws = random_draws(examples, channels, HEIGHT, WIDTH)
    return DistributionAttribution(draws, deterministic=draws[0] / 2)


def of_map(draws: Tensor) -> DistributionAttribution:
    """The distribution of one map, from draws ``(T, H, W)``."""
    return DistributionAttribution(draws[:, None, None])[0]


def listed(axes: Axes | list[Axes]) -> list[Axes]:
    return axes if isinstance(axes, list) else [axes]


def heat(axes: Axes) -> np.ndarray:
    """The values of the topmost picture of an axes."""
    return np.asarray(axes.images[-1].get_array())


def limits(axes: Axes) -> tuple[float, float]:
    return axes.images[-1].get_clim()


def colour(axes: Axes, value: float) -> tuple[float, ...]:
    drawn = axes.images[-1]
    cmap = drawn.get_cmap()
    assert isinstance(cmap, Colormap)
    return tuple(cmap(drawn.norm(value)))


def is_white(rgba: tuple[float, ...]) -> bool:
    return rgba == (1, 1, 1, 1)


def render(figure: Figure) -> np.ndarray:
    """The pixels of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@pytest.fixture(autouse=True)
def no_figure_is_left() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_plot_returns_its_figure_and_axes_and_leaves_pyplot_alone(name: str, channels: int) -> None:
    import matplotlib.pyplot as plt

    figure, axes = PLOTS[name](batch(channels)[1], use_pyplot=False)
    assert isinstance(figure, Figure)
    assert isinstance(axes, Axes if name == "sign certainty" else list)
    assert len(listed(axes)) == PANELS[name]
    assert all(each.figure is figure and each.get_title() for each in listed(axes))
    assert all(len(each.get_xticks()) == len(each.get_yticks()) == 0 for each in listed(axes))
    assert not plt.get_fignums()
    assert render(figure).std() > 0


@pytest.mark.parametrize("name", PLOTS)
def test_one_example_may_come_as_a_batch_a_picture_or_a_map(name: str) -> None:
    both = batch()
    summed = both.map(lambda draw: draw.sum(dim=1))
    ways = [both[1], both[1:], summed[1], summed[1:]]
    drawn = [[heat(each) for each in listed(PLOTS[name](dist, use_pyplot=False)[1])] for dist in ways]
    for other in drawn[1:]:
        np.testing.assert_allclose(other, drawn[0], rtol=1e-4, atol=1e-6)


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


def test_the_grey_image_is_behind_and_strong_colours_cover_it() -> None:
    image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    _, axes = visualization.visualize_distribution(batch()[0], image, ("mean",), alpha_overlay=0.4, use_pyplot=False)
    behind, over = axes[0].images
    np.testing.assert_allclose(np.asarray(behind.get_array()), image.mean(0).numpy(), rtol=1e-5)
    assert behind.get_cmap().name == "gray"
    alpha, strength = over.get_alpha(), np.abs(heat(axes[0])) / limits(axes[0])[1]
    np.testing.assert_allclose(alpha, 0.4 + 0.5 * strength.clip(max=1), rtol=1e-5)
    _, axes = visualization.visualize_distribution(batch()[0], panels=("mean",), use_pyplot=False)
    assert len(axes[0].images) == 1
    assert axes[0].images[0].get_alpha() is None


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
    _, axes = visualization.visualize_percentiles(dist, q=50, use_pyplot=False)
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
    maps = dist.draws[:shown, 0].sum(1)
    assert [each.get_title() for each in axes] == [f"draw {at}" for at in range(shown)]
    np.testing.assert_allclose([heat(each) for each in axes], maps, rtol=1e-6)
    assert {limits(each) for each in axes} == {(-maps.double().abs().max().item(), maps.double().abs().max().item())}
    assert len(figure.axes) == shown + 1
    places = {tuple(each.get_position().bounds) for each in axes}
    assert len(places) == shown


FLAT = {"zeros": 0.0, "ones": 1.0, "negative": -2.0, "tiny": 1e-38, "huge": 1e38}


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("value", FLAT.values(), ids=FLAT)
def test_constant_maps_are_drawn_without_nan(name: str, value: float) -> None:
    dist = of_map(torch.full((DRAWS, HEIGHT, WIDTH), value))
    figure, axes = PLOTS[name](dist, use_pyplot=False)
    for each in listed(axes):
        assert np.isfinite(heat(each)).all()
        assert limits(each)[0] < limits(each)[1]
    render(figure)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", PLOTS)
def test_any_precision_is_drawn(name: str, dtype: torch.dtype) -> None:
    figure, axes = PLOTS[name](batch()[0].to(dtype), use_pyplot=False)
    assert all(np.isfinite(heat(each)).all() for each in listed(axes))
    render(figure)


def test_infinite_ratios_become_the_largest_finite_one_with_their_sign() -> None:
    draws = random_draws(HEIGHT, WIDTH)
    draws[:, 0, 0], draws[:, 0, 1], draws[:, 0, 2] = 2.0, -2.0, 0.0
    _, (axes,) = visualization.visualize_distribution(of_map(draws), panels=("snr",), outlier_perc=0, use_pyplot=False)
    snr = stats.snr(draws)
    assert snr[0, 0] == -snr[0, 1] == torch.inf
    largest = snr[snr.isfinite()].abs().max().item()
    np.testing.assert_allclose(heat(axes)[0, :3], [largest, -largest, 0], rtol=1e-6)
    assert np.isfinite(heat(axes)).all()


def test_where_every_ratio_is_infinite_or_0_the_signs_are_still_seen() -> None:
    draws = torch.tensor([[3.0, -3.0, 0.0]]).expand(DRAWS, 1, 3)
    _, (axes,) = visualization.visualize_distribution(of_map(draws), panels=("snr",), use_pyplot=False)
    assert heat(axes).tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("name", PLOTS)
def test_any_size_is_drawn(name: str, size: tuple[int, int]) -> None:
    figure, axes = PLOTS[name](of_map(random_draws(*size)), use_pyplot=False)
    assert heat(listed(axes)[0]).shape == size
    render(figure)


IMAGES = {
    "tensor, channels first": lambda rgb: rgb,
    "batch of one": lambda rgb: rgb[None],
    "array, channels last": lambda rgb: rgb.movedim(0, -1).numpy(),
    "bytes": lambda rgb: (rgb * 255).round().byte(),
    "array of bytes": lambda rgb: (rgb * 255).round().byte().movedim(0, -1).numpy(),
    "with a graph": lambda rgb: rgb.clone().requires_grad_(),
    "double": lambda rgb: rgb.double(),
    "standardised": lambda rgb: (rgb - 0.5) * 4,
}


@pytest.mark.parametrize("made", IMAGES.values(), ids=IMAGES)
def test_images_are_taken_as_captum_takes_them(made) -> None:
    rgb = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    rgb[0, 0, 0], rgb[0, 0, 1] = 0.0, 1.0
    _, axes = visualization.visualize_distribution(batch()[0], made(rgb), ("image", "mean"), use_pyplot=False)
    np.testing.assert_allclose(heat(axes[0]), rgb.movedim(0, -1), atol=3e-3)
    np.testing.assert_allclose(np.asarray(axes[1].images[0].get_array()), rgb.mean(0), atol=3e-3)


@pytest.mark.parametrize("made", [lambda grey: grey, lambda grey: grey[None], lambda grey: grey.numpy()[..., None]])
@pytest.mark.parametrize("value", [None, -3.0, 300.0])
def test_grey_and_constant_images(made, value: float | None) -> None:
    grey = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    grey = grey if value is None else torch.full_like(grey, value)
    _, axes = visualization.visualize_percentiles(batch()[0], made(grey), use_pyplot=False)
    np.testing.assert_allclose(heat(axes[0]), grey if value is None else 0 * grey, rtol=1e-5)


@pytest.mark.parametrize("name", PLOTS)
def test_axes_of_the_users_own_are_drawn_on(name: str) -> None:
    figure = Figure()
    own = figure.subplots(1, PANELS[name], squeeze=False) if PANELS[name] < 16 else figure.subplots(4, 4)
    given = own[0, 0] if name == "sign certainty" else own
    returned, axes = PLOTS[name](batch()[0], plt_fig_axis=(figure, given), use_pyplot=False)
    assert returned is figure
    assert listed(axes) == own.ravel().tolist()
    assert all(each.images for each in own.ravel())
    render(figure)


@pytest.mark.parametrize("name", PLOTS)
def test_no_colour_bar_and_the_size_asked_for(name: str) -> None:
    figure, axes = PLOTS[name](batch()[0], show_colorbar=False, fig_size=(7, 3), use_pyplot=False)
    assert len(figure.axes) == len(listed(axes))
    assert tuple(figure.get_size_inches()) == (7, 3)


@pytest.mark.parametrize("name", PLOTS)
def test_another_diverging_colour_map(name: str) -> None:
    _, axes = PLOTS[name](batch()[0], cmap="PuOr", use_pyplot=False)
    names = [each.images[-1].get_cmap().name for each in listed(axes)]
    assert names == (["PuOr", "Greens", "PuOr", "PuOr"] if name == "distribution" else ["PuOr"] * len(names))


@pytest.mark.parametrize("name", PLOTS)
def test_pyplot_makes_and_shows_the_figure_as_in_captum(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    figure, _ = PLOTS[name](batch()[0])
    assert shown == [figure.number]


@pytest.mark.parametrize("name", PLOTS)
def test_the_distribution_stays_as_it_was(name: str) -> None:
    dist = batch()[0]
    before = dist.draws.clone(), dist.point.clone()
    PLOTS[name](dist, use_pyplot=False)
    assert torch.equal(dist.draws, before[0])
    assert torch.equal(dist.point, before[1])


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize(
    ("dist", "error", "message"),
    [
        (batch(), ValueError, r"one example, got 2 of shape \(3, 6, 9\); choose one, dist\[i\]"),
        (batch().map(lambda draw: draw[:, 0]), ValueError, r"one example, got 2 of shape \(6, 9\).*dist\[i\]"),
        (DistributionAttribution(random_draws(5)), ValueError, r"\(C, H, W\) or \(H, W\), got \(5,\)"),
        (DistributionAttribution(random_draws(1, 1, 2, 2, 2)), ValueError, r"got \(1, 1, 2, 2, 2\)"),
        (DistributionAttribution(random_draws(1, 3, 0, 4)), ValueError, r"got \(1, 3, 0, 4\)"),
        (torch.ones(3, 6, 9), TypeError, "DistributionAttribution, got Tensor"),
        (
            DistributionAttribution(torch.full((DRAWS, 1, 1, 2, 2), torch.nan), nan_policy="propagate"),
            ValueError,
            r"is NaN at \d+ of \d+ pixels.*dist.map\(torch.nan_to_num\)",
        ),
    ],
    ids=["batch", "maps", "vector", "volume", "empty", "tensor", "nan"],
)
def test_what_is_no_picture_is_refused_with_the_way_out(name: str, dist, error, message: str) -> None:
    with pytest.raises(error, match=message):
        PLOTS[name](dist, use_pyplot=False)


@pytest.mark.parametrize("name", WITH_IMAGE)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 5, 9), r"height and width \(6, 9\): got shape \(3, 5, 9\)"),
        (torch.rand(HEIGHT, WIDTH, 3), r"A tensor is \(C, H, W\)"),
        (np.ones((3, HEIGHT, WIDTH)), r"a numpy array \(H, W, C\)"),
        (torch.rand(2, 3, HEIGHT, WIDTH), r"got shape \(2, 3, 6, 9\)"),
        (torch.full((HEIGHT, WIDTH), torch.nan), "original_image holds NaN"),
    ],
)
def test_images_that_do_not_fit_are_refused(name: str, image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLOTS[name](batch()[0], image, use_pyplot=False)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("distribution", {"panels": ("mean", "spread")}, "no statistic is called 'spread'; the names are mean"),
        ("distribution", {"panels": ("image",)}, '"image" needs original_image'),
        ("distribution", {"panels": ()}, "at least one panel"),
        ("distribution", {"outlier_perc": 100}, "outlier_perc is a percentage"),
        ("distribution", {"outlier_perc": -1}, "outlier_perc is a percentage"),
        ("distribution", {"plt_fig_axis": (Figure(), [])}, "one axes for each panel, 4, got 0"),
        ("percentiles", {"q": (5, 101)}, "from 0 to 100"),
        ("percentiles", {"q": ()}, "from 0 to 100"),
        ("draws", {"n": 0}, "at least 1; got 0"),
        ("draws", {"outlier_perc": 200}, "outlier_perc is a percentage"),
    ],
)
def test_wrong_options_are_refused(name: str, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLOTS[name](batch()[0], use_pyplot=False, **options)


def test_the_deterministic_panel_needs_the_deterministic_map() -> None:
    dist = DistributionAttribution(random_draws(1, 3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match='"deterministic" needs the map of the network as it stands'):
        visualization.visualize_distribution(dist, panels=("deterministic",), use_pyplot=False)


def table(*means: float, spread: float = 1.0) -> DistributionAttribution:
    """Draws that lie evenly around the means, shape ``(T, 1, F)``."""
    steps = torch.linspace(-spread, spread, DRAWS)
    return DistributionAttribution(torch.stack([steps + mean for mean in means], dim=1)[:, None])


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("chosen", [lambda dist: dist, lambda dist: dist[0]], ids=["batch of one", "row"])
def test_bars_are_means_and_lines_intervals(chosen) -> None:
    dist = table(0.5, -9.0, 3.0)
    figure, axes = visualization.visualize_features(chosen(dist), ["a", "b", "c"], level=0.8, use_pyplot=False)
    assert labels(axes) == ["b", "c", "a"]
    assert axes.yaxis_inverted()
    order = [1, 2, 0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], dist.point[0, order], rtol=1e-5)
    low, high = stats.interval(dist.draws[:, 0, order], 0.8)
    lines = np.array([[line[0][0], line[1][0]] for line in axes.collections[0].get_segments()])
    np.testing.assert_allclose(lines, torch.stack([low, high], dim=1), rtol=1e-5)
    assert [bar.get_alpha() is None for bar in axes.patches] == [True, True, False]
    red, blue = axes.patches[1].get_facecolor(), axes.patches[0].get_facecolor()
    assert red[0] > red[2]
    assert blue[0] < blue[2]
    assert axes.get_title() == "mean and 80% interval of 24 draws"
    render(figure)


def test_features_are_sorted_by_certainty_and_the_first_of_them_shown() -> None:
    steps = torch.linspace(-1, 1, DRAWS)
    draws = torch.stack([100 * steps + 30, 0 * steps, steps / 9 - 2, 0 * steps + 1], dim=1)
    dist = DistributionAttribution(draws[:, None])
    assert labels(visualization.visualize_features(dist, use_pyplot=False)[1]) == ["0", "2", "3", "1"]
    _, axes = visualization.visualize_features(dist, sort="certainty", use_pyplot=False)
    assert labels(axes) == ["2", "3", "0", "1"]  # always 0 is not certain
    assert labels(visualization.visualize_features(dist, sort="certainty", n=2, use_pyplot=False)[1]) == ["2", "3"]


def test_a_mean_outside_its_interval_is_drawn() -> None:
    draws = torch.zeros(100, 1, 1)
    draws[0] = 1000.0
    _, axes = visualization.visualize_features(DistributionAttribution(draws), use_pyplot=False)
    assert axes.patches[0].get_width() == 10
    assert axes.collections[0].get_segments()[0][:, 0].tolist() == [0, 0]


def test_features_on_axes_of_the_users_own_and_through_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    figure = Figure()
    own = figure.subplots()
    assert visualization.visualize_features(table(1.0), plt_fig_axis=(figure, own), use_pyplot=False) == (figure, own)
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    assert shown == [visualization.visualize_features(table(1.0))[0].number]


@pytest.mark.parametrize(
    ("dist", "options", "message"),
    [
        (DistributionAttribution(random_draws(2, 3)), {}, r"one example, got 2 of shape \(3,\); choose one, dist\[i\]"),
        (batch()[0], {}, r"shape \(F,\), got \(3, 6, 9\)"),
        (DistributionAttribution(random_draws(1, 0)), {}, r"shape \(F,\), got \(1, 0\)"),
        (table(1.0, 2.0), {"feature_names": ["a"]}, "each of the 2 features, got 1"),
        (table(1.0), {"sort": "name"}, r"sort is one of \('mean', 'certainty'\), got 'name'"),
        (table(1.0), {"n": 0}, "at least 1; got 0"),
        (table(1.0), {"level": 2}, "level"),
    ],
)
def test_wrong_tables_are_refused(dist: DistributionAttribution, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_features(dist, use_pyplot=False, **options)


def test_a_table_that_is_no_distribution_is_refused() -> None:
    with pytest.raises(TypeError, match="DistributionAttribution, got Tensor"):
        visualization.visualize_features(torch.ones(3), use_pyplot=False)


def test_nothing_imports_pyplot_before_it_is_asked_for() -> None:
    code = (
        "import sys, captum_uq; assert not any('captum_uq.visualization' in name for name in sys.modules);"
        "from captum_uq.distribution import DistributionAttribution as D; import torch, captum_uq.visualization as v;"
        "before = set(sys.modules);"
        "images, rows = D(torch.randn(20, 1, 3, 4, 4)), D(torch.randn(20, 1, 3));"
        "[getattr(v, name)(rows if 'features' in name else images, use_pyplot=False) for name in v.__all__];"
        "assert 'matplotlib.pyplot' not in set(sys.modules) - before"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
