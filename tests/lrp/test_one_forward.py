"""A network whose rules are all ours runs forward once, and gives what Captum's two forwards give."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from captum.attr._utils.lrp_rules import GammaRule as CaptumGamma
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq import lrp
from captum_uq.lrp import LRP, EpsilonComposite, EpsilonPlus, EpsilonRule, LayerLRP, LayerRule, ZPlusComposite

COMPOSITES = {"epsilon": EpsilonComposite, "z+": ZPlusComposite, "average": lambda: EpsilonPlus(max_pool="average")}


class Network(nn.Module):
    """Activations in place, a layer used twice, a shortcut, a normalisation, a second input; counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.again, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        self.forwards = 0

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        self.forwards += 1
        x = self.relu(self.norm(self.first(x if other is None else x + other)))
        x = F.relu(x + self.again(self.again(x)), inplace=True)
        return self.head(F.max_pool2d(x, 2))


def made() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def pictures(count: int = 1) -> tuple[Tensor, ...]:
    return tuple(torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(count))


def attribute(package: Any, model: nn.Module, layer: str | None, inputs: tuple[Tensor, ...], **options: Any) -> Any:
    """Relevance, flat, and the convergence delta."""
    if layer is None:
        method = package.LRP(model, **options)
    else:
        method = package.LayerLRP(model, model.get_submodule(layer), **options)
    relevance, delta = method.attribute(inputs, target=1, return_convergence_delta=True)
    assert not hasattr(method, "_kept") or method._kept is None
    return torch.cat([part.flatten() for part in relevance]), delta


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("layer", [None, "first", "norm", "head.1"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_one_forward_gives_what_two_give(name: str, layer: str | None, count: int, grad: bool) -> None:
    model, inputs = made(), pictures(count)
    with torch.set_grad_enabled(grad):
        relevance, delta = attribute(lrp, model, layer, inputs, composite=COMPOSITES[name]())
    assert model.forwards == 1
    assert not any(x.requires_grad for x in (relevance, delta, *inputs))
    assert all(map(torch.equal, inputs, pictures(count)))
    with COMPOSITES[name]().context(model):
        expected, expected_delta = attribute(captum.attr, model, layer, inputs)
    assert model.forwards == 3
    assert torch.equal(relevance, expected)
    assert torch.equal(delta, expected_delta)


class Doubling(EpsilonRule):
    """A rule of the user's own, which changes the weights for the second forward."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        super().forward_hook_weights(module, inputs, outputs)
        module.weight.data = module.weight.data * 2


@pytest.mark.parametrize("rule", [CaptumGamma(0.5), Doubling()], ids=["Captum's", "the user's"])
def test_a_rule_that_changes_weights_has_its_second_forward(rule: Any) -> None:
    model, (inputs,) = made(), pictures()
    composite = EpsilonComposite(rules={"head.1": rule})
    relevance = LRP(model, composite).attribute(inputs, target=1)
    assert model.forwards == 2
    with composite.context(model):
        assert torch.equal(relevance, captum.attr.LRP(model).attribute(inputs, target=1))
    plain = LRP(model, EpsilonComposite()).attribute(inputs, target=1)
    assert not torch.allclose(plain, relevance, rtol=1e-3)


@pytest.mark.parametrize("rule", [None, EpsilonRule(1e-9)], ids=["Captum's rule", "ours on one layer"])
def test_without_a_composite_captums_own_two_forwards_run(rule: LayerRule | None) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    forwards: list[int] = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    if rule is not None:
        model[0].rule = rule
    LRP(model).attribute(torch.randn(2, 4), target=1)
    assert len(forwards) == 2


def test_where_no_rule_changes_weights_none_is_written() -> None:
    model, (inputs,) = made(), pictures()
    loss = model(inputs).sum()
    LRP(model, EpsilonComposite()).attribute(inputs, target=1)
    loss.backward()  # torch refuses where a weight of the graph was written to


def test_what_stopped_halfway_leaves_nothing_for_the_next_call() -> None:
    model, (inputs,) = made(), pictures()
    method = LRP(model, composite=EpsilonComposite())
    expected = method.attribute(inputs, target=1)
    for wrong in ({"target": 99}, {"target": None}):
        with pytest.raises((IndexError, AssertionError)):
            method.attribute(inputs, **wrong)
    layer = LayerLRP(model, model.again, composite=EpsilonComposite())
    with pytest.raises(ValueError, match="used 2 times"):
        layer.attribute(inputs, target=1)
    assert method._kept is None
    assert layer._kept is None
    assert torch.equal(method.attribute(inputs, target=1), expected)
