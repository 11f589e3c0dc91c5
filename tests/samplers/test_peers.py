"""Real fitted models of laplace-torch, posteriors, bayesian-torch, torch-uncertainty, blitz and torchbnn."""

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import snapshots
from captum_uq import StochasticAttribution
from captum_uq.samplers import BayesianLayers, DisagreementWarning, Laplace, WeightSamples
from samplers.peers import peer

quiet = pytest.mark.filterwarnings("ignore")  # the peers' own warnings are not ours


def blobs(count=120):
    """Three classes of points that a small network tells apart."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    centres = torch.tensor([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]])
    return centres[labels] + 0.6 * torch.randn(count, 2, generator=rng), labels


def fitted(network, steps=150, loss=None):
    """The network after a little training on the points."""
    x, y = blobs()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        (nn.functional.cross_entropy(network(x), y) + (loss(network) if loss else 0.0)).backward()
        optimizer.step()
    for parameter in network.parameters():
        parameter.grad = None
    return network.eval()


def small():
    torch.manual_seed(0)
    return fitted(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)))


# ---- Laplace


@quiet
@pytest.mark.parametrize("hessian", ["full", "kron"])
def test_laplace_on_linear_regression_is_the_exact_posterior(hessian):
    """N((X'X/s2 + P)^-1 X'y/s2, (X'X/s2 + P)^-1): InputXGradient is x * w, within five standard errors."""
    laplace = peer("laplace")
    rng = np.random.default_rng(0)
    x, noise, prior, count = rng.normal(size=(40, 3)), 0.5, 2.0, 2000
    y = x @ [1.0, -2.0, 0.5] + noise * rng.normal(size=40)
    covariance = np.linalg.inv(x.T @ x / noise**2 + prior * np.eye(3))
    mean = covariance @ x.T @ y / noise**2
    model = nn.Linear(3, 1, bias=False).double()
    model.weight.data = torch.as_tensor(mean)[None]
    la = laplace.Laplace(model, "regression", "all", hessian, sigma_noise=noise, prior_precision=prior)
    la.fit(DataLoader(TensorDataset(torch.as_tensor(x), torch.as_tensor(y)[:, None]), batch_size=40))
    point = np.array([1.0, 2.0, -1.0])
    uq = StochasticAttribution(attr.InputXGradient(model), Laplace(la))
    draws = uq.attribute(torch.as_tensor(point)[None], n_draws=count, seed=0).draws[:, 0].numpy()
    expected = covariance * np.outer(point, point)
    variances = np.diag(expected)
    assert (np.abs(draws.mean(0) - point * mean) <= 5 * np.sqrt(variances / count)).all()
    error = np.sqrt((expected**2 + np.outer(variances, variances)) / count)
    assert (np.abs(np.cov(draws.T) - expected) <= 5 * error).all()


@quiet
@pytest.mark.parametrize("hessian", ["kron", "diag", "full"])
@pytest.mark.parametrize("subset", ["last_layer", "all"])
def test_laplace_draws_keep_the_laws(subset, hessian):
    peer("laplace")
    model = small()
    x, y = blobs(12)
    loader = DataLoader(TensorDataset(*blobs()), batch_size=60)
    before, generators = snapshots.of_model(model), snapshots.of_generators()
    sampler = Laplace.fit(model, loader, subset=subset, hessian=hessian, prior_precision=300.0)
    assert snapshots.of_model(model) == before
    assert snapshots.of_generators() == generators
    uq = StochasticAttribution(attr.IntegratedGradients(model), sampler)
    dist = uq.attribute(x, target=y, n_draws=4, seed=3, n_steps=8)
    assert snapshots.of_generators() == generators
    assert snapshots.of_model(model) == before
    assert sampler.fitted_agreement.share > 0.8
    for t in range(4):
        oracle = sampler.network(t, seed=3, model=model)
        expected = attr.IntegratedGradients(oracle).attribute(x, target=y, n_steps=8)
        assert torch.equal(dist.draws[t], expected)
        assert torch.equal(oracle[0].weight, model[0].weight) == (subset == "last_layer")
    one = uq.attribute(x, target=y, n_draws=1, seed=3, n_steps=8)
    assert torch.equal(one.draws[0], dist.draws[0])  # la.sample(1) is no prefix of la.sample(4); a draw is


@quiet
def test_a_laplace_posterior_at_a_weak_prior_warns_that_its_draws_disagree():
    laplace = peer("laplace")
    model = small()
    la = laplace.Laplace(model, "classification", "all", "diag", prior_precision=1e-4)
    la.fit(DataLoader(TensorDataset(*blobs(6)), batch_size=6))
    with pytest.warns(DisagreementWarning, match="prior precision"):
        agreement = Laplace(la, model).agreement(blobs()[0], 30, labels=blobs()[1])
    assert agreement.share < 0.5 < agreement.deterministic_accuracy
    assert agreement.accuracy < 0.5


@quiet
def test_a_laplace_posterior_around_other_weights_is_refused():
    laplace = peer("laplace")
    model = small()
    la = laplace.Laplace(model, "classification", "last_layer", "diag", last_layer_name="2")
    la.fit(DataLoader(TensorDataset(*blobs()), batch_size=60))
    with torch.no_grad():
        model[2].weight += 1
    with pytest.raises(ValueError, match="around other weights"):
        Laplace(la, model).network(0)
    with pytest.raises(ValueError, match="fitted to"):
        Laplace(la).network(0, model=nn.Linear(2, 3))


# ---- posteriors


@quiet
def test_samples_of_posteriors_sgld_are_weight_samples():
    posteriors, torchopt = peer("posteriors"), peer("torchopt")
    assert torchopt is not None
    model = small()
    x, y = blobs()
    parameters = dict(model.named_parameters())

    def log_posterior(params, batch):
        output = torch.func.functional_call(model, params, batch[0])
        prior = sum((value**2).sum() for value in params.values())
        return -nn.functional.cross_entropy(output, batch[1]) * len(x) - prior / 2, output

    transform = posteriors.sgmcmc.sgld.build(log_posterior, lr=1e-4)
    state, chain = transform.init({name: value.detach().clone() for name, value in parameters.items()}), []
    for _ in range(40):
        state, _ = transform.update(state, (x, y))
        chain.append({name: value.detach().clone() for name, value in state.params.items()})
    stacked = {name: torch.stack([sample[name] for sample in chain[-8:]]) for name in chain[0]}
    sampler = WeightSamples(stacked)
    dist = StochasticAttribution(attr.InputXGradient(model), sampler).attribute(x[:5], target=y[:5])
    assert dist.n_draws == 8
    for t in range(8):
        params = {name: value[t] for name, value in stacked.items()}
        inputs = x[:5].clone().requires_grad_()
        output = torch.func.functional_call(model, params, inputs).gather(1, y[:5, None]).sum()
        torch.testing.assert_close(dist.draws[t], (torch.autograd.grad(output, inputs)[0] * inputs).detach())
    assert sampler.agreement(x, model=model, labels=y).accuracy > 0.9


# ---- Bayesian layers


def bayesian_torch(kind):
    layers = peer("bayesian_torch.layers")

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            make = getattr(layers, f"Linear{kind}")
            self.one, self.relu, self.two = make(2, 16), nn.ReLU(), make(16, 3)

        def forward(self, x):
            return self.two(self.relu(self.one(x, return_kl=False)), return_kl=False)

    return Network()


def torch_uncertainty():
    layer = peer("torch_uncertainty.layers.bayesian").BayesLinear
    return nn.Sequential(layer(2, 16, sigma_init=-3.0), nn.ReLU(), layer(16, 3, sigma_init=-3.0))


def blitz():
    layer = peer("blitz.modules").BayesianLinear
    return nn.Sequential(layer(2, 16), nn.ReLU(), layer(16, 3))


def torchbnn():
    layer = peer("torchbnn").BayesLinear
    make = {"prior_mu": 0, "prior_sigma": 0.1}
    return nn.Sequential(
        layer(**make, in_features=2, out_features=16), nn.ReLU(), layer(**make, in_features=16, out_features=3)
    )


BAYESIAN = {
    "bayesian-torch Flipout": lambda: bayesian_torch("Flipout"),
    "bayesian-torch mean field": lambda: bayesian_torch("Reparameterization"),
    "torch-uncertainty": torch_uncertainty,
    "blitz": blitz,
    "torchbnn": torchbnn,
}
every_library = pytest.mark.parametrize("make", BAYESIAN.values(), ids=BAYESIAN)


@quiet
@every_library
@pytest.mark.parametrize("method", [attr.Saliency, attr.IntegratedGradients, attr.GuidedBackprop, attr.DeepLift])
def test_bayesian_layers_are_held_for_a_draw(make, method):
    torch.manual_seed(0)
    model = fitted(make())
    x, y = blobs(6)
    sampler = BayesianLayers()
    uq, before = StochasticAttribution(method(model), sampler), values(model)
    generators = snapshots.of_generators()
    dist = uq.attribute(x, target=y, n_draws=3, seed=1)
    assert snapshots.of_generators() == generators
    assert all(torch.equal(value, before[name]) for name, value in values(model).items())
    assert dist.stdev().max() > 0
    for t in range(3):
        oracle = sampler.network(t, x, seed=1, model=model)
        assert torch.equal(oracle(x), oracle(x))
        assert torch.equal(dist.draws[t], method(oracle).attribute(x, target=y).detach())
        torch.testing.assert_close(oracle(x[2:3]), oracle(x)[2:3], rtol=1e-5, atol=1e-5)


def values(model):
    """Weights and buffers."""
    return {name: value.clone() for name, value in model.state_dict().items()}


@quiet
@every_library
def test_bayesian_layers_have_the_spread_of_the_live_network(make):
    """Held draws are marginally the library's own: mean and variance of its outputs within Monte Carlo error."""
    torch.manual_seed(0)
    model = fitted(make())
    x, count = blobs(3)[0], 1500
    held = BayesianLayers().outputs(x, count, model=model).double()
    with torch.no_grad():
        live = torch.stack([model(x) for _ in range(count)]).double()
    error = 5 * (2 * live.var(0) / count).sqrt()
    assert ((held.mean(0) - live.mean(0)).abs() <= error).all()
    fourth = ((live - live.mean(0)) ** 4).mean(0)
    spread = 5 * (2 * (fourth - live.var(0) ** 2) / count).sqrt()
    assert ((held.var(0) - live.var(0)).abs() <= spread).all()


@quiet
def test_dropout_stays_off_beside_bayesian_layers():
    layers = peer("bayesian_torch.layers")

    class Network(nn.Module):
        def __init__(self, rate):
            super().__init__()
            self.one, self.dropout = layers.LinearFlipout(2, 3), nn.Dropout(rate)

        def forward(self, x):
            return self.dropout(self.one(x, return_kl=False))

    torch.manual_seed(0)
    with_dropout, without = Network(0.9), Network(0.0)
    without.load_state_dict(with_dropout.state_dict())
    x = blobs(3)[0]
    outputs = [BayesianLayers().outputs(x, 3, model=network) for network in (with_dropout, without)]
    assert torch.equal(*outputs)
