"""Errors name the rule, what came and the way out; nothing random is no answer."""

import copy
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import (
    SWAG,
    BayesianLayers,
    Compose,
    DrawError,
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
    with pytest.raises(TypeError, match="got one Sequential"):  # whose layers are no members
        Ensemble(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
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
    **{
        f"{count!r} draws": (lambda count=count: from_callable(print, max_draws=count), ValueError, "a whole number")
        for count in (0, -1, 2.5, True, "3", float("nan"))
    },
    **{
        f"noise on {wrong!r}": (lambda wrong=wrong: InputNoise(arguments=wrong), TypeError, "positions .* or names")
        for wrong in (None, 1.5, True, [0, None], np.float64(1), nn.Identity())
    },
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


@pytest.mark.parametrize("make", [MCDropout, DropConnect, NoiseGrad, VariationalDropout])
@pytest.mark.parametrize(
    "modules",
    [nn.Sequential(nn.Dropout()), nn.Linear(2, 2), [nn.Linear(2, 2)], ["head", nn.Dropout()], 3, [3], [None]],
    ids=str,
)
def test_modules_are_chosen_by_name_or_type_and_not_themselves(make, modules):
    with pytest.raises(TypeError, match=r"name, a pattern or a type of module, .* Give its type, or its name"):
        make(modules=modules)


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


class Scaled(nn.Linear):
    def __init__(self, scale):
        super().__init__(5, 3)
        self.scale = scale

    def forward(self, x):
        return self.scale * super().forward(x)


def activated(activation):
    return nn.Sequential(nn.Linear(5, 4), activation, nn.Dropout(0.5), nn.Linear(4, 3))


OTHERWISE = {
    "an activation": (activated(nn.ReLU()), activated(nn.Tanh()), r"'1' is a torch\.nn\..*Tanh, the model's a .*ReLU"),
    "an option": (activated(nn.ELU()), activated(nn.ELU(2.0)), r"'1' has alpha=2\.0, the model's alpha=1\.0"),
    "a number of the user's": (Scaled(1.0), Scaled(5.0), r"it has scale=5\.0, the model's scale=1\.0"),
    "another module": (activated(nn.ReLU()), activated(nn.Sequential(nn.ReLU())), r"'1' is a .*Sequential"),
    "one besides": (nn.Sequential(Scaled(1)), nn.Sequential(Scaled(1), nn.ReLU()), r"'1' is there besides"),
    "a padding": (nn.Conv2d(2, 2, 1, padding=0), nn.Conv2d(2, 2, 1, padding_mode="reflect"), "padding_mode='reflect'"),
}
OF_MODULES = {
    "Ensemble": Ensemble,
    "from_callable": lambda nets: from_callable(lambda index, generator: nets[index], max_draws=len(nets)),
    "WeightSamples of a function": lambda nets: WeightSamples(lambda index, generator: nets[index]),
}


@pytest.mark.parametrize(("network", "other", "message"), OTHERWISE.values(), ids=OTHERWISE)
@pytest.mark.parametrize("make", OF_MODULES.values(), ids=OF_MODULES)
def test_a_network_that_computes_otherwise_is_no_draw_of_the_model(make, network, other, message):
    alike = copy.deepcopy(network)
    nn.init.zeros_(next(alike.parameters()))
    with pytest.raises(ValueError, match=rf"is not a {type(network).__name__} like the model: .*{message}"):
        make([alike, other]).network(1, model=network)
    states = WeightSamples([alike.state_dict(), other.state_dict()])  # the way out
    assert torch.equal(next(states.network(1, model=network).parameters()), next(other.parameters()))


def made_otherwise():
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.BatchNorm1d(4, momentum=0.5))
    nn.utils.parametrizations.weight_norm(network[0])
    network.name_or_path, network.seed = "runs/2", 2
    return network


@pytest.mark.parametrize("make", OF_MODULES.values(), ids=OF_MODULES)
def test_training_and_where_a_network_is_from_do_not_tell_networks_apart(make):
    network, x = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(4)).eval(), KIND.inputs(3)
    nn.utils.parametrizations.weight_norm(network[0])
    network.name_or_path, network.seed = "runs/1", 1
    others = [made_otherwise() for _ in range(3)]
    found = make(others).outputs(x, 3, model=network)
    expected = [other.eval()(x) for other in others]
    torch.testing.assert_close(found, torch.stack(expected).detach())


