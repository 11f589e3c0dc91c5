"""What cannot be drawn, or drawn on, says why, and what can."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import (
    DRAWS,
    HEIGHT,
    MAPS,
    WIDTH,
    batch,
    random_draws,
)
from visualization.pictures import OF_DRAWS, PICTURES, SHAPES, distribution, listed

every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


@pytest.mark.parametrize("name", MAPS)
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
            r"is NaN at \d+ of \d+ values.*dist.map\(torch.nan_to_num\)",
        ),
    ],
    ids=["batch", "maps", "vector", "volume", "empty", "tensor", "nan"],
)
def test_what_is_no_picture_is_refused_with_the_way_out(name: str, dist, error, message: str) -> None:
    with pytest.raises(error, match=message):
        MAPS[name](dist, use_pyplot=False)


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
        MAPS[name](batch()[0], use_pyplot=False, **options)


def test_the_deterministic_panel_needs_the_deterministic_map() -> None:
    dist = DistributionAttribution(random_draws(1, 3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match='"deterministic" needs the map of the network as it stands'):
        visualization.visualize_distribution(dist, panels=("deterministic",), use_pyplot=False)


ROWS = [name for name in OF_DRAWS if PICTURES[name].takes in {"row", "text", "layer"}]
IMAGES = [name for name in OF_DRAWS if PICTURES[name].takes == "image"]


@pytest.mark.parametrize("name", [*ROWS, *IMAGES])
@pytest.mark.parametrize("examples", [1, 5])
def test_examples_with_an_axis_too_few_are_not_taken_for_one(name: str, examples: int) -> None:
    picture, shape = PICTURES[name], SHAPES[PICTURES[name].takes][:1]
    numbers = distribution(shape, examples=examples).map(lambda draw: draw.sum(-1) if name in ROWS else draw)
    with pytest.raises(ValueError, match=rf"got \({examples},.*first axis that of examples.* Keep the axes"):
        picture.draw(numbers, *picture.arguments()[1:], use_pyplot=False)


@pytest.mark.parametrize("name", ROWS)
def test_the_way_from_draws_of_one_row_leads_there(name: str) -> None:
    picture = PICTURES[name]
    draws = random_draws(*SHAPES[picture.takes][:1])
    made = DistributionAttribution(draws[:, None], deterministic=draws[0][None])
    picture.draw(made, *picture.arguments()[1:], use_pyplot=False)


@pytest.mark.parametrize("name", [name for name in [*ROWS, *IMAGES] if name != "channels"])
def test_one_example_with_an_axis_too_many_is_not_taken_for_a_batch(name: str) -> None:
    picture = PICTURES[name]
    most = {"row": (4,), "text": (6, 3), "image": (3, 6, 9)}[picture.takes]
    one = distribution((1, *most))[0]
    with pytest.raises(ValueError, match=r"got \(1, .*\. Sum over other axes .* or choose from them, dist\[0\]"):
        picture.draw(one, *picture.arguments()[1:], use_pyplot=False)
    for way_out in (one[0], one.map(lambda draw: draw.sum(0))):
        picture.draw(way_out, *picture.arguments()[1:], use_pyplot=False)


@every_picture
@pytest.mark.parametrize(
    ("given", "came"),
    [
        (lambda figure, axes: axes, "got (Axes|ndarray)"),
        (lambda figure, axes: (figure,), "got Figure"),
        (lambda figure, axes: (figure, None), "got Figure, NoneType"),
        (lambda figure, axes: (axes, figure), "got (Axes|ndarray), Figure"),
        (lambda figure, axes: (figure, axes, axes), "got Figure, (Axes, Axes|ndarray, ndarray)"),
        (lambda figure, axes: (figure, {"A": axes}), "got Figure, dict"),
        (lambda figure, axes: 5, "got int"),
    ],
)
def test_what_is_no_pair_of_figure_and_axes_is_refused(picture, given, came: str) -> None:
    figure = Figure()
    axes = figure.subplots(1, picture.axes) if (picture.axes or 1) > 1 else figure.subplots()
    with pytest.raises(TypeError, match=rf"a pair \(figure, axes\).*{came}\. Of axes alone make \(axes.figure, axes\)"):
        picture.draw(*picture.arguments(), plt_fig_axis=given(figure, axes), use_pyplot=False)


@every_picture
def test_axes_bring_their_figure_where_none_is_given(picture) -> None:
    figure = Figure((12, 6))
    own = figure.subplots(1, picture.axes or 1, squeeze=False)
    given = own if picture.axes else own[0, 0]
    returned, axes = picture.draw(*picture.arguments(), plt_fig_axis=(None, given), use_pyplot=False)
    assert returned is figure
    assert listed(axes) == own.ravel().tolist()


@every_picture
@pytest.mark.parametrize("size", [5, (5,), (5, -1), (5, float("nan")), (5, float("inf")), (1, 2, 3), "ab"], ids=str)
def test_what_is_no_size_is_refused(picture, size: object) -> None:
    with pytest.raises(ValueError, match=r"fig_size is \(width, height\) in inches, two numbers above 0; got"):
        picture.draw(*picture.arguments(), fig_size=size, use_pyplot=False)
