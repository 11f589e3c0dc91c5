"""Curves and their comparison: lines, bands, intervals and numbers are those of the metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cycler import cycler
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import stats as scipy_stats
from scipy.integrate import trapezoid

from captum_uq import visualization
from captum_uq.metrics import Comparison, PairedDifference, PerturbationCurve, compare
from captum_uq.visualization.comparison import ABOVE, BELOW, OPEN
from visualization.pictures import assert_readable

POINTS = torch.linspace(0, 1, 6)


def curve(offset: float = 0.0, examples: int = 8, **facts: str) -> PerturbationCurve:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(examples, 6, generator=generator) + torch.linspace(offset, 0, 6)
    return PerturbationCurve(POINTS, scores, torch.zeros(examples), **facts)


def row(difference: float, low: float, high: float, **facts) -> PairedDifference:
    numbers = {"p_value": 0.01, "p_adjusted": 0.02, "effect_size": -0.4, "win_rate": 0.7, "n": 8} | facts
    return PairedDifference("5%", "mean", difference, low, high, **numbers)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_lines_are_means_and_bands_confidence_intervals_of_them(level: float) -> None:
    curves = {"mean": curve(), "5%": curve(3.0)}
    _, axes = visualization.visualize_curves(curves, level=level, title="digits", use_pyplot=False)
    assert axes.get_title() == "digits"
    assert len({line.get_color() for line in axes.lines}) == 2
    for each, line, band in zip(curves.values(), axes.lines, axes.collections, strict=True):
        scores = each.scores.double().numpy()
        np.testing.assert_allclose(line.get_xdata(), POINTS, rtol=1e-6)
        np.testing.assert_allclose(line.get_ydata(), scores.mean(0), atol=1e-6)
        low, high = scipy_stats.t.interval(level, len(scores) - 1, scores.mean(0), scipy_stats.sem(scores))
        corners = band.get_paths()[0].vertices
        for at, point in enumerate(POINTS.tolist()):
            inside = corners[np.isclose(corners[:, 0], point), 1]
            np.testing.assert_allclose([inside.min(), inside.max()], [low[at], high[at]], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(band.get_facecolor()[0, :3], to_rgb(line.get_color()))


def test_the_legend_names_curves_and_areas_and_stands_beside() -> None:
    curves = {"mean": curve(), "5%": curve(3.0)}
    figure, axes = visualization.visualize_curves(curves, use_pyplot=False)
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    areas = [trapezoid(each.scores.double().numpy(), POINTS, axis=1).mean() for each in curves.values()]
    assert named == [f"{name} (area {area:.3g})" for name, area in zip(curves, areas, strict=True)]
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1
    assert axes.get_xlabel() == "fraction removed"
    assert axes.get_ylabel() == "output (lower area is better)"


def test_a_single_example_has_no_band_and_a_single_curve_no_name() -> None:
    _, axes = visualization.visualize_curves(curve(examples=1), use_pyplot=False)
    assert len(axes.lines) == 1
    assert not axes.collections


@pytest.mark.parametrize("count", [1, 14, 20, 28, 30])
@pytest.mark.parametrize("name", ["percentile:{}", "percentile\n{}"])
def test_many_curves_stay_apart_and_leave_the_axes_their_height(count: int, name: str) -> None:
    named = {name.format(at): curve(at) for at in range(count)}
    figure, axes = visualization.visualize_curves(named, use_pyplot=False)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == min(count, 28)
    assert_readable(figure)
    assert axes.get_window_extent().height > 0.8 * figure.bbox.height


def test_each_curve_is_drawn_as_by_its_own_plot() -> None:
    several = torch.rand(8, 6).sort().values
    for each in (curve(), curve(examples=1), replace(curve(mode="insertion"), fractions=several)):
        own = Figure().subplots()
        replace(each, scores=each.scores.double()).plot(own, "mean", 0.9)
        _, axes = visualization.visualize_curves({"mean": each}, level=0.9, use_pyplot=False)
        assert (axes.get_xlabel(), axes.get_ylabel()) == (own.get_xlabel(), own.get_ylabel())
        assert axes.get_ylim() == own.get_ylim()
        assert axes.get_legend().get_texts()[0].get_text() == own.lines[0].get_label()
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), own.lines[0].get_xydata())
        for here, there in zip(axes.collections, own.collections, strict=True):
            np.testing.assert_array_equal(here.get_paths()[0].vertices, there.get_paths()[0].vertices)


@pytest.mark.parametrize("cycle", [cycler(color="rgb"), cycler(color="rgb", marker="ox+", linestyle=[":", "-", "--"])])
def test_the_users_axes_keep_their_cycle_of_colours(cycle) -> None:
    drawn = []
    for also in (True, False):
        figure = Figure()
        axes = figure.subplots()
        axes.set_prop_cycle(cycle)
        axes.plot([0, 1])
        if also:
            visualization.visualize_curves(curve(), plt_fig_axis=(figure, axes), use_pyplot=False)
        (line,) = axes.plot([1, 0])
        drawn.append((line.get_color(), line.get_marker(), line.get_linestyle()))
    assert drawn[0] == drawn[1]


def test_curves_of_draws_are_averaged_over_draws_first() -> None:
    scores = torch.randn(5, 8, 6)
    of_draws = PerturbationCurve(POINTS, scores, torch.zeros(5, 8))
    _, axes = visualization.visualize_curves({"draws": of_draws}, use_pyplot=False)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), scores.double().mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "share mode, direction and score, got no curve"),
        ({"a": curve(), "b": curve(mode="insertion")}, "share mode, direction and score, got .*'insertion'"),
        ({"a": curve(), "b": curve(score="logit")}, "Draw each kind into a picture of its own"),
        ({"a": curve(float("nan"))}, r"the curve 'a' holds NaN or infinity.*curve.select"),
    ],
)
def test_curves_that_do_not_belong_together_are_refused(curves, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_curves(curves, use_pyplot=False)


def test_the_way_out_of_a_curve_with_nan_works() -> None:
    bad = curve()
    bad.scores[0, 2] = torch.nan
    good = bad.select(bad.per_example().isfinite().all(-1))
    assert len(good) == 7
    visualization.visualize_curves(good, use_pyplot=False)


@pytest.mark.parametrize("curves", [[curve()], {"a": 1}, None])
def test_what_is_no_curve_is_refused(curves) -> None:
    with pytest.raises(TypeError, match="a PerturbationCurve or a mapping of names to such"):
        visualization.visualize_curves(curves, use_pyplot=False)


def test_the_forest_holds_differences_and_intervals_around_0() -> None:
    curves = {"mean": curve(), "5%": curve(3.0), "95%": curve(-0.1)}
    found = compare(curves, reference="mean", level=0.9)
    _, axes = visualization.visualize_comparison(found, use_pyplot=False)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["5%", "95%"]
    assert axes.yaxis_inverted()
    assert axes.get_title() == "difference to mean and 90% interval"
    assert axes.get_xlabel() == "difference of area (lower is better)"
    *squares, zero = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    for each, square, line in zip(found, squares, axes.collections, strict=True):
        assert square.get_xdata() == [each.difference]
        np.testing.assert_allclose(line.get_segments()[0][:, 0], [each.low, each.high])
    low, high = axes.get_xlim()
    assert low < 0 < high


def test_pairs_without_a_common_reference_are_named_in_full() -> None:
    found = compare({"a": curve(), "b": curve(1.0), "c": curve(2.0)})
    _, axes = visualization.visualize_comparison(found, use_pyplot=False)
    minus = "\N{MINUS SIGN}"
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"a {minus} b", f"a {minus} c", f"b {minus} c"]
    assert axes.get_title() == "difference and 95% interval"


@pytest.mark.parametrize(
    ("direction", "ends", "colour"),
    [
        ("lower", (-0.3, -0.5, -0.1), BELOW),
        ("lower", (0.3, 0.1, 0.5), ABOVE),
        ("higher", (-0.3, -0.5, -0.1), ABOVE),
        ("higher", (0.3, 0.1, 0.5), BELOW),
        ("lower", (-0.3, -0.5, 0.1), OPEN),
        ("higher", (0.0, 0.0, 0.0), OPEN),
    ],
)
def test_blue_is_better_orange_worse_and_grey_open(direction: str, ends, colour: str) -> None:
    _, axes = visualization.visualize_comparison(Comparison((row(*ends),), 0.95, "holm", direction), use_pyplot=False)
    assert axes.lines[0].get_color() == colour
    np.testing.assert_allclose(axes.collections[0].get_color()[0, :3], to_rgb(colour))


@pytest.mark.parametrize(("p_value", "written"), [(0.0004, "<0.001"), (0.0213, "0.021"), (1.0, "1.000")])
@pytest.mark.parametrize("correction", ["holm", "none"])
def test_p_values_and_wins_stand_beside_their_rows(p_value: float, written: str, correction: str) -> None:
    rows = (row(1.0, 0.5, 1.5), row(1.0, 0.5, 1.5, p_adjusted=p_value, win_rate=0.125))
    _, axes = visualization.visualize_comparison(Comparison(rows, 0.95, correction, "lower"), use_pyplot=False)
    head = "p (holm)" if correction == "holm" else "p"
    assert [text.get_text() for text in axes.texts] == [head, "wins", "0.020", "70%", written, "12%"]
    assert [text.xy[1] for text in axes.texts[2:]] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "holds no row"),
        ((row(float("nan"), 0, 1),), "'5%' to 'mean'.*not finite"),
        ((row(0, 0, float("inf")),), "not finite"),
    ],
)
def test_comparisons_that_cannot_be_drawn_are_refused(rows, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_comparison(Comparison(rows, 0.95, "holm", "lower"), use_pyplot=False)
