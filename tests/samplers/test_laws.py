"""The laws of design, over every sampler, method and network."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from captum import attr

import snapshots
from captum_uq import StochasticAttribution
from captum_uq._rng import isolated, seed_global
from captum_uq.samplers import BayesianLayers, Compose, DropConnect, InputNoise, NoiseGrad, VariationalDropout
from captum_uq.testing import check_sampler
from methods import METHODS, arguments, attribute, tensors
from roads import hold_equal
from samplers.peers import PEER_SAMPLERS
from samplers.table import NETWORKS, SAMPLERS

SEED, DRAWS = 11, 3
NAMES = ["Saliency", "InputXGradient", "IntegratedGradients", "DeepLift", "LRP", "GuidedBackprop"]
NAMES += ["LayerGradCam", "Occlusion", "KernelShap", "GradientShap"]
EVERY = SAMPLERS | PEER_SAMPLERS
every_sampler = pytest.mark.parametrize("source", EVERY.values(), ids=EVERY.keys())
every_network = pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS.keys())
quiet = pytest.mark.filterwarnings("ignore::UserWarning:captum.*", "ignore:Setting forward, backward hooks:UserWarning")


def captum_on(network, method, kind, inputs):
    """Plain Captum on a network with the random numbers of the shared estimator, or the error that it raises."""
    try:
        with isolated():
            seed_global(SEED, "estimator", 0)
            return attribute(method, network, kind.layer, inputs)
    except Exception as error:
        return error


@quiet
@every_network
@pytest.mark.parametrize("name", NAMES)
@every_sampler
def test_every_draw_is_plain_captum_on_its_oracle(source, name, kind):
    network, inputs, method = source.network(kind), kind.inputs(2), METHODS[name]
    sampler = source(network)
    oracles = [sampler.network(t, inputs, seed=SEED, model=network) for t in range(DRAWS)]
    expected = [captum_on(oracle, method, kind, inputs) for oracle in oracles]
    uq = StochasticAttribution(method.make(network, network.get_submodule(kind.layer)), sampler)
    before = snapshots.of_model(network)
    options = arguments(method, inputs) | {"n_draws": DRAWS, "seed": SEED, "execution": "loop"}
    if isinstance(expected[0], Exception):
        with pytest.raises((type(expected[0]), RuntimeError)):
            uq.attribute(inputs, **options)
    else:
        result = uq.attribute(inputs, **options)
        for t in range(DRAWS):
            for distribution, reference in zip(tensors(result), tensors(expected[t]), strict=True):
                assert torch.equal(distribution.draws[t], reference.detach()), f"draw {t}"
        hold_equal(uq.attribute(inputs, **options | {"execution": "auto"}), result)
    assert snapshots.of_model(network) == before


FUNCTIONS = {
    "the forward of the network": lambda network: network.forward,
    "a function around the network": lambda network: lambda x: network(x),
    "a function around its forward": lambda network: lambda x: network.forward(x),
}


@quiet
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
@every_sampler
def test_a_forward_function_meets_the_draws_of_its_network(source, function):
    kind = NETWORKS["perceptron"]
    network, inputs = source.network(kind), kind.inputs(2)
    options = {"target": 1, "n_draws": DRAWS, "seed": SEED}
    with_module, with_function = (
        StochasticAttribution(attr.Saliency(forward_func), source(network))
        for forward_func in (network, function(network))
    )
    expected = with_module.attribute(inputs, **options, execution="loop")
    assert torch.equal(with_function.attribute(inputs, **options, execution="loop").draws, expected.draws)
    hold_equal(with_function.attribute(inputs, **options, execution="fold"), expected)


@every_network
@every_sampler
def test_every_sampler_passes_its_own_check(source, kind):
    network = source.network(kind)
    check_sampler(lambda: source(network), network, kind.inputs(3))


@every_network
@every_sampler
def test_a_draw_leaves_no_trace_even_after_an_error(source, kind):
    network, inputs = source.network(kind).train(), kind.inputs(2)
    sampler = source(network)
    before, generators, process = snapshots.of_model(network), snapshots.of_generators(), snapshots.of_process()
    with pytest.raises(KeyError, match="inside"), sampler.draw(1, inputs, seed=3, model=network):
        raise KeyError("inside")
    assert snapshots.of_model(network) == before
    assert snapshots.of_generators() == generators
    assert snapshots.of_process() == process


@every_sampler
def test_a_draw_depends_on_seed_and_number_alone(source):
    """Not on the number of draws, the batch, the method or the target."""
    kind = NETWORKS["convolutional with BatchNorm"]
    network, inputs = source.network(kind), kind.inputs(4)
    sampler = source(network)
    saliency = StochasticAttribution(attr.Saliency(network), sampler)
    gradients = StochasticAttribution(attr.IntegratedGradients(network), sampler)
    whole = saliency.attribute(inputs, target=1, n_draws=3, seed=5)
    torch.testing.assert_close(saliency.attribute(inputs, target=1, n_draws=2, seed=5).draws, whole.draws[:2])
    alone = saliency.attribute(inputs[1:2], target=1, n_draws=3, seed=5)
    torch.testing.assert_close(alone.draws, whole.draws[:, 1:2], rtol=1e-5, atol=1e-6)
    other = gradients.attribute(inputs, target=0, n_draws=3, seed=5, n_steps=4)
    torch.testing.assert_close(other.predictions, whole.predictions)


@pytest.mark.parametrize(
    "make", [SAMPLERS[n] for n in ("DropConnect", "NoiseGrad", "VariationalDropout", "InputNoise")]
)
def test_another_seed_gives_other_networks(make):
    kind = NETWORKS["perceptron"]
    network, inputs = kind.network(), kind.inputs(2)
    outputs = [make(network).outputs(inputs, 1, seed=seed, model=network) for seed in (0, 1)]
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize("make", [DropConnect, NoiseGrad, VariationalDropout])
def test_draws_are_keyed_by_the_names_of_parameters_not_their_order(make):
    kind = NETWORKS["perceptron"]
    network = kind.network()
    reordered = copy.deepcopy(network)
    reordered._modules = dict(reversed(network._modules.items()))
    assert [name for name, _ in reordered.named_parameters()] != [name for name, _ in network.named_parameters()]
    for one, other in zip(*(make(net).outputs(kind.inputs(2), 3) for net in (network, reordered)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("make", [DropConnect, NoiseGrad, VariationalDropout, SAMPLERS["InputNoise"]])
def test_draws_are_the_same_networks_in_every_dtype(make):
    kind = NETWORKS["perceptron"]
    network, inputs = kind.network(), kind.inputs(2)
    single = make(network).outputs(inputs, 3, model=network)
    double = make(network).outputs(inputs.double(), 3, model=network.double())
    torch.testing.assert_close(single, double.float())


@every_sampler
def test_tied_weights_stay_tied_within_a_draw(source):
    kind = NETWORKS["tied weights"]
    network = source.network(kind)
    with source(network).draw(1, kind.inputs(2), model=network):
        assert network.encoder.weight is network.decoder.weight
        assert network.encoder.weight.data_ptr() == network.decoder.weight.data_ptr()
    oracle = source(network).network(1, kind.inputs(2), model=network)
    assert oracle.encoder.weight is oracle.decoder.weight


@every_sampler
def test_parameters_keep_their_identity_within_a_draw(source):
    """So that hooks, layer methods and optimisers still hold."""
    kind = NETWORKS["convolutional with BatchNorm"]
    network = source.network(kind)
    before = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    with source(network).draw(1, kind.inputs(2), model=network):
        assert [id(tensor) for tensor in (*network.parameters(), *network.buffers())] == before


@every_sampler
def test_an_oracle_shares_no_memory_with_the_model_or_the_sampler(source):
    kind = NETWORKS["convolutional with BatchNorm"]
    network, inputs = source.network(kind), kind.inputs(2)
    sampler = source(network)
    oracle = sampler.network(1, inputs, model=network)
    expected = sampler.outputs(inputs, 2, model=network)
    with torch.no_grad():
        for parameter in oracle.parameters():
            parameter.zero_()
    assert torch.equal(sampler.outputs(inputs, 2, model=network), expected)


def test_two_samplers_of_one_kind_in_a_compose_draw_independently():
    network = torch.nn.Linear(2000, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    drawn = Compose(NoiseGrad(std=0.1), NoiseGrad(std=0.1)).network(0, model=network).weight
    assert drawn.std().item() == pytest.approx(0.02**0.5, rel=0.1)  # 0.2 were the factors equal


class MeanField(torch.nn.Linear):
    """A layer that draws its weights at every forward, and remembers them as torch-uncertainty and blitz do."""

    def forward(self, x):
        self.sampled = self.weight + 0.1 * torch.randn_like(self.weight)
        self.kept = [self.sampled, None]
        return torch.nn.functional.linear(x, self.sampled, self.bias)


def test_layers_that_draw_their_own_weights_are_held_and_dropout_beside_them_stays_off():
    kind = NETWORKS["perceptron"]
    network, x = kind.network(), kind.inputs(3)
    network.hidden = MeanField(5, 8)
    network(x)  # remembers weights with a graph, which could not be copied
    check_sampler(BayesianLayers, network, x)
    uq = StochasticAttribution(attr.IntegratedGradients(network), BayesianLayers())
    dist = uq.attribute(x, target=1, n_draws=3, seed=0)
    for t in range(3):
        oracle = BayesianLayers(network).network(t, x)
        assert torch.equal(dist.draws[t], attr.IntegratedGradients(oracle).attribute(x, target=1))
    network.dropout.p = 0.9
    assert torch.equal(uq.attribute(x, target=1, n_draws=3, seed=0).draws, dist.draws)
    network(x)
    BayesianLayers(network).network(0, x)
    assert network.hidden.sampled.grad_fn is not None
    assert network.hidden.kept[0].grad_fn is not None


@pytest.mark.parametrize("make", [DropConnect, NoiseGrad, VariationalDropout])
def test_modules_restrict_what_draws(make):
    network = NETWORKS["perceptron"].network()
    for modules in ("head", "he*", network.head.__class__):
        drawn = make(network, modules=modules).network(0)
        assert not torch.equal(drawn.head.weight, network.head.weight)
        assert torch.equal(drawn.hidden.weight, network.hidden.weight) == isinstance(modules, str)


def test_input_noise_goes_to_the_arguments_that_are_named():
    class Two(torch.nn.Module):
        def forward(self, x, y, *, z):
            return x + 10 * y + 100 * z

    ones = torch.ones(2, 3)
    for named, scale in ((0, 1), ((1,), 10), ("z", 100)):
        shift = InputNoise(std=0.1, arguments=named).network(0, model=Two())(ones, ones, z=ones) - 111
        assert torch.allclose(shift[0], shift[1])
        assert 0 < shift.abs().max() < 5 * 0.1 * scale
    first, last = (InputNoise(arguments=a).network(0, model=Two())(ones, ones, z=ones) - 111 for a in (0, "z"))
    both = InputNoise(arguments=(0, "z")).network(0, model=Two())(ones, ones, z=ones) - 111
    torch.testing.assert_close(both, first + last, rtol=1e-3, atol=1e-4)


def test_two_threads_on_one_model_take_turns():
    kind = NETWORKS["perceptron"]
    network, x = kind.network(), kind.inputs(2)
    uq = StochasticAttribution(attr.IntegratedGradients(network), NoiseGrad())
    expected = [uq.attribute(x, target=1, n_draws=4, seed=seed).draws for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: uq.attribute(x, target=1, n_draws=4, seed=seed).draws, range(4)))
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


def test_a_stack_of_weights_is_offered_to_whoever_runs_many_draws_at_once():
    network = NETWORKS["perceptron"].network()
    bound = DropConnect().bind(network)
    assert torch.equal(bound.weights(2, 5)["head.weight"], DropConnect(network).network(2, seed=5).head.weight)
    assert Compose(NoiseGrad(), InputNoise()).bind(network).weights(0, 0) is None


@pytest.mark.parametrize("make", [DropConnect, NoiseGrad, VariationalDropout])
def test_two_parameters_of_one_shape_draw_independently(make):
    network = torch.nn.Sequential(torch.nn.Linear(30, 30, bias=False), torch.nn.Linear(30, 30, bias=False))
    for layer in network:
        torch.nn.init.ones_(layer.weight)
    first, second = (layer.weight.detach().flatten() for layer in make(network).network(0))
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 5 / 900**0.5


@pytest.mark.parametrize("make", [DropConnect, NoiseGrad, VariationalDropout])
def test_a_draw_takes_up_the_memory_of_the_draw_before_and_of_none_that_is_held(make):
    network = NETWORKS["perceptron"].network()
    bound, weight = make().bind(network), network.head.weight
    offered = bound.weights(0, 5)["head.weight"]
    kept, own = offered.clone(), weight.detach().clone()
    for _ in range(2):
        with bound.draw(0, 5):
            place = weight.data_ptr()
            assert torch.equal(weight, kept)
            with bound.draw(1, 5):
                assert weight.data_ptr() != place
            assert torch.equal(weight, kept)
    with bound.draw(2, 5):
        assert not torch.equal(weight, kept)
    with pytest.raises(KeyError), bound.draw(3, 5):
        raise KeyError
    places = set()
    for t in range(6):
        with bound.draw(t, 5):
            places.add(weight.data_ptr())
    assert len(places) == 1
    assert torch.equal(offered, kept)
    assert torch.equal(weight, own)
