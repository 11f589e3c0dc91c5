"""How many features are flipped at each point of a curve."""

import torch
from torch import Tensor

from captum_uq.metrics._features import Features

__all__ = ["schedule"]


_STEPS = 32
"""So many where the user does not say how many, and examples have as many features."""


def schedule(features: Features, n_steps: int | None, max_fraction: float) -> tuple[Tensor, Tensor]:
    """Number and true share of features flipped at each point.

    Args:
        features: The features of the batch.
        n_steps: Number of steps ``K``; None for 32, or as many as every example has features to flip.
        max_fraction: Share of the features flipped at the end.

    Returns:
        The counts, shape ``(1, K + 1)`` or, where examples differ in their number of features, ``(N, K + 1)``, int32,
        on the features' device; and the shares, ``(K + 1,)`` or ``(N, K + 1)``, float64, on the CPU.

    Raises:
        ValueError: More steps than features to flip.
    """  # noqa: DOC502 (raised by the helper)
    n_features = features.relevance.shape[1]
    sizes = [n_features] if features.present is None else features.counts.tolist()
    if n_steps is None:
        n_steps = min(_STEPS, *(max(1, _flipped(size, max_fraction)) for size in set(sizes)))
    rows = {size: _flip_counts(size, n_steps, max_fraction) for size in set(sizes)}
    table = list(rows.values()) if len(rows) == 1 else [rows[size] for size in sizes]
    shares = [[count / size for count in row] for row, size in zip(table, sizes, strict=False)]
    counts = torch.tensor(table, dtype=torch.int32, device=features.relevance.device)
    fractions = torch.tensor(shares, dtype=torch.float64)
    return counts, fractions[0] if len(rows) == 1 else fractions


def _flip_counts(n_features: int, n_steps: int, max_fraction: float) -> list[int]:
    """Number of features flipped after each step.

    Steps are equal, ``ceil(M / K)`` features, and the last one takes what is left of the ``M`` features to flip;
    where so large a step would need fewer than ``K`` steps, sizes differ by at most one instead.

    Args:
        n_features: Number of features ``F`` of an example.
        n_steps: Number of steps ``K``.
        max_fraction: Share of the features flipped at the end; ``M = round(max_fraction * F)``.

    Returns:
        ``K + 1`` rising counts, from 0 to ``M``.

    Raises:
        ValueError: More steps than features to flip.
    """
    flipped = _flipped(n_features, max_fraction)
    if not flipped:
        raise ValueError(
            f"max_fraction={max_fraction!r} of {n_features} features is none. Pass {1 / n_features:.2g} or more to "
            "flip one."
        )
    if n_steps > flipped:
        raise ValueError(
            f"n_steps must not exceed the number of features to flip, got n_steps={n_steps} for {flipped} of "
            f"{n_features} features of an example. Pass n_steps={flipped} to flip one at a time, or fewer."
        )
    size = -(-flipped // n_steps)
    if -(-flipped // size) == n_steps:
        return [min(size * k, flipped) for k in range(n_steps + 1)]
    return [(2 * k * flipped + n_steps) // (2 * n_steps) for k in range(n_steps + 1)]


def _flipped(n_features: int, max_fraction: float) -> int:
    """How many features of an example are flipped at the end."""
    return min(n_features, int(max_fraction * n_features + 0.5))
