"""Errors name the rule, what came and the way out; nothing random is no answer."""

import copy
import sys

import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import (
    SWAG,
    BayesianLayers,
    Compose,
    DropConnect,
    Ensemble,
    InputNoise,
    Laplace,
    MCDropout,
    NoiseGrad,
    NothingToDrawError,
    VariationalDropout,
    WeightSamples,
    from_callable,
)
from samplers.table import NETWORKS, Perceptron, members

KIND = NETWORKS["perceptron"]


def zeroed():
    model = nn.Linear(5, 3)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


NOTHING = {
    "DropConnect at rate 0": (lambda: DropConnect(p=0), KIND.network, "rate above 0"),
    "DropConnect without layers": (DropConnect, lambda: nn.Sequential(nn.BatchNorm1d(5)), "found 0 such layers"),
    "DropConnect of zeros": (DropConnect, zeroed, "not 0"),
    "NoiseGrad at 0": (lambda: NoiseGrad(std=0), KIND.network, "above 0"),
    "NoiseGrad of zeros": (NoiseGrad, zeroed, "not 0"),
    "VariationalDropout at 0": (lambda: VariationalDropout(p=0), KIND.network, "above 0"),
    "InputNoise at 0": (lambda: InputNoise(std=0), KIND.network, "above 0"),
    "InputNoise on no argument": (lambda: InputNoise(arguments=1), KIND.network, "arguments="),
    "an ensemble of equals": (lambda: Ensemble([KIND.network(), KIND.network()]), KIND.network, "all of its are equal"),
    "equal weight samples": (lambda: WeightSamples([KIND.network().state_dict()] * 2), KIND.network, "equal"),
    "a constant function": (lambda: from_callable(lambda index, generator: KIND.network()), KIND.network, "equal"),
    "SWAG without training": (SWAG, KIND.network, "swag.collect"),
    "BayesianLayers without any": (BayesianLayers, KIND.network, "bayesian-torch"),
    "Compose of dropout without dropout": (
        lambda: Compose(MCDropout(), NoiseGrad()),
        lambda: nn.Linear(5, 3),
        "MCDropout found nothing",
    ),
}


@pytest.mark.parametrize(("make", "model", "message"), NOTHING.values(), ids=NOTHING)
def test_nothing_random_is_no_answer(make, model, message):
    network = model()
    uq = StochasticAttribution(attr.Saliency(network.eval()), make())
    with pytest.raises(NothingToDrawError, match=message):
        uq.attribute(KIND.inputs(2), target=0, n_draws=2)


def test_fewer_than_two_members_or_samples_are_no_distribution():
    with pytest.raises(NothingToDrawError, match="at least two members, got 1"):
        Ensemble([KIND.network()])
    with pytest.raises(NothingToDrawError, match="at least two samples, got 0"):
        WeightSamples([])


def other_shape():
    network = Perceptron()
    network.head = nn.Linear(8, 4)
    return network


def renamed():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("other", [other_shape, renamed])
@pytest.mark.parametrize("source", [Ensemble, lambda nets: from_callable(lambda index, generator: nets[index])])
def test_another_architecture_is_refused_with_the_first_difference(other, source):
    network = KIND.network()
    with pytest.raises(ValueError, match=r"is not a Perceptron like the model: .*(head.weight has shape|lacks)"):
        source([copy.deepcopy(members(network, 1)[0]), other()]).outputs(KIND.inputs(2), 2, model=network)


def test_different_values_for_tied_weights_are_refused():
    network = NETWORKS["tied weights"].network()
    states = [dict(network.state_dict()) for _ in range(2)]
    states[1]["decoder.weight"] = states[1]["decoder.weight"] + 1
    with pytest.raises(ValueError, match="different values for encoder.weight and decoder.weight"):
        Ensemble(states).network(0, model=network)


