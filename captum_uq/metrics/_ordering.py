"""In which order features flip, and how much of that order the map leaves open."""

import warnings

import torch
from torch import Tensor

from captum_uq.metrics._features import Features
from captum_uq.metrics._noise import ORDER_STREAM, TIE_STREAM, ExampleNoise

__all__ = ["check_nan", "flip_counts", "rank_features", "tied_fraction"]


def flip_counts(n_features: int, n_steps: int, max_fraction: float) -> list[int]:
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
    flipped = min(n_features, int(max_fraction * n_features + 0.5))
    if n_steps > flipped:
        raise ValueError(
            f"n_steps must not exceed the number of features to flip, got n_steps={n_steps} for {flipped} of "
            f"{n_features} features. Pass n_steps={max(flipped, 1)} to flip one at a time, or fewer."
        )
    size = -(-flipped // n_steps)
    if -(-flipped // size) == n_steps:
        return [min(size * k, flipped) for k in range(n_steps + 1)]
    return [(2 * k * flipped + n_steps) // (2 * n_steps) for k in range(n_steps + 1)]


def check_nan(features: Features, nan_policy: str) -> Tensor:
    """Find the examples that cannot be ranked.

    Args:
        features: The features of the batch.
        nan_policy: ``"raise"`` or ``"propagate"``.

    Returns:
        Which examples have NaN among their relevance, shape ``(N,)``, bool.

    Raises:
        ValueError: There are some, and the policy is to raise.
    """
    missing = features.relevance.isnan()
    unranked = (missing if features.present is None else missing & features.present).any(dim=1)
    if nan_policy == "raise" and unranked.any():
        bad = unranked.nonzero().flatten().tolist()
        raise ValueError(
            f"attributions must be free of NaN to be ranked; {len(bad)} of {len(unranked)} examples have some "
            f"(first: example {bad[0]}; in a feature mask also from inf - inf). Repair the map, or pass "
            'nan_policy="propagate" to give these examples a curve of NaN.'
        )
    return unranked


def tied_fraction(features: Features, order: str = "morf") -> Tensor:
    """Share of an example's features whose relevance another feature has too; warn where it is a constant.

    Args:
        features: The features of the batch.
        order: With ``"random"`` the map does not matter, and there is no warning.

    Returns:
        Shape ``(N,)``: 0 where all differ, 1 where the map says nothing.

    Warns:
        UserWarning: An example's map is constant, so that its curve is that of the tie-breaking.
    """
    ordered = features.relevance.sort(dim=1).values
    equal = ordered[:, 1:] == ordered[:, :-1]
    edge = equal.new_zeros(len(equal), 1)
    tied = torch.cat([equal, edge], dim=1) | torch.cat([edge, equal], dim=1)
    counts = features.counts.to(equal.device)
    constant = int(((equal.sum(1) == counts - 1) & (counts > 1)).sum())
    if constant and order != "random":
        warnings.warn(
            f"{constant} of {len(equal)} attribution maps are constant: their features flip in the order of "
            'tie_break, not of any relevance. Leave these examples out, or pass tie_break="random".',
            UserWarning,
            stacklevel=4,
        )
    return tied.sum(1) / counts


def rank_features(features: Features, order: str, tie_break: str, noise: ExampleNoise) -> Tensor:
    """Place of each feature in the order of flipping.

    Args:
        features: The features of the batch.
        order: ``"morf"`` (most relevant first), ``"lerf"`` (least relevant first) or ``"random"``.
        tie_break: ``"stable"`` (by position) or ``"random"`` (by the example's own random numbers).
        noise: The random numbers of the examples.

    Returns:
        Shape ``(N, F)``, int32: 0 flips first; features that an example lacks come last.

    References:
        Samek et al., "Evaluating the visualization of what a deep neural network has learned", 2017, section III.
    """
    relevance = features.relevance.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    if order == "random":
        sequence = noise.permutations(relevance.shape[1], ORDER_STREAM).to(relevance.device)
    elif tie_break == "random":
        shuffled = noise.permutations(relevance.shape[1], TIE_STREAM).to(relevance.device)
        sequence = shuffled.gather(1, _sorted(relevance.gather(1, shuffled), order))
    else:
        sequence = _sorted(relevance, order)
    if features.present is not None:
        absent = (~features.present).gather(1, sequence).to(torch.uint8)
        sequence = sequence.gather(1, absent.argsort(dim=1, stable=True))
    places = torch.arange(sequence.shape[1], dtype=torch.int32, device=sequence.device)
    return torch.empty_like(sequence, dtype=torch.int32).scatter_(1, sequence, places.expand_as(sequence))


def _sorted(relevance: Tensor, order: str) -> Tensor:
    return relevance.argsort(dim=1, descending=order == "morf", stable=True)
