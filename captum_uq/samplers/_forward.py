"""A module's forward, replaced for a while.

Not by hooks: a method of Captum may change a module's arguments in hooks of its own, and no hook sees an interrupt.
Not by functions that close over the module either: a copy of the module would run them on the first one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

Forward = Callable[..., Any]


def replace_forward(module: nn.Module, wrap: Callable[[Forward], Forward]) -> Callable[[], None]:
    """Have a module run another forward; its hooks stay around it.

    Args:
        module: The module.
        wrap: Makes the new forward from the one there is.

    Returns:
        What undoes it.
    """
    inner, before = module.forward, vars(module).get("forward")
    vars(module)["forward"] = functools.update_wrapper(wrap(inner), inner, updated=())  # its attributes are its own

    def undo() -> None:
        vars(module).pop("forward", None)
        if before is not None:
            vars(module)["forward"] = before

    return undo


def around_forward(module: nn.Module, around: Callable[[Any, Any], AbstractContextManager[Any]]) -> Callable[[], None]:
    """Have every forward of a module happen inside a context.

    Args:
        module: The module.
        around: Makes the context from the forward's arguments and keyword arguments. It may yield others to use.

    Returns:
        What undoes it.
    """
    return replace_forward(module, lambda inner: _Around(inner, around))


class _Around:
    """A forward inside a context."""

    def __init__(self, inner: Forward, around: Callable[[Any, Any], AbstractContextManager[Any]]) -> None:
        self._inner, self._around = inner, around

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._around(args, kwargs) as changed:
            args, kwargs = changed or (args, kwargs)
            return self._inner(*args, **kwargs)
