"""Several samplers at once: independent of each other, through every combination, the same however nested."""

import itertools
import math

import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq._rng import generator
from captum_uq.samplers import (
    Compose,
    DropConnect,
    Ensemble,
    InputNoise,
    MCDropout,
    NoiseGrad,
    VariationalDropout,
    WeightSamples,
    from_callable,
)
from samplers.table import NETWORKS, members

KIND, COUNT = NETWORKS["perceptron"], 5000


def noise(**options):
    return NoiseGrad(std=0.1, **options)


def variational(**options):
    """Noise of standard deviation 0.1."""
    return VariationalDropout(p=0.01 / 1.01, **options)


class OfTheUser(NoiseGrad):
    """Draws what its base draws."""


class ComposeOfTheUser(Compose):
    pass


FACTORS = {
    "flat": (lambda: Compose(noise(), noise()), 2),
    "nested first": (lambda: Compose(Compose(noise(), InputNoise()), noise()), 2),
    "nested last": (lambda: Compose(noise(), Compose(InputNoise(), noise())), 2),
    "both nested": (lambda: Compose(Compose(noise(), InputNoise()), Compose(InputNoise(), noise())), 2),
    "nested twice": (lambda: Compose(noise(), Compose(InputNoise(), ComposeOfTheUser(noise(), noise()))), 3),
    "with a subclass": (lambda: Compose(noise(), variational()), 2),
    "with a subclass first": (lambda: Compose(variational(), noise(), variational()), 3),
    "with the user's subclass": (lambda: Compose(noise(), OfTheUser(std=0.1)), 2),
    "with a subclass in a nested one": (lambda: Compose(Compose(noise(), InputNoise()), variational()), 2),
}


@pytest.mark.parametrize(("make", "count"), FACTORS.values(), ids=FACTORS)
def test_no_two_samplers_share_random_numbers(make, count):
    layer = nn.Linear(COUNT, 1, bias=False)
    nn.init.ones_(layer.weight)
    drawn = make().network(0, torch.randn(2, COUNT), model=layer).weight
    assert drawn.std().item() == pytest.approx(math.sqrt(1.01**count - 1), rel=0.06)  # 0.2014 were two of them equal


@pytest.mark.parametrize("first", [WeightSamples, from_callable])
@pytest.mark.parametrize("second", [WeightSamples, from_callable])
@pytest.mark.parametrize("compose", [Compose, lambda a, b: Compose(Compose(a, InputNoise()), b)])
def test_no_two_functions_share_their_generator(first, second, compose):
    def of(name):
        return lambda index, generator: {name: torch.randn(1, COUNT, generator=generator)}

    network = nn.ModuleList([nn.Linear(COUNT, 1), nn.Linear(COUNT, 1)])
    drawn = compose(first(of("0.weight")), second(of("1.weight"))).network(0, model=network)
    both = torch.stack([layer.weight.detach().flatten() for layer in drawn])
    assert torch.corrcoef(both)[0, 1].abs() < 5 / COUNT**0.5


def head(index, generator):
    return {"head.weight": torch.randn(3, 8, generator=generator)}


STORED = {"hidden.bias": torch.arange(16.0).reshape(2, 8)}
NOISE = NoiseGrad(modules="head")
MEANING = {
    "another kind before": (lambda: Compose(DropConnect(modules="hidden"), NOISE), NOISE, 0),
    "a nested one before": (lambda: Compose(Compose(DropConnect(modules="hidden"), MCDropout()), NOISE), NOISE, 0),
    "one of its kind after": (lambda: Compose(NOISE, NoiseGrad(modules="hidden")), NOISE, 0),
    "one of its kind before": (lambda: Compose(NoiseGrad(modules="hidden"), NOISE), NOISE, 1),
    "a function after stored samples": (
        lambda: Compose(WeightSamples(STORED), from_callable(head)),
        from_callable(head),
        0,
    ),
    "samples by a function after stored ones": (
        lambda: Compose(WeightSamples(STORED), WeightSamples(head)),
        WeightSamples(head),
        1,
    ),
}


@pytest.mark.parametrize(("make", "alone", "repeat"), MEANING.values(), ids=MEANING)
def test_a_sampler_draws_what_it_draws_alone_or_after_another_of_its_kind_by_a_seed_of_its_own(make, alone, repeat):
    """Networks that were explained once can be made again: this is what a seed means."""
    network, inputs = KIND.network(), KIND.inputs(2)
    seed = int(generator(5, "Compose", repeat).integers(2**63)) if repeat else 5
    for index in range(4):
        drawn = make().network(index, inputs, seed=5, model=network)
        assert torch.equal(drawn.head.weight, alone.network(index, seed=seed, model=network).head.weight)


def counted(name, size, scale):
    values = scale * torch.arange(float(size))
    return WeightSamples({name: values.reshape(size, *[1] * (2 if name == "weight" else 1))})


class Third(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.extra = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return super().forward(x) + self.extra


PARTS = [counted("weight", 2, 1), counted("bias", 3, 10), counted("extra", 4, 100)]
NESTINGS = {
    "flat": lambda a, b, c: Compose(a, b, c),
    "first two": lambda a, b, c: Compose(Compose(a, b), c),
    "last two": lambda a, b, c: Compose(a, Compose(b, c)),
}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("nest", NESTINGS.values(), ids=NESTINGS)
def test_every_nesting_goes_through_the_same_combinations_in_the_same_order(nest, order):
    sampler = nest(*(PARTS[part] for part in order))
    found = sampler.outputs(torch.ones(1, 1), model=Third()).flatten().tolist()
    steps = [[scale * value for value in range(size)] for size, scale in ((2, 1), (3, 10), (4, 100))]
    combinations = itertools.product(*(steps[part] for part in reversed(order)))  # the first counts fastest
    assert found == [sum(values) for values in combinations]


def test_a_compose_within_another_that_has_no_end_gives_its_own_draws():
    network, inputs = KIND.network(), KIND.inputs(2)
    inner = Compose(Ensemble(members(network)), MCDropout())
    found = Compose(inner, InputNoise()).outputs(inputs, 7, model=network, seed=1)
    flat = Compose(Ensemble(members(network)), MCDropout(), InputNoise()).outputs(inputs, 7, model=network, seed=1)
    assert torch.equal(found, flat)


@pytest.mark.parametrize("make", [FACTORS["nested first"][0], FACTORS["with a subclass"][0]])
def test_nested_samplers_of_weights_are_their_oracles_in_attribute(make):
    network, inputs = KIND.network(), KIND.inputs(4)
    draws = StochasticAttribution(attr.Saliency(network), make()).attribute(inputs, target=1, n_draws=6, seed=3).draws
    for t in range(6):
        oracle = make().network(t, inputs, seed=3, model=network)
        torch.testing.assert_close(draws[t], attr.Saliency(oracle).attribute(inputs, target=1))
