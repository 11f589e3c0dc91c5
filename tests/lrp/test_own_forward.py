"""A subclass of a layer with a forward of its own is not taken for the layer that torch wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq import StochasticAttribution
from captum_uq.lrp import (
    LRP,
    BoxRule,
    Composite,
    EpsilonComposite,
    EpsilonRule,
    GammaRule,
    LayerRule,
    ZPlusComposite,
    ZPlusRule,
)
from captum_uq.samplers import WeightSamples
from lrp.shipped import shipped


class Adapted(nn.Linear):
    """LoRA: a matrix of low rank beside the weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.down.T @ self.up.T


class Masked(nn.Linear):
    """Half of the weight is off."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (torch.arange(self.in_features) % 2), self.bias)


class Standardised(nn.Conv2d):
    """As timm's StdConv2d."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class StandardisedBelow(nn.Conv2d):
    """The same where the convolution's forward looks for it."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight - weight.mean(), bias)


class Same(nn.Conv2d):
    """As timm's Conv2dSame."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Scaled(nn.ConvTranspose2d):
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return 2 * super().forward(x, output_size)


class Flat(nn.Linear):
    """Takes another shape than its base."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class Summed(nn.Linear):
    """Has a gradient of which all numbers are one in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) + self.bias


class OfTwo(nn.Linear):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return super().forward(x) + other


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = OfTwo(5, 5, bias=False), nn.Linear(5, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x, 2 * x))


PICTURE = (2, 4, 4)
OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a matrix beside it": (lambda: Adapted(6, 5), (6,)),
    "a mask": (lambda: Masked(6, 5), (6,)),
    "a standardised weight": (lambda: Standardised(2, 5, 3), PICTURE),
    "one standardised inside": (lambda: StandardisedBelow(2, 5, 3), PICTURE),
    "padding": (lambda: Same(2, 5, 2), PICTURE),
    "a transposed convolution": (lambda: Scaled(2, 5, 2), PICTURE),
    "a sum": (lambda: Summed(6, 5), (6,)),
    "another shape": (lambda: Flat(32, 5), PICTURE),
}


class Inherited(nn.Linear):
    """Adds nothing to the forward."""


