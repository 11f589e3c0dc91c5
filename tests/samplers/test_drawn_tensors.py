"""Modules with drawn weights give each draw what it gives alone: small weights side by side, large ones in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerGradientXActivation, Saliency
from torch import Tensor, nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import Compose, DropConnect, MCDropout, NoiseGrad, Sampler, WeightSamples, _drawn_tensors
from captum_uq.samplers._order import Order

N_DRAWS = 9


class Attends(nn.Module):
    """Attention, whose module has a module inside, both with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x)[0].flatten(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, 3)), (4,)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)),
        (2, 4, 4),
    ),
    "attention": (Attends, (3, 4)),
}


def last_layer(model: nn.Module) -> Sampler:
    own = dict(list(model.named_parameters())[-2:])
    return WeightSamples([{name: p.detach() + torch.randn_like(p) for name, p in own.items()} for _ in range(N_DRAWS)])


SAMPLERS: dict[str, Callable[[nn.Module], Sampler]] = {
    "noise": lambda model: NoiseGrad(std=0.3),
    "dropped": lambda model: DropConnect(p=0.3),
    "last layer": last_layer,
    "with dropout": lambda model: Compose(NoiseGrad(std=0.3), MCDropout(p=0.3)),
}
METHODS = {
    "Saliency": (Saliency, {}),
    "IntegratedGradients": (IntegratedGradients, {"n_steps": 4}),
    "FeatureAblation": (FeatureAblation, {}),
    "layer": (lambda model: LayerGradientXActivation(model, list(model.children())[-1]), {}),
}


@pytest.mark.parametrize("method_name", METHODS)
@pytest.mark.parametrize("sampler_name", SAMPLERS)
@pytest.mark.parametrize("network_name", NETWORKS)
@pytest.mark.parametrize("large", [False, True])
def test_every_draw_is_its_own_network(
    large: bool, network_name: str, sampler_name: str, method_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is plain Captum on ``sampler.network(t)``."""
    if sampler_name == "with dropout" and network_name != "linear":
        pytest.skip("MCDropout needs a dropout")
    if sampler_name == "dropped" and network_name == "attention":
        pytest.skip("attention reads the weight of a module inside it, of which alone weights are dropped")
    monkeypatch.setattr(_drawn_tensors, "_LARGE", 0 if large else 2**40)
    vectorised, vmap = [], torch.vmap
    monkeypatch.setattr(torch, "vmap", lambda function: (vectorised.append(function), vmap(function))[1])
    torch.manual_seed(0)
    make, shape = NETWORKS[network_name]
    model, inputs = make().double().eval(), torch.randn(2, *shape, dtype=torch.float64)
    sampler, (make_method, given) = SAMPLERS[sampler_name](model), METHODS[method_name]
    for execution in ("fold", "prefix"):
        uq = StochasticAttribution(make_method(model), sampler)
        dist = uq.attribute(inputs, target=1, n_draws=N_DRAWS, seed=0, execution=execution, draws_per_eval=4, **given)
        assert dist.execution.road != "loop", dist.execution.reason
        for t in (0, 3, 8):
            drawn = sampler.network(t, inputs, seed=0, model=model)
            plain = make_method(drawn).attribute(inputs, target=1, **given).detach()
            limit = 1e-9 * float(plain.abs().max())
            torch.testing.assert_close(dist.draws[t], plain, rtol=0, atol=limit)
    norms = network_name == "convolutions" and sampler_name != "dropped"  # their scales are drawn too
    others = sampler_name != "last layer" and (norms or network_name == "attention")
    assert bool(vectorised) == (not large and others)


@pytest.mark.parametrize("large", [False, True])
def test_large_weights_are_not_copied(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_drawn_tensors, "_LARGE", 0 if large else 2**40)
    draws = [{"w": torch.randn(3, 3)} for _ in range(2)]
    drawn = _drawn_tensors.DrawnTensors(draws, {"weight": ("w", torch.zeros(3, 3)), "bias": ("b", torch.ones(3))})
    given = [tensors["weight"] for tensors in drawn._each]
    assert all(one.data_ptr() == draw["w"].data_ptr() for one, draw in zip(given, draws, strict=True))
    assert sorted(drawn._stacks) == ([] if large else ["bias", "weight"])
    assert drawn.stack("weight").equal(torch.stack([draw["w"] for draw in draws]))
    assert drawn.stack("bias").equal(torch.ones(2, 3)), "what a draw leaves out is the module's own"


@pytest.mark.parametrize("large", [False, True])
def test_a_forward_of_some_draws_meets_their_tensors(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_drawn_tensors, "_LARGE", 0 if large else 2**40)
    values = torch.randn(3, 2)
    drawn = _drawn_tensors.DrawnTensors([{"w": value} for value in values], {"w": ("w", torch.zeros(2))})
    order = Order.of(torch.tensor([2, 0, 2, 0]), 3)
    assert order is not None
    rows = order.apart(torch.arange(4.0))
    (sums,) = drawn.run(lambda tensors, own: (tensors["w"].sum() + own,), order, [rows])
    assert order.together(sums).equal(values.sum(1)[[2, 0, 2, 0]] + torch.arange(4.0))
