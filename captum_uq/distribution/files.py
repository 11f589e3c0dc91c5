"""The file of a DistributionAttribution: plain data that ``torch.load(weights_only=True)`` reads, no code."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch
from torch import Tensor

from captum_uq.distribution.execution import Execution
from captum_uq.distribution.record import Record
from captum_uq.distribution.stores import restored

FORMAT = "captum_uq.DistributionAttribution"
VERSION = 1
_ENTRIES = {"point", "draws", *(each.name for each in dataclasses.fields(Record))} - {"store"}
_LATER = {"of_probabilities"}
"""Entries that older files do not have."""


def compact(tensor: Tensor) -> Tensor:
    """``tensor`` on memory of its own where it is a view of more: what is saved is not more than what is seen."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


def compact_record(record: Record) -> Record:
    """``record`` with all its tensors compact."""
    tensors = {name: value for name, value in record.as_dict().items() if isinstance(value, Tensor)}
    changes: dict[str, Any] = {name: compact(value) for name, value in tensors.items()}
    return dataclasses.replace(record, store=record.store.over(compact), **changes)


def write(path: str | os.PathLike[str], point: Tensor, record: Record) -> None:
    """Writes the values and the record of a distribution.

    Args:
        path: The file; overwritten.
        point: Its own values, shape ``(*shape)``.
        record: Its record.

    Raises:
        TypeError: If the summary is a function or the target is not plain data: neither can be kept in a file
            that runs no code.
    """
    if not isinstance(record.summary, str):
        raise TypeError(
            f"save keeps data, never code, so not the function summary={record.summary!r}; name a statistic "
            '(summary="median") or use torch.save, whose file is loaded with weights_only=False.'
        )
    if not _is_plain_data(record.target):
        raise TypeError(
            f"save keeps a target of int, tensor, str, list, tuple or None, got {record.target!r} "
            f"({type(record.target).__name__}); convert it, or use torch.save."
        )
    content = compact_record(record).as_dict()
    draws, execution = content.pop("store").state(), content.pop("execution")
    content["execution"] = None if execution is None else dataclasses.astuple(execution)
    torch.save({"format": FORMAT, "version": VERSION, "point": compact(point), "draws": draws, **content}, path)


def read(path: str | os.PathLike[str], map_location: Any = None) -> tuple[Tensor, Record]:
    """Reads what :func:`write` wrote.

    Args:
        path: The file.
        map_location: Where the tensors go, as in ``torch.load``.

    Returns:
        The values and the record.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file was not written by ``DistributionAttribution.save``, or by a later version.
    """
    foreign = f"{os.fspath(path)!r} is not a file of DistributionAttribution.save"
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler meets foreign bytes with whatever they lead it to
        raise ValueError(f"{foreign}; torch.load(weights_only=True) cannot read it.") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{foreign}; torch.load reads it as something else.")
    version = content.pop("version", None)
    if version != VERSION:
        raise ValueError(
            f"{os.fspath(path)!r} has format version {version!r} and this captum_uq reads {VERSION}; "
            "load it with the version of captum_uq that saved it."
        )
    if not _ENTRIES - _LATER <= set(content) <= _ENTRIES:
        raise ValueError(f"{foreign}: its entries are {sorted(content)}.")
    execution = content.pop("execution")
    content["execution"] = None if execution is None else Execution(*execution)
    return content.pop("point"), Record(restored(content.pop("draws")), **content)


def _is_plain_data(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return type(value) in {tuple, list} and all(map(_is_plain_data, value))
    return value is None or type(value) in {int, float, bool, str, Tensor}