@pytest.mark.parametrize("n_draws", [4, 100])
def test_more_draws_than_there_are_is_refused(n_draws):
    network = KIND.network()
    for sampler in (Ensemble(members(network)), WeightSamples(member.state_dict() for member in members(network))):
        with pytest.raises(ValueError, match=f"has 3 draws, n_draws={n_draws} asks for more"):
            StochasticAttribution(attr.Saliency(network), sampler).attribute(KIND.inputs(2), target=0, n_draws=n_draws)
        with pytest.raises(ValueError, match="draw 3 is none of them"):
            sampler.network(3, model=network)
        dist = StochasticAttribution(attr.Saliency(network), sampler).attribute(KIND.inputs(2), target=0)
        assert dist.n_draws == 3


BAD = {
    "a rate of 1": (lambda: DropConnect(p=1), ValueError, r"\[0, 1\)"),
    "a variational rate of 1": (lambda: VariationalDropout(p=1.0), ValueError, "infinite"),
    "a negative std": (lambda: NoiseGrad(std=-1), ValueError, "at least 0"),
    "an infinite std": (lambda: InputNoise(std=float("inf")), ValueError, "finite"),
    "too few stds": (lambda: InputNoise(std=(0.1,), arguments=(0, 1)), ValueError, "each of 2 arguments"),
    "one module as an ensemble": (lambda: Ensemble(nn.Linear(1, 1)), TypeError, "list of modules"),
    "a tensor as samples": (lambda: WeightSamples(torch.ones(3)), TypeError, "stacked weights"),
    "ragged stacked samples": (
        lambda: WeightSamples({"a": torch.ones(2, 1), "b": torch.ones(3, 1)}),
        ValueError,
        "one T for all",
    ),
    "no function": (lambda: from_callable(3), TypeError, "fn\\(index, generator\\)"),
    "an unknown kind": (lambda: from_callable(print, kind="prior"), ValueError, "kind is one of"),
    "one sampler composed": (lambda: Compose(NoiseGrad()), ValueError, "at least two"),
    "something else composed": (lambda: Compose(NoiseGrad(), MCDropout), TypeError, "Compose takes samplers"),
    "two models composed": (
        lambda: Compose(NoiseGrad(nn.Linear(1, 1)), MCDropout(nn.Linear(1, 1))),
        ValueError,
        "one model",
    ),
    "a rank of 1": (lambda: SWAG(max_rank=1), ValueError, "at least 2"),
    "batches that end": (lambda: SWAG(batches=iter([1])), ValueError, "DataLoader"),
    "no Laplace": (lambda: Laplace(nn.Linear(1, 1)), TypeError, "fitted laplace.Laplace"),
}


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD)
def test_bad_options_are_refused_when_the_sampler_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [(lambda net: net, ValueError, "returned the model itself"), (lambda net: 3, TypeError, "a state dict, got int")],
)
def test_a_function_that_returns_something_else_is_refused(returned, error, message):
    network = KIND.network()
    with pytest.raises(error, match=message):
        from_callable(lambda index, generator: returned(network)).outputs(KIND.inputs(2), 2, model=network)


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match=r"has \['tail.weight'\] besides"):
        WeightSamples({"tail.weight": torch.rand(3, 2, 2)}).network(0, model=KIND.network())


def test_a_weight_that_is_computed_from_others_is_refused():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))
    with pytest.raises(ValueError, match="Remove the parametrization"):
        DropConnect(model).network(0)


def test_modules_that_match_nothing_are_refused():
    with pytest.raises(ValueError, match="modules='tail' matches no module"):
        NoiseGrad(KIND.network(), modules="tail").network(0)


def test_swag_refuses_another_network_and_another_file(tmp_path):
    swag = SWAG()
    for member in members(KIND.network(), 2):
        swag.collect(member)
    with pytest.raises(ValueError, match="parameters of another network"):
        swag.network(0, model=nn.Linear(2, 2))
    torch.save({"version": 0}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"no file of SWAG\.save"):
        SWAG.load(tmp_path / "other.pt")


@pytest.mark.filterwarnings("ignore")  # where laplace-torch is installed, its dependencies warn
def test_laplace_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "laplace", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-uq\[laplace\]'"):
        Laplace.fit(KIND.network(), [])
