"""Distributions that are known: what a sampler draws against its formula, in float64 and within Monte Carlo error.

A mean over T draws is within ``5 sqrt(v / T)`` of its expectation, a variance within ``5 sqrt((m4 - v^2) / T)``:
five standard errors, which a right sampler misses once in two million entries.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import (
    SWAG,
    Compose,
    DropConnect,
    Ensemble,
    InputNoise,
    MCDropout,
    NoiseGrad,
    VariationalDropout,
    WeightSamples,
)
from samplers.table import NETWORKS, members, stacked

T = 2000
X = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.0, 3.0]], dtype=torch.float64)
MEAN = np.array([0.5, -1.0, 2.0])
FACTOR = np.array([[0.6, 0.0, 0.0], [0.3, 0.4, 0.0], [-0.2, 0.1, 0.5]])
COVARIANCE = FACTOR @ FACTOR.T


def linear(weight=MEAN):
    """f(x) = w.x, without a bias."""
    model = nn.Linear(len(weight), 1, bias=False, dtype=torch.float64)
    model.weight.data = torch.as_tensor(weight, dtype=torch.float64)[None]
    return model


def gaussian(index, generator):
    z = torch.randn(3, dtype=torch.float64, generator=generator).numpy()
    return {"weight": torch.as_tensor(MEAN + FACTOR @ z)[None]}


def assert_mean_and_variance(draws, mean, variance):
    """Draws ``(T, ...)`` have this mean and variance, within five standard errors."""
    draws, count = draws.double().numpy(), len(draws)
    assert (np.abs(draws.mean(0) - mean) <= 5 * np.sqrt(variance / count) + 1e-6).all()
    fourth = ((draws - draws.mean(0)) ** 4).mean(0)
    assert (np.abs(draws.var(0, ddof=1) - variance) <= 5 * np.sqrt((fourth - variance**2) / count) + 1e-6).all()


@pytest.mark.parametrize("method", [attr.InputXGradient, attr.IntegratedGradients])
def test_a_gaussian_posterior_of_a_linear_model_gives_gaussian_attributions(method):
    model = linear()
    uq = StochasticAttribution(method(model), WeightSamples(gaussian))
    options = {"n_steps": 2} if method is attr.IntegratedGradients else {}
    draws = uq.attribute(X, n_draws=T, seed=0, return_predictions=False, **options).draws
    x = X.numpy()
    assert_mean_and_variance(draws, x * MEAN, x**2 * np.diag(COVARIANCE))
    expected = COVARIANCE * np.outer(x[0], x[0])
    spread = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / T)
    assert (np.abs(np.cov(draws[:, 0].numpy().T) - expected) <= 5 * spread).all()
    z95, height = 1.6448536269514722, 0.10313564037537127  # normal quantile, and density there
    error = 5 * np.sqrt(0.95 * 0.05 / T) / height
    standardized = (draws[:, 0].numpy() - x[0] * MEAN) / np.sqrt(np.diag(expected))
    assert (np.abs(np.percentile(standardized, 95, axis=0) - z95) <= error).all()


def test_dropconnect_on_one_linear_layer_has_the_moments_of_its_bernoulli_masks():
    p = 0.3
    dist = StochasticAttribution(attr.InputXGradient(linear()), DropConnect(p=p)).attribute(X, n_draws=T, seed=0)
    x = X.numpy()
    assert_mean_and_variance(dist.draws, x * MEAN, (x * MEAN) ** 2 * p / (1 - p))
    values = torch.tensor(MEAN / (1 - p)) * X[0]
    assert ((dist.draws[:, 0] == 0) | ((dist.draws[:, 0] - values).abs() < 1e-12)).all()
    third = dist.draws[:, 0, 0].numpy() - (x * MEAN)[0, 0]
    skewness = (third**3).mean() / (third**2).mean() ** 1.5
    assert skewness == pytest.approx((2 * p - 1) / np.sqrt(p * (1 - p)), abs=0.15)


def test_dropconnect_keeps_biases_and_draws_each_weight_independently():
    model = nn.Linear(40, 30)
    masks = []
    for t in range(200):
        network = DropConnect(p=0.25).network(t, model=model)
        assert torch.equal(network.bias, model.bias)
        masks.append((network.weight != 0).double())
    kept = torch.stack(masks)
    assert kept.mean().item() == pytest.approx(0.75, abs=5 * (0.25 * 0.75 / kept.numel()) ** 0.5)
    flat = kept.flatten(1) - 0.75
    neighbours = (flat[:, 1:] * flat[:, :-1]).mean() / (0.25 * 0.75)
    assert abs(neighbours.item()) < 5 / (200 * 1199) ** 0.5
    assert abs(((flat[1:] * flat[:-1]).mean() / (0.25 * 0.75)).item()) < 5 / (199 * 1200) ** 0.5


def test_dropout_and_dropconnect_agree_where_a_layer_has_one_output():
    """Dropping an input of f(x) = w.x is dropping its weight: both have the moments of one Bernoulli mask."""
    model = nn.Sequential(nn.Dropout(0.4), linear()).double()
    draws = StochasticAttribution(attr.InputXGradient(model), MCDropout()).attribute(X, n_draws=T, seed=0).draws
    assert_mean_and_variance(draws, X.numpy() * MEAN, (X.numpy() * MEAN) ** 2 * 0.4 / 0.6)


@pytest.mark.parametrize(
    ("sampler", "variance"),
    [(NoiseGrad(std=0.2), 0.04), (VariationalDropout(p=0.2), 0.25), (InputNoise(std=0.5), None)],
    ids=["NoiseGrad", "VariationalDropout", "InputNoise"],
)
def test_noise_has_its_mean_and_variance(sampler, variance):
    """Weight noise scales each relevance; input noise moves the output of a linear model by w.z."""
    model = linear()
    dist = StochasticAttribution(attr.InputXGradient(model), sampler).attribute(X, n_draws=T, seed=0)
    relevance = X.numpy() * MEAN
    if variance is not None:
        assert_mean_and_variance(dist.draws, relevance, relevance**2 * variance)
    else:
        assert_mean_and_variance(dist.predictions[..., 0], relevance.sum(1), np.full(2, 0.25 * (MEAN**2).sum()))


@pytest.mark.parametrize("as_states", [False, True], ids=["modules", "state dicts"])
def test_an_ensemble_of_k_has_exactly_its_k_members(as_states):
    kind = NETWORKS["convolutional with BatchNorm"]
    network, inputs = kind.network(), kind.inputs(3)
    nets = members(network, 4)
    sampler = Ensemble([net.state_dict() for net in nets] if as_states else nets)
    dist = StochasticAttribution(attr.InputXGradient(network), sampler).attribute(inputs, target=1)
    expected = [attr.InputXGradient(net).attribute(inputs, target=1).detach() for net in nets]
    assert dist.draws.shape[0] == 4
    assert torch.equal(dist.draws, torch.stack(expected))
    assert torch.equal(dist.predictions, torch.stack([net(inputs).detach() for net in nets]))


def test_an_ensemble_that_holds_the_methods_own_model_gives_its_members_too():
    kind = NETWORKS["perceptron"]
    nets, inputs = members(kind.network(), 3), kind.inputs(2)
    expected = torch.stack([attr.Saliency(net).attribute(inputs, target=0) for net in nets])
    for net in nets:
        dist = StochasticAttribution(attr.Saliency(net), Ensemble(nets)).attribute(inputs, target=0)
        assert torch.equal(dist.draws, expected)


def test_weight_samples_are_the_same_from_a_list_a_stack_and_a_function():
    kind = NETWORKS["LSTM"]
    network, inputs = kind.network(), kind.inputs(2)
    stack = stacked(network)
    states = [{name: value[t] for name, value in stack.items()} for t in range(4)]
    sources = [stack, states, iter(states), lambda index, generator: states[index]]
    outputs = [WeightSamples(source).outputs(inputs, 4, model=network) for source in sources]
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=0, atol=0)


def test_a_compose_of_an_ensemble_and_dropout_meets_each_member_in_turn():
    """Draw t is member t mod K under dropout masks t, those of MC dropout alone."""
    kind = NETWORKS["perceptron"]
    network, inputs = kind.network(), kind.inputs(2)
    nets = members(network, 3)
    outputs = Compose(Ensemble(nets), MCDropout()).outputs(inputs, 7, model=network, seed=4)
    for t in range(7):
        expected = MCDropout(nets[t % 3]).network(t, inputs, seed=4)(inputs)
        torch.testing.assert_close(outputs[t], expected.detach(), rtol=0, atol=0)


def test_a_compose_of_finite_samplers_goes_through_every_combination():
    parts = {"weight": torch.tensor([[[1.0]], [[2.0]]])}, {"bias": torch.tensor([[10.0], [20.0], [30.0], [40.0]])}
    sampler = Compose(*map(WeightSamples, parts))
    outputs = sampler.outputs(torch.ones(1, 1), model=nn.Linear(1, 1)).flatten().tolist()
    assert (sampler.max_draws, sampler.default_draws) == (8, 8)
    assert sorted(outputs) == [w + b for b, w in itertools.product((10, 20, 30, 40), (1, 2))]


def test_the_covariance_of_ig_with_its_total_sums_to_the_variance_of_the_output():
    """Completeness in every draw: sum_i Cov(R_i, sum_j R_j) = Var(f(x) - f(0))."""
    kind = NETWORKS["perceptron"]
    network, inputs = kind.network().double(), kind.inputs(3).double()
    sampler = NoiseGrad(std=0.1)
    uq = StochasticAttribution(attr.IntegratedGradients(network), sampler)
    draws = uq.attribute(inputs, target=1, n_draws=60, seed=2, n_steps=400).draws.numpy()
    outputs = sampler.outputs(inputs, 60, model=network, seed=2) - sampler.outputs(
        0 * inputs, 60, model=network, seed=2
    )
    for row in range(3):
        total = draws[:, row].sum(1)
        covariances = [np.cov(draws[:, row, i], total)[0, 1] for i in range(draws.shape[2])]
        assert sum(covariances) == pytest.approx(outputs[:, row, 1].numpy().var(ddof=1), rel=0.01)


def collected(scale=1.0, max_rank=20, steps=8):
    """A SWAG of known weights: rows of a matrix, one a step of training."""
    path = torch.randn(steps, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    swag, model = SWAG(max_rank=max_rank, scale=scale), linear()
    for weight in path:
        model.weight.data = weight[None]
        swag.collect(model)
    return swag, path.numpy()


@pytest.mark.parametrize(("scale", "max_rank"), [(1.0, 20), (0.5, 4)])
def test_swag_draws_from_its_low_rank_plus_diagonal_gaussian(scale, max_rank):
    swag, path = collected(scale, max_rank)
    running = np.cumsum(path, 0) / np.arange(1, 9)[:, None]
    deviations = (path - running)[-max_rank:]
    low_rank = deviations.T @ deviations / (2 * (len(deviations) - 1))
    expected = scale**2 * (np.diag(path.var(0)) / 2 + low_rank)
    draws = torch.stack([swag.drawn(t, 0)["weight"][0] for t in range(T)])
    assert_mean_and_variance(draws, path.mean(0), np.diag(expected))
    spread = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / T)
    assert (np.abs(np.cov(draws.numpy().T) - expected) <= 5 * spread).all()


def test_swag_survives_a_large_mean_and_a_file(tmp_path):
    swag, model = SWAG(), nn.Linear(2, 1)
    steps = [torch.tensor([[1e4 + 0.1 * k, 0.0]]) for k in range(6)]
    for step in steps:
        model.weight.data = step
        swag.collect(model)
    variance = swag._moments["weight"].variance()[0, 0].item()
    assert variance == pytest.approx(torch.stack(steps).double().var(0, correction=0)[0, 0].item(), rel=1e-2)
    swag.save(tmp_path / "swag.pt")
    loaded = SWAG.load(tmp_path / "swag.pt", model)
    assert repr(loaded) == repr(swag)
    assert torch.equal(loaded.network(3, seed=1).weight, swag.network(3, seed=1, model=model).weight)


def test_swag_computes_batchnorm_anew_for_each_draw():
    kind = NETWORKS["convolutional with BatchNorm"]
    network = kind.network()
    batches = [(kind.inputs(6), None), kind.inputs(5).flip(0)]
    swag = SWAG(batches=batches)
    for member in members(network, 4):
        swag.collect(member)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    oracle = swag.network(1, model=network, seed=0)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    reference = copy.deepcopy(oracle)
    torch.optim.swa_utils.update_bn([batches[0][0], batches[1]], _only_norms(reference))
    for (name, expected), buffer in zip(reference.named_buffers(), oracle.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, msg=name)


def _only_norms(network):
    """Its dropout at rate 0, so that train mode changes the norms alone."""
    network.dropout.p = 0.0
    return network
