"""Curves of pixel flipping in one picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_uq.metrics import PerturbationCurve
from captum_uq.visualization._axes import FigureAxes, make_axes, open_frame, show
from captum_uq.visualization._beside import add_legend, inches
from captum_uq.visualization._rows import width
from captum_uq.visualization._style import ink_beside, set_title

# Okabe and Ito's colours, told apart by colour-blind eyes; from the second round on by their dashes as well.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")
DASHES = ("-", "--", ":", "-.")
STYLES = [{"color": colour, "linestyle": dash} for dash in DASHES for colour in COLOURS]
LEGEND_ROOM = 2.0  # inches for what is not the names: the sample of a line and the area
NAME = 0.24  # inches of height


def visualize_curves(
    curves: PerturbationCurve | Mapping[str, PerturbationCurve],
    *,
    level: float = 0.95,
    title: str | None = None,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """Mean curves with their confidence bands in one picture, each as by :meth:`PerturbationCurve.plot`.

    The band is the interval of the mean over examples, point by point, by Student's t; a single example has none.
    Bands may overlap where paired differences are clear: for a verdict see :func:`captum_uq.metrics.compare`.

    Args:
        curves: Curves by name, as :func:`captum_uq.metrics.summary_curves` returns them, or a single one.
        level: Confidence of the bands, in (0, 1).
        title: Above the curves.
        plt_fig_axis: A figure and an axes of it; by default a new figure. The legend stands beside the axes where
            the figure has ``layout="constrained"``, and within them where nothing lays it out.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; the legend names each curve and its mean area.

    Raises:
        TypeError: If something else than curves was given.
        ValueError: If there is no curve, curves differ in mode, direction or score, or one holds NaN or infinity.

    Example:
        >>> import torch
        >>> points = torch.linspace(0, 1, 3)
        >>> flat = PerturbationCurve(points, torch.rand(20, 3), torch.zeros(20))
        >>> figure, axes = visualize_curves({"mean": flat}, use_pyplot=False)
        >>> len(axes.lines), len(axes.collections)
        (1, 1)
    """  # noqa: DOC502 (raised by the check)
    named = _checked(curves)
    listed = [str(name) for name in named]
    high = NAME * sum(max(len(name.splitlines()), 1) for name in listed) + 0.8
    size = fig_size or (width((), title or "", 7.2, inches(listed) + LEGEND_ROOM), max(3.8, high))
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    handles, names = axes.get_legend_handles_labels()  # what the user drew
    for name, curve, style in zip(listed, named.values(), itertools.cycle(STYLES)):
        handles.append(_draw(axes, curve, level, style))
        names.append(f"{name} (area {curve.auc.mean():.3g})")
    first = next(iter(named.values()))
    label = f"{first.score} ({_direction(first, named)} area is better)"
    axes.set_ylabel(label, color=ink_beside(axes), parse_math=False)
    axes.margins(x=0)
    open_frame(axes)
    add_legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    if title is not None:
        set_title(axes, title)
    show(use_pyplot)
    return figure, axes


def _draw(axes: Axes, curve: PerturbationCurve, level: float, style: dict[str, Any]) -> Line2D:
    """The line of a curve, its band and what the axes measure; the axes' own cycle of colours stays where it is."""
    places = (curve.fractions if curve.fractions.ndim == 1 else curve.fractions.mean(0)).tolist()
    line = Line2D(places, curve.mean().tolist(), linewidth=1.5, **style)
    axes.add_line(line)
    if len(curve) > 1:
        low, high = curve.ci(level)
        axes.fill_between(places, low.tolist(), high.tolist(), color=style["color"], alpha=0.2, linewidth=0)
    axes.autoscale_view()
    axes.set_xlabel(f"fraction {'removed' if curve.mode == 'deletion' else 'inserted'}", color=ink_beside(axes))
    return line


def _direction(curve: PerturbationCurve, named: Mapping[str, PerturbationCurve]) -> str:
    """Which area is the better; a random order, which has no side of its own, takes that of the first other curve."""
    ranked = (each.direction for each in named.values() if each.order != "random")
    return next(ranked, curve.direction) if curve.order == "random" else curve.direction


def _checked(curves: PerturbationCurve | Mapping[str, PerturbationCurve]) -> dict[str, PerturbationCurve]:
    """Curves by name that belong into one picture.

    Raises:
        TypeError: If something else was given.
        ValueError: If there is none, they differ in what they measure, or one is not finite.
    """
    named = {"curve": curves} if isinstance(curves, PerturbationCurve) else curves
    if not isinstance(named, Mapping) or not all(isinstance(each, PerturbationCurve) for each in named.values()):
        raise TypeError(f"curves is a PerturbationCurve or a mapping of names to such, got {type(curves).__name__}.")
    facts = {(curve.mode, _direction(curve, named), curve.score): name for name, curve in named.items()}
    if len(facts) != 1:
        raise ValueError(
            "curves in one picture share mode, direction and score, got "
            f"{facts or 'no curve'}. Draw each kind into a picture of its own."
        )
    for name, curve in named.items():
        if not bool(curve.scores.isfinite().all()):
            raise ValueError(
                f"the curve {name!r} holds NaN or infinity. Keep its finite examples, "
                "curve.select(curve.per_example().isfinite().all(-1))."
            )
    return {name: replace(curve, scores=curve.scores.double()) for name, curve in named.items()}
