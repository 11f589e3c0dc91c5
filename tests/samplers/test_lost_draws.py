"""Within a Compose no sampler's draws are replaced by those of another: the order that would is refused."""

import pytest
import torch
from captum import attr
from torch.utils.data import DataLoader, TensorDataset

from captum_uq import StochasticAttribution
from captum_uq.samplers import (
    BoundWeights,
    Compose,
    DropConnect,
    Ensemble,
    InputNoise,
    Laplace,
    MCDropout,
    NoiseGrad,
    Sampler,
    VariationalDropout,
    WeightSamples,
    from_callable,
    standard_normal,
)
from samplers.table import NETWORKS, members, stacked, swag

KIND = NETWORKS["perceptron"]


def head(index, generator):
    return {"head.weight": torch.randn(3, 8, generator=generator)}


class Additive(Sampler):
    """Noise of the user's own on whatever the weights are."""

    def bind(self, model):
        def weights(index, seed):
            own = model.named_parameters()
            return {name: w + 0.1 * standard_normal(w, seed, "Additive", index, name) for name, w in own}

        return BoundWeights(model, weights)


class Kept(Sampler):
    """Weights that the user keeps."""

    def __init__(self, network):
        super().__init__()
        self.states = [dict(member.named_parameters()) for member in members(network)]

    def bind(self, model):
        return BoundWeights(model, lambda index, seed: self.states[index % 3])


def of_a_function(nets):
    return from_callable(lambda index, generator: nets[index % len(nets)])


MOVING = {
    "NoiseGrad": lambda: NoiseGrad(std=0.1),
    "DropConnect": lambda: DropConnect(p=0.3),
    "VariationalDropout": lambda: VariationalDropout(p=0.1),
    "the user's noise": Additive,
    "a Compose": lambda: Compose(InputNoise(), NoiseGrad()),
}
REPLACING = {
    "Ensemble": lambda net: Ensemble(members(net)),
    "Ensemble of states": lambda net: Ensemble([net.state_dict(), members(net, 1)[0].state_dict()]),
    "WeightSamples": lambda net: WeightSamples(stacked(net)),
    "WeightSamples of the last layer": lambda net: WeightSamples({"head.weight": stacked(net)["head.weight"]}),
    "WeightSamples by a function": lambda net: WeightSamples(head),
    "from_callable": lambda net: of_a_function(members(net)),
    "SWAG": swag,
    "the user's": Kept,
    "a Compose": lambda net: Compose(InputNoise(), Ensemble(members(net))),
}


@pytest.mark.parametrize("moving", MOVING.values(), ids=MOVING)
@pytest.mark.parametrize("replacing", REPLACING.values(), ids=REPLACING)
def test_draws_that_stored_weights_would_replace_are_refused_and_those_on_them_are_not(moving, replacing):
    network, inputs = KIND.network(), KIND.inputs(2)
    sampler = Compose(moving(), replacing(network))
    for use in (
        lambda: StochasticAttribution(attr.Saliency(network), sampler).attribute(inputs, target=0, n_draws=2, seed=0),
        lambda: sampler.outputs(inputs, 2, model=network),
        lambda: sampler.network(0, inputs, model=network),
    ):
        with pytest.raises(ValueError, match=r"replaces [\w.]+, which .* draws before it: .* would be lost. Put what"):
            use()
    before = network.head.weight.clone()
    outputs = Compose(replacing(network), moving()).outputs(inputs, 12, model=network)
    assert len(outputs.flatten(1).unique(dim=0)) == 12
    assert torch.equal(network.head.weight, before)


def test_two_sources_of_the_same_weights_are_refused():
    network = KIND.network()
    with pytest.raises(ValueError, match="of two that do take one"):
        Compose(Ensemble(members(network)), swag(network)).network(0, model=network)


def drops_a_layer(network):
    """A mask of the user's own, which may leave nothing."""

    class Dropped(Sampler):
        def bind(self, model):
            return BoundWeights(model, lambda index, seed: {"head.weight": model.head.weight.detach() * (index % 3)})

    return Dropped()


def moves_the_model(network):
    """A function that starts from the model as it is."""

    def moved(index, generator):
        weight = network.head.weight.detach()
        return {"head.weight": weight + 0.1 * torch.randn(weight.shape, generator=generator)}

    return from_callable(moved)


def moves_the_model_in_one_module(network):
    """The same, loaded into one module again and again."""
    scratch = KIND.network()

    def moved(index, generator):
        scratch.load_state_dict(network.state_dict())
        with torch.no_grad():
            scratch.head.weight += 0.1 * torch.randn(3, 8, generator=generator)
        return scratch

    return from_callable(moved)


ALLOWED = {
    "other tensors": (lambda net: NoiseGrad(modules="hidden"), lambda net: WeightSamples(head)),
    "a mask of the user's": (lambda net: NoiseGrad(), drops_a_layer),
    "a function of the model": (lambda net: NoiseGrad(), moves_the_model),
    "a function of the model, by one module": (lambda net: NoiseGrad(), moves_the_model_in_one_module),
    "noise on noise": (lambda net: NoiseGrad(), lambda net: DropConnect(p=0.3)),
    "no weights": (lambda net: MCDropout(), lambda net: Ensemble(members(net))),
}


@pytest.mark.parametrize(("first", "second"), ALLOWED.values(), ids=ALLOWED)
def test_samplers_that_leave_each_other_s_draws_alone_are_not_refused(first, second):
    network, inputs = KIND.network(), KIND.inputs(2)
    together = Compose(first(network), second(network)).outputs(inputs, 3, model=network)
    for alone in (first(network), second(network)):
        outputs = alone.outputs(inputs, 3, model=network)
        assert not torch.equal(together[2], outputs[2])


@pytest.mark.filterwarnings("ignore")  # laplace-torch's dependencies warn
def test_noise_before_a_posterior_of_its_layer_is_refused():
    pytest.importorskip("laplace", reason="install the extra: pip install captum-uq[laplace]")
    network, inputs = KIND.network(), KIND.inputs(12)
    loader = DataLoader(TensorDataset(inputs, torch.arange(12) % 3), batch_size=6)
    laplace = Laplace.fit(network, loader, prior_precision=100.0)
    with pytest.raises(ValueError, match=r"Laplace\(.* replaces head\.\w+, which NoiseGrad"):
        Compose(NoiseGrad(), laplace).outputs(inputs, 2, model=network)
    for allowed in (Compose(NoiseGrad(modules="hidden"), laplace), Compose(laplace, NoiseGrad(std=0.1))):
        assert len(allowed.outputs(inputs, 4, model=network).flatten(1).unique(dim=0)) == 4
