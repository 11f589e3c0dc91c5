"""What draws need to know of a network, and the lock on all of them."""

from __future__ import annotations

import threading
from typing import Any

from torch import nn

_LOCK = threading.RLock()


def original(model: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``'s wrapper, or the module itself."""
    compiled_from = getattr(model, "_orig_mod", None)
    return compiled_from if isinstance(compiled_from, nn.Module) else model


def evaluation_mode(model: nn.Module) -> None:
    """Switch every module to eval, past any ``train`` or ``eval`` that the user's model overrides."""
    for module in model.modules():
        if module.training:
            module.training = False


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Captum's convention: a tuple stands for several arguments, None for no argument."""
    return () if value is None else value if isinstance(value, tuple) else (value,)


def exclusive() -> threading.RLock:
    """The lock by which threads take turns.

    A draw changes its model in place, and the global random numbers, which methods of Captum draw from, are the
    process's: two threads would disturb each other on two models, too.
    """
    return _LOCK
