"""Each rule equals the paper's formula, computed neuron by neuron in float64."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq.lrp import AveragePoolRule, BoxRule, EpsilonRule, GammaRule, LayerRule, PassRule, ZPlusRule
from lrp import reference

LAYERS = {
    "Linear": (lambda: nn.Linear(6, 4), (6,)),
    "Linear on a sequence": (lambda: nn.Linear(3, 4), (2, 3)),
    "Linear without bias": (lambda: nn.Linear(6, 4, bias=False), (6,)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), (2, 7)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 4, 4)),
    "Conv2d, circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    "Conv2d, same": (lambda: nn.Conv2d(2, 2, 2, padding="same", dilation=2), (2, 4, 4)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, groups=2), (4, 2, 2)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 2, 2, dilation=2), (1, 2, 2, 2)),
}
LOW, HIGH = -3.5, 4.0
RULES = {
    "LRP-0": (lambda: EpsilonRule(0.0), lambda *a: reference.epsilon(*a, eps=0.0)),
    "epsilon": (lambda: EpsilonRule(0.1), lambda *a: reference.epsilon(*a, eps=0.1)),
    "epsilon, relative": (
        lambda: EpsilonRule(0.25, relative=True),
        lambda *a: reference.epsilon(*a, eps=0.25, relative=True),
    ),
    "z+": (ZPlusRule, reference.z_plus),
    "gamma": (lambda: GammaRule(0.25), lambda *a: reference.gamma(*a, factor=0.25, bias="scaled")),
    "gamma, bias kept": (lambda: GammaRule(0.5, bias="kept"), lambda *a: reference.gamma(*a, factor=0.5, bias="kept")),
    "gamma, no bias": (lambda: GammaRule(0.5, bias="zero"), lambda *a: reference.gamma(*a, factor=0.5, bias="zero")),
    "gamma, signed": (lambda: GammaRule(0.25, signed=True), lambda *a: reference.signed_gamma(*a, factor=0.25)),
    "box": (
        lambda: BoxRule(LOW, HIGH),
        lambda x, w, b, r: reference.box(x, w, b, r, low=[LOW] * len(x), high=[HIGH] * len(x)),
    ),
}


def inputs_of_both_signs(shape: tuple[int, ...]) -> Tensor:
    """Two rows, a quarter of the values 0."""
    inputs = torch.randn(2, *shape, dtype=torch.float64).clamp(-3, 3)
    inputs[torch.rand(inputs.shape) < 0.25] = 0.0
    return inputs


@pytest.mark.parametrize("layer_name", LAYERS)
@pytest.mark.parametrize("rule_name", RULES)
def test_a_rule_equals_its_formula(rule_name: str, layer_name: str) -> None:
    make_layer, shape = LAYERS[layer_name]
    make_rule, formula = RULES[rule_name]
    layer, inputs = make_layer().double(), inputs_of_both_signs(shape)
    weight, bias = reference.matrix(layer, shape)
    layer.rule = make_rule()
    network = nn.Sequential(layer, nn.Flatten(), nn.Linear(len(bias), 1, bias=False).double())
    network[1].rule, network[2].rule = PassRule(), EpsilonRule(0.0)
    with torch.no_grad():
        arriving = (inputs.flatten(1) @ weight + bias) * network[2].weight[0]  # what LRP-0 gives each output
    relevance = captum.attr.LRP(network).attribute(inputs)
    for row in range(2):
        expected = formula(inputs[row].flatten().tolist(), weight.tolist(), bias.tolist(), arriving[row].tolist())
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(relevance[row].flatten(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make_rule", [ZPlusRule, lambda: GammaRule(0.25), lambda: BoxRule(0.0, 4.0), EpsilonRule])
def test_a_rule_is_bound_to_no_batch(make_rule) -> None:
    """Each row's relevance is what the row has alone."""
    network = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
    inputs = torch.rand(3, 1, 3, 3, dtype=torch.float64)

    def attribute(inputs: Tensor) -> Tensor:
        network[0].rule, network[1].rule = make_rule(), PassRule()
        return captum.attr.LRP(network).attribute(inputs, target=0).detach()

    rows = torch.cat([attribute(inputs[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(attribute(inputs), rows)


def test_the_relative_epsilon_is_relative_to_each_example() -> None:
    layer = nn.Linear(3, 4, bias=False).double()
    step = _step(layer, torch.tensor([[1.0, 2.0, 3.0], [100.0, 200.0, 300.0]], dtype=torch.float64))
    one, hundred = EpsilonRule(0.25, relative=True).relevance(step, torch.ones(2, 4, dtype=torch.float64))[0]
    torch.testing.assert_close(one, hundred)


def test_an_output_of_zero_counts_as_positive_under_epsilon_and_passes_nothing_under_lrp_0() -> None:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    step = _step(layer, torch.tensor([[1.0, -1.0]]))
    assert EpsilonRule(0.5).relevance(step, torch.ones(1, 1))[0].tolist() == [[2.0, -2.0]]
    step = _step(layer, torch.tensor([[1.0, -1.0]]))
    assert EpsilonRule(0.0).relevance(step, torch.ones(1, 1))[0].tolist() == [[0.0, 0.0]]


POOLS = {
    "MaxPool1d": (nn.MaxPool1d(2), nn.AvgPool1d(2), (2, 6)),
    "MaxPool2d": (nn.MaxPool2d(2), nn.AvgPool2d(2), (2, 4, 4)),
    "MaxPool2d, overlapping and padded": (nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), (2, 5, 5)),
    "MaxPool2d, ceil_mode": (nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True), (1, 5, 5)),
    "MaxPool3d": (nn.MaxPool3d(2), nn.AvgPool3d(2), (1, 4, 4, 4)),
    "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d(3), nn.AdaptiveAvgPool1d(3), (2, 7)),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(2), (2, 5, 5)),
    "AdaptiveMaxPool3d": (nn.AdaptiveMaxPool3d(2), nn.AdaptiveAvgPool3d(2), (1, 3, 3, 3)),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_max_pool_is_redistributed_as_an_average_pool(name: str) -> None:
    """In proportion to the values in each window, and in sum all of it."""
    pool, average, shape = POOLS[name]
    inputs = torch.rand(2, *shape, dtype=torch.float64)
    weight, bias = reference.matrix(average, shape)
    arriving = torch.rand(2, len(bias), dtype=torch.float64)
    step = _step(pool, inputs)
    relevance = AveragePoolRule().relevance(step, arriving.reshape(step.output.shape))[0]
    for row in range(2):
        expected = reference.epsilon(
            inputs[row].flatten().tolist(), weight.tolist(), bias.tolist(), arriving[row].tolist(), eps=0.0
        )
        torch.testing.assert_close(relevance[row].flatten(), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(relevance.flatten(1).sum(1), arriving.sum(1))


def test_z_plus_on_an_average_gives_relevance_to_what_raises_it() -> None:
    step = _step(nn.AvgPool1d(4), torch.tensor([[[3.0, -5.0, 1.0, 0.0]]]))
    assert ZPlusRule().relevance(step, torch.full((1, 1, 1), 8.0))[0].tolist() == [[[6.0, 0.0, 2.0, 0.0]]]


ERRORS = {
    "epsilon below 0": (lambda: EpsilonRule(-1.0), ValueError, "epsilon is a number of 0 or more, got -1.0"),
    "gamma as text": (lambda: GammaRule("much"), ValueError, "gamma is a number of 0 or more"),
    "bias unknown": (lambda: GammaRule(bias="none"), ValueError, "'scaled', 'kept' or 'zero', got 'none'"),
    "an empty box": (lambda: BoxRule(1.0, 0.0), ValueError, "low <= high everywhere, got low=1 and high=0"),
    "pixels outside the box": (lambda: _run(BoxRule(0.0, 1.0)), ValueError, "its box, 0 to 1, and Linear was given"),
    "a box of another shape": (lambda: _run(BoxRule(torch.zeros(7), torch.ones(7))), ValueError, "does not broadcast"),
    "gamma on a pool": (
        lambda: GammaRule().relevance(_step(nn.AvgPool1d(2), torch.ones(1, 1, 4)), torch.ones(1, 1, 2)),
        TypeError,
        "rule for Linear and convolutional layers, and AvgPool1d is neither. Give it EpsilonRule",
    ),
    "average-pool rule on a layer": (lambda: _run(AveragePoolRule()), TypeError, "rule for max-pooling, and Linear"),
    "windows with gaps": (
        lambda: AveragePoolRule().relevance(
            _step(nn.MaxPool1d(2, dilation=2), torch.ones(1, 1, 4)), torch.ones(1, 1, 1)
        ),
        ValueError,
        "dilation=2",
    ),
    "passing through a layer": (lambda: _run(PassRule()), ValueError, "keep every element, and Linear made"),
    "two outputs": (
        lambda: _captum(nn.Sequential(nn.MaxPool1d(2, return_indices=True)), EpsilonRule(), torch.ones(1, 1, 4)),
        TypeError,
        "MaxPool1d took .'Tensor'. and gave tuple",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_the_rule_what_came_and_the_way_out(name: str) -> None:
    act, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        act()


def _step(layer: nn.Module, inputs: Tensor):
    leaf = inputs.requires_grad_()
    return EpsilonRule().step(layer, (leaf,), layer(leaf))


def _run(rule: LayerRule) -> Tensor:
    return _captum(nn.Sequential(nn.Linear(3, 2)), rule, 2 * torch.randn(4, 3) - 3)


def _captum(network: nn.Module, rule: LayerRule, inputs: Tensor) -> Tensor:
    network[0].rule = rule
    return captum.attr.LRP(network).attribute(inputs, target=0)
