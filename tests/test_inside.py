"""What modules keep in dictionaries without a public name: read as torch's own walks read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from captum_uq._inside import HOOKS, buffers_in, computed_in, hooks_of, named_tensors, own_class, tensors_in
from captum_uq.lrp import EpsilonRule
from captum_uq.lrp._attach import attach
from captum_uq.samplers._relevance import pass_relevance


def shared() -> nn.Module:
    """A module under two names, a tied weight, a parameter that is None and buffers that no state dict holds."""
    layer, norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
    network = nn.Sequential(layer, norm, layer, nn.Linear(3, 3, bias=False), nn.ReLU())
    network[3].weight = layer.weight
    network.register_buffer("hidden", torch.zeros(2), persistent=False)
    network.register_buffer("nothing", None)
    network.register_parameter("own", nn.Parameter(torch.ones(1)))
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "shared": shared,
    "alone": lambda: nn.Linear(2, 1),
    "empty": nn.Sequential,
    "nested": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "compiled": lambda: nn.Sequential(torch.compile(nn.Linear(2, 2), backend="eager"), nn.ReLU()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_are_those_that_torch_names(name: str) -> None:
    network = NETWORKS[name]()
    parameters = list(network.named_parameters(remove_duplicate=False))
    every = [*parameters, *network.named_buffers(remove_duplicate=False)]
    assert [(path, id(tensor)) for path, tensor in named_tensors(network)] == [(path, id(each)) for path, each in every]
    inside = {id(tensor) for tensor in tensors_in(network.modules())}
    assert inside == {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    for module in network.modules():
        assert buffers_in(module) == list(module.named_buffers(recurse=False))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_that_hooks_compute_are_seen_beside_parameters() -> None:
    assert not computed_in(nn.Linear(2, 2))
    made = computed_in(nn.utils.weight_norm(nn.Linear(2, 2)))
    assert {name: tensor.shape for name, tensor in made.items()} == {"weight": (2, 2)}


def test_every_hook_that_torch_takes_is_seen() -> None:
    module = nn.Linear(2, 2)
    assert not any(hooks_of(module))
    module.register_forward_hook(lambda *_: None, with_kwargs=True, always_call=True)
    module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    module.register_full_backward_hook(lambda *_: None)
    module.register_full_backward_pre_hook(lambda *_: None)
    assert all(map(bool, hooks_of(module))), [name for name in HOOKS if not vars(module)[name]]


@pytest.mark.parametrize("order", [(0,), (1,), (0, 1), (1, 0)], ids=["held", "ruled", "held, ruled", "ruled, held"])
def test_the_class_of_a_module_is_its_own_under_those_put_on_top(order: tuple[int, ...]) -> None:
    class Own(nn.Dropout):
        pass

    module = Own(0.3)
    put = (pass_relevance, lambda module: attach(module, "0", EpsilonRule()))
    undos = [put[at](module) for at in order]
    assert type(module) is not Own is own_class(module)
    for undo in reversed(undos):
        undo()
    assert type(module) is Own is own_class(module)
