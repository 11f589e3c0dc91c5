"""Law 8 for every sampler: weights fold too, and what cannot fold loops."""

from __future__ import annotations

import captum.attr as attr
import pytest

from captum_uq import StochasticAttribution
from captum_uq.samplers import Compose, DropConnect, Ensemble, MCDropout
from roads import hold_equal
from samplers.table import NETWORKS, SAMPLERS, Source

METHODS = {
    "Saliency": (attr.Saliency, {"abs": False}),
    "IntegratedGradients": (attr.IntegratedGradients, {"n_steps": 3}),
    "DeepLift": (attr.DeepLift, {}),
    "KernelShap": (attr.KernelShap, {"n_samples": 40}),
}
EVERY = SAMPLERS | {
    "Compose of dropped weights and dropout": Source(lambda net: Compose(DropConnect(p=0.2), MCDropout()))
}
FOLDING = {
    "MCDropout",
    "DropConnect",
    "NoiseGrad",
    "VariationalDropout",
    "WeightSamples stacked",
    "Ensemble of modules",
    "InputNoise",
    "Compose of an ensemble and dropout",
    "Compose of weight and input noise",
    "Compose of dropped weights and dropout",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_road_gives_the_draws_of_the_loop(network: str, sampler: str, method: str) -> None:
    kind, (make, arguments) = NETWORKS[network], METHODS[method]
    model = kind.network()
    drawn = EVERY[sampler](model)
    uq = StochasticAttribution(make(model), drawn)
    given = {"inputs": kind.inputs(2), "target": 1, "n_draws": 3, "seed": 2, **arguments}
    reference = uq.attribute(**given, execution="loop")
    for execution, draws_per_eval in (("fold", 1), ("fold", "auto"), ("prefix", 2)):
        result = uq.attribute(**given, execution=execution, draws_per_eval=draws_per_eval)
        hold_equal(result, reference)
        if network == "perceptron" and sampler in FOLDING and method != "KernelShap":
            assert result.execution.road != "loop", result.execution


@pytest.mark.parametrize(("count", "road"), [(4, "loop"), (5, "fold")])
def test_few_members_loop_by_themselves(count: int, road: str) -> None:
    model = NETWORKS["perceptron"].network()
    members = [NETWORKS["perceptron"].make().eval() for _ in range(count)]
    uq = StochasticAttribution(attr.Saliency(model), Ensemble(members))
    execution = uq.attribute(NETWORKS["perceptron"].inputs(1), target=0).execution
    assert execution.road == road
    assert ("not worth" in execution.reason) == (road == "loop")
