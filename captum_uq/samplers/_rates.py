"""Dropout rates overridden: in the modules that keep one, and in the functions that are passed one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

_FUNCTIONS: dict[Callable[..., Any], tuple[int, str]] = {
    F.dropout: (1, "p"),
    F.dropout1d: (1, "p"),
    F.dropout2d: (1, "p"),
    F.dropout3d: (1, "p"),
    F.alpha_dropout: (1, "p"),
    F.feature_alpha_dropout: (1, "p"),
    torch.dropout: (1, "p"),
    torch.feature_dropout: (1, "p"),
    torch.alpha_dropout: (1, "p"),
    torch.feature_alpha_dropout: (1, "p"),
    F.scaled_dot_product_attention: (4, "dropout_p"),
    F.multi_head_attention_forward: (10, "dropout_p"),
}
"""Where each function takes its rate: the position and the name."""

_ATTRIBUTES = ("p", "drop_prob")
"""What stochastic depth calls its rate: torchvision's ``StochasticDepth``, timm's ``DropPath``."""


class _FunctionRates(TorchFunctionMode):
    """Dropout functions called meanwhile use one rate."""

    def __init__(self, rate: float, applies: Callable[[], bool]) -> None:
        super().__init__()
        self._rate, self._applies = rate, applies

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FUNCTIONS and self._applies():
            position, name = _FUNCTIONS[func]
            if len(args) > position:
                args = (*args[:position], self._rate, *args[position + 1 :])
            else:
                kwargs[name] = self._rate
        return func(*args, **kwargs)


def function_rates(rate: float | None, applies: Callable[[], bool] = lambda: True) -> AbstractContextManager[object]:
    """A context in which dropout functions use one rate.

    Args:
        rate: The rate; None to leave them alone.
        applies: Whether it holds for the module that runs: not all functions are told whether theirs draws.

    Returns:
        The context.
    """
    return nullcontext() if rate is None else _FunctionRates(rate, applies)


def override_rates(modules: list[nn.Module], rate: float | None) -> Callable[[], None]:
    """Set the rate that the modules keep as an attribute.

    Args:
        modules: Those to look at.
        rate: The new rate; None to leave them alone.

    Returns:
        What puts the old rates back.
    """
    if rate is None:
        return lambda: None
    before = [(module, name, getattr(module, name)) for module in modules for name in _rate_names(module)]
    for module, name, _ in before:
        setattr(module, name, rate)

    def undo() -> None:
        for module, name, value in before:
            setattr(module, name, value)

    return undo


def _rate_names(module: nn.Module) -> list[str]:
    if isinstance(module, nn.RNNBase):
        return ["dropout"]
    if next(module.children(), None) is not None or next(module.parameters(), None) is not None:
        return []
    rates = ((name, vars(module).get(name)) for name in _ATTRIBUTES)
    return [name for name, rate in rates if isinstance(rate, (int, float)) and 0 <= rate <= 1]
