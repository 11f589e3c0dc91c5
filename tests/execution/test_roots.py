"""Gradients of many outputs, asked for together: the same numbers, and nothing of it to be seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    InternalInfluence,
    LayerGradCam,
    NoiseTunnel,
    Saliency,
)
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution.roots import _MANY, asked_together
from roads import hold_equal


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs)).eval()


@pytest.mark.parametrize("rows", [1, _MANY - 1, _MANY, 200])
def test_the_gradients_are_those_of_every_output(rows: int) -> None:
    model, inputs = network(), torch.randn(rows, 4, requires_grad=True)
    together, plain = asked_together(model)(inputs), model(inputs)
    assert torch.equal(together, plain)
    chosen = together[:, 1]
    parts = torch.unbind(chosen)
    assert len(parts) == (1 if rows >= _MANY else rows)
    (found,), (expected,) = (torch.autograd.grad(x, inputs) for x in (parts, torch.unbind(plain[:, 1])))
    assert torch.equal(found, expected)
    assert type(found) is Tensor


def test_only_the_chosen_outputs_are_added() -> None:
    inputs = torch.randn(40, 4, requires_grad=True)
    outputs = asked_together(network())(inputs)
    assert len(torch.unbind(outputs)) == len(outputs)
    assert len(torch.unbind(outputs, 1)) == 3
    with torch.no_grad():
        assert type(asked_together(network())(inputs)) is Tensor
    assert asked_together(lambda x: (x, x))(inputs) == (inputs, inputs)


METHODS: dict[Any, dict[str, Any]] = {
    Saliency: {},
    IntegratedGradients: {"n_steps": 7, "return_convergence_delta": True},
    DeepLift: {"return_convergence_delta": True},
    GradientShap: {"baselines": torch.zeros(2, 4), "n_samples": 9},
    NoiseTunnel: {"nt_samples": 9},
    LayerGradCam: {},
    InternalInfluence: {"n_steps": 5},
}


def made(method: Any) -> StochasticAttribution:
    model = network()
    inside = [model[1]] if method in (LayerGradCam, InternalInfluence) else []
    return StochasticAttribution(method(Saliency(model) if method is NoiseTunnel else model, *inside), MCDropout())


@pytest.mark.parametrize("execution", ["fold", "prefix"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
def test_results_are_plain_tensors_and_those_of_the_loop(method: Any, execution: str) -> None:
    uq = made(method)
    given = {"target": 1, "n_draws": 8, "seed": 0, **METHODS[method]}
    ours, loop = (
        uq.attribute(torch.randn(9, 4, generator=seeded()), **given, execution=e) for e in (execution, "loop")
    )
    for result, reference in zip(as_tuple(ours), as_tuple(loop), strict=True):
        assert result.execution.road != "loop"
        assert type(result.draws) is Tensor
        hold_equal(result, reference)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def counted_roots(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many outputs each call of autograd asks about, from now on."""
    roots: list[int] = []
    grad = torch.autograd.grad

    def counting(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        roots.append(len(outputs) if isinstance(outputs, tuple) else 1)
        return grad(outputs, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counting)
    return roots


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
def test_many_outputs_are_passed_backwards_at_once(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uq, given = made(method), {"target": 1, "n_draws": 20, "seed": 0, "return_deterministic": False, **METHODS[method]}
    assert as_tuple(uq.attribute(torch.ones(30, 4), **given))[0].execution.draws_per_eval == 20
    roots = counted_roots(monkeypatch)
    uq.attribute(torch.ones(30, 4), **given)
    assert max(roots) == 1


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("method", [Saliency, IntegratedGradients, InputXGradient, GuidedBackprop, DeepLift])
def test_the_loop_gives_captums_own_numbers_bit_for_bit(method: Any, outputs: int) -> None:
    """Also where the network gives one number for each row, and nothing is chosen."""
    model, inputs = network(outputs), torch.randn(40, 4, generator=seeded())
    if outputs == 1:
        model = nn.Sequential(*model, nn.Flatten(0))
    given = {"target": 1} if outputs > 1 else {}
    sampler = MCDropout()
    dist = StochasticAttribution(method(model), sampler).attribute(inputs, **given, n_draws=3, seed=0, execution="loop")
    for t, draw in enumerate(dist.draws):
        oracle = method(sampler.network(t, inputs, seed=0, model=model)).attribute(inputs.clone(), **given)
        assert torch.equal(draw, oracle)


@pytest.mark.parametrize(("method", "largest"), [(IntegratedGradients, 1), (GuidedBackprop, 40)])
def test_a_loop_asks_for_gradients_together_too_where_hooks_do_not_see_it(
    method: Any, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = counted_roots(monkeypatch)
    uq = StochasticAttribution(method(network()), MCDropout())
    uq.attribute(torch.ones(40, 4), target=1, n_draws=3, seed=0, execution="loop", return_deterministic=False)
    assert max(roots) == largest


@pytest.mark.parametrize("execution", ["auto", "loop"])
def test_a_hook_of_the_users_that_takes_outputs_apart_is_not_misled(execution: str) -> None:
    model, sampler, inputs = nn.Sequential(*network(1), nn.Flatten(0)), MCDropout(), torch.ones(40, 4)
    model.register_forward_hook(lambda module, args, outputs: 2 * torch.stack(torch.unbind(outputs)))
    given = {"n_draws": 9, "seed": 0, "return_predictions": False, "execution": execution}
    dist = StochasticAttribution(Saliency(model), sampler).attribute(inputs, **given)
    oracle = Saliency(sampler.network(3, inputs, seed=0, model=model)).attribute(inputs.clone())
    torch.testing.assert_close(dist.draws[3], oracle)
