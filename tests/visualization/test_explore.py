"""The slider: what it draws without a notebook, and how it is put together where ipywidgets is there."""

from __future__ import annotations

import io
import itertools
import sys
from types import ModuleType, SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
import torch

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import HEIGHT, WIDTH, batch, heat, limits, of_map, random_draws, render

IMAGE = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("q", [5, 37.5, 50, 95])
@pytest.mark.parametrize("image", [None, IMAGE], ids=["alone", "beside its image"])
def test_the_map_is_the_percentile_of_the_summed_channels(q: float, image) -> None:
    dist = batch()[1]
    figure, axes = visualization.percentile_picture(dist, image).draw(q)
    expected = np.percentile(dist.draws.double().sum(1).numpy(), q, axis=0)
    np.testing.assert_allclose(heat(axes[-1]), expected, rtol=1e-4, atol=1e-6)
    word = "median" if q == 50 else "cautious" if q < 50 else "risky"
    assert [each.get_title() for each in axes] == [*(["image"] if image is not None else []), f"{q:g}%: {word}"]
    render(figure)


def test_all_percentiles_share_their_colours() -> None:
    picture = visualization.percentile_picture(batch()[0], outlier_perc=0)
    ends = {limits(picture.draw(q)[1][0]) for q in (5, 50, 95)}
    most = batch().draws[:, 0].double().sum(1).abs().max().item()
    assert len(ends) == 1
    assert ends.pop() == pytest.approx((-most, most))


def test_more_risk_never_takes_relevance_away() -> None:
    picture = visualization.percentile_picture(batch()[0])
    maps = [heat(picture.draw(q)[1][0]) for q in (5, 20, 50, 80, 95)]
    assert all((bolder >= shyer).all() for shyer, bolder in itertools.pairwise(maps))


def test_the_file_is_the_picture_and_pyplot_knows_nothing_of_it() -> None:
    import matplotlib.pyplot as plt

    picture = visualization.percentile_picture(batch()[0], IMAGE, fig_size=(4, 3))
    pixels = mpl.image.imread(io.BytesIO(picture.png(20)))
    assert pixels.shape[:2] == (300, 400)
    assert picture.png(20) == picture.png(20) != picture.png(80)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("draws", "expected"), [(1000, (1, 99)), (100, (1, 99)), (20, (5, 95)), (7, (15, 85)), (2, (50, 50))]
)
def test_the_slider_ends_where_the_draws_do(draws: int, expected: tuple[float, float]) -> None:
    picture = visualization.percentile_picture(DistributionAttribution(torch.randn(draws, 1, 1, 2, 2)))
    assert picture.limits == expected
    for q in picture.limits:
        picture.draw(q)  # a percentile of too few draws would warn


class Widget(SimpleNamespace):
    """A stand-in for any widget: it keeps its arguments and calls its observers as traitlets do."""

    def __init__(self, children: object = None, **facts: object) -> None:
        super().__init__(children=children, observers=[], **facts)

    def observe(self, handler, names: str) -> None:
        assert names == "value"
        self.observers.append(handler)

    def move(self, value: float) -> None:
        self.value = value
        for handler in self.observers:
            handler({"name": "value", "new": value})


@pytest.fixture
def widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ipywidgets")
    for name in ("FloatSlider", "Image", "Label", "HBox", "VBox", "Layout"):
        setattr(module, name, Widget)
    monkeypatch.setitem(sys.modules, "ipywidgets", module)


@pytest.mark.usefixtures("widgets")
def test_moving_the_slider_redraws() -> None:
    dist = batch()[0]
    row, shown = visualization.explore(dist, IMAGE, q=0).children
    cautious, slider, risky = row.children
    assert (cautious.children, risky.children) == ("cautious", "risky")
    assert (slider.min, slider.value, slider.max) == (5, 5, 95)
    picture = visualization.percentile_picture(dist, IMAGE)
    assert shown.value == picture.png(5)
    slider.move(80.0)
    assert shown.value == picture.png(80)


def test_real_widgets_do_the_same() -> None:
    widgets = pytest.importorskip("ipywidgets", reason="the extra notebook is not installed")
    box = visualization.explore(batch()[0], IMAGE)
    row, shown = box.children
    assert isinstance(box, widgets.VBox)
    row.children[1].value = 80.0
    assert bytes(shown.value) == visualization.percentile_picture(batch()[0], IMAGE).png(80)


def test_without_ipywidgets_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r'pip install "captum-uq\[notebook\]".*percentile_picture'):
        visualization.explore(batch()[0])


@pytest.mark.usefixtures("widgets")
@pytest.mark.parametrize(
    ("dist", "options", "message"),
    [
        (batch(), {}, r"choose one, dist\[i\]"),
        (batch()[0], {"q": 101}, "from 0 to 100; got 101"),
        (batch()[0], {"original_image": IMAGE[:, 1:]}, r"height and width \(6, 9\)"),
        (of_map(random_draws(2, 2)[:2]), {}, "3 draws at least, got 2"),
        (batch()[0], {"outlier_perc": 100}, "outlier_perc is a percentage"),
    ],
)
def test_what_cannot_be_explored_is_refused(dist, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.explore(dist, **options)


def test_a_percentile_that_the_draws_do_not_tell_warns_and_one_beyond_100_is_none() -> None:
    picture = visualization.percentile_picture(DistributionAttribution(torch.randn(20, 1, 1, 2, 2)))
    with pytest.warns(UserWarning, match="percentile 1 needs at least 100 draws, got 20"):
        picture.draw(1)
    with pytest.raises(ValueError, match="from 0 to 100; got 101"):
        picture.draw(101)
