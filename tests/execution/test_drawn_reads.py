"""Weights that are drawn, read by ways that no attribute shows: the values are the loop's, on any inputs."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn
from torch.nn import functional

from captum_uq import StochasticAttribution
from captum_uq.samplers import NoiseGrad, WeightSamples

CALL = {"target": 1, "n_draws": 7, "seed": 0, "return_predictions": False}


class Gated(nn.Module):
    """An expert that speaks where the inputs are large: a check on small ones does not see it."""

    def __init__(self, read: Callable[[nn.Linear], tuple[Tensor, Tensor]] | None, expert: nn.Module) -> None:
        super().__init__()
        self.first, self.expert, self.last = nn.Linear(6, 8), expert, nn.Linear(8, 3)
        self.read, self.kept = read, [*expert.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        spoken = self.expert(x) if self.read is None else functional.linear(x, *self.read(self))
        return self.last(torch.relu(self.first(x) + torch.where(x.mean(1, keepdim=True) > 1, spoken, 0.0)))


READS = {
    "parameters": lambda net: tuple(net.expert.parameters()),
    "state_dict": lambda net: tuple(net.expert.state_dict().values()),
    "dictionary": lambda net: tuple(net.expert._parameters.get(name) for name in ("weight", "bias")),
    "a list": lambda net: tuple(net.kept),
    "a call": None,
}


def _assert_loop(uq: StochasticAttribution, x: Tensor, **call: object) -> str:
    """The values are the loop's; returns the road."""
    found = uq.attribute(x, **(CALL | call))
    wanted = uq.attribute(x, **(CALL | call), execution="loop").draws
    assert (found.draws - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    return found.execution.road


@pytest.mark.parametrize("read", READS)
def test_weights_that_a_check_does_not_see_read(read: str) -> None:
    torch.manual_seed(0)
    uq = StochasticAttribution(Saliency(Gated(READS[read], nn.Linear(6, 8)).eval()), NoiseGrad(std=0.3))
    _assert_loop(uq, torch.rand(3, 6))
    _assert_loop(uq, 2 + torch.rand(3, 6))


@pytest.mark.filterwarnings("ignore")  # that it is compiled, and what torch says of its own compiler
def test_weights_of_a_compiled_part_are_drawn() -> None:
    torch.manual_seed(0)
    expert = torch.compile(nn.Linear(6, 8), backend="eager")
    uq = StochasticAttribution(Saliency(Gated(None, expert).eval()), NoiseGrad(std=0.3))
    assert _assert_loop(uq, torch.rand(3, 6)) == "fold"
    assert _assert_loop(uq, 2 + torch.rand(3, 6)) == "fold"


@pytest.fixture
def clamping_class() -> Iterator[None]:
    """``nn.Conv2d`` that is changed for all."""
    own = nn.Conv2d._conv_forward
    nn.Conv2d._conv_forward = lambda self, x, *rest: own(self, x.clamp(-3, 3), *rest)
    yield
    nn.Conv2d._conv_forward = own


@pytest.mark.parametrize("whose", ["one layer", "the class"])
def test_a_changed_convolution(whose: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    if whose == "the class":
        request.getfixturevalue("clamping_class")
    else:
        clamped = lambda self, x, w, b: functional.conv2d(x.clamp(-3, 3), w, b, padding=1)  # noqa: E731
        net[0]._conv_forward = types.MethodType(clamped, net[0])
    uq = StochasticAttribution(Saliency(net), NoiseGrad(std=0.1))
    assert _assert_loop(uq, torch.rand(2, 3, 4, 4)) == "fold"
    assert _assert_loop(uq, 10 * torch.randn(2, 3, 4, 4)) == "fold"


class Scaled(nn.Module):
    """A network with a weight of its own beside those of its layers, one of which it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.inside, self.head = nn.Parameter(torch.ones(3)), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inside(x) + functional.linear(x, *self.inside.parameters()))) * self.scale


def _samples(net: nn.Module, *kept: tuple[str, ...]) -> WeightSamples:
    """One sample for each tuple of parts that it draws."""
    own = net.state_dict()
    return WeightSamples(
        [{k: v + 0.5 * torch.randn_like(v) for k, v in own.items() if k.startswith(parts)} for parts in kept]
    )


def test_fewer_drawn_weights_than_a_check_saw() -> None:
    torch.manual_seed(0)
    net, x = Scaled().eval(), torch.randn(4, 6)
    every, few = ("scale", "inside", "head"), ("inside", "head")
    for sampler in (_samples(net, *[every] * 8), _samples(net, *[few] * 8)):
        _assert_loop(StochasticAttribution(Saliency(net), sampler), x, n_draws=8)
    mixed = StochasticAttribution(Saliency(Scaled().eval()), _samples(net, *[every] * 2, *[few] * 10))
    _assert_loop(mixed, x, n_draws=12, draws_per_eval=3)


class Twice(nn.Module):
    """Layers that are there under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(16, 3)
        self.net = nn.Sequential(self.conv, nn.ReLU(), nn.Flatten(), self.fc)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_layers_of_two_names_fold() -> None:
    torch.manual_seed(0)
    uq = StochasticAttribution(Saliency(Twice().eval()), NoiseGrad(std=0.1))
    assert _assert_loop(uq, torch.randn(2, 3, 4, 4)) == "fold"
