"""Pictures of one channel: the code that gives their gradients fastest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq.samplers._forward import replace_forward


class _Switch:
    """oneDNN and NNPACK, off as long as anyone asks, in whatever thread, and then what they were before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking, self._before = 0, (True, True)

    def off(self) -> None:
        with self._lock:
            if not self._asking:
                self._before = _set(onednn=False, nnpack=False)
            self._asking += 1

    def release(self) -> None:
        with self._lock:
            self._asking -= 1
            if not self._asking:
                _set(*self._before)


def _set(onednn: bool, nnpack: bool) -> tuple[bool, bool]:
    """Switch both, and tell what they were; ``torch.backends.mkldnn.flags`` would set more, and warn."""
    before = bool(torch.backends.mkldnn.enabled), bool(torch.backends.nnpack.set_flags(nnpack)[0])
    torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]  # torch types the descriptor, not its value
    return before


_LIBRARIES = _Switch()


class _Backward:
    """The backward passes of convolutions by torch's own code.

    It is torch that chooses oneDNN for them, or NNPACK for 16 rows and more. Both are written for many channels: the
    gradient of a picture's only channel takes them two to six times as long. The choice is changed for the time of that
    one operation.
    """

    def __init__(self) -> None:
        self._under_way = 0

    def watched(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The forward of a convolution, whose result knows how it is passed backwards."""

        def watching(*args: Any, **kwargs: Any) -> Tensor:
            output = forward(*args, **kwargs)
            node = output.grad_fn
            here = output.device.type == "cpu" and output.dtype == torch.float32
            if here and node is not None and node.name().startswith("Convolution"):
                node.register_prehook(self._begin)
                node.register_hook(self._end)
            return output

        return watching

    def _begin(self, gradients: Any) -> None:
        self._under_way += 1
        _LIBRARIES.off()

    def _end(self, gradients: Any, outputs: Any) -> None:
        self._under_way -= 1
        _LIBRARIES.release()

    def stop(self) -> None:
        """Release what an operation that raised has left."""
        while self._under_way:
            self._end(None, None)


@contextlib.contextmanager
def one_channel(model: nn.Module) -> Iterator[None]:
    """Inside, a convolution of pictures of one channel is passed backwards by torch's own code, on a CPU in float32.

    To rounding the gradients are the same.

    Args:
        model: The network.
    """
    backward = _Backward()
    with contextlib.ExitStack() as stack:
        stack.callback(backward.stop)
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels == 1:
                stack.callback(replace_forward(module, backward.watched))
        yield
