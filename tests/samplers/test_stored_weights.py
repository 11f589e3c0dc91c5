"""Weights that come from elsewhere: one module loaded again and again, torch's own stacks, SWAG's training run."""

import copy
import math

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from captum_uq import StochasticAttribution
from captum_uq.samplers import (
    SWAG,
    DropConnect,
    Ensemble,
    MCDropout,
    NoiseGrad,
    NothingToDrawError,
    VariationalDropout,
    WeightSamples,
    from_callable,
)
from captum_uq.testing import check_sampler
from samplers.table import NETWORKS, Convolutional, members

KIND = NETWORKS["perceptron"]
START = [parameter.detach() for parameter in KIND.network().parameters()]


def loaded(network, generator):
    """Another network's weights, into this one."""
    with torch.no_grad():
        for parameter, start in zip(network.parameters(), START, strict=True):
            parameter.copy_(start + 0.1 * torch.randn(start.shape, generator=generator))
    return network


def scratch_module():
    scratch = KIND.network()
    return from_callable(lambda index, generator: loaded(scratch, generator))


def scratch_state():
    scratch = KIND.network()
    return WeightSamples(lambda index, generator: loaded(scratch, generator).state_dict())


@pytest.mark.parametrize("make", [scratch_module, scratch_state])
@pytest.mark.parametrize("method", [attr.Saliency, attr.IntegratedGradients, attr.FeatureAblation])
def test_draws_may_all_be_loaded_into_one_module(make, method):
    network, inputs = KIND.network(), KIND.inputs(3)
    apart = from_callable(lambda index, generator: loaded(copy.deepcopy(network), generator))
    sampler = make()
    check_sampler(lambda: sampler, network, inputs)
    assert torch.equal(sampler.outputs(inputs, 4, model=network), apart.outputs(inputs, 4, model=network))
    found, expected = (
        StochasticAttribution(method(network), sampler).attribute(inputs, target=1, n_draws=30, seed=0)
        for sampler in (sampler, apart)
    )
    assert torch.equal(found.draws, expected.draws)
    assert (found.execution.road, found.execution) == ("fold", expected.execution)
    networks = [sampler.network(t, model=network) for t in range(2)]
    assert not torch.equal(networks[0].head.weight, networks[1].head.weight)


def test_a_module_that_is_never_loaded_has_nothing_to_draw():
    network, scratch = KIND.network(), KIND.network()
    with pytest.raises(NothingToDrawError, match="all of its are equal"):
        from_callable(lambda index, generator: scratch).network(0, model=network)


@pytest.mark.parametrize("kind", ["perceptron", "convolutional with BatchNorm"])
def test_the_pair_that_torch_stacks_is_stacked_weights(kind):
    kind = NETWORKS[kind]
    network, inputs = kind.network(), kind.inputs(2)
    nets = members(network, 4)
    sampler = WeightSamples(torch.func.stack_module_state(nets))
    assert (sampler.max_draws, repr(sampler)) == (4, "WeightSamples(4 samples)")
    expected = torch.stack([net(inputs) for net in nets]).detach()
    torch.testing.assert_close(sampler.outputs(inputs, model=network), expected, rtol=0, atol=0)


def test_two_samples_in_a_tuple_are_two_samples():
    states = tuple(member.state_dict() for member in members(KIND.network(), 2))
    assert WeightSamples(states).max_draws == 2
    with pytest.raises(TypeError, match="stack_module_state"):
        WeightSamples(3)


def test_swag_collects_one_architecture_and_adds_nothing_of_another():
    swag, one = SWAG(), nn.Linear(2, 1)
    for bias in (0.0, 1.0):
        nn.init.constant_(one.bias, bias)
        swag.collect(one)
    before = swag.network(0, model=one)
    for other in (nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 1)), nn.Linear(2, 1, bias=False)):
        with pytest.raises(ValueError, match=r"parameters of another network .* here\. Give the network"):
            swag.collect(other)
    assert swag.n_collected == 2
    assert torch.equal(swag.network(0, model=one).bias, before.bias)


