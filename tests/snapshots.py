"""The whole observable state of a model and of the random generators, to be compared before and after."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks") or "_hooks_" in name]
"""Read from torch itself: a kind of hook that a future torch adds is compared too."""


def of_model(model: nn.Module) -> dict[str, Any]:
    """Flags, classes, hooks, attributes, weights, buffers, ``requires_grad`` and identities."""
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        state[f"{name}.training"] = module.training
        state[f"{name}.class"] = type(module)
        state[f"{name}.attributes"] = sorted(vars(module))
        state[f"{name}.rule"] = id(vars(module).get("rule"))
        state[f"{name}.rates"] = [vars(module).get(rate) for rate in ("p", "drop_prob", "dropout")]
        state |= {f"{name}.{hooks}": list(vars(module)[hooks]) for hooks in HOOKS}
    for name, tensor in model.state_dict(keep_vars=True).items():
        state[f"{name}.tensor"] = (id(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.grad is None)
        state[f"{name}.values"] = tensor.detach().numpy().tobytes()
    return state


def of_generators() -> tuple[Any, ...]:
    """The states of torch's, NumPy's and Python's global generators."""
    _, keys, position, *_ = np.random.get_state()
    return bytes(torch.get_rng_state().numpy()), bytes(keys), position, random.getstate()


def of_process() -> tuple[Any, ...]:
    """Global switches that a draw flips for the length of a forward."""
    return (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.is_grad_enabled(),
        torch.utils._python_dispatch._get_current_dispatch_mode() is None,
    )
