"""The observable state of a network, to be compared before and after a draw."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from captum_uq._tensors import address

HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks") or "_hooks_" in name)


def checked_state(model: nn.Module) -> dict[str, Any]:
    """Flags, classes, hooks, attributes, tensors and their values, by a name that a message can show.

    Buffers' values are compared by what a forward could not have changed: one in eval mode changes none.
    """
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        where = name or type(model).__name__
        state[f"{where}.training"] = module.training
        state[f"the class of {where}"] = type(module)
        state[f"the attributes of {where}"] = sorted(vars(module))
        state[f"the hooks of {where}"] = [list(vars(module).get(hooks) or ()) for hooks in HOOKS]
    every = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    for name, tensor in every:
        state[f"the identity of {name}"] = id(tensor)
        state[f"the memory of {name}"] = address(tensor)
        state[f"{name}.requires_grad"] = tensor.requires_grad
        state[name] = tensor.detach().cpu().to_dense().flatten().view(torch.uint8).numpy().tobytes()
    return state
