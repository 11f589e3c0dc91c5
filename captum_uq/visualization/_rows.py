"""Features of one example, one below the other: what features, channels and box plots share."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, make_axes, short_numbers, show
from captum_uq.visualization._beside import inches, legend_below
from captum_uq.visualization._maps import finite, only_example
from captum_uq.visualization._palette import certainty_of
from captum_uq.visualization._style import INK, LINE, ink_beside, set_title

POSITIVE, NEGATIVE = "#c23b3b", "#3b5fc2"
FADED = 0.35
SORTS = ("mean", "certainty", None)
ROW = 0.32  # inches


def feature_draws(dist: DistributionAttribution) -> Tensor:
    """The draws of one row of a table, ``(T, F)``, in float64 and CPU memory.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If it holds several examples, NaN or infinity, or is no row of features.
    """  # noqa: DOC502 (raised by the checks)
    row = only_example(dist, "the attribution of a row of a table has shape (F,)", 1, 1)
    return finite(row.cpu().draws, "a draw")


def checked_names(names: Sequence[str] | None, count: int, what: str = "feature") -> list[str]:
    """A name for each row, by default its number.

    Raises:
        ValueError: If there are more or fewer names than rows.
    """
    listed = [str(at) for at in range(count)] if names is None else [str(name) for name in names]
    if len(listed) != count:
        raise ValueError(f"{what}_names has one name for each of the {count} {what}s, got {len(listed)}.")
    return listed


def first_rows(draws: Tensor, sort: str | None, n: int | None, what: str = "feature") -> list[int]:
    """Which rows are drawn, from top to bottom.

    Args:
        draws: Attributions, shape ``(T, F)``.
        sort: By ``"mean"``, its magnitude; by ``"certainty"`` of sign, and then by the mean; None as they come.
        n: How many; None for all.
        what: What a row is, for the message.

    Returns:
        Their numbers.

    Raises:
        ValueError: If ``sort`` is no known order, or ``n`` is below 1.
    """
    if sort not in SORTS:
        raise ValueError(f"sort is one of {SORTS}, got {sort!r}.")
    if n is not None and (not isinstance(n, Integral) or n < 1):
        raise ValueError(f"n is the number of {what}s to show, at least 1; got {n!r}.")
    rows = range(draws.shape[1])
    if sort is None:
        return list(rows)[:n]
    size = stats.expectation(draws).abs().tolist()
    certainty = certainty_of(draws, "sign").tolist() if sort == "certainty" else [0.0] * len(size)
    return sorted(rows, key=lambda at: (-certainty[at], -size[at]))[:n]


def bar_plot(
    draws: Tensor,
    names: Sequence[str],
    own: Sequence[float] | None,
    level: float,
    form: tuple[FigureAxes | None, tuple[float, float] | None, bool],
    *,
    ranking: str = "",
    quantity: str = "attribution",
    what: str = "",
) -> tuple[Figure, Axes]:
    """The whole plot of features or channels: bars, intervals, names.

    Args:
        draws: Attributions of the rows from top to bottom, shape ``(T, F)``.
        names: A name for each row.
        own: The attributions of the network as it stands, to be marked, or None.
        level: Share of draws that the intervals hold.
        form: ``plt_fig_axis``, ``fig_size`` and ``use_pyplot``.
        ranking: Begins the title.
        quantity: What the numbers are.
        what: What a row is.

    Returns:
        The figure and its axes.
    """
    plt_fig_axis, fig_size, use_pyplot = form
    title = f"{ranking}mean and {100 * level:g}% interval of {counted(draws)}"
    size = fig_size or (width(names, title), ROW * len(names) + 0.9 + 0.25 * (own is not None))
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    draw_bars(axes, draws, level)
    if own is not None:
        mark_deterministic(axes, own)
    frame_rows(axes, names, title, quantity)
    axes.set_ylabel(what, color=ink_beside(axes))
    show(use_pyplot)
    return figure, axes


def draw_bars(axes: Axes, draws: Tensor, level: float) -> None:
    """A bar for each mean and a line for each interval; faded where the interval holds 0.

    Args:
        axes: Where to draw.
        draws: Attributions of the rows from top to bottom, shape ``(T, F)``.
        level: Share of draws that the intervals hold.
    """
    mean, (low, high) = stats.expectation(draws).tolist(), stats.interval(draws, level)
    places, ends = range(len(mean)), list(zip(low.tolist(), high.tolist(), strict=True))
    bars = axes.barh(places, mean, height=0.7, color=[sign_colour(each) for each in mean])
    for bar, (left, right) in zip(bars, ends, strict=True):
        bar.set_alpha(FADED if left <= 0 <= right else None)
    axes.hlines(places, *zip(*ends, strict=True), color=INK, linewidth=1.6)


def mark_deterministic(axes: Axes, values: Sequence[float]) -> None:
    """A diamond at the attribution of the network as it stands, for each row, with a legend below the axes."""
    places, label = range(len(values)), "network as it stands"
    axes.scatter(values, places, s=22, marker="D", color="white", edgecolors=INK, linewidths=1.1, zorder=3, label=label)
    legend_below(axes)


def width(names: Sequence[str], title: str, least: float = 6.0, beside: float = 0.0) -> float:
    """Inches of a new figure: the names, axes as wide as their title, and what stands to the right of them."""
    return max(least, inches(names) + max(inches([title], 12), 4.0) + beside + 0.8)


def counted(draws: Tensor) -> str:
    """How many draws there are, in words."""
    return "1 draw" if len(draws) == 1 else f"{len(draws)} draws"


def sign_colour(mean: float) -> str:
    """Red above 0, blue below."""
    return POSITIVE if mean > 0 else NEGATIVE


def frame_rows(axes: Axes, labels: Sequence[str], title: str, quantity: str = "attribution", pad: float = 6.0) -> None:
    """Names to the left, a line at 0, the first row on top.

    Args:
        axes: Where the rows are.
        labels: A name for each row, from top to bottom.
        title: What is drawn.
        quantity: What the numbers are.
        pad: Points between the rows and the title.
    """
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), list(labels), parse_math=False)
    axes.tick_params(length=0, labelcolor=ink_beside(axes))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=LINE, linewidth=0.6)
    short_numbers(axes)
    axes.set_xlabel(quantity, color=ink_beside(axes))
    set_title(axes, title, pad=pad)
