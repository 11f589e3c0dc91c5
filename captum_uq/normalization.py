"""Normalisations of one attribution ``(N, *F)``: each example's map by itself.

Made for ``dist.map(...)``, which applies them to every draw. **The order matters**: ``dist.map(min_max)``
normalises each draw and then takes statistics, as MCRP does; ``min_max(dist)`` takes the mean first and
normalises that one map, which is something else, and a plain tensor.

    dist.map(normalization.channel_mean).map(normalization.min_max).snr()   # MCRP's map
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _real_maps(attribution: Tensor) -> Tensor:
    """The attribution in a precision fit for division, float32 or better.

    Raises:
        ValueError: If there is no axis of examples.
    """
    if attribution.ndim == 0:
        raise ValueError("a normalisation needs an attribution (N, *F) with examples first, got a 0-d tensor.")
    dtype = _result_dtype(attribution)
    return attribution.to(torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype)


def _result_dtype(attribution: Tensor) -> torch.dtype:
    return attribution.dtype if attribution.is_floating_point() else torch.get_default_dtype()


def _extremes(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each example's map, both of shape ``(N, 1, ...)``; 0 for an empty map."""
    examples = (len(maps), *[1] * (maps.ndim - 1))
    if maps.numel() == 0:
        return maps.new_zeros(examples), maps.new_zeros(examples)
    low, high = torch.aminmax(maps.reshape(len(maps), math.prod(maps.shape[1:])), dim=1)
    return low.reshape(examples), high.reshape(examples)


def min_max(attribution: Tensor) -> Tensor:
    """Maps each example linearly to [0, 1].

    Inside ``dist.map`` it runs on each draw, before any statistic; that order is the one of [1].

    Args:
        attribution: One draw, shape ``(N, *F)``.

    Returns:
        ``(R - min R) / (max R - min R)`` (eq. 9 of [1]) with the extremes of each example, shape ``(N, *F)``;
        0 for a constant map.

    Raises:
        ValueError: If there is no axis of examples.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> min_max(torch.tensor([[1.0, 2.0, 5.0], [7.0, 7.0, 7.0]]))
        tensor([[0.0000, 0.2500, 1.0000],
                [0.0000, 0.0000, 0.0000]])
    """  # noqa: DOC502 (raised in _real_maps)
    maps = _real_maps(attribution) / 2  # halved, so that max - min cannot overflow
    low, high = _extremes(maps)
    span = high - low
    return torch.where(span == 0, 0.0, (maps - low) / span).to(_result_dtype(attribution))


def signed_max(attribution: Tensor) -> Tensor:
    """Maps each example to [-1, 1] with 0 kept in place: each sign is divided by its own extreme.

    A map without a positive (negative) part has none afterwards either: nothing is divided by 0.

    Args:
        attribution: One draw, shape ``(N, *F)``.

    Returns:
        ``R / max R`` where ``R > 0``, ``R / |min R|`` where ``R < 0``, else 0 (appendix B of [1]), with the
        extremes of each example; shape ``(N, *F)``.

    Raises:
        ValueError: If there is no axis of examples.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.

    Example:
        >>> signed_max(torch.tensor([[-4.0, -1.0, 0.0, 1.0, 2.0]]))
        tensor([[-1.0000, -0.2500,  0.0000,  0.5000,  1.0000]])
    """  # noqa: DOC502 (raised in _real_maps)
    maps = _real_maps(attribution)
    low, high = _extremes(maps)
    extreme = torch.where(maps > 0, high, -low)
    return torch.where(maps == 0, 0.0, maps / extreme).to(_result_dtype(attribution))


def signed_sqrt(attribution: Tensor) -> Tensor:
    """Square root of the magnitude, sign kept: weak relevance becomes visible, the ranking stays.

    Args:
        attribution: One draw, shape ``(N, *F)``.

    Returns:
        ``sign(R) sqrt(|R|)`` (appendix D of [1]), shape ``(N, *F)``.

    Raises:
        ValueError: If there is no axis of examples.

    References:
        [1] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks
        (B-LRP), 2020.

    Example:
        >>> signed_sqrt(torch.tensor([[-4.0, 0.0, 9.0]]))
        tensor([[-2.,  0.,  3.]])
    """  # noqa: DOC502 (raised in _real_maps)
    maps = _real_maps(attribution)
    return (maps.sign() * maps.abs().sqrt()).to(_result_dtype(attribution))


def channel_mean(attribution: Tensor, keepdim: bool = True) -> Tensor:
    """Mean over channels, dim 1: one map per image.

    Args:
        attribution: One draw, shape ``(N, C, *F)``.
        keepdim: Keep the axis, so that the result still broadcasts against the images.

    Returns:
        ``1/C sum_c R[:, c]`` (section 3.2 of [1]), shape ``(N, 1, *F)`` or ``(N, *F)``.

    Raises:
        ValueError: If there is no axis of channels, or no channel on it.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> channel_mean(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[[2., 4.]]])
    """
    if _with_channels(attribution).shape[1] == 0:
        raise ValueError(f"channel_mean needs at least 1 channel, got shape {tuple(attribution.shape)}.")
    return _real_maps(attribution).mean(dim=1, keepdim=keepdim).to(_result_dtype(attribution))


def channel_sum(attribution: Tensor, keepdim: bool = True) -> Tensor:
    """Sum over channels, dim 1: one map per image, and relevance stays conserved.

    Args:
        attribution: One draw, shape ``(N, C, *F)``.
        keepdim: Keep the axis, so that the result still broadcasts against the images.

    Returns:
        ``sum_c R[:, c]``, shape ``(N, 1, *F)`` or ``(N, *F)``.

    Raises:
        ValueError: If there is no axis of channels.

    Example:
        >>> channel_sum(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[[4., 8.]]])
    """  # noqa: DOC502 (raised in _with_channels)
    maps = _real_maps(_with_channels(attribution))
    return maps.sum(dim=1, keepdim=keepdim).to(_result_dtype(attribution))


def _with_channels(attribution: Tensor) -> Tensor:
    if attribution.ndim < 2:
        raise ValueError(f"channels are dim 1 of an attribution (N, C, *F), got {tuple(attribution.shape)}.")
    return attribution
