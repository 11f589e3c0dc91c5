"""Compiled networks: their draws run as they were written."""

from __future__ import annotations

import contextlib
import sys
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
    if "torch._dynamo" not in sys.modules:  # which `torch.compile` imports: nothing is compiled
        yield
        return
    forward_func: Any = getattr(method, "forward_func", None)
    every = [("", forward_func), *model.named_modules()]
    if original(forward_func) is not forward_func or any(_is_compiled(name, part) for name, part in every):
        warn(f"{type(model).__name__} is compiled; its draws run in eager mode, through the original module.")
    with torch.compiler.set_stance("force_eager"):  # a function somewhere in the forward may be compiled too
        yield


def _is_compiled(name: str, part: Any) -> bool:
    """Whether a part of a network is compiled, or what a compiled one was made of: `original` of all takes long."""
    return name.endswith("_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None
