"""Curves of pixel flipping in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_uq.metrics import PerturbationCurve
from captum_uq.visualization._axes import INK, FigureAxes, add_legend, inches, make_axes, open_frame, show
from captum_uq.visualization._rows import width

# Okabe and Ito's colours, told apart by colour-blind eyes; in a second and third round by their dashes as well.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")
DASHES = ("-", "--", ":")
LEGEND_ROOM = 2.0  # inches for what is not the names: the sample of a line and the area


def visualize_curves(
    curves: PerturbationCurve | Mapping[str, PerturbationCurve],
    *,
    level: float = 0.95,
    title: str | None = None,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """Mean curves with their confidence bands in one picture, each as :meth:`PerturbationCurve.plot` draws it.

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
    size = fig_size or (width((), title or "", 7.2, inches([str(name) for name in named]) + LEGEND_ROOM), 3.8)
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    handles, names = axes.get_legend_handles_labels()  # what the user drew
    axes.set_prop_cycle(rcsetup.cycler(linestyle=DASHES) * rcsetup.cycler(color=COLOURS))
    for name, curve in named.items():
        curve.plot(axes, name, level)
        handles.append(axes.lines[-1])
        names.append(str(axes.lines[-1].get_label()))
    axes.margins(x=0)
    open_frame(axes)
    axes.yaxis.label.set_parse_math(False)
    add_legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    if title is not None:
        axes.set_title(title, fontsize=12, color=INK, parse_math=False)
    show(use_pyplot)
    return figure, axes


def _checked(curves: PerturbationCurve | Mapping[str, PerturbationCurve]) -> dict[str, PerturbationCurve]:
    """Curves by name that belong into one picture.

    Raises:
        TypeError: If something else was given.
        ValueError: If there is none, they differ in what they measure, or one is not finite.
    """
    named = {"curve": curves} if isinstance(curves, PerturbationCurve) else curves
    if not isinstance(named, Mapping) or not all(isinstance(each, PerturbationCurve) for each in named.values()):
        raise TypeError(f"curves is a PerturbationCurve or a mapping of names to such, got {type(curves).__name__}.")
    facts = {(curve.mode, curve.direction, curve.score): name for name, curve in named.items()}
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
