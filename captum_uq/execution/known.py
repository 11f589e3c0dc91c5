"""What a check of a road holds for, so that a call like one before need not be checked again."""

from __future__ import annotations

import functools
import types
from collections.abc import Container, Hashable
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from captum_uq._trees import tree_map
from captum_uq.execution.job import Job

_DEPTH = 4
"""How deep the options of a method, and what a function refers to, are read."""


def key_of(job: Job) -> Hashable:
    """Method, sampler and arguments of a call; values of tensors and of targets aside."""
    call = job.call
    given = {**call.arguments, "target": type(call.argument("target"))}
    arguments = str(tree_map(lambda leaf: (leaf.shape, leaf.dtype, leaf.device), given))
    parts = set(job.model.modules()) if job.model is not None else set()
    forward = told(call.method.forward_func, parts)
    modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    autocast = (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"))
    options = tuple((name, told(value, parts)) for name, value in vars(call.method).items() if name != "forward_func")
    return type(call.method), options, forward, job.sampler, arguments, job.predicts, modes, autocast


def told(value: Any, parts: Container[Any], depth: int = _DEPTH) -> Hashable:
    """What tells a value from others, as far as it can be said in few words.

    Args:
        value: An option of a method, a forward function, or what it refers to.
        parts: The modules of the network.
        depth: How much further to look.

    Returns:
        Numbers and words as they are, modules of the network by identity, functions by their code and what they refer
        to; of all else, such as the linear models that Lime makes, the type.
    """
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, Tensor):
        return type(value), value.shape, value.dtype
    if isinstance(value, nn.Module):
        return type(value), id(value) if value in parts else None
    kind = value.__code__ if isinstance(value, types.FunctionType) else type(value)
    return kind, tuple(told(item, parts, depth - 1) for item in (_items(value) if depth else ()))


def _items(value: Any) -> tuple[Any, ...]:
    """What a value is made of."""
    if isinstance(value, Attribution):
        return tuple(item for name, item in vars(value).items() if name != "forward_func")
    if isinstance(value, (list, tuple, set)):
        return tuple(item for item in value if not isinstance(item, RemovableHandle))  # Captum collects them
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
        return (*cells, value.__defaults__, value.__kwdefaults__)
    return ()


def _is_empty(cell: types.CellType) -> bool:
    """Whether a name of a closure is not bound yet."""
    try:
        cell.cell_contents  # noqa: B018 -- it raises
    except ValueError:
        return True
    return False
