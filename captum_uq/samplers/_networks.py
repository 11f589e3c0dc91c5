"""What draws need to know of a network, and the lock on it."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from torch import nn

_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


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


def exclusive(model: nn.Module) -> threading.RLock:
    """The lock that makes threads take turns on a model: a draw changes it in place."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.RLock())
