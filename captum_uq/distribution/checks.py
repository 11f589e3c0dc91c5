"""The checks that draws and what belongs to them pass on the way into a DistributionAttribution."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution.stores import Store

NAN_POLICIES = ("raise", "propagate")


def plain(tensor: Tensor) -> Tensor:
    """``tensor`` without graph and without subclass, on the same memory."""
    return tensor.detach().as_subclass(torch.Tensor)


def check_nan_policy(nan_policy: str) -> None:
    """Refuses an unknown policy.

    Raises:
        ValueError: If it is none.
    """
    if nan_policy not in NAN_POLICIES:
        raise ValueError(f"nan_policy is one of {NAN_POLICIES}, got {nan_policy!r}.")


def check_finite(draws: Tensor, first_index: int | None = None) -> None:
    """Refuses draws that are not finite.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        first_index: The number of the first of them; None for all the draws there are.

    Raises:
        ValueError: If one holds NaN or infinity, by its number.
    """
    if not _all_finite(draws):
        bad = [index for index, draw in enumerate(draws) if not _all_finite(draw)]
        count = "" if first_index is not None else f" ({len(bad)} of {len(draws)} draws do)"
        raise ValueError(
            f"draw {bad[0] + (first_index or 0)} holds NaN or infinity{count}. Replay that draw to "
            'find the cause, or pass nan_policy="propagate" to keep it.'
        )


def _all_finite(values: Tensor) -> bool:
    """Whether there is no NaN or infinity, seen in the extremes, which take no memory as a mask would."""
    parts = torch.view_as_real(values) if values.is_complex() else values
    return not parts.numel() or all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(parts))


def checked_draws(draws: Tensor, nan_policy: str) -> Tensor:
    """Draws as they are kept: detached, at least one, and finite unless the policy lets NaN pass.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        nan_policy: ``"raise"`` or ``"propagate"``.

    Returns:
        ``draws``, detached, as a plain tensor on the same memory.

    Raises:
        TypeError: If ``draws`` is not a tensor.
        ValueError: If there is no draw, or a draw is not finite.
    """
    if not isinstance(draws, Tensor):
        raise TypeError(
            f"DistributionAttribution needs a tensor of draws, got {type(draws).__name__}; torch.stack them."
        )
    if draws.ndim == 0 or len(draws) == 0:
        raise ValueError(
            f"DistributionAttribution needs at least 1 draw on the first axis (T, *shape), "
            f"got shape {tuple(draws.shape)}."
        )
    if nan_policy == "raise":
        check_finite(draws)
    return plain(draws)


def checked_deterministic(deterministic: Tensor | None, shape: torch.Size) -> Tensor | None:
    """The deterministic map, once it is known to have the shape of a draw.

    Args:
        deterministic: Attribution of the network as it stands, shape ``(*shape)``.
        shape: That of a draw.

    Returns:
        ``deterministic`` detached, or None.

    Raises:
        ValueError: If its shape is not that of a draw.
    """
    if deterministic is None:
        return None
    if deterministic.shape != shape:
        raise ValueError(
            f"the deterministic map has the shape of a draw, {tuple(shape)}; got {tuple(deterministic.shape)}."
        )
    return plain(deterministic)


def checked_predictions(predictions: Tensor | None, n_draws: int) -> Tensor | None:
    """The predictions, once there is known to be one entry for each draw.

    Args:
        predictions: Outputs of each draw, shape ``(T, N, ...)``.
        n_draws: How many draws there are, ``T``.

    Returns:
        ``predictions`` detached, or None.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If the first axis is not that of the draws.
    """
    if predictions is None:
        return None
    if not isinstance(predictions, Tensor):
        raise TypeError(f"predictions are a tensor (T, N, ...), got {type(predictions).__name__}; torch.stack them.")
    if predictions.shape[:1] != (n_draws,):
        raise ValueError(
            f"predictions have one entry for each of the {n_draws} draws, (T, N, ...); "
            f"got shape {tuple(predictions.shape)}."
        )
    return plain(predictions)


def point_estimate(store: Store, summary: stats.Summary, deterministic: Tensor | None) -> Tensor:
    """The values of the distribution itself, never on the memory of the draws or the deterministic map.

    Args:
        store: What is known of the draws.
        summary: See :func:`captum_uq.stats.summarize`; also ``"deterministic"``.
        deterministic: Attribution of the network as it stands.

    Returns:
        A plain tensor, shape ``(*shape)``.

    Raises:
        ValueError: If ``summary="deterministic"`` and there is no such map.
    """
    if summary != "deterministic":
        estimate = plain(store.summarize(summary))
        return estimate if isinstance(summary, str) else estimate.clone()
    if deterministic is None:
        raise ValueError('summary="deterministic" needs deterministic=, the attribution of the network as is.')
    return deterministic.clone()