RANKS = (2.5, 1, True, "3", None, float("nan"))


@pytest.mark.parametrize("rank", RANKS, ids=repr)
def test_a_rank_is_a_whole_number(rank):
    with pytest.raises(ValueError, match=r"whole number of deviations, at least 2, got max_rank="):
        SWAG(max_rank=rank)
    assert SWAG(max_rank=np.int64(4)).max_rank == 4


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "1", None], ids=repr)
def test_a_scale_is_a_finite_number_above_0(scale):
    with pytest.raises(ValueError, match="finite scale above 0, got scale="):
        SWAG(scale=scale)


def collected(batches):
    kind = NETWORKS["convolutional with BatchNorm"]
    network, swag = kind.network(), SWAG(batches=batches)
    for member in members(network, 3):
        swag.collect(member)
    return swag, network, kind.inputs(5)


@pytest.mark.parametrize("batch", [{"x": torch.ones(2, 2, 6, 6)}, "x", (), ({"x": 1}, 2)], ids=repr)
def test_batches_of_something_else_are_named(batch):
    swag, network, inputs = collected([batch])
    with pytest.raises(TypeError, match=rf"inputs \(N, \*F\), or tuples .* got a {type(batch).__name__}\. Pick them"):
        swag.outputs(inputs, 2, model=network)


class Norm1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.layer(x))


def test_a_last_batch_of_one_row_is_left_out_by_drop_last():
    rows = TensorDataset(torch.randn(5, 3), torch.zeros(5))
    network = Norm1d().eval()
    for drop_last in (False, True):
        swag = SWAG(batches=DataLoader(rows, batch_size=2, drop_last=drop_last))
        for member in members(network, 3):
            swag.collect(member)
        if drop_last:
            assert torch.isfinite(swag.outputs(torch.ones(2, 3), 2, model=network)).all()
        else:
            with pytest.raises(ValueError, match=r"several rows in each .*\[1, 4\].* drop_last=True"):
                swag.outputs(torch.ones(2, 3), 2, model=network)


class Refusing(Convolutional):
    def forward(self, x):
        if self.norm.training:
            raise ValueError("of its own")
        return super().forward(x)


def test_an_error_of_the_network_s_own_stays_what_it_is():
    swag, _, inputs = collected([NETWORKS["convolutional with BatchNorm"].inputs(3)])
    with pytest.raises(ValueError, match=r"^of its own$"):
        swag.outputs(inputs, 2, model=Refusing().eval())


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), 0.25, np.int64(0), 0], ids=repr)
def test_a_number_of_numpy_is_a_number(number):
    plain = float(number)
    assert NoiseGrad(std=number).std == plain
    assert VariationalDropout(p=number).std == math.sqrt(plain / (1 - plain))
    assert repr(NoiseGrad(std=number)) == repr(NoiseGrad(std=plain))
    for kind in (VariationalDropout, DropConnect, MCDropout):
        assert repr(kind(p=number)) == repr(kind(p=plain))


@pytest.mark.parametrize("wrong", [True, "0.1", None, np.float32("nan"), np.float32(-1), 1j], ids=repr)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match="got std="):
        NoiseGrad(std=wrong)
    for kind in (VariationalDropout, DropConnect, *([] if wrong is None else [MCDropout])):
        with pytest.raises(ValueError, match="got p="):
            kind(p=wrong)


WRONG_ENTRIES = {
    "an array": (lambda state: state | {"head.weight": state["head.weight"].numpy()}, r"a ndarray for head\.weight"),
    "a list": (lambda state: state | {"head.bias": state["head.bias"].tolist()}, r"a list for head\.bias"),
    "a checkpoint": (lambda state: {"epoch": 3, "state_dict": state}, r"checkpoint\['state_dict'\]"),
    "a module": (lambda state: {"model": KIND.network(), "epoch": 3}, r"checkpoint\['model'\]"),
}
STORED = {
    "Ensemble": Ensemble,
    "WeightSamples": WeightSamples,
    "from_callable": lambda states: from_callable(lambda index, generator: states[index], max_draws=3),
    "WeightSamples of a function": lambda states: WeightSamples(lambda index, generator: states[index]),
}
every_store = pytest.mark.parametrize("make", STORED.values(), ids=STORED)


