"""Everything that a draw or a method of Captum may touch in a model, remembered and put back (law 4: no trace)."""

from __future__ import annotations

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._captum import LEFT_ON_MODULES

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
"""torch offers no public way to read a module's hooks; ``tests/test_no_trace.py`` tells when these move."""


_ATTRIBUTES = {"forward", *LEFT_ON_MODULES}
"""What a draw (``forward``) or Captum sets on a module of the user's."""


class ModelState:
    """A model's flags, hooks, weights, ``requires_grad`` and LRP rules at one moment.

    Weights are remembered by reference, not by value: what replaces them replaces ``.data``. Buffers, which a
    forward may change in place or replace, are copied if asked for, and written only where they were changed: a graph
    of the user's may still need them.

    Args:
        model: The module to remember, with everything inside it.
        buffers: Whether to copy the buffers' values as well.
    """

    def __init__(self, model: nn.Module, *, buffers: bool = False) -> None:
        self._modules = list(model.modules())
        self._flags = [module.training for module in self._modules]
        self._hooks = [(hooks, dict(hooks)) for module in self._modules for hooks in _hooks_of(module)]
        self._attributes = [_pick(vars(module), _ATTRIBUTES) for module in self._modules]
        self._tensors = [(p, p.data, p.requires_grad) for p in (*model.parameters(), *model.buffers())]
        self._buffers = [_Buffer(*at) for module in self._modules for at in _buffers_of(module)] if buffers else []

    def restore(self) -> None:
        """Make the model what it was."""
        for module, training in zip(self._modules, self._flags, strict=True):
            if module.training != training:
                module.training = training
        self.restore_hooks()
        for module, attributes in zip(self._modules, self._attributes, strict=True):
            now = vars(module)
            for name in now.keys() & _ATTRIBUTES:
                del now[name]
            now.update(attributes)
        self._restore_tensors()

    def _restore_tensors(self) -> None:
        for tensor, data, requires_grad in self._tensors:
            if tensor.data_ptr() != data.data_ptr():
                tensor.data = data
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)
        for buffer in self._buffers:
            buffer.restore()

    def restore_hooks(self) -> None:
        """Make the hooks what they were, in place: a removable handle refers to the dictionary itself."""
        for now, before in self._hooks:
            if (now or before) and now.keys() != before.keys():
                now.clear()
                now.update(before)


class _Buffer:
    """A buffer of a module, and its value at one moment."""

    def __init__(self, module: nn.Module, name: str, tensor: Tensor) -> None:
        self._module, self._name, self._tensor = module, name, tensor
        self._value = tensor.detach().clone()

    def restore(self) -> None:
        """Make it what it was."""
        if getattr(self._module, self._name, None) is not self._tensor:
            setattr(self._module, self._name, self._tensor)
        if not torch.equal(self._tensor, self._value):  # batch normalisation writes without telling autograd's counter
            with torch.no_grad():
                self._tensor.copy_(self._value)


def _buffers_of(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    return ((module, name, tensor) for name, tensor in module.named_buffers(recurse=False))


def fingerprint(model: nn.Module, *, written: bool = True) -> tuple[Any, ...]:
    """What changes when a model is trained, edited or hooked: its weights, its options, its hooks; not its mode.

    Args:
        model: The model.
        written: Whether writing to its weights counts.

    Returns:
        Something to be compared with what it was before.
    """
    every = (*model.parameters(), *model.buffers())
    tensors = tuple((tensor.data_ptr(), _version(tensor) if written else None) for tensor in every)
    parts = ((name, type(part), _options_of(part), _hook_keys(part)) for name, part in model.named_modules())
    return tensors, tuple(parts)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written to; None where torch does not count.

    torch has no public name for it; ``tests/test_no_trace_of_buffers.py`` tells when it moves.
    """
    return None if tensor.is_inference() else tensor._version


def _options_of(module: nn.Module) -> tuple[Any, ...]:
    options = ((name, value) for name, value in vars(module).items() if name != "training")
    return tuple((name, value) for name, value in options if value is None or isinstance(value, (str, int, float)))


def _hook_keys(module: nn.Module) -> tuple[int, ...]:
    return tuple(key for hooks in _hooks_of(module) if hooks for key in hooks)


def _hooks_of(module: nn.Module) -> list[dict[int, Any]]:
    return [vars(module)[name] for name in _HOOKS]


def _pick(attributes: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: attributes[name] for name in names if name in attributes}


def hooked_inside(module: nn.Module) -> bool:
    """Whether a module inside this one has hooks."""
    return any(any(_hooks_of(part)) for part in module.modules() if part is not module)


def without_hooks(module: nn.Module) -> nn.Module:
    """A module of the same parameters and modules inside, called without this one's hooks."""
    bare = copy.copy(module)
    for name in _HOOKS:
        vars(bare)[name] = OrderedDict()
    return bare


@contextlib.contextmanager
def preserved(model: nn.Module, *, buffers: bool = False) -> Iterator[ModelState]:
    """Put the model back on leaving, by return or by exception."""
    state = ModelState(model, buffers=buffers)
    try:
        yield state
    finally:
        state.restore()


@contextlib.contextmanager
def preserved_gradients(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Put ``requires_grad`` of the user's own tensors back on leaving; Captum sets it and may raise half-way."""
    before = [(tensor, tensor.requires_grad) for tensor in tensors if tensor.is_leaf]
    try:
        yield
    finally:
        for tensor, requires_grad in before:
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)
