"""`check_sampler` against samplers that are wrong in one way each."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from captum_uq.samplers import BoundSampler, BoundWeights, Sampler, standard_normal
from captum_uq.testing import LawBrokenError, check_sampler
from samplers.table import NETWORKS


class Right(Sampler):
    """Noise on the weights of the head; each broken sampler below changes one thing."""

    def bind(self, model):
        def draw_weights(index, seed):
            weight = model.head.weight
            return {"head.weight": weight.detach() + self.noise(weight, index, seed)}

        return BoundWeights(model, draw_weights)

    def noise(self, weight, index, seed):
        return standard_normal(weight, seed, "Right", index)


class LeaksAFlag(Right):
    def bind(self, model):
        inner = super().bind(model)

        class Bound(BoundSampler):
            @contextlib.contextmanager
            def draw(self, index, seed):
                model.dropout.training = True
                model.dropout.p = 0.0
                with inner.draw(index, seed):
                    yield

        return Bound()


class LeaksWeightsOnAnException(Right):
    def bind(self, model):
        inner = super().bind(model)

        class Bound(BoundSampler):
            @contextlib.contextmanager
            def draw(self, index, seed):
                before = model.head.weight.data
                model.head.weight.data = inner.weights(index, seed)["head.weight"]
                yield  # no try/finally
                model.head.weight.data = before

        return Bound()


class SameDrawTwice(Right):
    def noise(self, weight, index, seed):
        return standard_normal(weight, seed, "SameDrawTwice")


class DependsOnTheBatchSize(Right):
    def bind(self, model):
        class Bound(BoundSampler):
            @contextlib.contextmanager
            def draw(self, index, seed):
                def shift(module, args):
                    return (args[0] + standard_normal(args[0], seed, index),)  # of the whole batch, not of one row

                handle = model.register_forward_pre_hook(shift)
                try:
                    yield
                finally:
                    handle.remove()

        return Bound()


class TouchesTheGlobalGenerator(Right):
    def noise(self, weight, index, seed):
        torch.manual_seed(seed + index)
        return torch.randn(weight.shape)


class IsNotRepeatable(Right):
    calls = 0

    def noise(self, weight, index, seed):
        type(self).calls += 1
        return standard_normal(weight, seed, index, self.calls)


class ReplacesAParameter(Right):
    def bind(self, model):
        inner = super().bind(model)

        class Bound(BoundSampler):
            @contextlib.contextmanager
            def draw(self, index, seed):
                model.head.weight = nn.Parameter(inner.weights(index, seed)["head.weight"])
                yield

        return Bound()


class ChangesWithinADraw(Right):
    def bind(self, model):
        class Bound(BoundSampler):
            @contextlib.contextmanager
            def draw(self, index, seed):
                calls = []

                def shift(module, args):
                    calls.append(1)
                    return (args[0] + index + len(calls),)

                handle = model.register_forward_pre_hook(shift)
                try:
                    yield
                finally:
                    handle.remove()

        return Bound()


class PromisesMoreThanItHas(Right):
    max_draws, default_draws = 2, 5


class DrawsEveryNetworkTwice(Right):
    def noise(self, weight, index, seed):
        return super().noise(weight, index // 2, seed)


class StartsAgain(Right):
    def noise(self, weight, index, seed):
        return super().noise(weight, index % 7, seed)


STORED = [torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


class GivesAwayItsMemory(Right):
    max_draws = default_draws = 3

    def bind(self, model):
        return BoundWeights(model, lambda index, seed: {"head.weight": STORED[index]})

    def network(self, index, *args, model=None, **options):
        network = copy.deepcopy(model)
        network.head.weight.data = STORED[index]
        return network


class GivesAwayTheModelsMemory(Right):
    def network(self, index, *args, model=None, **options):
        network = super().network(index, *args, model=model, **options)
        network.hidden.bias.data = model.hidden.bias.data
        return network


BROKEN = {
    LeaksAFlag: "leaves no trace",
    LeaksWeightsOnAnException: "leaves no trace",
    SameDrawTwice: "draws differ",
    DependsOnTheBatchSize: "does not depend on the batch",
    TouchesTheGlobalGenerator: "touches no global generator",
    IsNotRepeatable: "is repeatable",
    ReplacesAParameter: "leaves no trace",
    ChangesWithinADraw: "one draw is one network",
    PromisesMoreThanItHas: "as many draws as max_draws",
    DrawsEveryNetworkTwice: "draws differ where there is no end",
    StartsAgain: "draws differ where there is no end",
    GivesAwayItsMemory: "a network of its own",
    GivesAwayTheModelsMemory: "a network of its own",
}


@pytest.mark.parametrize(("broken", "law"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_sampler_is_caught_with_its_law(broken, law):
    kind = NETWORKS["perceptron"]
    with pytest.raises(LawBrokenError, match=law) as caught:
        check_sampler(broken, kind.network(), kind.inputs(3))
    assert law in caught.value.law


def test_a_right_sampler_passes_and_the_network_is_left_as_it_was():
    network = NETWORKS["perceptron"].network().train()
    network.relu.training = False
    before = {name: module.training for name, module in network.named_modules()}
    check_sampler(Right, network)  # inputs are made up for a network that begins with a Linear layer
    assert {name: module.training for name, module in network.named_modules()} == before


def test_inputs_that_cannot_be_made_up_are_asked_for():
    with pytest.raises(ValueError, match="give inputs="):
        check_sampler(Right, NETWORKS["convolutional with BatchNorm"].network())
    with pytest.raises(ValueError, match="at least 2 rows"):
        check_sampler(Right, NETWORKS["perceptron"].network(), torch.ones(1, 5))


def test_a_sampler_s_own_memory_is_as_it_was_after_the_check():
    kind, before = NETWORKS["perceptron"], [weight.clone() for weight in STORED]
    with pytest.raises(LawBrokenError, match="shares memory"):
        check_sampler(GivesAwayItsMemory, kind.network(), kind.inputs(3))
    assert all(map(torch.equal, before, STORED))


def test_draws_that_start_again_pass_where_their_number_is_said():
    class Three(StartsAgain):
        max_draws = default_draws = 7

    kind = NETWORKS["perceptron"]
    check_sampler(Three, kind.network(), kind.inputs(3))
