"""Indexing a distribution: which index reaches the draws, the predictions and the target.

An index of ``dist`` means the same entries in every draw. To say that to torch for any index, the axis of draws
is moved last, where no index on ``shape`` reaches it; in front, two separate index tensors would move past it.
"""

from __future__ import annotations

import dataclasses
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from captum_uq.distribution.record import Record

_ALL = slice(None)


def index_record(record: Record, index: Any) -> Record:
    """The record of ``dist[index]``.

    Args:
        record: The record of ``dist``.
        index: Whatever torch takes as an index of a tensor of that shape.

    Returns:
        A record with the draws and the deterministic map at ``index``. Predictions and a target with an entry
        per example follow what ``index`` selects on dim 0, and are dropped where it mixes examples with other
        axes (a mask over several axes, a new axis in front), because then they match nothing.
    """
    changes: dict[str, Any] = {"store": record.store.over(lambda stack: _index_draws(stack, index))}
    if record.deterministic is not None:
        changes["deterministic"] = record.deterministic[index]
    if record.has_examples:
        changes.update(_follow_examples(record, index))
    return dataclasses.replace(record, **changes)


def _index_draws(draws: Tensor, index: Any) -> Tensor:
    parts = _parts(index)
    if any(part is Ellipsis for part in parts):
        index = (*parts, _ALL)
    return draws.movedim(0, -1)[index].movedim(-1, 0)


def _follow_examples(record: Record, index: Any) -> dict[str, Any]:
    """The fields of a record that have one entry per example, after the index."""
    changes: dict[str, Any] = {}
    known, examples = _examples(_parts(index), len(record.store.shape))
    if record.predictions is not None and record.predictions_per_example():
        changes["predictions"] = record.predictions[:, examples] if known else None
        own = record.own_predictions
        changes["own_predictions"] = own[examples] if known and own is not None else None
        changes["of_probabilities"] = record.predicts_probabilities
    if record.target_per_example():
        changes["target"] = _index_target(record.target, examples) if known else None
    changes["has_examples"] = known and not _is_number(examples)
    return changes


def _examples(parts: tuple[Any, ...], ndim: int) -> tuple[bool, Any]:
    """Whether dim 0 of the result is still the batch (or one example of it), and what was selected on dim 0."""
    first = _first(parts, ndim)
    lists = [at for at, part in enumerate(_without_numbers(parts)) if _is_list(part)]
    if first is None or isinstance(first, bool) or (_is_list(first) and torch.as_tensor(first).ndim != 1):
        return False, _ALL
    if _is_list(first):
        return len(lists) == 1, first
    adjacent = not lists or lists[-1] - lists[0] == len(lists) - 1
    return adjacent or _is_number(first), first


def _first(parts: tuple[Any, ...], ndim: int) -> Any:
    """What the index says about dim 0, an Ellipsis spelt out."""
    if not parts:
        return _ALL
    if parts[0] is not Ellipsis:
        return parts[0]
    rest = parts[1:]
    return _ALL if sum(map(_consumed, rest)) < ndim or not rest else rest[0]


def _consumed(part: Any) -> int:
    """How many axes one part of an index selects on."""
    if part is None or isinstance(part, bool):
        return 0
    if _is_list(part):
        mask = torch.as_tensor(part)
        return mask.ndim if mask.dtype in {torch.bool, torch.uint8} else 1
    return 1


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _without_numbers(parts: tuple[Any, ...]) -> list[Any]:
    return [part for part in parts if not _is_number(part)]


def _is_number(part: Any) -> bool:
    """Whether a part of an index takes one entry and drops the axis."""
    if isinstance(part, Tensor):
        return part.ndim == 0 and part.dtype != torch.bool
    return isinstance(part, Integral) and not isinstance(part, bool)


def _is_list(part: Any) -> bool:
    """Whether a part of an index is what numpy calls advanced: a list, an array, a mask."""
    return not (_is_number(part) or part is None or part is Ellipsis or isinstance(part, slice))


def _index_target(target: Any, examples: Any) -> Any:
    """The entries of a per-example target: of a tensor a tensor, of a list a list, of one example its own."""
    if isinstance(target, Tensor):
        return target[examples]
    chosen = torch.arange(len(target))[examples].tolist()
    return [target[at] for at in chosen] if isinstance(chosen, list) else target[chosen]