@pytest.mark.parametrize("of", [int, np.int64, np.uint8], ids=lambda of: of.__name__)
def test_a_count_and_a_position_may_be_numpys(of):
    assert from_callable(print, max_draws=of(3)).max_draws == 3
    assert InputNoise(arguments=of(1)).arguments == InputNoise(arguments=[of(1)]).arguments == (1,)
    assert InputNoise(arguments="z").arguments == ("z",)


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.3, self.training)


OVERLAPS = {
    "all": ({}, {}, "a"),
    "some": ({}, {"modules": "b"}, "b"),
    "a type": ({"modules": Dropping}, {"modules": "a*"}, "a"),
}


@pytest.mark.parametrize("dropout", [nn.Dropout, Dropping])
@pytest.mark.parametrize("nest", [Compose, lambda one, other: Compose(one, Compose(InputNoise(), other))])
@pytest.mark.parametrize(("one", "other", "name"), OVERLAPS.values(), ids=OVERLAPS)
def test_two_samplers_that_claim_one_module_are_named(dropout, nest, one, other, name):
    network = nn.Sequential(OrderedDict(first=nn.Linear(5, 8), a=dropout(), b=dropout(), last=nn.Linear(8, 3))).eval()
    one = {"modules": dropout} if "modules" in one else one
    x, sampler = KIND.inputs(3), nest(MCDropout(p=0.2, **one), MCDropout(p=0.5, **other))
    for use in (
        lambda: StochasticAttribution(attr.Saliency(network), sampler).attribute(x, target=0, n_draws=2),
        lambda: sampler.outputs(x, 2, model=network),
        lambda: sampler.network(0, x, model=network),
    ):
        with pytest.raises(DrawError, match=rf"MCDropout\(p=0\.2.* and MCDropout\(p=0\.5.* hold D\w+ '{name}'"):
            use()
    twice = MCDropout()
    with pytest.raises(DrawError, match=r"both MCDropout\(\) and MCDropout\(\) hold"):
        nest(twice, twice).outputs(x, 2, model=network)
    apart = Compose(MCDropout(p=0.2, modules="a"), MCDropout(p=0.5, modules="b"))
    assert len(apart.outputs(x, 5, model=network).flatten(1).unique(dim=0)) == 5


@pytest.mark.parametrize("make", OF_MODULES.values(), ids=OF_MODULES)
def test_a_network_under_dropout_is_the_network_that_it_was_made_of(make):
    network, x = activated(nn.ReLU()).eval(), KIND.inputs(3)
    nets = [activated(nn.ReLU()).eval() for _ in range(3)]
    drawn, expected = MCDropout(p=0.3).network(1, x, model=network), make(nets).outputs(x, 3, model=network)
    assert make(nets).outputs(x, 3, model=drawn).shape == expected.shape
    with MCDropout(p=0.3).draw(1, x, model=network):
        assert make(nets).outputs(x, 3, model=network).shape == expected.shape
    assert make([drawn, *nets]).outputs(x, 3, model=network).shape == expected.shape


LAPLACE = {
    "another likelihood": (
        {"likelihood": "regresion"},
        ValueError,
        "'classification' or 'regression', got 'regresion'",
    ),
    "weights by their other name": ({"subset_of_weights": "all"}, TypeError, "subset='all'"),
    "the Hessian by its other name": ({"hessian_structure": "diag"}, TypeError, "hessian='diag'"),
}


@pytest.mark.parametrize(("options", "kind", "message"), LAPLACE.values(), ids=LAPLACE)
def test_options_of_a_laplace_fit(options, kind, message):
    with pytest.raises(kind, match=message):
        Laplace.fit(nn.Linear(5, 3), [], **options)


def test_a_number_is_no_network():
    with pytest.raises(TypeError, match="A number is n_draws=20"):
        MCDropout().predictive(20)
    with pytest.raises(ValueError, match="positive integer, got 0"):
        MCDropout().predictive(KIND.network(), 0)
