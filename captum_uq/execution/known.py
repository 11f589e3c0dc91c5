"""What a check of a road holds for, so that a call like one before need not be checked again."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Container, Hashable, Iterable
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from captum_uq._trees import batch_size, leaves, tree_map
from captum_uq.execution.job import Job

_DEPTH = 4
"""How deep the options of a method, and what a function refers to, are read."""

_WIDTH = 4096
"""How many values of them are read."""

_FEW = 16
"""So few numbers of a tensor may be a setting."""

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_NO_SETTINGS = (Tensor, nn.Module, list, tuple, set)


def key_of(job: Job) -> Hashable:
    """Method, sampler and arguments of a call; values of what has a row for each example, and of targets, aside."""
    call = job.call
    given = {**call.arguments, "target": type(call.argument("target"))}
    kinds = tree_map(lambda leaf: f"{tuple(leaf.shape)} {leaf.dtype} {leaf.device}", given)
    modules = dict(job.model.named_modules()) if job.model is not None else {}
    tell = Teller(set(modules.values()))
    options = tuple((name, tell(value)) for name, value in vars(call.method).items() if name != "forward_func")
    arguments = tuple((name, tell(value)) for name, value in kinds.items())
    numbers = _numbers(call.argument("additional_forward_args"), call.forward_arguments)
    settings = tuple((name, key, tell(value)) for name, part in modules.items() for key, value in _settings(part))
    modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    autocast = (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"))
    parts = (options, tell(call.method.forward_func), arguments, numbers, settings)
    return type(call.method), parts, job.sampler, job.predicts, modes, autocast


def _settings(module: nn.Module) -> Iterable[tuple[str, Any]]:
    """Dicts and objects that a module has of its own; `fingerprint` tells its numbers and words, and a list grows."""
    own = ((name, value) for name, value in vars(module).items() if name not in _OF_EVERY_MODULE and name[0] != "_")
    return ((name, value) for name, value in own if not isinstance(value, _NO_SETTINGS) and not callable(value))


def _numbers(tree: Any, arguments: Any) -> tuple[str, ...]:
    """Those of the small tensors that are no rows."""
    rows = batch_size(leaves(arguments))
    return tuple(_told_tensor(leaf) for leaf in leaves(tree) if leaf.shape[:1] != (rows,))


def _told_tensor(tensor: Tensor) -> str:
    return str(tensor.tolist()) if tensor.numel() <= _FEW else ""


class Teller:
    """What tells values from others, as far as it can be said in few words.

    Args:
        parts: The modules of the network.
    """

    def __init__(self, parts: Container[Any]) -> None:
        self._parts, self._left = parts, _WIDTH

    def __call__(self, value: Any, depth: int = _DEPTH) -> Hashable:
        """What tells one value.

        Args:
            value: An argument, an option of a method, a forward function, or what it refers to.
            depth: How much further to look.

        Returns:
            Numbers and words as they are, also those of small tensors; modules of the network by identity, functions
            by their code and what they refer to, objects by their attributes, and where these cannot be read by what
            they print.
        """
        if isinstance(value, (str, int, float, type(None), type)):
            return value
        if isinstance(value, Tensor):
            return type(value), value.shape, value.dtype, _told_tensor(value)
        if isinstance(value, nn.Module):
            return type(value), id(value) if value in self._parts else None
        kind = value.__code__ if isinstance(value, types.FunctionType) else type(value)
        items = _items(value)
        if items is None:
            return kind, repr(value) if _prints(type(value)) else ""
        told = []
        for item in items if depth else ():
            self._left -= 1
            if self._left < 0:
                break
            told.append(self(item, depth - 1))
        return kind, tuple(told)


def _prints(kind: Any) -> bool:
    """Whether objects of a type print more than where they lie."""
    return kind.__repr__ is not object.__repr__


def _items(value: Any) -> Iterable[Any] | None:
    """What a value is made of; None where that cannot be read."""
    read = next((read for kind, read in _READERS if isinstance(value, kind)), None)
    if read is not None:
        return read(value)
    readable = hasattr(value, "__dict__") and not isinstance(value, types.ModuleType)
    return list(vars(value).values()) if readable else None


def _referred(function: types.FunctionType) -> Iterable[Any]:
    """What a function has from outside: variables around it, those of its file that it names, its defaults."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    named = [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    return (*cells, *named, function.__defaults__, function.__kwdefaults__)


def _is_empty(cell: types.CellType) -> bool:
    """Whether a name of a closure is not bound yet."""
    try:
        cell.cell_contents  # noqa: B018 -- it raises
    except ValueError:
        return True
    return False


_READERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Iterable[Any]]], ...] = (
    (Attribution, lambda method: [item for name, item in vars(method).items() if name != "forward_func"]),
    ((list, tuple, set), lambda items: [item for item in items if not isinstance(item, RemovableHandle)]),
    (dict, lambda items: (*items.keys(), *items.values())),
    (functools.partial, lambda call: (call.func, call.args, call.keywords)),
    (types.MethodType, lambda method: (method.__func__, method.__self__)),
    (types.FunctionType, _referred),
    (slice, lambda cut: (cut.start, cut.stop, cut.step)),
)
"""What values of a type are made of. Captum collects the handles of hooks, which tell nothing."""
