"""What a draw gives is its own: networks, their copies, outputs, the user's inputs, threads beside each other."""

import contextlib
import copy
import functools
import inspect
import threading

import pytest
import torch
import torch.nn.functional as F
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import BayesianLayers, BoundWeights, MCDropout, NoiseGrad, Sampler, WeightSamples
from captum_uq.samplers._forward import around_forward
from captum_uq.samplers._weights import tensors_of
from roads import hold_equal
from samplers import table
from samplers.table import NETWORKS, SAMPLERS, Constant, Kind, Perceptron, members

every_sampler = pytest.mark.parametrize("source", SAMPLERS.values(), ids=SAMPLERS.keys())
every_network = pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS.keys())


@every_network
@every_sampler
def test_a_copy_of_a_drawn_network_is_that_network_and_no_other(source, kind):
    network, x = source.network(kind), kind.inputs(3)
    drawn = source(network).network(1, x, model=network, seed=4)
    expected, twin = drawn(x), copy.deepcopy(drawn)
    assert torch.equal(twin(x), expected)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert not twin(x).any()
    assert torch.equal(drawn(x), expected)


@every_sampler
def test_a_network_of_a_drawn_network_is_drawn_from_it(source):
    kind = NETWORKS["perceptron"]
    network, x = source.network(kind), kind.inputs(3)
    drawn = source(network).network(1, x, model=network, seed=4)
    sampler = NoiseGrad(std=0.5)
    outputs = torch.stack([sampler.network(t, x, model=drawn)(x).detach() for t in range(3)])
    assert torch.equal(outputs, sampler.outputs(x, 3, model=drawn))
    assert outputs.std(0).min() > 0


class Stored(Sampler):
    """A user's own, which gives its weights by reference."""

    max_draws = default_draws = 3

    def __init__(self, samples):
        super().__init__()
        self.samples = samples

    def bind(self, model):
        return BoundWeights(model, lambda index, seed: self.samples[index])


def test_a_drawn_network_shares_no_memory_with_what_a_sampler_stores():
    network = NETWORKS["perceptron"].network()
    samples = [{name: torch.randn_like(tensor) for name, tensor in tensors_of(network).items()} for _ in range(3)]
    before = copy.deepcopy(samples)
    for tensor in tensors_of(Stored(samples).network(0, model=network)).values():
        tensor.data.zero_()
    assert all(torch.equal(samples[0][name], value) for name, value in before[0].items())


def test_outputs_are_not_overwritten_by_the_next_draw():
    sampler, x = NoiseGrad(Constant()), torch.ones(2, 4)
    expected = torch.stack([sampler.network(t, seed=3)(x) for t in range(3)])
    assert torch.equal(sampler.outputs(x, 3, seed=3), expected.detach())


class Noisy(nn.Module):
    """Writes noise into what it is given."""

    def forward(self, x):
        return x.add_(torch.randn_like(x)) if self.training else x


class DropsInPlace(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5, self.training, inplace=True)


WRITERS = {
    "Dropout in place": lambda: nn.Dropout(0.5, inplace=True),
    "dropout as a function in place": DropsInPlace,
    "noise in place": Noisy,
    "AlphaDropout in place": lambda: nn.AlphaDropout(0.5, inplace=True),
}


@pytest.mark.parametrize("zero", [False, True], ids=["", "zeros"])
@pytest.mark.parametrize("function", [False, True], ids=["module", "function"])
@pytest.mark.parametrize("make", [attr.FeatureAblation, attr.Saliency, attr.InputXGradient])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_inputs_that_a_network_writes_into_stay_as_they_are(writer, make, function, zero):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), writer(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).eval()
    x = torch.zeros(3, 4) if zero else torch.rand(3, 4)
    before, sampler = x.clone(), MCDropout(network)
    forward_func = (lambda inputs: network(inputs)) if function else network
    uq = StochasticAttribution(make(forward_func), sampler)
    options = {"target": 1, "n_draws": 10, "seed": 0, "return_predictions": False}  # of zeros the classes are anyone's
    loop = uq.attribute(x, **options, execution="loop")
    assert torch.equal(x, before)
    for t in range(10):
        oracle = make(sampler.network(t, x, seed=0)).attribute(x.clone(), target=1)
        torch.testing.assert_close(loop.draws[t], oracle.detach())
    hold_equal(uq.attribute(x, **options), loop)
    sampler.outputs(x, 3)
    assert torch.equal(x, before)


