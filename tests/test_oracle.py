"""Laws 1 to 3: one draw is one network, plain Captum on it is the draw, and it depends on (seed, t) alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq._rng import isolated, seed_global
from captum_uq._trees import first_row
from methods import METHODS, arguments, attribute, tensors
from networks import KINDS, build

SEED = 5


def stochastic(kind: str, method: str, network: nn.Module, inputs: Any, **options: Any) -> Any:
    """Our result."""
    case = KINDS[kind]
    made = METHODS[method].make(network, network.get_submodule(case.layer))
    uq = StochasticAttribution(made, MCDropout(network))
    options = {"seed": SEED, "n_draws": 3, "execution": "loop", **options}
    return uq.attribute(inputs, **arguments(METHODS[method], inputs, case.additional), **options)


def drawn(kind: str, network: nn.Module, inputs: Any, index: int) -> nn.Module:
    """Draw ``index``."""
    return MCDropout(network).network(index, inputs, seed=SEED, additional_forward_args=KINDS[kind].additional)


def oracle(kind: str, method: str, network: nn.Module, inputs: Any, index: int) -> Any:
    """Plain Captum on draw ``index``, the method's random numbers those that all draws share."""
    case, draw = KINDS[kind], drawn(kind, network, inputs, index)
    with isolated():
        seed_global(SEED, "estimator", 0)
        return attribute(METHODS[method], draw, case.layer, inputs, case.additional)


CAPTUM_LACKS_A_RULE = {
    "Dropout1d",  # Conv1d
    "Dropout3d",  # Conv3d
    "a module used three times",
    "LSTM",
    "GRU",
    "attention with weights",
    "attention without weights",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
}
PAIRS = [(kind, method) for kind in KINDS for method in METHODS]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_every_draw_is_plain_captum_on_its_network(kind: str, method: str) -> None:
    network, inputs = build(kind), KINDS[kind].inputs(3)
    if method == "LRP" and kind in CAPTUM_LACKS_A_RULE:
        with pytest.raises((TypeError, RuntimeError), match="no rule|more than once|no(de)?fault"):
            oracle(kind, method, network, inputs, 0)
        with pytest.raises((TypeError, RuntimeError)):
            stochastic(kind, method, network, inputs)
        return
    if method == "LRP" and not KINDS[kind].modules_only:
        with pytest.raises(RuntimeError, match="drops out inside its own code"):
            stochastic(kind, method, network, inputs)
        return
    expected = [oracle(kind, method, network, inputs, index) for index in range(3)]
    result = stochastic(kind, method, network, inputs)
    for position, distribution in enumerate(tensors(result)):
        for index in range(3):
            reference = tensors(expected[index])[position].detach()
            assert torch.equal(distribution.draws[index], reference), (kind, method, position, index)
    more, given = KINDS[kind].additional or (), inputs if isinstance(inputs, tuple) else (inputs,)
    predictions = tensors(result)[0].predictions
    for index in range(3):
        torch.testing.assert_close(predictions[index], drawn(kind, network, inputs, index)(*given, *more).detach())


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_deterministic_and_treats_every_row_alike(kind: str) -> None:
    network, case = build(kind), KINDS[kind]
    inputs = case.inputs(4)
    draw = MCDropout(network).network(0, inputs, seed=SEED, additional_forward_args=case.additional)
    more = case.additional or ()

    def run(given: Any) -> torch.Tensor:
        return draw(*(given if isinstance(given, tuple) else (given,)), *more).detach()

    whole = run(inputs)
    assert torch.equal(whole, run(inputs))
    torch.testing.assert_close(run(first_row(inputs)), whole[:1])
    rows = run(first_row(inputs, copies=5))
    torch.testing.assert_close(rows, whole[:1].expand(5, -1))
    with torch.no_grad():
        torch.testing.assert_close(run(inputs), whole)
    draw.eval()
    assert torch.equal(run(inputs), whole), "eval() must not switch the draw off"


@pytest.mark.parametrize("kind", KINDS)
def test_the_draws_differ_from_each_other_and_from_seed_to_seed(kind: str) -> None:
    network, inputs, options = build(kind), KINDS[kind].inputs(3), {"n_draws": 20, "return_predictions": False}
    first, other = (
        tensors(stochastic(kind, "InputXGradient", network, inputs, seed=seed, **options))[0].draws for seed in (5, 6)
    )
    for difference in (first[1:] - first[0], first - other):
        assert difference.abs().max() > 1e-3 * first.abs().max(), "more than rounding"


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_depends_on_seed_and_index_alone(kind: str) -> None:
    """Not on the number of draws, the rows of the batch, the method before it, or a fresh copy of the network."""
    network, case = build(kind), KINDS[kind]
    inputs = case.inputs(3)
    draws = tensors(stochastic(kind, "InputXGradient", network, inputs))[0].draws
    more = tensors(stochastic(kind, "InputXGradient", network, inputs, n_draws=5))[0].draws
    assert torch.equal(more[:3], draws)
    stochastic(kind, "Saliency", network, inputs)
    again = tensors(stochastic(kind, "InputXGradient", build(kind), inputs))[0].draws
    assert torch.equal(again, draws)
    alone = tensors(stochastic(kind, "InputXGradient", network, first_row(inputs)))[0].draws
    torch.testing.assert_close(alone, draws[:, :1])


def test_two_methods_with_one_seed_explain_the_same_networks() -> None:
    """For a network that is linear between its masks, InputXGradient and IntegratedGradients are then equal."""
    network = nn.Sequential(nn.Linear(5, 8, bias=False), nn.Dropout(0.5), nn.Linear(8, 3, bias=False))
    inputs = torch.randn(2, 5)
    one, other = (
        StochasticAttribution(METHODS[name].make(network, network), MCDropout())
        .attribute(inputs, **arguments(METHODS[name], inputs), n_draws=6, seed=1)
        .draws
        for name in ("InputXGradient", "IntegratedGradients")
    )
    torch.testing.assert_close(one, other)


def test_the_moments_over_draws_are_those_of_dropout() -> None:
    """One linear layer after dropout: x_i w_i m_i / (1 - p) has mean x_i w_i and variance (x_i w_i)^2 p / (1 - p)."""
    rate = 0.25
    network = nn.Sequential(nn.Dropout(rate), nn.Linear(6, 1, bias=False)).double()
    inputs = torch.randn(1, 6, dtype=torch.float64)
    uq = StochasticAttribution(METHODS["InputXGradient"].make(network, network), MCDropout())
    dist = uq.attribute(inputs, n_draws=4000, seed=0)
    exact = inputs * network[1].weight.detach()
    spread = exact.abs() * (rate / (1 - rate)) ** 0.5
    assert ((dist.expectation() - exact).abs() < 5 * spread / 4000**0.5).all()
    torch.testing.assert_close(dist.stdev(), spread, rtol=0.1, atol=0)
