"""What modules keep in dictionaries of their own: hooks, parameters, buffers.

torch has no public name for them, and its walks over parameters and buffers take three to five times as long, one for
each question. ``tests/test_inside.py`` tells when they move.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def hooks_of(module: nn.Module) -> list[dict[int, Any]]:
    """The dictionaries of a module's hooks."""
    own = vars(module)
    return [own[name] for name in HOOKS]


def hooked_inside(module: nn.Module) -> bool:
    """Whether a module inside this one has hooks."""
    return any(any(hooks_of(part)) for part in module.modules() if part is not module)


def without_hooks(module: nn.Module) -> nn.Module:
    """A module of the same parameters and modules inside, called without this one's hooks."""
    bare = copy.copy(module)
    for name in HOOKS:
        vars(bare)[name] = OrderedDict()
    return bare


def replace_tensors(module: nn.Module, made: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[], None]:
    """Have a module look its parameters and buffers up in dictionaries made of its own; returns what undoes it."""
    before = {name: vars(module)[name] for name in ("_parameters", "_buffers")}
    vars(module).update({name: made(own) for name, own in before.items()})
    return lambda: vars(module).update(before)


def buffers_in(module: nn.Module) -> list[tuple[str, Tensor]]:
    """The buffers of one module, those of the modules inside it aside, with their names in it."""
    return _there(module._buffers, "")


def computed_in(module: nn.Module) -> dict[str, Tensor]:
    """What hooks of `torch.nn.utils.weight_norm` and its like compute before each forward: weights, no parameters."""
    own = vars(module)
    attributes = own.items() if own["_forward_pre_hooks"] else ()
    return {name: value for name, value in attributes if isinstance(value, Tensor)}


ORIGINAL = "_captum_uq_original"
"""Where a class that is put on top of a module's own, for a draw or a rule of LRP, tells that one."""


def own_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module, past those that are put on top of it."""
    kind = type(module)
    while ORIGINAL in vars(kind):
        kind = vars(kind)[ORIGINAL]
    return kind


def tensors_in(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Parameters and buffers of some modules, one that several have as often as they have it."""
    every = (own for module in modules for own in (module._parameters, module._buffers) if own)
    return [tensor for own in every for tensor in own.values() if tensor is not None]


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters, and then the buffers, of a model under every name that they have.

    That is ``named_parameters(remove_duplicate=False)`` and ``named_buffers(remove_duplicate=False)``.
    """
    parameters, buffers = list[tuple[str, Tensor]](), list[tuple[str, Tensor]]()
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        parameters += _there(module._parameters, prefix)
        buffers += _there(module._buffers, prefix)
    return parameters + buffers


def as_written(name: str) -> str:
    """The name of a parameter or buffer without what `torch.compile` puts into it."""
    return name.replace("_orig_mod.", "")


def _there(own: Mapping[str, Tensor | None], prefix: str) -> list[tuple[str, Tensor]]:
    """Those of a module that are not None."""
    return [(prefix + name, tensor) for name, tensor in own.items() if tensor is not None] if own else []