@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad()], ids=repr)
@pytest.mark.parametrize("method", [attr.GradientShap, attr.Saliency])
def test_threads_on_networks_of_their_own_do_not_disturb_each_other(method, sampler):
    kind = NETWORKS["perceptron"]
    networks, found, errors = [kind.network() for _ in range(4)], [], []
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def run(network):
        options = {"target": 1, "n_draws": 3, "seed": 0}
        if method is attr.GradientShap:
            options["baselines"] = torch.zeros(2, 5)
        return StochasticAttribution(method(network), sampler).attribute(kind.inputs(2), **options).draws

    def work(network):
        try:
            found.extend(run(network) for _ in range(8))
        except Exception as error:
            errors.append(error)

    expected = run(networks[0])
    threads = [threading.Thread(target=work, args=(network,)) for network in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 32
    assert all(torch.equal(each, expected) for each in found)
    assert torch.equal(torch.get_rng_state(), state)


def test_outputs_leave_inputs_that_a_network_always_writes_into_alone():
    """Else the second draw would be asked about other inputs than the first."""
    network = nn.Sequential(nn.Hardtanh(inplace=True), nn.Linear(4, 3))
    sampler, x = NoiseGrad(network, std=0.01), torch.full((2, 4), 7.0)
    for ask in (sampler.outputs, sampler.agreement, lambda x, _: sampler.predictive()(x)):
        ask(x, 3)
        assert torch.equal(x, torch.full((2, 4), 7.0))


def test_inputs_that_a_function_around_the_network_writes_into_stay_as_they_are():
    network, x = nn.Linear(4, 3), torch.rand(3, 4)
    before = x.clone()
    method = attr.FeatureAblation(lambda inputs: network(F.dropout(inputs, 0.5, True, inplace=True)))
    uq = StochasticAttribution(method, MCDropout())
    loop = uq.attribute(x, target=1, n_draws=3, seed=0, return_deterministic=False, return_predictions=False)
    assert torch.equal(x, before)
    assert loop.stdev().max() > 0


def test_contexts_around_a_forward_nest():
    network, entered = nn.Linear(2, 1), []

    def context(name, args, kwargs):
        entered.append(name)
        return contextlib.nullcontext()

    plain = network.forward
    undo = [around_forward(network, functools.partial(context, name)) for name in ("inner", "middle", "outer")]
    assert inspect.signature(network.forward) == inspect.signature(plain)
    network(torch.ones(1, 2))
    assert entered == ["outer", "middle", "inner"]
    for each in reversed(undo):
        each()
    assert network.forward == plain


class MeanField(nn.Linear):
    """Weights drawn at every forward, in eval mode too."""

    def forward(self, x):
        return F.linear(x, self.weight + 0.5 * torch.randn_like(self.weight), self.bias)


def test_bayesian_layers_as_they_stand_are_at_the_mean_of_their_weights():
    torch.manual_seed(0)
    network, x, labels = nn.Sequential(MeanField(4, 8), nn.Tanh(), MeanField(8, 3)), torch.randn(20, 4), torch.ones(20)
    mean = copy.deepcopy(network)
    for layer in (mean[0], mean[2]):
        layer.__class__ = nn.Linear
    dist = StochasticAttribution(attr.IntegratedGradients(network), BayesianLayers()).attribute(
        x, target="predicted", n_draws=5, seed=0, n_steps=5
    )
    assert torch.equal(dist.target, mean(x).argmax(1))
    torch.testing.assert_close(
        dist.deterministic, attr.IntegratedGradients(mean).attribute(x, target=dist.target, n_steps=5)
    )
    torch.testing.assert_close(dist.predictions.deterministic, mean(x).detach())
    found = [BayesianLayers(network).agreement(x, 12, labels=labels) for seed in range(3) if torch.manual_seed(seed)]
    assert len({each.share for each in found}) == 1
    assert found[0].deterministic_accuracy == pytest.approx((mean(x).argmax(1) == 1).float().mean().item())


class Watching(Perceptron):
    """Its forward keeps statistics in buffers, in eval mode too, and uses them: as quantisation's observers do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(5))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.seen += 1
        self.level.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return super().forward((x + self.level) ** 2)


WATCHING = Kind(Watching, (5,), "hidden")


@every_sampler
def test_buffers_that_a_forward_writes_into_are_those_of_the_draw_alone(source, monkeypatch):
    """Not those of a member or a state dict of the user's, nor of the draw before."""
    monkeypatch.setitem(NETWORKS, "watching", WATCHING)
    network, x = WATCHING.network(), WATCHING.inputs(4)
    given = []
    monkeypatch.setattr(table, "members", lambda *args: given.append(members(*args)) or given[-1])
    sampler = source(network)
    before = copy.deepcopy([member.state_dict() for nets in given for member in nets])
    own = copy.deepcopy(network.state_dict())
    oracles = [functools.partial(sampler.network, t, x, seed=4, model=network) for t in range(3)]
    for _ in range(2):
        assert torch.equal(sampler.outputs(x, 3, seed=4, model=network), torch.stack([make()(x) for make in oracles]))
        uq = StochasticAttribution(attr.Saliency(network), sampler)
        for execution in ("loop", "auto"):
            found = uq.attribute(x, target=1, n_draws=3, seed=4, execution=execution, return_predictions=False)
            for t, make in enumerate(oracles):
                torch.testing.assert_close(found.draws[t], attr.Saliency(make()).attribute(x, target=1))
    with sampler.draw(1, x, model=network):
        network(x)
    after = [network.state_dict(), *(member.state_dict() for nets in given for member in nets)]
    for state, expected in zip(after, [own, *before], strict=True):
        assert all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize("size", [5, 600], ids=["small", "large"])
def test_many_draws_at_once_do_not_write_into_stored_buffers(size):
    """Those of weights so large that each draw runs by itself, too."""

    class Wide(nn.Linear):
        def __init__(self):
            super().__init__(size, size)
            self.register_buffer("level", torch.zeros(size))

        def forward(self, x):
            self.level.add_(1)
            return super().forward(x) + self.level

    torch.manual_seed(0)
    nets, network, x = [Wide() for _ in range(3)], nn.Sequential(Wide(), nn.Linear(size, 3)), torch.randn(2, size)
    states = [{f"0.{name}": value for name, value in net.state_dict().items()} for net in nets]
    uq = StochasticAttribution(attr.Saliency(network), WeightSamples(states))
    for execution in ("fold", "loop"):
        found = uq.attribute(x, target=1, seed=0, execution=execution)
        assert not any(net.level.any() for net in nets)
    assert found.n_draws == 3
