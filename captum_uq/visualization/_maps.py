"""What is drawn: one map ``(H, W)`` for each draw or statistic, and the image behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.distribution.required import require_distribution
from captum_uq.normalization import channel_sum

WAY_OUT = "Choose what they stand for, as in dist.map(torch.nan_to_num)."
LEAST, MOST = 0.4, 3.0  # height over width of a panel, lest a figure be too low for its legend or a hundred inches high

_WAYS = (
    " Sum over other axes in every draw, dist.map(lambda draw: draw.sum(axis)), or choose from them, dist[0].",
    " Keep the axes of an example in every draw; draws of one example are DistributionAttribution(draws[:, None]).",
)

Image = Tensor | npt.NDArray[np.generic]
"""An image as Captum's models and plots take it: a tensor ``(C, H, W)`` or an array ``(H, W, C)``; or ``(H, W)``."""


def checked_distribution(dist: object) -> None:
    """Raises for what is no distribution.

    Args:
        dist: What a plot was given.

    Raises:
        TypeError: If it is no distribution; the message names the way from a tuple to one.
    """  # noqa: DOC502 (raised in the check)
    require_distribution(dist, "a plot", "plain maps are Captum's, and predictions are shown of the distribution")


def only_example(
    dist: DistributionAttribution, rule: str, least: int, most: int | None = None
) -> DistributionAttribution:
    """The only example of a batch; what is no batch, as it is.

    Args:
        dist: A distribution.
        rule: Which shapes an example has, for the message.
        least: How many axes it has.
        most: How many it may have, or None for any number.

    Returns:
        The distribution of one example.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If an example has another shape or no entry, or there are several examples, or none.
    """  # noqa: DOC502 (raised by the check)
    checked_distribution(dist)
    batched = dist._record.has_examples  # the number of axes does not tell
    count = dist.ndim - batched
    if not least <= count <= (most or count) or dist.numel() == 0:
        came = f"{tuple(dist.shape)}{', the first axis that of examples' if batched else ''}"
        way_out = _WAYS[count < least] if dist.numel() else " Nothing can be drawn of an axis without entries."
        raise ValueError(f"{rule}, got {came}.{way_out}")
    if not batched:
        return dist
    if len(dist) != 1:
        shape = tuple(dist.shape[1:])
        raise ValueError(f"a plot shows one example, got {len(dist)} of shape {shape}; choose one, dist[i].")
    return dist[0]


def image_maps(dist: DistributionAttribution) -> DistributionAttribution:
    """The distribution of one map ``(H, W)``: the only example, channels summed in every draw.

    Args:
        dist: Attributions of one image, ``(C, H, W)`` or ``(H, W)``, or a batch of one.

    Returns:
        A distribution of shape ``(H, W)``, in float64, so that no square is lost, and in CPU memory.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If it holds several examples, or no image.
    """  # noqa: DOC502 (raised by the check)
    image = only_example(dist, "an image's attribution has shape (C, H, W) or (H, W)", 2, 3).cpu().double()
    return image if image.ndim == 2 else image[None].map(partial(channel_sum, keepdim=False))[0]


def panel_map(maps: DistributionAttribution, name: str) -> Tensor:
    """The map of one panel.

    Args:
        maps: Distribution of shape ``(H, W)``.
        name: A name of :func:`captum_uq.stats.summarize`, or ``"deterministic"``.

    Returns:
        That statistic over draws, shape ``(H, W)``; infinite where a ratio is.

    Raises:
        ValueError: If no statistic has that name, or there is no deterministic map.
    """  # noqa: DOC502 (raised by what it calls)
    return own_map(maps, checked) if name == "deterministic" else checked(stats.summarize(maps.draws, name), name)


def checked(values: Tensor, name: str, way_out: str = WAY_OUT) -> Tensor:
    """What has a colour: any number, and infinity, as of an SNR without noise.

    Args:
        values: A map, any shape.
        name: What it is, for the message.
        way_out: Ends the message.

    Returns:
        The map in float64.

    Raises:
        ValueError: If there is a NaN, which has no colour.
    """
    values = values.detach().double()
    if bool(values.isnan().any()):
        raise ValueError(
            f"{name} is NaN at {int(values.isnan().sum())} of {values.numel()} values, because there is NaN or "
            f"infinity in what was given. {way_out}"
        )
    return values


