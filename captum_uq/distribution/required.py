"""The refusal of what is no distribution, for whoever takes one."""

from __future__ import annotations

from captum_uq.distribution.attribution import DistributionAttribution


def require_distribution(dist: object, caller: str, hint: str) -> None:
    """Refuses what has no draws.

    Args:
        dist: What was given.
        caller: What it was given to; opens the message.
        hint: Ends the message.

    Raises:
        TypeError: It is no distribution; the message names the way from a tuple to one.
    """
    if isinstance(dist, (tuple, list)):
        raise TypeError(
            f"{caller} takes one DistributionAttribution, got a {type(dist).__name__} of {len(dist)}, as a network of "
            "several inputs gives; choose one of them, dist[0]."
        )
    if not isinstance(dist, DistributionAttribution):
        raise TypeError(f"{caller} takes a DistributionAttribution, got {type(dist).__name__}; {hint}.")
