"""Tokens of a text, coloured by their mean attribution and as opaque as it is certain."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes, make_axes, show
from captum_uq.visualization._beside import laid_out
from captum_uq.visualization._palette import Certainty, ink_on
from captum_uq.visualization._square import colour_square
from captum_uq.visualization._tokens import Tokens, fade, tokens_of

WIDTH = 7.0  # inches of a new figure
GAP, PAD, LINE_HEIGHT = 0.65, 0.18, 1.9  # in font sizes: between tokens, around one, between baselines


def visualize_text(
    dist: DistributionAttribution,
    tokens: Sequence[str],
    *,
    certainty: Certainty = "sign",
    plt_fig_axis: FigureAxes | None = None,
    outlier_perc: float = 0,
    show_colorbar: bool = True,
    font_size: float = 12,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """The tokens of a text: orange where the mean is above 0, blue below, and as opaque as the draws are certain.

    White is a mean of 0, or one whose sign is open. The letters are black or white, whichever reads better. Lines
    break between tokens, to the width that the axes have when they are drawn; a token wider than that is written
    smaller. Characters that the font lacks show as boxes: give matplotlib a font that has them
    (``rcParams["font.family"]`` takes several). For notebooks see :func:`captum_uq.visualization.text_html`.

    Args:
        dist: Attributions of one text, shape ``(L,)``, or ``(L, E)`` of its embeddings, summed over ``E`` in every
            draw; as ``dist[3]``, or a batch of one.
        tokens: The ``L`` tokens. Blanks and line breaks are shown by a mark.
        certainty: ``"sign"``: the difference between the shares of draws above 0 and below 0. ``"snr"``:
            ``|mean| / (|mean| + stdev)``.
        plt_fig_axis: A figure and an axes of it; by default a new figure.
        outlier_perc: Largest means that hold this percentage of the total get the full colour, as in Captum.
        show_colorbar: Draw the legend below the text.
        font_size: Of the tokens, in points.
        fig_size: Width and height of a new figure in inches; by default as high as the text needs, which runs over
            the legend in a lower one.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes, with one text artist for each token.

    Raises:
        TypeError: If ``dist`` is no distribution, or ``tokens`` is one string.
        ValueError: If ``dist`` holds several examples, NaN or infinity or is no text, tokens and attributions differ in
            number, or an option is none of the above.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 3, 8))
        >>> figure, axes = visualize_text(dist, ["not", "bad", "!"], use_pyplot=False)
        >>> [each.get_text() for each in axes.texts]
        ['not', 'bad', '!']
    """  # noqa: DOC502 (raised where tokens and axes are made)
    shown = tokens_of(dist, tokens, certainty, outlier_perc)
    size = fig_size or (WIDTH, _height(shown, font_size) + 1.0 * show_colorbar)
    figure, (axes,) = make_axes(1, 1, 1, plt_fig_axis, size, use_pyplot)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)  # and no set_axis_off, which takes the white ground away
    if show_colorbar:
        height = size[1] if plt_fig_axis is None else axes.get_window_extent().height / figure.dpi
        colour_square(axes, fade, shown.scale, certainty, "bottom", fraction=min(0.75 / height, 0.5))
    if laid_out(figure):
        figure.figure.draw_without_rendering()  # lays the figure out, so that the width of the axes is known
    _draw_tokens(axes, shown, font_size, 72 * axes.get_window_extent().width / figure.dpi)
    show(use_pyplot)
    return figure, axes


def _draw_tokens(axes: Axes, shown: Tokens, font_size: float, width: float) -> None:
    """Each token at its place, a fixed number of points from the upper left corner: none can meet another."""
    places = _places(shown.texts, font_size, width)
    for text, colour, seen, certainty, (right, down, size) in zip(
        shown.texts, shown.colours, shown.on_white, shown.certainties, places, strict=True
    ):
        box = {"boxstyle": f"square,pad={PAD}", "facecolor": (*colour, float(certainty)), "edgecolor": "none"}
        drawn = axes.annotate(
            text,
            (0, 1),
            (right, -down),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            color=ink_on(seen),
            bbox=box,
            verticalalignment="baseline",
            annotation_clip=False,
            parse_math=False,
        )
        drawn.set_in_layout(False)  # a text too long for its axes shall not squeeze them


def _places(texts: Sequence[str], font_size: float, width: float) -> list[tuple[float, float, float]]:
    """Points to the right of and below the upper left corner, for the baseline of each token, and its font size."""
    places: list[tuple[float, float, float]] = []
    room = width - 2 * PAD * font_size
    font = FontProperties(size=font_size)
    right, down = PAD * font_size, 1.3 * font_size
    for text in texts:
        wide = text_to_path.get_text_width_height_descent(text, font, False)[0]
        if places and right + wide + PAD * font_size > width and right > PAD * font_size:
            right, down = PAD * font_size, down + LINE_HEIGHT * font_size
        size = font_size if wide <= room else max(0.9 * font_size * room / wide, 1.0)  # hinting widens small letters
        places.append((right, down, size))
        right += wide + GAP * font_size
    return places


def _height(shown: Tokens, font_size: float) -> float:
    """Inches that the text takes in a new figure."""
    down = _places(shown.texts, font_size, 72 * WIDTH * 0.98)[-1][1]
    return (down + 0.9 * font_size) / 72 + 0.1