class Wrapped(nn.Linear):
    """As timm's Linear: it casts where it must, and else is its base."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), self.bias)


class WrappedConvolution(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


ALIKE: dict[str, tuple[Callable[[], nn.Module], nn.Module, tuple[int, ...]]] = {
    "inherited": (lambda: Inherited(6, 5), nn.Linear(6, 5), (6,)),
    "wrapped": (lambda: Wrapped(6, 5), nn.Linear(6, 5), (6,)),
    "a wrapped convolution": (lambda: WrappedConvolution(2, 5, 3), nn.Conv2d(2, 5, 3), PICTURE),
}
COMPOSITES: list[Composite] = [
    *(make() for make in shipped().values()),
    *(EpsilonComposite(rules={"0": rule}) for rule in (GammaRule(), GammaRule(signed=True))),
]


def network(layer: nn.Module, shape: tuple[int, ...], *norm: nn.Module) -> nn.Sequential:
    model = nn.Sequential(layer, *norm, nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.randn(2, *shape))
    return model.double()


def norm(outputs: int, shape: tuple[int, ...], layer: nn.Module) -> nn.Module:
    made = (nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d)(outputs)
    made.running_mean, made.running_var = torch.randn(outputs), torch.rand(outputs) + 0.5
    return made


def gradient_times_input(model: nn.Module, inputs: Tensor) -> Tensor:
    inputs = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs)[:, 1].sum(), inputs)
    return (inputs * gradient).detach()


@pytest.mark.parametrize("normalised", [False, True], ids=["alone", "behind it a BatchNorm"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_rule_that_runs_a_layer_needs_not_know_its_weight(name: str, normalised: bool) -> None:
    """LRP-0 of a linear network is its gradient times the input."""
    make, shape = OTHERS[name]
    layer = make()
    model = network(layer, shape, *([norm(5, shape, layer)] if normalised else []))
    inputs = torch.randn(3, *shape, dtype=torch.float64)
    relevance = LRP(model, EpsilonComposite(0.0)).attribute(inputs.clone(), target=1)
    torch.testing.assert_close(relevance, gradient_times_input(model, inputs), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("normalised", [False, True], ids=["alone", "behind it a BatchNorm"])
@pytest.mark.parametrize("rule", [ZPlusRule(), GammaRule(), GammaRule(signed=True), BoxRule(-9.0, 9.0)], ids=repr)
@pytest.mark.parametrize("name", OTHERS)
def test_a_rule_that_reads_a_weight_refuses_a_layer_that_is_more(name: str, rule: LayerRule, normalised: bool) -> None:
    make, shape = OTHERS[name]
    layer = make()
    model = network(layer, shape, *([norm(5, shape, layer)] if normalised else []))
    inputs = torch.randn(3, *shape, dtype=torch.float64).clamp(-9, 9)
    with pytest.raises(TypeError) as error:
        LRP(model, EpsilonComposite(rules={"0": rule})).attribute(inputs, target=1)
    message = str(error.value)
    assert repr(rule) in message
    assert f"the forward of {type(layer).__name__} '0' gives something else" in message
    assert "EpsilonRule()" in message


def test_a_layer_of_two_inputs_is_run_by_epsilon_rules_and_refused_by_those_that_read_a_weight() -> None:
    model, inputs = Doubling().double(), torch.randn(3, 5, dtype=torch.float64)
    relevance = LRP(model, EpsilonComposite(0.0)).attribute(inputs.clone(), target=1)
    torch.testing.assert_close(relevance, gradient_times_input(model, inputs))
    with pytest.raises(TypeError, match="the forward of OfTwo 'layer' gives something else"):
        LRP(model, ZPlusComposite()).attribute(inputs, target=1)


def test_the_way_out_is_one() -> None:
    model, inputs = network(Adapted(6, 5), (6,)), torch.randn(3, 6, dtype=torch.float64)
    composite = ZPlusComposite(rules={"0": EpsilonRule(0.0), "2": EpsilonRule(0.0)})
    relevance = LRP(model, composite).attribute(inputs.clone(), target=1)
    torch.testing.assert_close(relevance, gradient_times_input(model, inputs))


@pytest.mark.parametrize("plain", [False, True], ids=["our LRP", "Captum's LRP"])
@pytest.mark.parametrize("composite", COMPOSITES, ids=repr)
@pytest.mark.parametrize("name", ALIKE)
def test_a_subclass_that_does_what_its_base_does_is_taken_for_it(name: str, composite: Composite, plain: bool) -> None:
    make, base, shape = ALIKE[name]
    for normalised in (False, True):
        layer = make()
        layer.load_state_dict(base.state_dict())
        behind = [norm(5, shape, layer)] if normalised else []
        model = network(layer, shape, *behind)
        other = nn.Sequential(base.double(), *model[1:])
        inputs = torch.randn(3, *shape, dtype=torch.float64).clamp(-9, 9)
        found, wanted = (attribute(each, composite, inputs, plain) for each in (model, other))
        torch.testing.assert_close(found, wanted)


def attribute(model: nn.Module, composite: Composite, inputs: Tensor, plain: bool) -> Any:
    inputs = inputs.clone().requires_grad_()
    if not plain:
        return LRP(model, composite).attribute(inputs, target=1)
    with composite.context(model):
        return captum.attr.LRP(model).attribute(inputs, target=1)


@pytest.mark.parametrize("drawn", ["0", "0.weight", "1", ""])
@pytest.mark.parametrize("name", ["a matrix beside it", "a standardised weight", "wrapped"])
def test_drawn_weights_are_those_of_the_draw(name: str, drawn: str) -> None:
    """By the fold as by the loop; and behind the layer a normalisation, drawn too."""
    torch.manual_seed(0)
    make, shape = OTHERS[name] if name in OTHERS else (ALIKE[name][0], ALIKE[name][2])
    layer = make()
    model, inputs = network(layer, shape, norm(5, shape, layer)), torch.randn(2, *shape, dtype=torch.float64)
    own = {key: value.detach() for key, value in model.named_parameters() if key.startswith(drawn)}
    samples = [{key: value + 0.3 * torch.randn_like(value) for key, value in own.items()} for _ in range(9)]
    composites = [EpsilonComposite(0.0)] if name in OTHERS else [EpsilonComposite(0.0), ZPlusComposite()]
    for composite in composites:
        uq = StochasticAttribution(LRP(model, composite=composite), WeightSamples(samples))
        loop, fold = (uq.attribute(inputs, target=1, n_draws=9, seed=0, execution=road) for road in ("loop", "fold"))
        assert fold.execution.road == "fold", fold.execution.reason
        torch.testing.assert_close(fold.draws, loop.draws, rtol=0, atol=1e-9 * float(loop.draws.abs().max()))
    if name in OTHERS:
        uq = StochasticAttribution(LRP(model, composite=ZPlusComposite()), WeightSamples(samples))
        for road in ("loop", "fold"):
            with pytest.raises(TypeError, match="gives something else than they do"):
                uq.attribute(inputs, target=1, n_draws=9, seed=0, execution=road)


@pytest.mark.parametrize("rule", [EpsilonRule(), ZPlusRule()], ids=repr)
def test_a_rule_runs_a_layer_as_it_was_called(rule: LayerRule) -> None:
    """What is given by name is a part of the call; an activation given so has no relevance, and is refused."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 4, bias=False)

        def forward(self, x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
            return self.layer(x) * scale

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head, self.gate = Scaled(), nn.Linear(4, 2, bias=False), nn.Linear(5, 4)
            self.gated = False

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x, scale=self.gate(x) if self.gated else -3.0))

    network, x = Network().double(), torch.rand(3, 5).double()
    composite = EpsilonComposite(1e-12, rules={"first": rule})
    torch.testing.assert_close(LRP(network, composite).attribute(x, target=0).sum(1), network(x)[:, 0])
    assert "_lrp_kwargs" not in vars(network.first)
    network.gated = True
    with pytest.raises(TypeError, match=r"Scaled 'first' took \['Tensor', 'scale='\]"):
        LRP(network, composite).attribute(x, target=0)


@pytest.mark.parametrize("composite", [make() for make in shipped().values()], ids=shipped().keys())
def test_an_autocast_inside_the_forward_is_over_when_relevance_passes(composite: Composite) -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.body(x).float()

    network, x = Cast(), torch.rand(3, 4)
    found = LRP(network, composite).attribute(x, target=0)
    expected = LRP(network.body, composite).attribute(x, target=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * float(expected.abs().max()))
