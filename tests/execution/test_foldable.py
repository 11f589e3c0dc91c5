"""The table of methods that fold: complete, and right about methods with random numbers of their own."""

from __future__ import annotations

import captum.attr as attr
import pytest
import torch

from captum_uq import MCDropout, StochasticAttribution, lrp
from captum_uq.execution.foldable import FOLDABLE, folding
from networks import build

ABSTRACT = {
    "Attribution",
    "GradientAttribution",
    "PerturbationAttribution",
    "NeuronAttribution",
    "LayerAttribution",
}
METHODS = [
    getattr(attr, name)
    for name in attr.__all__
    if isinstance(getattr(attr, name), type) and issubclass(getattr(attr, name), attr.Attribution)
]


@pytest.mark.parametrize("method", [m for m in METHODS if m.__name__ not in ABSTRACT], ids=lambda m: m.__name__)
def test_every_method_of_captum_has_a_row_with_a_reason(method: type) -> None:
    assert FOLDABLE[method].reason


def test_a_method_that_is_not_in_the_table_loops() -> None:
    class Mine(attr.Saliency):  # type: ignore[misc]
        pass

    dist = StochasticAttribution(Mine(build("Dropout")), MCDropout()).attribute(
        torch.ones(2, 5), target=0, n_draws=4, seed=0, execution="fold"
    )
    assert (dist.execution.road, dist.execution.draws_per_eval) == ("loop", 1)
    assert "not in the table" in dist.execution.reason


def test_lrp_of_ours_has_the_row_of_captums() -> None:
    network = build("Dropout")
    assert folding(lrp.LRP(network)) is FOLDABLE[attr.LRP]
    assert folding(lrp.LayerLRP(network, network.hidden)) is FOLDABLE[attr.LayerLRP]


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "KernelShap", "Lime"])
def test_independent_random_numbers_loop(name: str) -> None:
    uq = StochasticAttribution(getattr(attr, name)(build("Dropout")), MCDropout())
    given = {"target": 0, "n_draws": 4, "seed": 0, "n_samples": 5, "execution": "fold"}
    inputs = torch.ones(1, 5)
    assert uq.attribute(inputs, **given, estimator_seed="independent").execution.road == "loop"
    assert uq.attribute(inputs, **given).execution.road == "fold"
