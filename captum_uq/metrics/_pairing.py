"""Which curves are compared with which, and whether they can be."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from captum_uq.metrics.curves import PerturbationCurve

__all__ = ["by_name", "differences_of", "direction_of", "facts_of", "pairs_of", "rounding_of"]


def by_name(
    curves: PerturbationCurve | Mapping[str, PerturbationCurve], caller: str, single: str
) -> dict[str, PerturbationCurve]:
    """Curves by their name.

    Args:
        curves: A mapping, or a single curve.
        caller: What takes them, for the error.
        single: Name of a single one.

    Returns:
        A new dict.

    Raises:
        TypeError: Something that is no curve.
    """
    named = {single: curves} if isinstance(curves, PerturbationCurve) else curves
    if not isinstance(named, Mapping) or not all(isinstance(curve, PerturbationCurve) for curve in named.values()):
        got = [type(c).__name__ for c in named.values()] if isinstance(named, Mapping) else type(named).__name__
        raise TypeError(
            f"{caller} takes a PerturbationCurve, or a dict of them by name, got {got}. Pass what pixel_flipping or "
            'summary_curves returned, such as {"mean": one, "snr": other}.'
        )
    return dict(named)


def facts_of(curve: PerturbationCurve) -> dict[str, object]:
    """What curves of one kind have in common."""
    return {
        "mode": curve.mode,
        "order": curve.order,
        "score": curve.score,
        "steps": curve.scores.shape[-1] - 1,
        "max_fraction": curve.max_fraction,
        "draws": len(curve.scores) if curve.scores.ndim == 3 else None,
    }


def pairs_of(named: dict[str, PerturbationCurve], reference: str | PerturbationCurve | None) -> list[tuple[str, str]]:
    """Names to compare.

    Args:
        named: The curves; a reference that is a curve is added under a name of its own.
        reference: A name, a curve, or None for every pair.

    Returns:
        Pairs of a curve and its reference.

    Raises:
        KeyError: ``reference`` names no curve.
        TypeError: It is neither a name nor a curve.
        ValueError: Nothing to compare.
    """
    others = list(named)
    if isinstance(reference, PerturbationCurve):
        name = "reference"
        while name in named:
            name = f"the {name}"
        named[name], reference = reference, name
    if reference is None:
        pairs = list(combinations(named, 2))
    elif not isinstance(reference, str):
        raise TypeError(f"reference is a name or a PerturbationCurve, got {reference!r}. Compare with one at a time.")
    elif reference not in named:
        raise KeyError(f"reference must name one of the curves {list(named)}, got {reference!r}. Add its curve.")
    else:
        pairs = [(other, reference) for other in others if other != reference]
    if not pairs:
        raise ValueError(f"compare needs two curves at least, got {list(named)}. Pass a mapping, or a reference.")
    return pairs


def differences_of(named: Mapping[str, PerturbationCurve], pair: tuple[str, str]) -> Tensor:
    """Paired differences of area.

    Args:
        named: The curves.
        pair: The names of a curve and its reference.

    Returns:
        Shape ``(N,)`` or ``(T, N)``, float64, on the CPU; 0 where areas differ by their rounding alone.

    Raises:
        ValueError: Curves that cannot be paired, or an area that is not finite.
    """
    curve, reference = (named[name] for name in pair)
    _check_paired(curve, reference, pair)
    difference = _area(curve) - _area(reference)
    if not difference.isfinite().all():
        over_draws = ".all(0)" if difference.ndim == 2 else ""
        raise ValueError(
            f"compare needs finite areas, those of {pair[0]!r} and {pair[1]!r} differ by NaN or infinity somewhere. "
            f"Keep the examples that are finite in both: finite = (a.auc - b.auc).isfinite(){over_draws}, then compare "
            "a.select(finite) and b.select(finite)."
        )
    return difference.where(difference.abs() > rounding_of(named, pair), 0.0)


def rounding_of(named: Mapping[str, PerturbationCurve], pair: tuple[str, str]) -> Tensor:
    """How far equal areas may differ by the precision of their numbers alone, for each example, shape ``(N,)``."""
    return torch.maximum(*(_rounding(named[name]) for name in pair))


def _rounding(curve: PerturbationCurve) -> Tensor:
    """That of the scores, which areas average, and that of the fractions, which adds over steps as a random walk."""
    dtypes = [t.dtype if t.is_floating_point() else torch.float64 for t in (curve.scores, curve.fractions)]
    of_score, of_fraction = (torch.finfo(dtype).eps for dtype in dtypes)
    scores = curve.scores.detach().cpu().double().abs()
    largest = (scores.amax(0) if scores.ndim == 3 else scores).amax(-1)
    return largest * (4 * of_score + math.sqrt(scores.shape[-1]) * of_fraction)


def _area(curve: PerturbationCurve) -> Tensor:
    """Summed in float64: areas of 0/1 scores that are equal on paper differ by 1e-8 in float32."""
    fractions, scores = (t.detach().cpu().double() for t in (curve.fractions, curve.scores))
    return replace(curve, fractions=fractions, scores=scores).auc


def direction_of(named: Mapping[str, PerturbationCurve]) -> str:
    """Which area is the better; a random order has no side of its own and takes that of the others.

    Args:
        named: The curves, all of one mode.

    Returns:
        ``"lower"`` or ``"higher"``.

    Raises:
        ValueError: Lower is better for some, higher for others.
    """
    ranked = {curve.order: curve.direction for curve in named.values() if curve.order != "random"}
    if len(set(ranked.values())) > 1:
        raise ValueError(
            f"compare takes curves of one direction, got {' and '.join(map(repr, ranked))}, of which one is the better "
            "the lower and one the higher. Compare each with the random order on its own."
        )
    return next(iter(ranked.values()), next(iter(named.values())).direction)


def _check_paired(curve: PerturbationCurve, reference: PerturbationCurve, pair: tuple[str, str]) -> None:
    """Refuse curves of other numbers of examples, or of other options as far as curves know theirs.

    Raises:
        ValueError: They are.
    """
    if len(curve) != len(reference) or len(curve) < 2:
        raise ValueError(
            f"compare pairs curves over the same examples, 2 at least: {pair[0]!r} has {len(curve)} and {pair[1]!r} "
            f"has {len(reference)}. Measure both on the same batch."
        )
    one, other = facts_of(curve), facts_of(reference)
    both = {name: (one[name], other[name]) for name in one if one[name] != other[name]}
    if None in both.get("draws", ()):
        del both["draws"]  # one map against those of all draws
    if "random" in both.get("order", ()):
        del both["order"]  # it is what others are compared with, of either order
    if both:
        raise ValueError(
            f"compare pairs curves of the same options: {pair[0]!r} and {pair[1]!r} differ in "
            f"{', '.join(f'{name} ({ours!r} and {theirs!r})' for name, (ours, theirs) in both.items())}. "
            "Measure both with the same options."
        )
    x, y = (c.fractions.detach().cpu().double() for c in (curve, reference))
    if not torch.allclose(x, y, rtol=0, atol=1e-6):
        raise ValueError(
            f"compare pairs curves of the same steps: {pair[0]!r} and {pair[1]!r} flip other shares of the features. "
            "Rank both by the same features: pixels, or the groups of one feature_mask."
        )
