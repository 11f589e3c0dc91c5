"""BatchNorm's running statistics for weights that have none yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._model_state import preserved
from captum_uq.samplers._networks import evaluation_mode
from captum_uq.samplers._sites import module_names


def refit_batch_norm(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Running statistics of every BatchNorm over some batches, for the model's present weights.

    Args:
        model: The network; put back as it was. Only BatchNorm is in train mode meanwhile: dropout stays off.
        batches: Batches of inputs ``(N, *F)``, or of (inputs, labels, ...).

    Returns:
        The buffers by name.
    """
    norms = {name: module for name, module in module_names(model).items() if _keeps_statistics(module)}
    momenta = {name: norm.momentum for name, norm in norms.items()}
    with preserved(model), torch.no_grad():  # buffers' memory is put back, so statistics go to memory of their own
        evaluation_mode(model)
        try:
            for norm in norms.values():
                _start(norm)
            for batch in batches if norms else ():
                model(_inputs(batch, model))
            return {_join(name, key): value.data for name, norm in norms.items() for key, value in norm.named_buffers()}
        finally:
            for name, momentum in momenta.items():
                norms[name].momentum = momentum


def _inputs(batch: Any, model: nn.Module) -> Tensor:
    """The inputs of a batch, on the model's device."""
    inputs: Tensor = batch[0] if isinstance(batch, (tuple, list)) else batch
    return inputs.to(next(model.parameters()).device)


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _start(norm: nn.Module) -> None:
    """Average all batches alike, from nothing, in memory of its own."""
    for buffer in norm.buffers():
        buffer.data = buffer.data.clone()
    norm.reset_running_stats()  # type: ignore[operator]
    norm.momentum, norm.training = None, True  # type: ignore[assignment]


def _keeps_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
