"""Pictures look the same under every style of matplotlib, and can be read on every ground."""

from __future__ import annotations

import functools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from visualization.maps import contrast, render
from visualization.pictures import PICTURES, assert_readable, texts

STYLES = ["default", "dark_background", "ggplot", "grayscale", "Solarize_Light2", "bmh"]
FONTS = {
    "large": {"font.size": 18, "axes.labelsize": 18, "legend.fontsize": 18, "xtick.labelsize": 20},
    "titles": {"axes.titlesize": 30, "axes.titleweight": "bold", "axes.titlepad": 40, "axes.titlelocation": "left"}
    | {"font.size": 5, "axes.labelweight": "bold", "ytick.labelsize": "xx-large"},
}
OF_ONE_AXES = [name for name, picture in PICTURES.items() if (picture.axes or 1) == 1]
every_name = pytest.mark.parametrize("name", PICTURES)


@functools.cache
def as_always(name: str) -> np.ndarray:
    return render(PICTURES[name].draw(*PICTURES[name].arguments(), use_pyplot=False)[0])


@every_name
@pytest.mark.parametrize("style", [*STYLES[1:], *FONTS])
def test_a_new_figure_looks_the_same_under_every_style(name: str, style: str) -> None:
    expected = as_always(name)
    with mpl.style.context(FONTS.get(style, style)):
        figure, _ = PICTURES[name].draw(*PICTURES[name].arguments(), use_pyplot=False)
        drawn = render(figure)
    assert drawn.shape == expected.shape
    assert (drawn != expected).any(-1).mean() < 1e-3  # ends of lines, round or not


@every_name
def test_texts_stay_on_the_canvas_and_apart_under_large_fonts(name: str) -> None:
    with mpl.rc_context(FONTS["large"]):
        figure, _ = PICTURES[name].draw(*PICTURES[name].arguments(), use_pyplot=False)
        assert_readable(figure)


def assert_legible(figure: Figure) -> None:
    """Every text has a contrast of 3 with what is seen around it and behind it."""
    written = texts(figure)
    colours = [np.array(to_rgb(each.get_color())) for each in written]
    render(figure)
    places = [each.get_window_extent() for each in written]
    for each in written:
        each.set_alpha(0.0)  # not invisible: what is laid out stays where it is
    ground = render(figure)[::-1, :, :3] / 255
    assert written
    for each, colour, place in zip(written, colours, places, strict=True):
        left, bottom, right, top = np.round(place.extents).astype(int).clip(0)
        seen = ground[bottom : top + 1, left : right + 1].reshape(-1, 3)
        if len(seen):
            assert contrast(colour, seen.mean(0)) >= 3, f"{each.get_text()!r} in {colour} on {seen.mean(0)}"


@every_name
def test_every_text_of_a_new_figure_is_legible(name: str) -> None:
    assert_legible(PICTURES[name].draw(*PICTURES[name].arguments(), use_pyplot=False)[0])


@every_name
@pytest.mark.parametrize(
    ("style", "layout"), [("dark_background", None), *((style, "constrained") for style in STYLES)]
)
def test_every_text_on_axes_of_the_users_own_is_legible(name: str, style: str, layout: str | None) -> None:
    picture = PICTURES[name]
    parts = picture.axes or 1
    columns = parts if parts < 9 else 4
    with mpl.style.context(style):
        figure = Figure((7, 5) if parts == 1 else (12, 7), layout=layout)
        own = figure.subplots(parts // columns, columns, squeeze=False)
        given = own if picture.axes else own[0, 0]
        picture.draw(*picture.arguments(), plt_fig_axis=(figure, given), use_pyplot=False)
        assert {each.get_facecolor() for each in own.ravel()} == {to_rgba("white")}
        assert_legible(figure)


@pytest.mark.parametrize("name", OF_ONE_AXES)
@pytest.mark.parametrize(
    ("around", "within"), [("black", "none"), ("none", "none"), ("white", "navy"), ("black", "#ffffff80")]
)
def test_letters_suit_the_figure_around_a_subfigure(name: str, around: str, within: str) -> None:
    figure, picture = Figure((7, 5), facecolor=around), PICTURES[name]
    part = figure.subfigures()
    part.set_facecolor(within)
    own = part.subplots()
    given = [own] if picture.axes else own
    picture.draw(*picture.arguments(), plt_fig_axis=(part, given), use_pyplot=False)
    assert_legible(figure)
