"""What the network predicts, seen while a method runs it: a forward of its own would cost a third of a gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from captum_uq._inside import hooks_of
from captum_uq.distribution.checks import plain
from captum_uq.execution.method import Call, wrapped_forward


class Seen:
    """What a call's forward function gave for the call's own inputs, where the method asked it for that.

    Args:
        call: The call.

    Attributes:
        call: The call.
        outputs: What it gave the first time, ``(N, *outputs)``; None where it was not asked, or gave no tensor.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.outputs: Tensor | None = None
        self._arguments = call.forward_arguments

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """See what the method asks for meanwhile; what hooks of the network itself make of it cannot be seen."""
        forward_func = self.call.method.forward_func
        hooked = isinstance(forward_func, nn.Module) and any(hooks_of(forward_func))
        with contextlib.nullcontext() if hooked else wrapped_forward(self.call.method, self._around):
            yield

    def _around(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = forward(*args, **kwargs)
            if self.outputs is None and not kwargs and self._are_asked(args) and isinstance(outputs, Tensor):
                self.outputs = plain(outputs).clone()
            return outputs

        return watched

    def _are_asked(self, args: tuple[Any, ...]) -> bool:
        """Whether these are the inputs themselves: a method may change copies."""
        asked = self._arguments
        return asked is not None and len(args) == len(asked) and all(a is b for a, b in zip(args, asked, strict=True))
