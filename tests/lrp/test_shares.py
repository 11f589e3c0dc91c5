"""What a rule makes of a layer alone is made once for all draws that share a use of it, and not kept for one."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from captum_uq import MCDropout, StochasticAttribution, lrp
from captum_uq._shared_graph import is_shared, sharing
from captum_uq.lrp import AveragePoolRule, BoxRule, EpsilonRule, GammaRule, LayerRule, ZPlusRule
from captum_uq.lrp._affine import affine_of
from captum_uq.lrp._shares import stabilized
from captum_uq.lrp._step import Step, leaf

FORWARDS = ("convolution", "avg_pool2d")


class Forwards(TorchDispatchMode):
    """Counts what layers run forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.count: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        self.count.update(each for each in FORWARDS if name.startswith(each) and "backward" not in name)
        return func(*args, **(kwargs or {}))


def convolution() -> Step:
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = leaf(torch.randn(2, 2, 5, 5, dtype=torch.float64).clamp(-3, 3))
    output = layer(x)
    return Step("a convolution", (x,), output, layer, layer, affine_of(layer, output))


def folded() -> Step:
    step = convolution()
    return step.folded(step.affine.scaled(torch.rand(3).double() + 0.5, torch.randn(3).double()))


def pool() -> Step:
    layer, x = nn.MaxPool2d(2), leaf(torch.rand(2, 3, 4, 4, dtype=torch.float64))
    return Step("a pool", (x,), layer(x), layer, layer)


def addition() -> Step:
    inputs = tuple(leaf(torch.randn(2, 3, 4, 4, dtype=torch.float64)) for _ in range(2))
    return Step("add", inputs, torch.add(*inputs), torch.add)


CASES: dict[str, tuple[Callable[[], LayerRule], Callable[[], Step]]] = {
    "epsilon": (lambda: EpsilonRule(0.1), convolution),
    "epsilon, relative": (lambda: EpsilonRule(0.25, relative=True), convolution),
    "LRP-0": (lambda: EpsilonRule(0.0), convolution),
    "epsilon behind a BatchNorm": (lambda: EpsilonRule(0.1), folded),
    "z+": (ZPlusRule, convolution),
    "z+ behind a BatchNorm": (ZPlusRule, folded),
    "z+ of a sum": (ZPlusRule, addition),
    "gamma": (GammaRule, convolution),
    "gamma, signed": (lambda: GammaRule(signed=True), convolution),
    "gamma, signed, behind a BatchNorm": (lambda: GammaRule(signed=True), folded),
    "box": (lambda: BoxRule(-3.0, 3.0), convolution),
    "average pool": (AveragePoolRule, pool),
}


def made(step: Callable[[], Step], shared: bool) -> Step:
    torch.manual_seed(0)
    with sharing(lambda: shared):
        return step()


def relevances(step: Step) -> list[Tensor]:
    shape = (step.result() if step.output is None else step.output).shape
    return [torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.mark.parametrize("name", CASES)
def test_many_draws_of_one_use_run_its_layer_once_and_give_what_each_gives_alone(name: str) -> None:
    make_rule, make_step = CASES[name]
    rule, step, counts = make_rule(), made(make_step, shared=True), []
    for relevance in relevances(step):
        with Forwards() as forwards:
            found = rule.relevance(step, relevance)
        counts.append(forwards.count.total())
        wanted = rule.relevance(made(make_step, shared=False), relevance)
        assert all(map(torch.equal, found, wanted))
    assert counts[1:] == [0, 0]


@pytest.mark.parametrize("name", CASES)
def test_a_use_of_one_draw_keeps_nothing(name: str) -> None:
    make_rule, make_step = CASES[name]
    step = made(make_step, shared=False)
    make_rule().relevance(step, relevances(step)[0])
    assert not step._known


@pytest.mark.parametrize(
    ("name", "forwards"), [("epsilon", 1), ("z+", 2), ("gamma", 1), ("gamma, signed", 3), ("epsilon, relative", 1)]
)
def test_a_use_of_one_draw_runs_a_folded_layer_once_for_each_sum(name: str, forwards: int) -> None:
    """Where no relevance is lowered: positive and negative inputs apart, and the output where its sign counts."""
    step = made(folded, shared=False)
    relevance = torch.zeros_like(relevances(step)[0])
    with Forwards() as counted:
        CASES[name][0]().relevance(step, relevance)
    assert counted.count["convolution"] == forwards


def test_a_road_that_shares_runs_layers_no_more_often_for_more_draws() -> None:
    torch.manual_seed(0)
    features = (nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(*features, nn.Dropout(), nn.Linear(16 * 32 * 32, 3)).eval()
    seen: list[tuple[str, bool]] = []
    model[2].register_forward_pre_hook(lambda *_: seen.append(("before", is_shared())))
    model[6].register_forward_pre_hook(lambda *_: seen.append(("after", is_shared())))
    uq = StochasticAttribution(lrp.LRP(model, composite=lrp.ZPlusComposite()), MCDropout())
    images, counts = torch.randn(1, 3, 32, 32), []
    given = {"target": 0, "seed": 0, "return_deterministic": False, "return_predictions": False}
    for n_draws in (20, 40):
        uq.attribute(images, n_draws=n_draws, **given)  # which checks the road
        with Forwards() as forwards:
            road = uq.attribute(images, n_draws=n_draws, **given).execution
        assert (road.road, road.draws_per_eval) == ("prefix", n_draws)
        assert seen[-2:] == [("before", True), ("after", False)]  # where the draws part
        counts.append((road.draws_per_product, forwards.count["convolution"]))
    assert counts[0][1] == counts[1][1]
    assert counts[0][0] < 20


def test_nothing_is_shared_outside_and_after_an_error() -> None:
    assert not is_shared()
    with sharing(lambda: True):
        assert is_shared()
    with pytest.raises(ZeroDivisionError), sharing(lambda: True):
        _ = 1 / 0
    assert not is_shared()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 0.25])
def test_a_stabilized_output_is_the_formulas_bit_for_bit(epsilon: float, dtype: torch.dtype) -> None:
    z = torch.cat([torch.randn(50, dtype=dtype), torch.tensor([0.0, -0.0, 1e-9, -1e-9, np.inf, -np.inf], dtype=dtype)])
    numbers = z.numpy()
    wanted = np.where(numbers < 0, numbers - numbers.dtype.type(epsilon), numbers + numbers.dtype.type(epsilon))
    assert np.array_equal(stabilized(z, epsilon).numpy(), wanted)
    assert torch.isnan(stabilized(torch.tensor([np.nan], dtype=dtype), epsilon)).all()


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(("z+ of a sum", "box"))])
def test_a_number_that_is_none_is_not_hidden(name: str) -> None:
    """An input that is NaN gives relevance that is NaN, which `nan_policy` finds."""
    make_rule, make_step = CASES[name]
    step = made(make_step, shared=False)
    with torch.no_grad():
        step.inputs[0][0, 0, 0, 0] = torch.nan
    step = dataclasses.replace(step, output=None)
    neighbour = make_rule().relevance(step, relevances(step)[0])[0][0, 0, 0, 1]  # has outputs with it in common
    assert neighbour.isnan()
