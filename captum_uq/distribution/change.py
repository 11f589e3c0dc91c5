"""Records made from records: mapped, merged, converted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_uq.distribution.checks import checked_draws, plain
from captum_uq.distribution.record import Record, Target
from captum_uq.distribution.stores import Draws, Store, Summaries


def map_record(record: Record, fn: Callable[[Tensor], Tensor]) -> Record:
    """The record with ``fn`` applied to every draw and to the deterministic map.

    Args:
        record: The record; it stays as it is.
        fn: Takes one map, shape ``(*shape)``, and keeps the examples.

    Returns:
        The record of the results.

    Raises:
        TypeError: If ``fn`` is no function.
        ValueError: If the draws were not kept, or ``fn`` gives draws of different shapes, does not keep the
            examples, or makes a draw that the NaN policy refuses.
    """
    if not callable(fn):
        raise TypeError(f"map takes a function of one draw, such as torch.abs, got {fn!r}.")
    draws = [_applied(fn, draw, record.has_examples) for draw in record.store.draws]
    shapes = sorted({tuple(draw.shape) for draw in draws})
    if len(shapes) > 1:
        raise ValueError(f"fn must give all draws one shape, got {shapes}.")
    fixed = record.deterministic
    return dataclasses.replace(
        record,
        store=Draws(checked_draws(torch.stack(draws), record.nan_policy)),
        deterministic=None if fixed is None else _applied(fn, fixed, record.has_examples),
    )


def _applied(fn: Callable[[Tensor], Tensor], draw: Tensor, has_examples: bool) -> Tensor:
    result = fn(draw.clone())
    if not isinstance(result, Tensor):
        raise TypeError(f"fn must return a tensor for each draw, got {type(result).__name__}.")
    if has_examples and result.shape[:1] != draw.shape[:1]:
        raise ValueError(
            f"fn must keep the first axis, the {len(draw)} examples; it made {tuple(result.shape)} of "
            f"{tuple(draw.shape)}. Reduce later axes, as in draw.sum(dim=1) or draw.flatten(1).sum(1)."
        )
    return plain(result)


def merge_records(one: Record, other: Record) -> Record:
    """The record of both sets of draws, ``one``'s first.

    Args:
        one: The record whose summary and deterministic map are kept.
        other: More draws of the same quantity.

    Returns:
        A record over all draws; predictions are kept where both have them.

    Raises:
        ValueError: If shape, method, target or what is kept differ, or a sampler and a seed occur in both, or a seed
            and its draws; or it is percentiles that are kept.
    """  # noqa: DOC502 (raised in the two checks)
    _check_same_quantity(one, other)
    _check_new_draws(one, other)
    return dataclasses.replace(
        one,
        store=one.store.merged(other.store),
        deterministic=one.deterministic if one.deterministic is not None else other.deterministic,
        predictions=_both_predictions(one.predictions, other.predictions),
        own_predictions=one.own_predictions if one.own_predictions is not None else other.own_predictions,
        sources=(*one.sources, *other.sources),
        execution=one.execution if one.execution == other.execution else None,
        nan_policy=one.nan_policy if one.nan_policy == "propagate" else other.nan_policy,
        of_probabilities=one.predicts_probabilities and other.predicts_probabilities,
    )


def _check_same_quantity(one: Record, other: Record) -> None:
    shapes = tuple(one.store.shape), tuple(other.store.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(f"merge needs results of one shape, got {shapes[0]} and {shapes[1]}.")
    if one.method != other.method:
        raise ValueError(f"merge needs results of one method, got {one.method} and {other.method}.")
    if _as_data(one.target) != _as_data(other.target):
        raise ValueError(f"merge needs results for one target, got {one.target} and {other.target}.")


def _check_new_draws(one: Record, other: Record) -> None:
    for sampler, seed in one.sources:
        if seed is not None and (sampler, seed) in other.sources:
            raise ValueError(
                f"both results were drawn by {sampler or 'an unnamed sampler'} from seed={seed}, so they repeat "
                "the same networks; draw the second one with another seed."
            )
    shared = {seed for _, seed in one.sources if seed is not None} & {seed for _, seed in other.sources}
    if shared and one.store.shape.numel() and _repeats(one.store, other.store):
        raise ValueError(
            f"both results were drawn from seed={min(shared)}, and draw for draw they are equal: their samplers draw "
            "the same networks under two names. Draw the second one with another seed."
        )


def _repeats(one: Store, other: Store) -> bool:
    """Whether the draws of one lie among those of the other, one after another; or all that is kept of them agrees."""
    if isinstance(one, Summaries) and isinstance(other, Summaries):
        pairs = ((getattr(one.sums, name), getattr(other.sums, name)) for name in ("low", "high", "mean", "m2"))
        return one.n_draws == other.n_draws and all(torch.equal(*pair) for pair in pairs)
    if not isinstance(one, Draws) or not isinstance(other, Draws):
        return False
    few, many = sorted((one.draws, other.draws), key=len)
    starts = (many == few[0]).unsqueeze(-1).flatten(1).all(dim=1).nonzero().flatten().tolist()
    return any(torch.equal(many[start : start + len(few)], few[: len(many) - start]) for start in starts)


def _both_predictions(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None or one.shape[1:] != other.shape[1:]:
        return None
    return torch.cat([one, other])


def _as_data(target: Target) -> Any:
    """The target as plain numbers: a tensor and a list of the same numbers mean the same."""
    return target.tolist() if isinstance(target, Tensor) else target


def convert_record(record: Record, convert: Callable[[Tensor], Tensor], device: torch.device) -> Record:
    """The record with its maps converted; predictions and a tensor target only move.

    Args:
        record: The record; it stays as it is.
        convert: Moves or converts the draws and the deterministic map.
        device: Where the rest goes.

    Returns:
        The converted record.
    """
    fixed, predictions, target = record.deterministic, record.predictions, record.target
    return dataclasses.replace(
        record,
        store=record.store.converted(convert),
        deterministic=None if fixed is None else convert(fixed),
        predictions=None if predictions is None else predictions.to(device),
        own_predictions=None if record.own_predictions is None else record.own_predictions.to(device),
        target=target.to(device) if isinstance(target, Tensor) else target,
        of_probabilities=record.predicts_probabilities,
    )
