"""What a probe of a network must show, and how it is told what it did not."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._trees import leaves
from captum_uq.samplers._random_calls import WAY_OUT
from captum_uq.samplers._sites import Uses, describe
from captum_uq.samplers.base import DrawError


def require_one_distribution(
    model: nn.Module, scopes: Mapping[Hashable, Uses], others: Mapping[Hashable, Uses]
) -> None:
    """Refuse distributions that are not the same for another input.

    Args:
        model: The network.
        scopes: What it drew for one input.
        others: What it drew for the other.

    Raises:
        DrawError: One changed.
    """
    for key, uses in scopes.items():
        for name, calls in uses.items():
            pairs = zip(itertools.chain(*calls), itertools.chain(*others[key][name]), strict=True)
            if not all(call.same_distribution(other) for call, other in pairs):
                raise DrawError(
                    f"{describe(model, name)} draws from a distribution that depends on the input, which cannot be "
                    f"held for a draw. {WAY_OUT}"
                )


def other_input(leaf: Tensor) -> Tensor:
    """Another input of the same kind: other numbers, or the same tokens in another order."""
    if leaf.is_floating_point():
        return 0.7 - leaf
    return leaf.flip(-1) if leaf.dim() > 1 else leaf


def rows_differ(output: Any) -> bool:
    """Whether the two equal rows of a batch got different outputs."""
    batched = [leaf for leaf in leaves(output) if leaf.dim() and leaf.shape[0] == 2 and leaf.is_floating_point()]
    return any(not torch.allclose(leaf[0], leaf[1], rtol=1e-3, atol=1e-5) for leaf in batched)


def is_torchs(module: nn.Module) -> bool:
    """Whether a module's code is torch's, which calls the same modules in train mode as in eval mode."""
    return type(module).__module__.startswith("torch.nn.") and "forward" not in vars(module)


def nothing_drawn(model: nn.Module, among: Sequence[str]) -> str:
    """What an error says of a network that draws nothing; ``among`` some of its modules, where it was not all."""
    where = f" among {among[:8]} (norms are left out)" if among else ""
    return (
        f"MCDropout found nothing to draw in {type(model).__name__}: no module of it used a random number in "
        f"train mode{where}. Give the model a dropout layer or a rate between 0 and 1 (p=), or use a sampler of "
        "weights, such as captum_uq.samplers.DropConnect."
    )


def of_whole_batch(model: nn.Module, error: Exception) -> str:
    """What an error says of a network that does not run on one row."""
    return (
        f"MCDropout holds for every row what the network draws for one, but {type(model).__name__} needs its whole "
        f"batch: on one row it raised {type(error).__name__}: {error!s:.300}. Inputs are (N, *F), so that one example "
        "is x[None], and what goes with the rows is a tensor (N, ...), no list. A network over the nodes of a graph "
        "takes a dimension of rows before them, or a sampler of weights, such as captum_uq.samplers.DropConnect."
    )


def of_eval_mode(model: nn.Module, error: Exception) -> str:
    """What an error says of a network that does not run in train mode."""
    return (
        f"MCDropout runs {type(model).__name__} once in train mode, on one row, to see what it draws, and there it "
        f"raised {type(error).__name__}: {error} Say what may draw, as in modules=nn.Dropout; the rest then stays in "
        "eval mode."
    )
