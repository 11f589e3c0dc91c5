"""`PassRule`: relevance stays with an element, also where a layer moves it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from captum_uq.lrp import LRP, Composite, EpsilonComposite, PassRule
from lrp.shipped import shipped

every_composite = pytest.mark.parametrize("make", shipped().values(), ids=shipped().keys())


class Moving(nn.Module):
    """A layer of the user's own."""

    def __init__(self, move: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.move = move

    def forward(self, x: Tensor) -> Tensor:
        return self.move(x)


class Sorted(nn.Module):
    """A permutation kept as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(4))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order]


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "PixelShuffle": lambda: nn.PixelShuffle(2),
    "PixelUnshuffle": lambda: nn.PixelUnshuffle(2),
    "ChannelShuffle": lambda: nn.ChannelShuffle(2),
    "a permutation": lambda: Moving(lambda x: x.permute(0, 2, 3, 1)),
    "one of equal sides": lambda: Moving(lambda x: x.transpose(1, 2)),
    "a flip": lambda: Moving(lambda x: x.flip(-1)),
    "one of channels": Sorted,
}


@every_composite
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_relevance_moves_as_the_elements_do(layer: Callable[[], nn.Module], make: Callable[[], Composite]) -> None:
    """The weights behind the layer, put in the order that it found, are a network without it."""
    moves, head, x = layer(), nn.Linear(64, 3).double(), torch.randn(2, 4, 4, 4).double()
    came_from = moves(torch.arange(64.0).view(1, 4, 4, 4)).flatten().long()
    without = nn.Sequential(nn.Flatten(), nn.Linear(64, 3).double())
    without[1].bias = head.bias
    without[1].weight = nn.Parameter(torch.empty(3, 64).double().index_copy(1, came_from, head.weight.detach()))
    composite = make()
    composite.rules |= {Moving: PassRule(), Sorted: PassRule()}
    found = LRP(nn.Sequential(moves, nn.Flatten(), head), composite).attribute(x, target=1)
    torch.testing.assert_close(found, LRP(without, make()).attribute(x, target=1))


@pytest.mark.parametrize(
    "function", [lambda x: 1 - x, torch.neg, torch.tanh, torch.square, lambda x: x / (1 + x.abs())]
)
def test_relevance_of_an_element_that_is_not_moved_stays(function: Callable[[Tensor], Tensor]) -> None:
    first, head, x = nn.Linear(4, 4).double(), nn.Linear(4, 2, bias=False).double(), torch.randn(3, 4).double()
    composite = EpsilonComposite(0.0, rules={Moving: PassRule()})
    found = LRP(nn.Sequential(first, Moving(function), head), composite).attribute(x, target=0)
    z = first(x)
    expected = ((function(z) * head.weight[0] / z) @ first.weight) * x
    torch.testing.assert_close(found, expected)
