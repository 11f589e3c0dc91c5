"""What holds for every picture: figure and axes, nobody's state, nothing NaN, nothing cut off, nothing on top."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.pictures import (
    DRAWS,
    OF_DRAWS,
    PICTURES,
    SHAPES,
    TOKENS,
    assert_readable,
    distribution,
    listed,
    numbers,
)

every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
every_distribution = pytest.mark.parametrize("picture", [PICTURES[name] for name in OF_DRAWS], ids=OF_DRAWS)
VALUES = {"random": None, "zeros": 0.0, "negative": -2.0, "tiny": 1e-38, "huge": 1e38}


def drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def test_every_function_that_draws_is_in_the_table() -> None:
    named = {getattr(visualization, name) for name in visualization.__all__ if name.startswith("visualize_")}
    assert {picture.function for picture in PICTURES.values()} == named


@every_picture
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_figure_and_axes_come_back_and_nothing_is_nan(picture, value: float | None) -> None:
    import matplotlib.pyplot as plt

    figure, axes = picture.draw(*picture.arguments(value), use_pyplot=False)
    assert isinstance(figure, Figure)
    assert isinstance(axes, list if picture.axes else Axes)
    assert len(listed(axes)) == (picture.axes or 1)
    assert all(each.figure is figure for each in listed(axes))
    assert not plt.get_fignums()
    assert np.asarray(drawn(figure).buffer_rgba()).std() > 0
    assert all(np.isfinite(values).all() for values in numbers(figure))


@every_picture
@pytest.mark.parametrize("value", [None, 0.0], ids=["random", "zeros"])
def test_no_text_is_cut_off_or_on_top_of_another(picture, value: float | None) -> None:
    figure, _ = picture.draw(*picture.arguments(value), use_pyplot=False)
    assert_readable(figure)


@every_picture
def test_axes_of_the_users_own_are_drawn_on(picture) -> None:
    figure = Figure(figsize=(8, 8))
    own = figure.subplots(1, picture.axes or 1, squeeze=False)
    given = own if picture.axes else own[0, 0]
    before = [len(each.get_children()) for each in own.ravel()]
    returned, axes = picture.draw(*picture.arguments(), plt_fig_axis=(figure, given), use_pyplot=False)
    assert returned is figure
    assert listed(axes) == own.ravel().tolist()
    assert all(len(each.get_children()) > count for each, count in zip(own.ravel(), before, strict=True))
    drawn(figure)


@every_picture
def test_as_many_axes_as_panels_are_asked_for(picture) -> None:
    figure = Figure()
    given = figure.subplots(1, (picture.axes or 1) + 1)
    with pytest.raises(ValueError, match=f"one axes for each panel, {picture.axes or 1}, got {len(given)}"):
        picture.draw(*picture.arguments(), plt_fig_axis=(figure, given), use_pyplot=False)


@every_picture
def test_the_size_is_what_was_asked_for(picture) -> None:
    figure, _ = picture.draw(*picture.arguments(), fig_size=(11, 7), use_pyplot=False)
    assert tuple(figure.get_size_inches()) == (11, 7)


@every_picture
def test_pyplot_makes_and_shows_the_figure_as_in_captum(picture, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    figure, _ = picture.draw(*picture.arguments())
    assert shown == [figure.number]


@every_picture
def test_no_global_state_changes(picture) -> None:
    before = (
        dict(mpl.rcParams),
        mpl.get_backend(),
        sorted(mpl.colormaps),
        torch.get_rng_state(),
        np.random.get_state()[1],
    )
    figure, _ = picture.draw(*picture.arguments(), use_pyplot=False)
    drawn(figure)
    after = (
        dict(mpl.rcParams),
        mpl.get_backend(),
        sorted(mpl.colormaps),
        torch.get_rng_state(),
        np.random.get_state()[1],
    )
    assert after[:3] == before[:3]
    assert torch.equal(after[3], before[3])
    assert np.array_equal(after[4], before[4])


@every_picture
def test_a_picture_depends_on_nothing_but_its_arguments(picture) -> None:
    one, other = (numbers(picture.draw(*picture.arguments(), use_pyplot=False)[0]) for _ in range(2))
    assert len(one) == len(other)
    assert all(np.array_equal(here, there) for here, there in zip(one, other, strict=True))


@every_distribution
def test_a_batch_of_one_is_its_example(picture) -> None:
    one, other = (
        numbers(picture.draw(*picture.arguments(batched=each), use_pyplot=False)[0]) for each in (False, True)
    )
    assert len(one) == len(other)
    assert all(np.allclose(here, there, rtol=1e-4, atol=1e-6) for here, there in zip(one, other, strict=True))


@every_distribution
def test_the_distribution_stays_as_it_was(picture) -> None:
    dist, *rest = picture.arguments()
    dist = dist.double()  # no conversion makes a copy of it
    dist = dist.map(lambda draw: draw.sum(0)) if picture.takes == "image" else dist
    held = [dist.draws, dist.point, dist.deterministic, dist.predictions.outputs, dist.predictions.deterministic]
    before = [each.clone() for each in held]
    picture.draw(dist, *rest, use_pyplot=False)
    assert all(torch.equal(here, there) for here, there in zip(held, before, strict=True))


@every_distribution
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_drawn(picture, dtype: torch.dtype) -> None:
    dist, *rest = picture.arguments()
    figure, _ = picture.draw(dist.to(dtype), *rest, use_pyplot=False)
    assert all(np.isfinite(values).all() for values in numbers(figure))


@every_distribution
def test_what_is_no_distribution_is_refused(picture) -> None:
    dist, *rest = picture.arguments()
    with pytest.raises(TypeError, match=r"one DistributionAttribution, got a tuple of 2.*dist\[0\]"):
        picture.draw((dist, dist), *rest, use_pyplot=False)
    with pytest.raises(TypeError, match="DistributionAttribution, got Tensor"):
        picture.draw(dist.point, *rest, use_pyplot=False)


@pytest.mark.parametrize("name", [name for name in OF_DRAWS if name != "predictions"])  # that is a panel for each
def test_several_examples_are_refused(name: str) -> None:
    picture = PICTURES[name]
    several, rest = distribution(SHAPES[picture.takes], examples=3), picture.arguments()[1:]
    with pytest.raises(ValueError, match=r"one example, got 3 of shape .*; choose one, dist\[i\]"):
        picture.draw(several, *rest, use_pyplot=False)


@every_distribution
def test_nan_is_refused_with_the_way_out(picture) -> None:
    nothing = torch.full((DRAWS, 1, *SHAPES[picture.takes]), torch.nan)
    outputs = torch.full((DRAWS, 1, 3), torch.nan)
    dist = DistributionAttribution(nothing, predictions=outputs, target=0, nan_policy="propagate")
    with pytest.raises(ValueError, match=r"is NaN at \d+ of \d+ values"):
        picture.draw(dist, *picture.arguments()[1:], use_pyplot=False)


@every_distribution
@pytest.mark.parametrize("sign", [-1, 1])
def test_infinity_is_refused_or_the_colour_bar_says_so(picture, sign: int) -> None:
    draws = torch.ones(DRAWS, 1, *SHAPES[picture.takes])
    draws[..., -1] = sign * torch.inf
    outputs = torch.full((DRAWS, 1, 3), sign * torch.inf)
    dist = DistributionAttribution(draws, predictions=outputs, target=0, nan_policy="propagate")
    try:
        figure, axes = picture.draw(dist, *picture.arguments()[1:], use_pyplot=False)
    except ValueError as error:
        assert re.search(r"is (NaN|infinite) at \d+ of \d+ values.* (Choose|attribute)", str(error))  # noqa: PT017
        return
    assert all(np.isfinite(values).all() for values in numbers(figure))
    bars = [each.images[-1].colorbar for each in listed(axes)]
    assert picture.function is visualization.visualize_sign_certainty or "both" in {bar.extend for bar in bars if bar}


@pytest.mark.parametrize("name", ["curves", "comparison"])
def test_what_is_no_curve_or_comparison_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="got Tensor"):
        PICTURES[name].draw(torch.ones(3), use_pyplot=False)


def test_nothing_imports_pyplot_before_it_is_asked_for() -> None:
    code = (
        "import sys, captum_uq; assert not any('captum_uq.visualization' in name for name in sys.modules);"
        "sys.path.insert(0, sys.argv[1]); from visualization.pictures import PICTURES;"
        "before = set(sys.modules);"
        "[picture.draw(*picture.arguments(), use_pyplot=False) for picture in PICTURES.values()];"
        "assert 'matplotlib.pyplot' not in set(sys.modules) - before"
    )
    folder = __file__.rsplit("visualization", 1)[0]
    subprocess.run([sys.executable, "-W", "error", "-c", code, folder], check=True)


def test_the_tokens_of_the_table_are_as_many_as_its_attributions() -> None:
    assert SHAPES["text"] == (len(TOKENS),)
