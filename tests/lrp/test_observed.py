"""`LayerLRP` of activations and of modules with others inside: what is asked for changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq._captum import Addition_Module
from captum_uq.lrp import LRP, Composite, EpsilonComposite, EpsilonRule, LayerLRP
from lrp.shipped import shipped

every_composite = pytest.mark.parametrize("make", shipped().values(), ids=shipped().keys())
ACTIVATIONS = (nn.ReLU(), nn.Dropout(), nn.Tanh(), nn.Sigmoid(), nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh()))


@pytest.mark.parametrize("make", [None, *shipped().values()], ids=["Captum's own", *shipped().keys()])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_an_activation_has_the_relevance_that_the_layer_after_it_gives(
    activation: nn.Module, make: Callable[[], Composite] | None
) -> None:
    network = nn.Sequential(nn.Linear(4, 5), copy.deepcopy(activation), nn.Linear(5, 2)).double().eval()
    x, composite = torch.randn(3, 4).double(), None if make is None else make()

    def relevance(*layers: int, to_input: bool = False) -> list[Tensor]:
        method = LayerLRP(network, [network[i] for i in layers], composite)
        return method.attribute(x, target=0, attribute_to_layer_input=to_input)

    (head,), (first,) = relevance(2, to_input=True), relevance(0)
    if composite is None and not isinstance(activation, nn.Sigmoid):  # which Captum does not know
        torch.testing.assert_close(head, captum.attr.LayerLRP(network, network[2]).attribute(x, 0, None, False, True))
    torch.testing.assert_close(relevance(1)[0], head)
    torch.testing.assert_close(relevance(1, to_input=True)[0], head if composite is None else first)
    torch.testing.assert_close(relevance(0, 1), [first, head])


class Block(nn.Module):
    """A block that writes into its input, which goes past it too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(self.body(x) + x)


def normalised(*behind: nn.Module) -> nn.Sequential:
    """A convolution, and a module that begins with a BatchNorm."""
    norm = nn.BatchNorm1d(3)
    nn.init.normal_(norm.running_mean)
    nn.init.normal_(norm.weight)
    head = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    return nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 3, padding=1), nn.Sequential(norm, *behind), head)


def within() -> nn.Sequential:
    """A module that ends with a convolution, and a BatchNorm behind it."""
    network = normalised()
    (_, conv, body, head) = network
    return nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Sequential(nn.Identity(), conv), body[0], head)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "in place": (Block, "first", "body"),
    "begins with a BatchNorm": (lambda: normalised(nn.ReLU()), "1", "2"),
    "is one": (normalised, "1", "2"),
    "ends before one": (within, "1.1", "1"),
}


@every_composite
@pytest.mark.parametrize(("network", "layer", "around"), NETWORKS.values(), ids=NETWORKS.keys())
def test_what_is_asked_for_changes_no_relevance(
    network: Callable[[], nn.Module], layer: str, around: str, make: Callable[[], Composite]
) -> None:
    model, x = network().double().eval(), torch.randn(3, 4).double()
    model_layer, model_around = model.get_submodule(layer), model.get_submodule(around)
    for to_input in (False, True):
        alone = LayerLRP(model, model_layer, make()).attribute(x, target=1, attribute_to_layer_input=to_input)
        method = LayerLRP(model, [model_layer, model_around], make())
        beside, other = method.attribute(x, target=1, attribute_to_layer_input=to_input)
        torch.testing.assert_close(beside, alone)
        assert other.abs().sum() > 0
    if around != "body":  # a BatchNorm and the convolution before it are one layer: their relevance is the same
        out = LayerLRP(model, model_layer, make()).attribute(x, target=1)
        method = LayerLRP(model, model_around, make())
        torch.testing.assert_close(method.attribute(x, target=1, attribute_to_layer_input=layer == "1"), out)


def test_a_rule_that_several_layers_share_leaves_each_its_own_relevance() -> None:
    class Shared(EpsilonComposite):
        rule_of_all = EpsilonRule(1e-9)

        def linear_rule(self, layer: object) -> EpsilonRule:
            return self.rule_of_all

    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(3, 3), nn.Linear(3, 5), nn.Linear(5, 2)
            self.one, self.two = Addition_Module(), Addition_Module()

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(self.a(x), x)
            return self.head(self.two(self.b(x), self.b(x)))

    model, x = Added(), torch.randn(2, 3)
    assert LayerLRP(model, model.two, EpsilonComposite()).attribute(x, target=0).shape == (2, 5)
    network, x = (
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
        torch.rand(2, 4),
    )
    expected = LayerLRP(network, network[2], EpsilonComposite()).attribute(x, target=0)
    torch.testing.assert_close(LayerLRP(network, network[2], Shared()).attribute(x, target=0), expected)
    network[0].rule = network[2].rule = EpsilonRule()
    torch.testing.assert_close(LayerLRP(network, network[2], EpsilonComposite()).attribute(x, target=0), expected)


@every_composite
def test_a_layer_whose_output_goes_two_ways_has_the_relevance_of_both(make: Callable[[], Composite]) -> None:
    """Into a BatchNorm, folded, and past it; into two BatchNorms."""

    class Ways(nn.Module):
        def __init__(self, *ways: nn.Module) -> None:
            super().__init__()
            self.layer, self.ways, self.head = nn.Linear(4, 4), nn.ModuleList(ways), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            return self.head(self.ways[0](x) + self.ways[1](x))

    x = torch.rand(3, 4).double()
    for ways in ((nn.BatchNorm1d(4), nn.Identity()), (nn.BatchNorm1d(4), nn.BatchNorm1d(4))):
        network = Ways(*ways).double().eval()
        method = LayerLRP(network, network.layer, make())
        into = method.attribute(x, target=0, attribute_to_layer_input=True)
        plain = LRP(network, make()).attribute(x, target=0)
        torch.testing.assert_close(into, plain)
