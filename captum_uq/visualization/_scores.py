"""The score that was explained, in each draw and in the network as it stands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._maps import checked_distribution, finite

WAY_OUT = "Choose examples whose scores are finite, dist[i], or attribute a forward function with finite outputs."


def target_scores(dist: DistributionAttribution, target: Any = None) -> tuple[Tensor, Tensor | None]:
    """The output at the target, of each draw and of the network as it stands.

    Args:
        dist: A distribution that keeps its predictions, of one example or several.
        target: What Captum takes as target, for these examples; None for the distribution's own.

    Returns:
        Scores ``(T, N)``, and ``(N,)`` or None, in float64 and CPU memory.

    Raises:
        TypeError: If ``dist`` is no distribution.
        ValueError: If it keeps no predictions or those of no example, a score is not finite or the target unfit.
    """  # noqa: DOC502 (raised by the checks)
    checked_distribution(dist)
    if dist.predictions is None:
        raise ValueError(
            "this distribution keeps no predictions. Attribute with return_predictions=True, and index examples "
            "only, as dist[3] or dist[:8]."
        )
    outputs, own = dist.predictions.outputs, dist.predictions.deterministic
    if not dist._record.has_examples:
        outputs, own = outputs[:, None], None if own is None else own[None]
    elif outputs.shape[1:2] != (len(dist),):
        raise ValueError(
            f"predictions have one output for each of the {len(dist)} examples, (T, N, ...), got shape "
            f"{tuple(outputs.shape)}."
        )
    if outputs.numel() == 0:
        raise ValueError(f"there are no predictions to draw: their shape is {tuple(outputs.shape)}, (T, N, ...).")
    target = dist.target if target is None else target
    scores = finite(_at_target(outputs.cpu(), target), "a score", WAY_OUT)
    return scores, None if own is None else finite(_at_target(own.cpu()[None], target), "a score", WAY_OUT)[0]


def _at_target(outputs: Tensor, target: Any) -> Tensor:
    """Outputs ``(T, N, ...)`` at a target of Captum, ``(T, N)``.

    Raises:
        ValueError: If the target does not fit.
    """
    if isinstance(target, str):
        if target != "draw":
            raise ValueError(f"target is labels, None or 'draw', got {target!r}.")
        return outputs.flatten(2).amax(2)
    if target is None:
        single = outputs.flatten(2) if outputs.ndim > 2 else outputs[..., None]
        if single.shape[2] != 1:
            raise ValueError(f"outputs of shape {tuple(outputs.shape[1:])} need a target: give target=.")
        return single[..., 0]
    chosen = _per_example(target, outputs.shape[1])
    places: list[tuple[Any, ...]] = [(at, *_place(each)) for at, each in enumerate(chosen)]
    if any(len(place) != outputs.ndim - 1 for place in places):
        raise ValueError(
            f"the target {target!r} does not choose one of the outputs of shape {tuple(outputs.shape[2:])}."
        )
    try:
        return torch.stack([outputs.movedim(0, -1)[place] for place in places], dim=1)
    except IndexError as error:
        raise ValueError(
            f"the target {target!r} lies outside the outputs of shape {tuple(outputs.shape[2:])}."
        ) from error


def _per_example(target: Any, examples: int) -> list[Any]:
    """One target for each example, from one for all or a list of them.

    Raises:
        ValueError: If there are more or fewer targets than examples.
    """
    if isinstance(target, Tensor):
        target = target.item() if target.numel() == 1 else target.tolist()
    if not isinstance(target, list):
        return [target] * examples
    if len(target) != examples:
        raise ValueError(f"target has one entry for each of the {examples} examples, got {len(target)}.")
    return list(target)


def _place(target: Any) -> tuple[int, ...]:
    return tuple(int(each) for each in target) if isinstance(target, (tuple, list)) else (int(target),)
