"""Everything that a draw or a method of Captum may touch in a model, remembered and put back (law 4: no trace)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._captum import LEFT_ON_MODULES
from captum_uq._inside import buffers_in, computed_in, hooks_of, tensors_in
from captum_uq._tensors import address, same_values, times_written
from captum_uq._trees import leaves, tree_map

_ATTRIBUTES = {"forward", *LEFT_ON_MODULES}
"""What a draw (``forward``) or Captum sets on a module of the user's."""

_NONE: dict[int, Any] = {}
"""The hooks of most modules."""


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
        self._hooks = [hooks for module in self._modules for hooks in hooks_of(module)]
        self._hooks_before = [hooks.copy() if hooks else _NONE for hooks in self._hooks]
        self._attributes = [_pick(vars(module), _ATTRIBUTES) for module in self._modules]
        self._tensors = [(each, each.data, address(each), each.requires_grad) for each in tensors_in(self._modules)]
        self._computed = [(vars(module), made) for module in self._modules if (made := computed_in(module))]
        copied = self._modules if buffers else []
        self._buffers = [_Buffer(module, *at) for module in copied for at in buffers_in(module)]

    def evaluation_mode(self) -> None:
        """Switch every module to eval, past any ``train`` or ``eval`` that the user's model overrides."""
        for module in self._modules:
            if module.training:
                module.training = False

    def restore(self) -> None:
        """Make the model what it was."""
        for module, training in zip(self._modules, self._flags, strict=True):
            if module.training != training:
                module.training = training
        self.restore_hooks()
        for module, attributes in zip(self._modules, self._attributes, strict=True):
            now = vars(module)
            if attributes or not now.keys().isdisjoint(_ATTRIBUTES):
                for name in now.keys() & _ATTRIBUTES:
                    del now[name]
                now.update(attributes)
        self._restore_tensors()

    def _restore_tensors(self) -> None:
        for tensor, data, at, requires_grad in self._tensors:
            if address(tensor) != at:
                tensor.data = data
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)
        for attributes, computed in self._computed:
            attributes.update(computed)
        for buffer in self._buffers:
            buffer.restore()

    def restore_hooks(self) -> None:
        """Make the hooks what they were, in place: a removable handle refers to the dictionary itself."""
        if any(self._hooks) or any(self._hooks_before):
            for now, before in zip(self._hooks, self._hooks_before, strict=True):
                if now.keys() != before.keys():
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
        if not same_values(self._tensor, self._value):  # batch normalisation writes without telling autograd's counter
            with torch.no_grad():
                self._tensor.copy_(self._value)


def fingerprint(model: nn.Module, *, written: bool = True) -> tuple[Any, ...]:
    """What changes when a model is trained, edited or hooked: its weights, its options, its hooks; not its mode.

    Args:
        model: The model.
        written: Whether writing to its weights counts.

    Returns:
        Something to be compared with what it was before.
    """
    modules = dict(model.named_modules())
    every = tensors_in(modules.values())
    tensors = tuple((address(tensor), times_written(tensor) if written else None) for tensor in every)
    parts = ((name, type(part), _options_of(part), _hook_keys(part)) for name, part in modules.items())
    return tensors, tuple(parts)


def _options_of(module: nn.Module) -> tuple[Any, ...]:
    options = ((name, value) for name, value in vars(module).items() if name != "training")
    return tuple((name, value) for name, value in options if value is None or isinstance(value, (str, int, float)))


def _hook_keys(module: nn.Module) -> tuple[int, ...]:
    return tuple(key for hooks in hooks_of(module) if hooks for key in hooks)


def _pick(attributes: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: attributes[name] for name in names if name in attributes}


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


@contextlib.contextmanager
def without_graphs(model: nn.Module) -> Iterator[None]:
    """What layers remember of their last forward (their weights, a log prior) off its graph, so it can be copied."""
    found = [
        (vars(module), name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if any(tensor.grad_fn is not None for tensor in leaves(value))
    ]
    try:
        for attributes, name, value in found:
            attributes[name] = tree_map(Tensor.detach, value)
        yield
    finally:
        for attributes, name, value in found:
            attributes[name] = value
