"""What a network has and does not use, or uses where no relevance comes, refuses nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import snapshots
from captum_uq import MCDropout, StochasticAttribution
from captum_uq.lrp import LRP, EpsilonComposite, LayerLRP, ZPlusComposite

EMPTY: dict[str, Callable[[], nn.Module]] = {
    "Sequential": nn.Sequential,
    "ModuleList": nn.ModuleList,
    "ModuleDict": nn.ModuleDict,
    "ParameterList": nn.ParameterList,
    "a ParameterDict that is not": lambda: nn.ParameterDict({"one": nn.Parameter(torch.ones(2))}),
}
UNKNOWN: dict[str, Callable[[], nn.Module]] = {
    "CrossEntropyLoss": nn.CrossEntropyLoss,
    "Softmax": lambda: nn.Softmax(-1),
    "LSTM": lambda: nn.LSTM(4, 4),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "Embedding": lambda: nn.Embedding(3, 4),
}


class Network(nn.Module):
    def __init__(
        self, extra: nn.Module | None = None, use: Callable[[nn.Module, Tensor], object] | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.relu, self.drop, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)
        if extra is not None:
            self.extra = extra
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.relu(self.first(x)))
        if self.use is not None:
            self.use(self.extra, hidden)
        return self.last(hidden)


class Shortcut(nn.Module):
    """As in the ResNets of CIFAR-10: the identity is an empty Sequential."""

    def __init__(self, shortcut: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.shortcut, self.head = nn.Linear(4, 4), shortcut, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        out += self.shortcut(x)
        return self.head(out.relu())


def inputs() -> Tensor:
    return torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("composite", [EpsilonComposite(), ZPlusComposite()], ids=repr)
@pytest.mark.parametrize("name", [*EMPTY, *UNKNOWN])
def test_a_module_that_is_not_used_changes_nothing(name: str, composite) -> None:
    model, wanted = Network((EMPTY | UNKNOWN)[name]()).eval(), LRP(Network().eval(), composite)
    before = snapshots.of_model(model)
    assert torch.equal(LRP(model, composite).attribute(inputs(), target=1), wanted.attribute(inputs(), target=1))
    with composite.context(model):
        captum.attr.LRP(model).attribute(inputs().requires_grad_(), target=1)
    LayerLRP(model, model.first, composite).attribute(inputs(), target=1)
    assert snapshots.of_model(model) == before
    uq, alone = (StochasticAttribution(LRP(each, composite), MCDropout()) for each in (model, Network().eval()))
    given = {"target": 1, "n_draws": 9, "seed": 0}
    torch.testing.assert_close(uq.attribute(inputs(), **given).draws, alone.attribute(inputs(), **given).draws)


@pytest.mark.parametrize("name", EMPTY)
def test_a_container_of_no_layers_needs_no_rule_of_captums_either(name: str) -> None:
    model = Network(EMPTY[name]())
    del model.drop
    model.drop = nn.ReLU()
    assert LRP(model).attribute(inputs(), target=1).shape == inputs().shape


@pytest.mark.parametrize("composite", [EpsilonComposite(), ZPlusComposite()], ids=repr)
def test_an_empty_sequential_is_the_identity(composite) -> None:
    found, wanted = (
        LRP(Shortcut(shortcut), composite).attribute(inputs(), target=1)
        for shortcut in (nn.Sequential(), nn.Identity())
    )
    assert torch.equal(found, wanted)


def test_a_mapping_shows_what_has_no_rule() -> None:
    mapping = EpsilonComposite().mapping(nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1)))
    assert str(mapping).splitlines()[1:] == ["  0  Linear   EpsilonRule(1e-09)", "  1  Softmax  no rule"]


USES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], object]]] = {
    "a probability that is only looked at": (lambda: nn.Softmax(-1), lambda softmax, h: softmax(h)),
    "a loss": (nn.CrossEntropyLoss, lambda loss, h: loss(h, torch.zeros(len(h), dtype=torch.long))),
    "a recurrent layer": (lambda: nn.LSTM(4, 4), lambda lstm, h: lstm(h)),
}


@pytest.mark.parametrize("name", USES)
def test_a_layer_without_a_rule_that_no_relevance_reaches_changes_nothing(name: str) -> None:
    make, use = USES[name]
    found, wanted = (LRP(each, EpsilonComposite()) for each in (Network(make(), use).eval(), Network().eval()))
    assert torch.equal(found.attribute(inputs(), target=1), wanted.attribute(inputs(), target=1))


class Own(torch.autograd.Function):
    """What no function mode sees."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Own.apply(x)


class Patched(nn.Sequential):
    """An empty container that is more than one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(-1)


def given_a_forward() -> nn.Module:
    module = nn.Module()
    module.forward = lambda x: x.softmax(-1)
    return module


class First(nn.Module):
    """The output of a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


REACHED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a softmax": (lambda: nn.Softmax(-1), "Softmax '1'"),
    "a norm": (lambda: nn.LayerNorm(4), "LayerNorm '1'"),
    "a module around a function of the user's own": (Swish, "Swish '1'"),
    "a recurrent layer": (First, "LSTM '1.lstm'"),
    "a container with a forward of its own": (Patched, "Patched '1'"),
    "a module given a forward": (given_a_forward, "Module '1'"),
}


@pytest.mark.parametrize("plain", [False, True], ids=["our LRP", "Captum's LRP"])
@pytest.mark.parametrize("name", REACHED)
def test_a_layer_without_a_rule_raises_once_relevance_reaches_it(name: str, plain: bool) -> None:
    make, layer = REACHED[name]
    model = nn.Sequential(nn.Linear(4, 4), make(), nn.Linear(4, 3))
    composite, wanted = EpsilonComposite(), f"EpsilonComposite has no rule for {layer}. Give it one by name or by type"
    method = captum.attr.LRP(model) if plain else LRP(model, composite)
    with composite.context(model) if plain else nullcontext(), pytest.raises(TypeError, match=wanted):
        method.attribute(inputs().requires_grad_(), target=1)