@pytest.mark.parametrize(("change", "message"), WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
@every_store
def test_an_entry_that_is_no_tensor_is_named_and_the_model_s_own_does_not_stay(make, change, message):
    network = KIND.network()
    states = [change(dict(member.state_dict())) for member in members(network)]
    with pytest.raises(TypeError, match=message):
        make(states).network(1, model=network)


@every_store
def test_what_a_state_dict_holds_beside_weights_is_left_out(make):
    network, x = KIND.network(), KIND.inputs(2)
    nets = members(network)
    states = [net.state_dict() | {"hidden._extra_state": {"scale": torch.ones(1)}, "epoch": 3} for net in nets]
    expected = torch.stack([net(x) for net in nets])
    assert torch.equal(make(states).outputs(x, 3, model=network), expected)


@pytest.mark.parametrize("entry", [np.ones((3, 8)), 3, {"head.bias": torch.ones(3, 3)}], ids=lambda e: type(e).__name__)
def test_stacked_weights_are_tensors(entry):
    with pytest.raises(TypeError, match=r"Stacked weights are tensors|checkpoint\['head\.bias'\]"):
        WeightSamples({"head.weight": torch.ones(3, 3, 8), "head.bias": entry})


@every_store
def test_networks_that_differ_in_complex_weights_alone_differ(make):
    network = nn.ParameterDict({"weight": torch.ones(2, dtype=torch.complex64), "bias": torch.ones(2)})
    states = [{"weight": network["weight"].detach() * 1j**t, "bias": torch.ones(2)} for t in range(3)]
    for t in range(3):
        assert torch.equal(make(states).network(t, model=network)["weight"], states[t]["weight"])


def shuffled(**options):
    rows = TensorDataset(torch.randn(16, 2, 6, 6, generator=torch.Generator().manual_seed(6)))
    return DataLoader(rows, **({"batch_size": 4} | options))


class Shuffling:
    """Batches of the user's own, with a generator."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(7)

    def __iter__(self):
        yield from torch.randn(3, 5, 2, 6, 6, generator=self.generator)


def by_sampler():
    return RandomSampler(range(16), generator=torch.Generator().manual_seed(7))


LOADERS = {
    "without a generator": lambda: shuffled(shuffle=True),
    "with its own": lambda: shuffled(shuffle=True, generator=torch.Generator().manual_seed(7)),
    "with its sampler's": lambda: shuffled(sampler=by_sampler()),
    "with that of the sampler of its batches": lambda: shuffled(
        batch_size=1, batch_sampler=BatchSampler(by_sampler(), 4, drop_last=False)
    ),
    "of the user's": Shuffling,
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_statistics_over_shuffled_batches_follow_the_seed_and_move_no_generator(make):
    loader = make()
    swag, network, inputs = collected(loader)
    generators = (
        [
            each
            for part in (loader, getattr(loader, "sampler", None), getattr(loader.batch_sampler, "sampler", None))
            if (each := getattr(part, "generator", None)) is not None
        ]
        if isinstance(loader, DataLoader)
        else [loader.generator]
    )
    before = [each.get_state() for each in generators]
    whole = swag.outputs(inputs, 3, seed=1, model=network)
    assert all(torch.equal(each.get_state(), state) for each, state in zip(generators, before, strict=True))
    again = collected(make())[0]
    for t in (2, 0):
        assert torch.equal(swag.network(t, seed=1, model=network)(inputs), whole[t])
        assert torch.equal(again.network(t, seed=1, model=network)(inputs), whole[t])
    other = [swag.network(0, seed=seed, model=network).norm.running_mean for seed in (1, 2)]
    assert not torch.equal(*other)
