"""The reference loop: what it keeps of each draw, and what it says of draws that do not fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution.loop import EstimatorNoise, Job, run_draws
from networks import build


def job(call: Any, predict: Any = None) -> Job:
    network = build("Dropout")
    bound = MCDropout(network).bind(network)
    bound.probe(network, (torch.ones(1, 5),), {})
    noise = EstimatorNoise("shared", 0, follows_global=False)
    return Job(call, predict, network, bound, deterministic=False, seed=0, noise=noise)


def test_no_graph_outlives_its_draw() -> None:
    inputs = torch.ones(2, 5, requires_grad=True)
    draws, predictions = run_draws(job(lambda: inputs * 2, lambda: inputs + 1), 3)
    assert draws.grad_fn is None
    assert predictions.grad_fn is None
    assert not draws.requires_grad


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
