"""Law 8: the same numbers by any road. The loop is the reference; it has its own tests against plain Captum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.distribution.execution import Execution
from captum_uq.execution.foldable import folding
from captum_uq.execution.plan import plan
from captum_uq.samplers import Sampler
from methods import METHODS, arguments, tensors
from networks import KINDS, build
from roads import hold_equal

ROADS = [
    ("fold", 1, 0),
    ("fold", 3, 0),
    ("fold", "auto", 0),
    ("prefix", 3, 1),
    ("prefix", "auto", 2),
    ("prefix", "auto", 5),
]
"""Each with its draws at once, and the draws that what they share is passed backwards for at once."""

DRAWS = 5

ONE_AFTER_ANOTHER = {"checkpointing"}
"""Kinds that draw outside the network's forward, in the backward pass: gradient methods loop."""

SOLVED = {"KernelShap", "Lime"}
"""They solve for a few coefficients from a few samples, which can make rounding errors large: then they loop."""


def run(method: str, network: nn.Module, layer: str, inputs: Any, more: Any, sampler: Sampler, **options: Any) -> Any:
    made = METHODS[method].make(network, network.get_submodule(layer))
    uq = StochasticAttribution(made, sampler)
    return uq.attribute(inputs, **arguments(METHODS[method], inputs, more), seed=3, **{"n_draws": DRAWS, **options})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_road_gives_the_draws_of_the_loop(kind: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, network = KINDS[kind], build(kind)
    inputs = case.inputs(3)

    def by(execution: str, draws_per_eval: Any = "auto", draws_per_product: int = 1) -> Any:
        def planned(*given: Any) -> Execution:
            road = plan(*given)
            return replace(road, draws_per_product=draws_per_product) if road.road == "prefix" else road

        monkeypatch.setattr("captum_uq.attribution.plan", planned)
        options = {"execution": execution, "draws_per_eval": draws_per_eval}
        return run(method, network, case.layer, inputs, case.additional, MCDropout(network), **options)

    try:
        reference = by("loop")
    except (TypeError, RuntimeError) as error:  # what the method refuses, it refuses by every road
        with pytest.raises(type(error)):
            by("prefix")
        return
    made = METHODS[method].make(network, network.get_submodule(case.layer))
    folds = folding(made).way is not None and kind not in ONE_AFTER_ANOTHER
    for execution, draws_per_eval, draws_per_product in ROADS:
        result = by(execution, draws_per_eval, draws_per_product)
        hold_equal(result, reference)
        taken = tensors(result)[0].execution
        amplified = method in SOLVED and "not those of the loop" in taken.reason
        nothing = "shows nothing" in taken.reason and not any(leaf.draws[0].any() for leaf in tensors(reference))
        assert not folds or taken.road != "loop" or amplified or nothing, taken


def plain(inputs: Tensor) -> dict[str, Any]:
    return {"inputs": inputs, "n_draws": 6, "seed": 1}


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "DeepLift", "Occlusion", "KernelShap", "LRP"])
@pytest.mark.parametrize("target", [1, [0, 2, 1], torch.tensor([0, 2, 1]), torch.tensor([1]), "predicted", "draw"])
def test_targets_go_to_the_rows_they_belong_to(target: Any, method: str, execution: str) -> None:
    network = build("Dropout")
    inputs = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    uq = StochasticAttribution(METHODS[method].make(network, network.hidden), MCDropout())
    given = {**METHODS[method].arguments(inputs), **plain(inputs), "target": target}
    hold_equal(uq.attribute(**given, execution=execution), uq.attribute(**given, execution="loop"))


BY_EXAMPLE: dict[str, Any] = {
    "IntegratedGradients": lambda x: {"baselines": x.flip(0)},
    "DeepLift": lambda x: {"baselines": x.flip(0)},
    "FeatureAblation": lambda x: {"baselines": x.flip(0), "feature_mask": torch.arange(15).view(3, 5) % 2},
    "Occlusion": lambda x: {"baselines": x[:1], "sliding_window_shapes": (2,), "perturbations_per_eval": 2},
    "ShapleyValueSampling": lambda x: {"baselines": 0.5, "n_samples": 2, "perturbations_per_eval": 3},
    "DeepLiftShap": lambda x: {"baselines": x.flip(0)},
}
"""DeepLiftShap's baselines are a distribution, of as many as there are examples by chance."""


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize("method", BY_EXAMPLE)
def test_arguments_go_to_the_rows_they_belong_to(method: str, execution: str) -> None:
    network = build("Dropout")
    inputs = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    uq = StochasticAttribution(METHODS[method].make(network, network.hidden), MCDropout())
    given = {**plain(inputs), **BY_EXAMPLE[method](inputs), "target": 1}
    result = uq.attribute(**given, execution=execution)
    hold_equal(result, uq.attribute(**given, execution="loop"))
    assert result.execution.road != "loop"


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize("way", ["lambda", "method", "two inputs"])
def test_a_function_around_the_network_folds_too(way: str, execution: str) -> None:
    network = build("Dropout")
    functions: dict[str, Any] = {
        "lambda": lambda x: network(x).softmax(1),
        "method": network.forward,
        "two inputs": lambda x, scale: network(x * scale),
    }
    inputs = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    more = {"additional_forward_args": (torch.rand(3, 1),)} if way == "two inputs" else {}
    uq = StochasticAttribution(METHODS["Saliency"].make(functions[way], network), MCDropout(network))
    given = {**plain(inputs), **more, "target": 1}
    result = uq.attribute(**given, execution=execution)
    hold_equal(result, uq.attribute(**given, execution="loop"))
    assert result.execution.road != "loop"
