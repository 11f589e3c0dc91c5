"""Compiled networks: their draws run as they were written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from captum.attr import Attribution
from torch import nn

from captum_uq._warn import warn
from captum_uq.samplers.base import original


@contextlib.contextmanager
def eager(model: nn.Module, method: Attribution) -> Iterator[None]:
    """Run what ``torch.compile`` compiled as it was written: compiled code has its dropout inside its kernels."""
    modules = [method.forward_func, *model.modules()] if hasattr(method, "forward_func") else [*model.modules()]
    if not any(_is_compiled(module) for module in modules):
        yield
        return
    warn(f"{type(model).__name__} is compiled; its draws run in eager mode, through the original module.")
    with torch.compiler.set_stance("force_eager"):
        yield


def _is_compiled(module: Any) -> bool:
    return isinstance(module, nn.Module) and (
        original(module) is not module or getattr(module, "_compiled_call_impl", None) is not None
    )
