"""Buffers and inputs that a network changes by itself: each draw finds them as they were, and so does the user."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import FeatureAblation, Saliency, ShapleyValueSampling
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq._model_state import fingerprint
from roads import hold_equal

ROADS = ("loop", "auto")


def attribute(network: nn.Module, inputs: Tensor, execution: str = "auto", method: Any = Saliency) -> Any:
    uq = StochasticAttribution(method(network), MCDropout())
    return uq.attribute(inputs, target=1, n_draws=9, seed=0, execution=execution)


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2)).eval()


@pytest.mark.parametrize("execution", ROADS)
def test_a_graph_of_the_users_can_still_be_passed_backwards(execution: str) -> None:
    network, inputs = normalised(), torch.randn(3, 4)
    loss = network(inputs).sum()
    attribute(network, inputs, execution)
    loss.backward()


def test_buffers_that_cannot_be_written_are_left_alone() -> None:
    network = normalised()
    network[1].register_buffer("expanded", torch.ones(1).expand(4))
    attribute(network, torch.randn(3, 4))
    with torch.inference_mode():
        network = normalised()
    attribute(network, torch.randn(3, 4), method=FeatureAblation)


class Stateful(nn.Module):
    """A network whose buffers change with every forward, by a new tensor or in place."""

    def __init__(self, replaces: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.replaces = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2)), replaces
        self.register_buffer("past", torch.zeros(4))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        now = x.detach().mean(0)
        if self.replaces:
            self.past = 0.9 * self.past + 0.1 * now
        else:
            self.past.mul_(0.9).add_(0.1 * now)
        scores: Tensor = self.net(x - self.past)
        return scores


@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("execution", ROADS)
def test_every_draw_finds_the_buffers_of_the_first(execution: str, replaces: bool) -> None:
    network, inputs = Stateful(replaces), torch.randn(3, 4)
    past = network.past
    first, second = (attribute(network, inputs, execution) for _ in range(2))
    assert network.past is past
    assert not past.any()
    assert torch.equal(first.draws, second.draws)
    hold_equal(first, attribute(network, inputs, "loop"))
    for t in (0, 5):
        oracle = MCDropout().network(t, inputs, seed=0, model=network)
        torch.testing.assert_close(first.draws[t], Saliency(oracle).attribute(inputs.clone(), target=1))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2)).eval()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x.sub_(0.5).div_(2.0))
        return scores


@pytest.mark.parametrize("execution", ROADS)
def test_inputs_are_left_as_they_are_where_captum_leaves_them(execution: str) -> None:
    network, inputs = InPlace().eval(), torch.randn(3, 4)
    before = inputs.clone()
    attribute(network, inputs, execution, method=ShapleyValueSampling)
    assert torch.equal(inputs, before)


def test_a_fingerprint_tells_every_write() -> None:
    """torch's counter of writes has no public name."""
    network = normalised()
    before = fingerprint(network)
    assert before == fingerprint(network) == fingerprint(network.train())
    with torch.no_grad():
        network[0].weight[0, 0] += 1
    assert before != fingerprint(network)
    assert fingerprint(network, written=False)[1] == before[1]
