"""Deletion and insertion, the two directions of pixel flipping under the names of RISE."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from captum_uq.metrics._options import Baselines, FlippingOptions, Tensors
from captum_uq.metrics._scores import Target
from captum_uq.metrics.curves import PerturbationCurve
from captum_uq.metrics.flipping import pixel_flipping

__all__ = ["deletion", "insertion"]


def deletion(
    forward_func: Callable[..., Tensor],
    inputs: Tensors,
    attributions: Tensors,
    baselines: Baselines = None,
    additional_forward_args: Any = None,
    target: Target = None,
    feature_mask: Tensors | None = None,
    **options: Unpack[FlippingOptions],
) -> PerturbationCurve:
    """Remove the most relevant features first; a lower area is better. Arguments as in ``pixel_flipping``.

    Args:
        forward_func: See ``pixel_flipping``, as all that follows.
        inputs: Shape ``(N, *F)``.
        attributions: Shape ``(N, *F)``, or 1 where elements flip together.
        baselines: Values of removed features.
        additional_forward_args: Passed after the inputs.
        target: Which output is scored.
        feature_mask: Ids of features that flip together.
        **options: The keyword options of ``pixel_flipping``.

    Returns:
        The curves, shape ``(N, K + 1)``.

    References:
        Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018, section 4.1.
    """
    return pixel_flipping(
        forward_func,
        inputs,
        attributions,
        baselines,
        additional_forward_args,
        target,
        feature_mask,
        mode="deletion",
        **options,
    )


def insertion(
    forward_func: Callable[..., Tensor],
    inputs: Tensors,
    attributions: Tensors,
    baselines: Baselines = None,
    additional_forward_args: Any = None,
    target: Target = None,
    feature_mask: Tensors | None = None,
    **options: Unpack[FlippingOptions],
) -> PerturbationCurve:
    """Put the most relevant features back first; a higher area is better. Arguments as in ``pixel_flipping``.

    Where steps are all equal and nothing is tied, it is the deletion of the negative map, reversed.

    Args:
        forward_func: See ``pixel_flipping``, as all that follows.
        inputs: Shape ``(N, *F)``.
        attributions: Shape ``(N, *F)``, or 1 where elements flip together.
        baselines: Values of features not yet inserted.
        additional_forward_args: Passed after the inputs.
        target: Which output is scored.
        feature_mask: Ids of features that flip together.
        **options: The keyword options of ``pixel_flipping``.

    Returns:
        The curves, shape ``(N, K + 1)``.

    References:
        Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018, section 4.1.
    """
    return pixel_flipping(
        forward_func,
        inputs,
        attributions,
        baselines,
        additional_forward_args,
        target,
        feature_mask,
        mode="insertion",
        **options,
    )
