"""In which order features flip, and how much of that order the map leaves open."""

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq._warn import warn
from captum_uq.metrics._features import Features
from captum_uq.metrics._noise import ORDER_STREAM, TIE_STREAM, ExampleNoise

__all__ = ["Ranking", "rank_features"]


@dataclass(frozen=True)
class Ranking:
    """The order of flipping, and what the map leaves open of it.

    Attributes:
        places: Place of each feature, shape ``(N, F)``, int32: 0 flips first; features that an example lacks come
            last.
        tie_fraction: Share of an example's features whose relevance another feature has too, shape ``(N,)``: 0
            where all differ, 1 where the map says nothing.
        unranked: Which examples have NaN among their relevance, which only a random order bears, shape ``(N,)``, bool.
    """

    places: Tensor
    tie_fraction: Tensor
    unranked: Tensor


def rank_features(features: Features, order: str, tie_break: str, nan_policy: str, noise: ExampleNoise) -> Ranking:
    """Sort the features of each example by their relevance.

    Args:
        features: The features of the batch.
        order: ``"morf"`` (most relevant first), ``"lerf"`` (least relevant first) or ``"random"``.
        tie_break: ``"stable"`` (by position) or ``"random"`` (by the example's own random numbers).
        nan_policy: ``"raise"`` or ``"propagate"``.
        noise: The random numbers of the examples.

    Returns:
        The ranking.

    Raises:
        ValueError: NaN among the relevance, the order is not random, and the policy is to raise.

    Warns:
        UserWarning: An example's map is constant, so that its curve is that of the tie-breaking.

    References:
        Samek et al., "Evaluating the visualization of what a deep neural network has learned", 2017, section III.
    """  # noqa: DOC502 (raised by the helper)
    relevance, shuffled = features.relevance, None
    if tie_break == "random":
        shuffled = _shuffled(features, noise, TIE_STREAM)
        relevance = relevance.gather(1, shuffled)
    values, sequence = relevance.sort(dim=1, descending=order == "morf", stable=True)
    if order == "random":
        sequence = _shuffled(features, noise, ORDER_STREAM)
    elif shuffled is not None:
        sequence = shuffled.gather(1, sequence)
    if features.present is not None:
        absent = (~features.present).gather(1, sequence).to(torch.uint8)
        sequence = sequence.gather(1, absent.argsort(dim=1, stable=True))
    return Ranking(_inverse(sequence), *_left_open(features, values, order, nan_policy))


def _shuffled(features: Features, noise: ExampleNoise, stream: int) -> Tensor:
    """A random order of the features that each example has, the others behind them, shape ``(N, F)``."""
    order = noise.permutations(features.counts.tolist(), features.relevance.shape[1], stream)
    order = order.to(features.relevance.device)
    if features.present is None:
        return order
    own_first = (~features.present).to(torch.uint8).argsort(dim=1, stable=True)
    return own_first.gather(1, order)


def _inverse(sequence: Tensor) -> Tensor:
    places = torch.arange(sequence.shape[1], dtype=torch.int32, device=sequence.device)
    return torch.empty_like(sequence, dtype=torch.int32).scatter_(1, sequence, places.expand_as(sequence))


def _left_open(features: Features, values: Tensor, order: str, nan_policy: str) -> tuple[Tensor, Tensor]:
    """Tie fraction of each example, and whether NaN leaves it unranked, from its sorted relevance."""
    before, after = values[:, :-1], values[:, 1:]
    if values.shape[1] > 1 and (before > after if order == "morf" else before < after).all():  # no tie and no NaN
        return torch.zeros(len(values), device=values.device), values.new_zeros(len(values), dtype=torch.bool)
    none = values.new_zeros(len(values), dtype=torch.bool)
    unranked = none if order == "random" else _check_nan(features, values, nan_policy)
    return _tied_fraction(features, values, order), unranked


def _check_nan(features: Features, values: Tensor, nan_policy: str) -> Tensor:
    """Which examples cannot be ranked; sorting left NaN at one of the ends of ``values``.

    Raises:
        ValueError: There are some, and the policy is to raise.
    """
    if features.present is None:
        unranked = values[:, :: max(1, values.shape[1] - 1)].isnan().any(dim=1)
    else:
        unranked = (features.relevance.isnan() & features.present).any(dim=1)
    if nan_policy == "raise" and unranked.any():
        bad = unranked.nonzero().flatten().tolist()
        raise ValueError(
            f"attributions must be free of NaN to be ranked; {len(bad)} of {len(unranked)} examples have some "
            f"(first: example {bad[0]}; in a feature mask also from inf - inf). Repair the map, or pass "
            'nan_policy="propagate" to give these examples a curve of NaN.'
        )
    return unranked


def _tied_fraction(features: Features, values: Tensor, order: str) -> Tensor:
    """Share of each example's features that are tied, from its sorted relevance; warn where it is a constant."""
    equal = values[:, 1:] == values[:, :-1]
    if not equal.any():
        return torch.zeros(len(equal), device=equal.device)
    edge = equal.new_zeros(len(equal), 1)
    tied = torch.cat([equal, edge], dim=1) | torch.cat([edge, equal], dim=1)
    counts = features.counts.to(equal.device)
    constant = int(((equal.sum(1) == counts - 1) & (counts > 1)).sum())
    if constant and order != "random":
        warn(
            f"{constant} of {len(equal)} attribution maps are constant: their features flip in the order of "
            'tie_break, not of any relevance. Leave these examples out, or pass tie_break="random".',
        )
    return tied.sum(1) / counts
