"""Maps of images, by what the artists hold: any size, any precision, anybody's axes, nothing NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualization.maps import (
    DRAWS,
    HEIGHT,
    MAPS,
    PANELS,
    WIDTH,
    batch,
    heat,
    limits,
    listed,
    of_map,
    random_draws,
    render,
)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_plot_returns_its_figure_and_axes_and_leaves_pyplot_alone(name: str, channels: int) -> None:
    import matplotlib.pyplot as plt

    figure, axes = MAPS[name](batch(channels)[1], use_pyplot=False)
    assert isinstance(figure, Figure)
    assert isinstance(axes, Axes if name == "sign certainty" else list)
    assert len(listed(axes)) == PANELS[name]
    assert all(each.figure is figure and each.get_title() for each in listed(axes))
    assert all(len(each.get_xticks()) == len(each.get_yticks()) == 0 for each in listed(axes))
    assert not plt.get_fignums()
    assert render(figure).std() > 0


@pytest.mark.parametrize("name", MAPS)
def test_one_example_may_come_as_a_batch_a_picture_or_a_map(name: str) -> None:
    both = batch()
    summed = both.map(lambda draw: draw.sum(dim=1))
    ways = [both[1], both[1:], summed[1], summed[1:]]
    drawn = [[heat(each) for each in listed(MAPS[name](dist, use_pyplot=False)[1])] for dist in ways]
    for other in drawn[1:]:
        np.testing.assert_allclose(other, drawn[0], rtol=1e-4, atol=1e-6)


FLAT = {"zeros": 0.0, "ones": 1.0, "negative": -2.0, "tiny": 1e-38, "huge": 1e38}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("value", FLAT.values(), ids=FLAT)
def test_constant_maps_are_drawn_without_nan(name: str, value: float) -> None:
    dist = of_map(torch.full((DRAWS, HEIGHT, WIDTH), value))
    figure, axes = MAPS[name](dist, use_pyplot=False)
    for each in listed(axes):
        assert np.isfinite(heat(each)).all()
        assert limits(each)[0] < limits(each)[1]
    render(figure)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("name", MAPS)
def test_any_size_is_drawn(name: str, size: tuple[int, int]) -> None:
    figure, axes = MAPS[name](of_map(random_draws(*size)), use_pyplot=False)
    assert heat(listed(axes)[0]).shape == size
    render(figure)


@pytest.mark.parametrize("name", MAPS)
def test_axes_of_the_users_own_are_drawn_on(name: str) -> None:
    figure = Figure()
    own = figure.subplots(1, PANELS[name], squeeze=False) if PANELS[name] < 16 else figure.subplots(4, 4)
    given = own[0, 0] if name == "sign certainty" else own
    returned, axes = MAPS[name](batch()[0], plt_fig_axis=(figure, given), use_pyplot=False)
    assert returned is figure
    assert listed(axes) == own.ravel().tolist()
    assert all(each.images for each in own.ravel())
    render(figure)


@pytest.mark.parametrize("name", MAPS)
def test_no_colour_bar_and_the_size_asked_for(name: str) -> None:
    figure, axes = MAPS[name](batch()[0], show_colorbar=False, fig_size=(7, 3), use_pyplot=False)
    assert len(figure.axes) == len(listed(axes))
    assert tuple(figure.get_size_inches()) == (7, 3)


@pytest.mark.parametrize("name", MAPS)
def test_another_diverging_colour_map(name: str) -> None:
    _, axes = MAPS[name](batch()[0], cmap="PuOr", use_pyplot=False)
    names = [each.images[-1].get_cmap().name for each in listed(axes)]
    assert names == (["PuOr", "Greens", "PuOr", "PuOr"] if name == "distribution" else ["PuOr"] * len(names))