def finite(values: Tensor, name: str, way_out: str = WAY_OUT) -> Tensor:
    """What has a place on an axis: as :func:`checked`, and no infinity.

    Raises:
        ValueError: If there is NaN or infinity.
    """
    values = checked(values, name, way_out)
    if bool(values.isinf().any()):
        raise ValueError(f"{name} is infinite at {int(values.isinf().sum())} of {values.numel()} values. {way_out}")
    return values


def bounded(values: Tensor) -> Tensor:
    """Infinities at the largest finite magnitude, or at 1 where nothing finite differs from 0; signs are kept."""
    infinite = values.isinf()
    largest = float(values.masked_fill(infinite, 0.0).abs().max()) or 1.0
    return torch.where(infinite, values.sign() * largest, values)


def own_map(dist: DistributionAttribution, check: Callable[[Tensor, str], Tensor] = finite) -> Tensor:
    """The attribution of the network as it stands, in float64 and CPU memory.

    Args:
        dist: A distribution of any shape.
        check: :func:`finite` or :func:`checked`.

    Returns:
        The map, of that shape.

    Raises:
        ValueError: If the distribution keeps none, or it holds what is refused.
    """
    if dist.deterministic is None:
        raise ValueError(
            '"deterministic" needs the map of the network as it stands; dist keeps none. '
            "Attribute with return_deterministic=True."
        )
    return check(dist.deterministic.cpu(), "deterministic")


def display_image(image: Image, size: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """An image as matplotlib shows it.

    Integers from 0 to 255 are divided by 255 and numbers from 0 to 1 stay; any other range, such as that of a
    standardised input, is stretched from its smallest to its largest value.

    Args:
        image: Tensor ``(H, W)``, ``(C, H, W)`` or a batch of one; or an array ``(H, W)`` or ``(H, W, C)``.
        size: The ``(H, W)`` of the attribution.

    Returns:
        Values from 0 to 1, ``(H, W, 3)`` or, for any other number of channels than 3, their mean ``(H, W)``.

    Raises:
        ValueError: If the size is another one, or a value is not finite.
    """
    pixels = _channels_last(image)
    if pixels.shape[:2] != size or pixels.ndim > 3 or pixels.size == 0:
        raise ValueError(
            f"original_image does not fit attributions of height and width {size}: got shape "
            f"{tuple(getattr(image, 'shape', ()))}. A tensor is (C, H, W) or (H, W), a numpy array (H, W, C) or "
            "(H, W). Maps of a layer take its size by dist.map(lambda draw: LayerAttribution.interpolate(draw, size))."
        )
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("original_image holds NaN or infinity.")
    values = _from_0_to_1(values, whole=not np.issubdtype(pixels.dtype, np.floating))
    return values if values.ndim == 2 or values.shape[2] == 3 else values.mean(axis=2)


def grey(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean over channels, ``(H, W)``."""
    return image if image.ndim == 2 else image.mean(axis=2)


def _channels_last(image: Image) -> npt.NDArray[np.generic]:
    if not isinstance(image, Tensor):
        return np.asarray(image)
    tensor = image.detach().cpu().as_subclass(Tensor)
    tensor = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    tensor = tensor.movedim(0, -1) if tensor.ndim == 3 else tensor
    pixels: npt.NDArray[np.generic] = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return pixels


def _from_0_to_1(values: npt.NDArray[np.float64], whole: bool) -> npt.NDArray[np.float64]:
    low, high, brightest = values.min(), values.max(), 255 if whole and values.max() > 1 else 1
    if low < 0 or high > brightest:
        return np.asarray((values - low) / ((high - low) or 1))
    return np.asarray(values / brightest)


def image_behind(
    image: Image | None, maps: DistributionAttribution, needed: bool = False
) -> npt.NDArray[np.float64] | None:
    """The image as matplotlib shows it, if there is one; see :func:`display_image`.

    Raises:
        ValueError: If it is needed and not there, or does not fit.
    """
    if image is None and needed:
        raise ValueError('the panel "image" needs original_image.')
    return None if image is None else display_image(image, tuple(maps.shape))


def aspect(size: Sequence[int]) -> float:
    """Height over width of a panel for maps ``(..., H, W)``: theirs, within limits."""
    return min(max(size[-2] / size[-1], LEAST), MOST)
