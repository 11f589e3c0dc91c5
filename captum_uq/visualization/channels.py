"""Channels of a layer: which of them matter, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._axes import FigureAxes
from captum_uq.visualization._maps import finite, only_example, own_map
from captum_uq.visualization._rows import bar_plot, checked_names, first_rows

REDUCTIONS = ("sum", "mean")


def visualize_channels(
    dist: DistributionAttribution,
    channel_names: Sequence[str] | None = None,
    *,
    reduction: Literal["sum", "mean"] = "sum",
    sort: str | None = "mean",
    level: float = 0.9,
    n: int | None = 10,
    show_deterministic: bool = False,
    plt_fig_axis: FigureAxes | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """A bar for each channel of a layer, its mean attribution, and a line for where the draws lie.

    Space is reduced in every draw, before any statistic. Lines and colours are those of
    :func:`captum_uq.visualization.visualize_features`.

    Args:
        dist: Attributions of a layer for one example, shape ``(C, *space)`` such as ``(C, H, W)``, as ``dist[3]``;
            or a batch of one.
        channel_names: A name for each of the ``C`` channels; by default their numbers.
        reduction: ``"sum"`` or ``"mean"`` over space.
        sort: From top to bottom by ``"mean"``, its magnitude, or by ``"certainty"`` of sign and then by the mean;
            None keeps the order of the layer.
        level: Share of draws that the intervals hold, above 0 and at most 1.
        n: How many channels, the first of that order; None for all.
        show_deterministic: Mark the attribution of the network as it stands, by a diamond.
        plt_fig_axis: A figure and an axes of it; by default a new figure. A legend stands below the axes where
            the figure has ``layout="constrained"``, and within them where nothing lays it out.
        fig_size: Width and height of a new figure in inches.
        use_pyplot: Make the figure by pyplot and show it, as Captum does; False needs no screen.

    Returns:
        The figure and its axes; tick labels are the channels, from top to bottom.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If ``dist`` holds several examples, NaN or infinity or has no channels, names and channels differ in
            number, there is no deterministic attribution to mark, or an option is none of the above.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.randn(20, 1, 32, 4, 4))
        >>> figure, axes = visualize_channels(dist, n=3, use_pyplot=False)
        >>> len(axes.get_yticklabels())
        3
    """  # noqa: DOC502 (raised where draws are checked)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is one of {REDUCTIONS}, got {reduction!r}.")
    single = _one_example(dist)
    draws = _over_space(finite(single.draws, "a draw"), reduction)
    names, order = checked_names(channel_names, draws.shape[1], "channel"), first_rows(draws, sort, n, "channel")
    own = _over_space(own_map(single)[None], reduction)[0, order].tolist() if show_deterministic else None
    form, quantity = (plt_fig_axis, fig_size, use_pyplot), f"attribution, {reduction} over space"
    words = {"ranking": f"{_ranking(len(order), draws.shape[1])}: ", "quantity": quantity, "what": "channel"}
    return bar_plot(draws[:, order], [names[at] for at in order], own, level, form, **words)


def _one_example(dist: DistributionAttribution) -> DistributionAttribution:
    """The only example, shape ``(C, *space)``, in CPU memory.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If it holds several examples, or no channels.
    """  # noqa: DOC502 (raised by the check)
    return only_example(dist, "the attribution of a layer has shape (C, *space), as (C, H, W)", 1).cpu()


def _over_space(maps: Tensor, reduction: str) -> Tensor:
    """Maps ``(T, C, *space)`` as ``(T, C)``."""
    flat = maps.flatten(2) if maps.ndim > 2 else maps[..., None]
    return flat.sum(-1) if reduction == "sum" else flat.mean(-1)


def _ranking(shown: int, channels: int) -> str:
    return f"{channels} channels" if shown == channels else f"{shown} of {channels} channels"
