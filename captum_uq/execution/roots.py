"""Gradients of all outputs, asked for together.

Captum asks for the gradient of every output by itself, and autograd's time for that grows with the square of their
number; the gradient of their sum is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Outputs(Tensor):
    """What a network gives. Captum takes the chosen outputs apart to ask for their gradients: it gets their sum."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.unbind and not kwargs and len(args) == 1 and args[0].dim() == 1:
            return (args[0].as_subclass(Tensor).sum(),)
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


_MANY = 16
"""Of fewer outputs it takes longer to say so."""


def asked_together(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward``, of whose outputs the gradients are asked for together; their values are what they are.

    Args:
        forward: What a method of Captum calls; one output of each row is chosen by the method's ``target``.
    """

    def forward_together(*args: Any, **kwargs: Any) -> Any:
        outputs = forward(*args, **kwargs)
        many = isinstance(outputs, Tensor) and outputs.dim() > 0 and len(outputs) >= _MANY
        asked = many and outputs.requires_grad and torch.is_grad_enabled()
        return outputs.as_subclass(_Outputs) if asked else outputs

    return forward_together
