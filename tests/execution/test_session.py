"""What a call does to the network before its first draw, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import FeatureAblation, Saliency
from torch import Tensor, nn

import snapshots
from captum_uq import StochasticAttribution
from captum_uq.samplers import DropConnect, InputNoise, MCDropout, NoiseGrad
from samplers.table import NETWORKS, SAMPLERS


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_in_train_mode_is_explained_as_it_evaluates(network: str, sampler: str) -> None:
    kind, source = NETWORKS[network], SAMPLERS[sampler]
    model, inputs = source.network(kind), kind.inputs(3)
    uq = StochasticAttribution(Saliency(model), source(model))
    expected = uq.attribute(inputs, target=1, n_draws=3, seed=0)
    before = snapshots.of_model(model.train())
    found = uq.attribute(inputs, target=1, n_draws=3, seed=0)
    assert snapshots.of_model(model) == before
    torch.testing.assert_close(found.draws, expected.draws, rtol=0, atol=0)
    torch.testing.assert_close(found.deterministic, expected.deterministic, rtol=0, atol=0)


class Decorated(nn.Module):
    """A forward of which a part is compiled, or as it was written."""

    def __init__(self, body: nn.Module, compiles: bool) -> None:
        super().__init__()
        self.body, self.part = body, lambda x: 2 * body(x)
        if compiles:
            self.part = torch.compile(self.part, backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


@pytest.mark.parametrize("sampler", [MCDropout, NoiseGrad, DropConnect, InputNoise])
@pytest.mark.parametrize("method", [Saliency, FeatureAblation])
@pytest.mark.parametrize("where", ["the function", "inside the function", "inside the network"])
def test_compiled_functions_run_as_they_were_written(where: str, method: Any, sampler: Any) -> None:
    body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)).eval()
    inputs, options = torch.rand(4, 6), {"target": 1, "n_draws": 9, "seed": 0}
    written = lambda x: 2 * body(x)  # noqa: E731
    compiled = torch.compile(written, backend="eager")
    compiled(inputs)
    forward, plain = {
        "the function": (compiled, written),
        "inside the function": (lambda x: 1 + compiled(x), written),
        "inside the network": (Decorated(body, True).eval(), Decorated(body, False).eval()),
    }[where]

    def draws(forward: Any, execution: str) -> Tensor:
        model = forward if isinstance(forward, nn.Module) else body
        uq = StochasticAttribution(method(forward), sampler(model))
        return uq.attribute(inputs, **options, execution=execution).draws

    expected = draws(plain, "loop")
    assert expected.std(0).max() > 0
    for road in ("loop", "auto"):
        torch.testing.assert_close(draws(forward, road), expected)


@pytest.mark.parametrize("execution", ["auto", "loop", "fold", "prefix"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("network", ["perceptron", "convolutional with BatchNorm", "tied weights"])
def test_an_empty_batch_has_as_many_draws_of_nothing(network: str, sampler: str, execution: str) -> None:
    kind, source = NETWORKS[network], SAMPLERS[sampler]
    model = source.network(kind)
    uq, inputs = StochasticAttribution(FeatureAblation(model), source(model)), kind.inputs(1)[:0]
    dist = uq.attribute(inputs, target=1, n_draws=3, seed=0, execution=execution)
    assert dist.draws.shape == (3, *inputs.shape)
