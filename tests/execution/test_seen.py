"""Predictions that the method asks for itself cost no forward of their own, and are those of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr as attr
import pytest
import torch
from torch import nn

from captum_uq import MCDropout, StochasticAttribution, lrp
from captum_uq.execution.method import Call
from captum_uq.execution.seen import Seen
from captum_uq.samplers import Ensemble
from roads import hold_equal

ASKING: dict[str, Callable[[nn.Module], attr.Attribution]] = {
    "Saliency": attr.Saliency,
    "InputXGradient": attr.InputXGradient,
    "GuidedBackprop": attr.GuidedBackprop,
    "LRP": lambda network: lrp.LRP(network, composite=lrp.EpsilonComposite()),
    "FeatureAblation": attr.FeatureAblation,
    "FeaturePermutation": attr.FeaturePermutation,
    "LayerActivation": lambda network: attr.LayerActivation(network, network[0]),
    "a function": lambda network: attr.Saliency(lambda x: network(x)),
}
NOT_ASKING: dict[str, tuple[Callable[[nn.Module], attr.Attribution], dict[str, Any]]] = {
    "IntegratedGradients": (attr.IntegratedGradients, {"n_steps": 3}),
    "DeepLift": (attr.DeepLift, {}),
    "NoiseTunnel": (lambda network: attr.NoiseTunnel(attr.Saliency(network)), {}),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).eval()


def rows_run(model: nn.Sequential, run: Callable[[], Any]) -> int:
    rows: list[int] = []
    handle = model[3].register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    run()
    rows.clear()  # the first run checked its road
    run()
    handle.remove()
    return sum(rows)


@pytest.mark.parametrize("sampler", [MCDropout(), Ensemble([network(), network().requires_grad_(False)])], ids=repr)
@pytest.mark.parametrize("execution", ["loop", "fold", "prefix"])
@pytest.mark.parametrize("name", ASKING)
def test_predictions_that_the_method_asks_for_cost_nothing(name: str, execution: str, sampler: Any) -> None:
    model, inputs = network(), torch.randn(5, 4)
    for member in getattr(sampler, "members", [])[1:]:
        member[0].weight.mul_(2.0)
    uq, target = StochasticAttribution(ASKING[name](model), sampler), {} if name == "LayerActivation" else {"target": 1}
    given = {"n_draws": 2, "seed": 0, "execution": execution, **target}
    rows = [
        rows_run(model, lambda: uq.attribute(inputs, return_predictions=predicts, **given))  # noqa: B023 -- called here
        for predicts in (True, False)
    ]
    assert rows[0] == rows[1] > 0


@pytest.mark.parametrize("execution", ["loop", "fold"])
@pytest.mark.parametrize("name", NOT_ASKING)
def test_other_methods_have_a_forward_for_them(name: str, execution: str) -> None:
    make, options = NOT_ASKING[name]
    model, inputs = network(), torch.randn(5, 4)
    given = {"target": 1, "n_draws": 3, "seed": 0, **options}
    dist = StochasticAttribution(make(model), MCDropout()).attribute(inputs, execution=execution, **given)
    asked = StochasticAttribution(attr.Saliency(model), MCDropout()).attribute(inputs, target=1, n_draws=3, seed=0)
    torch.testing.assert_close(dist.predictions.outputs, asked.predictions.outputs)
    torch.testing.assert_close(dist.predictions.deterministic, model(inputs).detach())


def test_a_loop_in_another_layout_sees_them_too() -> None:
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval() for _ in range(2)]
    uq, inputs = StochasticAttribution(attr.Occlusion(members[0]), Ensemble(members)), torch.randn(2, 3, 8, 8)
    given = {"target": 1, "seed": 0, "sliding_window_shapes": (3, 4, 4), "strides": (3, 4, 4)}
    assert uq.attribute(inputs, **given).execution.channels_last
    rows: list[int] = []
    members[0][0].register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    uq.attribute(inputs, **given)  # a network with another hook is checked anew
    rows.clear()
    dist = uq.attribute(inputs, **given, return_deterministic=False)
    assert sum(rows) == 2 * 2 * 5 + 2, "the inputs and four windows of two draws, and the network as it stands"
    for member, outputs in zip(members, dist.predictions.outputs, strict=True):
        torch.testing.assert_close(outputs, member(inputs).detach())


def test_what_was_seen_is_a_copy() -> None:
    inputs, memory = torch.randn(5, 4), torch.zeros(5)
    method = attr.FeatureAblation(lambda x: torch.sum(x, 1, out=memory))
    seen = Seen(Call(method, (inputs,), {}))
    with seen.watching():
        method.forward_func(inputs)
        method.forward_func(inputs + 1)
    assert torch.equal(seen.outputs, inputs.sum(1))


def test_only_the_inputs_themselves_are_taken_for_them() -> None:
    model, inputs, more = nn.Linear(4, 3), torch.randn(5, 4), object()
    forward = attr.Saliency(lambda x, other: model(x))
    seen = Seen(Call(forward, (inputs,), {"additional_forward_args": (more,)}))
    with seen.watching():
        for args in ((inputs.clone(), more), (inputs, object()), (inputs[:2], more)):
            forward.forward_func(*args)
            assert seen.outputs is None
        assert torch.equal(forward.forward_func(inputs, more), model(inputs))
    assert seen.outputs is not None
    assert not seen.outputs.requires_grad
    assert torch.equal(seen.outputs, model(inputs))


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 2.0)], ids=["before", "after"])
@pytest.mark.parametrize("execution", ["loop", "auto"])
@pytest.mark.parametrize("name", [name for name in ASKING if name != "LayerActivation"])
def test_hooks_of_the_network_have_their_say(name: str, execution: str, shift: float, scale: float) -> None:
    model, inputs = network(), torch.randn(5, 4)
    before = model.register_forward_pre_hook(lambda module, args: (args[0] + shift,) if shift else None)
    after = model.register_forward_hook(lambda module, args, output: scale * output)
    given = {"target": 1, "n_draws": 9, "seed": 0, "execution": execution}
    dist = StochasticAttribution(ASKING[name](model), MCDropout()).attribute(inputs, **given)
    before.remove()
    after.remove()
    plain = StochasticAttribution(ASKING[name](model), MCDropout()).attribute(inputs + shift, **given)
    torch.testing.assert_close(dist.predictions.outputs, scale * plain.predictions.outputs)
    torch.testing.assert_close(dist.predictions.deterministic, scale * plain.predictions.deterministic)


@pytest.mark.parametrize("name", ASKING)
def test_seen_predictions_are_the_same_by_every_road(name: str) -> None:
    target = {} if name == "LayerActivation" else {"target": 1}
    uq, inputs = StochasticAttribution(ASKING[name](network()), MCDropout()), torch.randn(5, 4)
    loop, *others = (
        uq.attribute(inputs, n_draws=6, seed=0, execution=road, draws_per_eval=4, **target)
        for road in ("loop", "fold", "prefix")
    )
    for other in others:
        hold_equal(other, loop)
