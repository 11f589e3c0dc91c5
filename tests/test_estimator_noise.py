"""Law 7: the method's own randomness is not model uncertainty."""

from __future__ import annotations

import pytest
import torch
from captum.attr import GradientShap, KernelShap, Lime, NoiseTunnel, Saliency
from torch import nn

from captum_uq import MCDropout, StochasticAttribution, Unchanged
from networks import build

RANDOM_METHODS = {
    "GradientShap": (lambda net: GradientShap(net), {"baselines": torch.zeros(4, 5), "n_samples": 3}),
    "KernelShap": (lambda net: KernelShap(net), {"n_samples": 12}),
    "Lime": (lambda net: Lime(net), {"n_samples": 12}),
    "NoiseTunnel": (lambda net: NoiseTunnel(Saliency(net)), {"nt_samples": 3, "abs": False}),
}


@pytest.mark.parametrize("method", RANDOM_METHODS)
@pytest.mark.parametrize("seed", [0, None])
def test_shared_noise_leaves_no_spread_where_the_model_has_none(method: str, seed: int | None) -> None:
    make, arguments = RANDOM_METHODS[method]
    network, inputs = build("Dropout").eval(), torch.randn(1, 5)
    uq = StochasticAttribution(make(network), Unchanged())
    shared = uq.attribute(inputs, target=0, n_draws=4, seed=seed, **arguments)
    assert torch.equal(shared.draws, shared.draws[:1].expand_as(shared.draws))
    independent = uq.attribute(inputs, target=0, n_draws=4, seed=seed, estimator_seed="independent", **arguments)
    assert independent.stdev().max() > 0


@pytest.mark.parametrize("method", RANDOM_METHODS)
def test_the_networks_are_the_same_whatever_the_noise(method: str) -> None:
    make, arguments = RANDOM_METHODS[method]
    network, inputs = build("Dropout"), torch.randn(1, 5)
    uq = StochasticAttribution(make(network), MCDropout())
    shared, independent = (
        uq.attribute(inputs, target=0, n_draws=4, seed=1, estimator_seed=mode, **arguments)
        for mode in ("shared", "independent")
    )
    assert torch.equal(shared.predictions, independent.predictions)
    assert torch.equal(shared.draws[0], uq.attribute(inputs, target=0, n_draws=1, seed=1, **arguments).draws[0])
    assert not torch.equal(shared.draws, independent.draws)


def test_independent_noise_adds_its_variance_to_the_models() -> None:
    """A draw is g (x - b), with gradient g and random baseline b: Var = E(x-b)^2 Var g + Var(x-b) (E g)^2."""
    network = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Dropout(0.5), nn.Linear(6, 1, bias=False)).double()
    inputs = torch.randn(1, 4, dtype=torch.float64)
    baselines = torch.randn(50, 4, dtype=torch.float64)
    n_draws = 4000
    gradients = StochasticAttribution(Saliency(network), MCDropout()).attribute(
        inputs, abs=False, n_draws=n_draws, seed=0
    )
    difference = inputs - baselines
    of_model = (difference**2).mean(0) * gradients.variance()
    of_estimator = difference.var(0, correction=0) * gradients.expectation() ** 2
    total = StochasticAttribution(GradientShap(network), MCDropout()).attribute(
        inputs, baselines, n_samples=1, n_draws=n_draws, seed=0, estimator_seed="independent"
    )
    torch.testing.assert_close(total.variance(), of_model + of_estimator, rtol=0.15, atol=0)


@pytest.mark.parametrize("method", RANDOM_METHODS)
def test_the_same_seed_repeats_the_noise(method: str) -> None:
    make, arguments = RANDOM_METHODS[method]
    uq = StochasticAttribution(make(build("Dropout")), MCDropout())
    for mode in ("shared", "independent"):
        one, other = (
            uq.attribute(torch.ones(1, 5), target=0, n_draws=3, seed=2, estimator_seed=mode, **arguments)
            for _ in range(2)
        )
        assert torch.equal(one.draws, other.draws)
