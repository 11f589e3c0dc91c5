"""Seeing every random operation that a network calls, by a dispatch mode."""

from __future__ import annotations

import contextlib
import functools
import threading
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from captum_uq.samplers._random_calls import SEEDED

_PLAIN = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Modules without an attention kernel: sparing them the switch makes a draw cheaper."""


class RandomMode(TorchDispatchMode):
    """Hands every random operation to `random`; all others pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _may_draw(func) or _draws_nothing(func, args, kwargs):
            return self.run(func, args, kwargs)
        with self:  # an operation made of others (dropout under inference_mode, lstm) shows what it is made of
            parts = func.decompose(*args, **kwargs)
        return self.random(func, args, kwargs) if parts is NotImplemented else parts

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation that draws nothing."""
        return func(*args, **kwargs)

    @abstractmethod
    def random(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a random operation."""


@functools.cache
def _may_draw(func: Any) -> bool:
    """Whether an operation is one that draws; to ask torch takes as long as a small operation."""
    return SEEDED in func.tags


def _draws_nothing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this call of an operation with dropout inside has it switched off."""
    given = {a.name: a.default_value for a in func._schema.arguments if a.default_value is not None}
    given |= dict(zip([a.name for a in func._schema.arguments], args, strict=False)) | kwargs
    if func.name() == "aten::native_dropout":
        return given["train"] is False or not given["p"]
    rates = [given[name] for name in ("dropout_p", "dropout") if name in given]
    return bool(rates) and not rates[0]


class _Count:
    """How many forwards, in how many threads, need torch's fast path of transformers off."""

    def __init__(self) -> None:
        self._lock, self._count, self._before = threading.Lock(), 0, True

    def add(self) -> None:
        with self._lock:
            if self._count == 0:
                self._before = torch.backends.mha.get_fastpath_enabled()
                torch.backends.mha.set_fastpath_enabled(False)
            self._count += 1

    def remove(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                torch.backends.mha.set_fastpath_enabled(self._before)


_SLOW_PATH = _Count()


@contextlib.contextmanager
def visible_kernels() -> Iterator[None]:
    """A forward meanwhile skips torch's fused path for transformer layers, which calls none of their modules."""
    _SLOW_PATH.add()
    try:
        yield
    finally:
        _SLOW_PATH.remove()


@contextlib.contextmanager
def visible_dropout(module: nn.Module) -> Iterator[None]:
    """A module's kernels meanwhile show the dropout that they draw."""
    cudnn = torch.backends.cudnn.enabled
    with contextlib.ExitStack() as stack:
        if not isinstance(module, _PLAIN):
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if isinstance(module, nn.RNNBase) and cudnn:
            torch.backends.cudnn.enabled = False
            stack.callback(setattr, torch.backends.cudnn, "enabled", cudnn)
        yield
