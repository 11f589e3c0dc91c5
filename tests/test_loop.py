"""The reference loop: what it keeps of each draw, and what it says of draws that do not fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_uq import MCDropout, StochasticAttribution
from networks import build


class Graphed(Attribution):  # type: ignore[misc]
    """A method of the user's whose result has the network's graph behind it."""

    def attribute(self, inputs: Tensor) -> Tensor:
        return self.forward_func(inputs) * 2


def test_no_graph_outlives_its_draw() -> None:
    inputs = torch.ones(2, 5, requires_grad=True)
    dist = StochasticAttribution(Graphed(build("Dropout")), MCDropout()).attribute(inputs, n_draws=3, seed=0)
    for kept in (dist.draws, dist.predictions.outputs, dist.deterministic):
        assert kept.grad_fn is None
        assert not kept.requires_grad


class Growing(Attribution):  # type: ignore[misc]
    """A method of the user's whose result has another shape at every call."""

    calls = 0

    def attribute(self, inputs: Tensor, **kwargs: Any) -> Tensor:
        self.calls += 1
        return torch.ones(self.calls, 2)


def test_draws_of_different_shapes_are_refused_by_number() -> None:
    uq = StochasticAttribution(Growing(build("Dropout")), MCDropout())
    with pytest.raises(ValueError, match=r"Draw 1 returned shape \(2, 2\), draw 0 shape \(1, 2\)"):
        uq.attribute(torch.ones(1, 5), n_draws=3, seed=0)


class Handmade(Attribution):  # type: ignore[misc]
    """A method that Captum does not have: a result with None and a list inside, and other forward passes."""

    def attribute(self, inputs: Tensor, scale: float = 1.0) -> tuple[Any, ...]:
        output = self.forward_func(inputs).detach()
        return output * scale, None, [output.sum(1), "text"]


def test_a_method_of_the_users_own_works_like_captums() -> None:
    network, inputs = build("Dropout"), torch.randn(3, 5)
    result = StochasticAttribution(Handmade(network), MCDropout()).attribute(inputs, 2.0, n_draws=4, seed=0)
    assert result[1] is None
    assert result[2][1] == "text"
    for index in range(4):
        output = MCDropout(network).network(index, inputs, seed=0)(inputs)
        assert torch.equal(result[0].draws[index], 2 * output)
        assert torch.equal(result[2][0].draws[index], output.sum(1))
