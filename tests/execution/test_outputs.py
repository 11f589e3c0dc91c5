"""Methods that attribute any number of outputs: the draws are further outputs of one call, about the same rows."""

from __future__ import annotations

from typing import Any

import captum.attr as attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution.foldable import FOLDABLE, folding
from captum_uq.execution.method import Call
from captum_uq.execution.rows import by_outputs
from captum_uq.samplers import DropConnect, InputNoise
from captum_uq.samplers.base import Rows
from networks import build
from roads import hold_equal

OUTPUTS: dict[str, dict[str, Any]] = {
    "Occlusion": {"sliding_window_shapes": (2,)},
    "FeatureAblation": {},
    "ShapleyValues": {},
    "ShapleyValueSampling": {"n_samples": 3},
    "FeaturePermutation": {},
}

ARGUMENTS: dict[str, Any] = {
    "a number as target": lambda x: {"target": 1},
    "targets": lambda x: {"target": [0, 2, 1]},
    "a tensor of targets": lambda x: {"target": torch.tensor([2, 0, 1])},
    "each draw's own class": lambda x: {"target": "draw"},
    "baselines by example": lambda x: {"target": 1, "baselines": x.flip(0)},
    "one baseline": lambda x: {"target": 1, "baselines": x[:1] * 2},
}


def inputs_of(rows: int = 3) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many draws every network answered for, each time that it was asked for all."""
    counts: list[int] = []
    plain = Rows.of_every_draw

    def counted(self: Rows, forward: Any) -> Any:
        counts.append(self.count)
        return plain(self, forward)

    monkeypatch.setattr(Rows, "of_every_draw", counted)
    return counts


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize("sampler", [MCDropout(), DropConnect(p=0.3), InputNoise(std=0.1)], ids=repr)
@pytest.mark.parametrize(
    ("name", "argument"),
    [(n, a) for n in OUTPUTS for a in ARGUMENTS if n != "FeaturePermutation" or "baseline" not in a],
)
def test_they_are_the_draws_of_the_loop(
    name: str, argument: str, sampler: Any, execution: str, asked: list[int]
) -> None:
    given = ARGUMENTS[argument]
    uq, inputs = StochasticAttribution(getattr(attr, name)(build("Dropout")), sampler), inputs_of()
    options = {**OUTPUTS[name], **given(inputs), "n_draws": 5, "seed": 1}
    dist = uq.attribute(inputs, **options, execution=execution, draws_per_eval=2)
    hold_equal(dist, uq.attribute(inputs, **options, execution="loop"))
    assert dist.execution.road != "loop", dist.execution
    assert asked[-3:] == [2, 2, 1]


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValueSampling", "FeaturePermutation"])
def test_outputs_that_are_more_than_one_for_each_example(name: str, asked: list[int]) -> None:
    uq, inputs = StochasticAttribution(getattr(attr, name)(build("Dropout")), MCDropout()), inputs_of()
    options = {**OUTPUTS[name], "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs, **options, execution="prefix")
    hold_equal(dist, uq.attribute(inputs, **options, execution="loop"))
    assert asked
    assert dist.execution.road == "prefix", dist.execution


class Two(nn.Module):
    """A network of two inputs, with a number for each example beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(5, 8), nn.Linear(3, 8)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor, scale: Tensor, shift: float) -> Tensor:
        return self.head(self.dropout((self.one(x) * scale[:, None] + self.other(y) + shift).relu()))


@pytest.mark.parametrize("execution", ["fold", "prefix"])
def test_several_inputs_one_mask_and_further_arguments(execution: str, asked: list[int]) -> None:
    uq = StochasticAttribution(attr.FeatureAblation(Two().eval()), MCDropout())
    inputs = inputs_of(), inputs_of()[:, :3]
    options = {
        "target": torch.tensor([0, 1, 1]),
        "additional_forward_args": (torch.tensor([1.0, 2.0, 3.0]), 0.5),
        "feature_mask": (torch.tensor([[0, 0, 1, 1, 2]]), torch.tensor([[2, 3, 3]])),
        "n_draws": 6,
        "seed": 0,
    }
    dist = uq.attribute(inputs, **options, execution=execution)
    hold_equal(dist, uq.attribute(inputs, **options, execution="loop"))
    assert asked
    assert dist[0].execution.road == execution


MASK_BY_EXAMPLE = {"feature_mask": (torch.arange(15) % 4).view(3, 5)}
SEVERAL = {"perturbations_per_eval": 2}


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize(
    ("name", "more"), [("FeatureAblation", MASK_BY_EXAMPLE), *((name, SEVERAL) for name in OUTPUTS)]
)
def test_what_makes_them_examples_again(name: str, more: Any, execution: str, asked: list[int]) -> None:
    uq, inputs = StochasticAttribution(getattr(attr, name)(build("Dropout")), MCDropout()), inputs_of()
    options = {**OUTPUTS[name], **more, "target": 1, "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs, **options, execution=execution)
    hold_equal(dist, uq.attribute(inputs, **options, execution="loop"))
    assert dist.execution.road == execution, dist.execution
    assert not asked


def test_which_calls_are_by_outputs() -> None:
    x, one, each = inputs_of(), torch.tensor([[0, 0, 1, 1, 1]]), torch.zeros(3, 5, dtype=torch.int64)
    method = attr.FeatureAblation(build("Dropout"))
    expected = [({}, True), ({"perturbations_per_eval": 1}, True), ({"feature_mask": one}, True)]
    expected += [({"perturbations_per_eval": 2}, False), ({"feature_mask": each}, False)]
    for arguments, by in expected:
        assert by_outputs(Call(method, (x,), arguments), folding(method)) == by, arguments
    assert {kind.__name__ for kind, how in FOLDABLE.items() if how.outputs} == set(OUTPUTS)
    assert not any(how.outputs and (how.gradients or how.inside) for how in FOLDABLE.values())
