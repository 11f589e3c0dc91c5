"""A layer whose weight is computed by `torch.nn.utils.parametrizations` is the plain layer of that weight."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from captum_uq import StochasticAttribution
from captum_uq.lrp import LRP, LRPCMP, Composite, EpsilonComposite, ZPlusComposite
from captum_uq.samplers import MCDropout, NoiseGrad, Sampler
from lrp.shipped import shipped


class Doubled(nn.Module):
    """A parametrization of the user's own."""

    def forward(self, tensor: Tensor) -> Tensor:
        return 2 * tensor


def doubled(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Doubled())
    parametrize.register_parametrization(layer, "bias", Doubled())
    return layer


KINDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "two of the user's own": doubled,
}
COMPOSITES: list[Composite | None] = [
    *(None, *(make() for make in shipped().values()), ZPlusComposite("average")),
]


def network(kind: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    front = [kind(nn.Conv2d(2, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*front, kind(nn.Linear(16, 8)), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)).double().eval()


def plain(model: nn.Sequential) -> nn.Sequential:
    """The same network without parametrizations, from the weights as they are computed."""
    layers: list[nn.Module] = []
    for layer in model:
        made = {nn.Conv2d: lambda: nn.Conv2d(2, 4, 3), nn.Linear: lambda: nn.Linear(16, 8)}
        kind = next((kind for kind in made if isinstance(layer, kind) and parametrize.is_parametrized(layer)), None)
        layers.append(layer if kind is None else made[kind]().double())
        if kind is not None:
            layers[-1].load_state_dict({"weight": layer.weight.detach(), "bias": layer.bias.detach()})
    return nn.Sequential(*layers).eval()


def inputs() -> Tensor:
    return torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(-9, 9)


@pytest.mark.parametrize("composite", COMPOSITES, ids=repr)
@pytest.mark.parametrize("name", KINDS)
def test_a_computed_weight_is_a_weight(name: str, composite: Composite | None) -> None:
    model = network(KINDS[name])
    found, wanted = (LRP(each, composite).attribute(inputs(), target=1) for each in (model, plain(model)))
    # Captum's own rule has a tensor's own rounding; ours are the same numbers
    torch.testing.assert_close(found, wanted, rtol=1e-6 if composite is None else 1e-12, atol=1e-12)
    if composite is not None:
        with composite.context(model):
            again = captum.attr.LRP(model).attribute(inputs().requires_grad_(), target=1)
        torch.testing.assert_close(again, found)


@pytest.mark.parametrize("name", KINDS)
def test_a_composite_sees_the_layers_and_not_what_computes_their_weights(name: str) -> None:
    model = network(KINDS[name])
    mapping = LRPCMP(-9.0, 9.0).mapping(model)
    assert list(mapping) == [str(index) for index in range(9)]
    assert [repr(rule) for rule in mapping.values()] == [
        repr(rule) for rule in LRPCMP(-9.0, 9.0).mapping(plain(model)).values()
    ]


@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad(std=0.1)], ids=["dropout", "drawn weights"])
@pytest.mark.parametrize("composite", [EpsilonComposite(), ZPlusComposite()], ids=repr)
@pytest.mark.parametrize("name", ["weight_norm", "orthogonal"])
def test_every_road_meets_the_weight_of_the_draw(name: str, composite: Composite, sampler: Sampler) -> None:
    model = network(KINDS[name])
    uq = StochasticAttribution(LRP(model, composite=composite), sampler)
    loop, fold, auto = (
        uq.attribute(inputs(), target=1, n_draws=9, seed=0, execution=road) for road in ("loop", "fold", "auto")
    )
    drawn = sampler.network(2, inputs(), seed=0, model=model)
    wanted = LRP(drawn, composite=composite).attribute(inputs(), target=1)
    for dist in (loop, fold, auto):
        torch.testing.assert_close(dist.draws[2], wanted, rtol=0, atol=1e-9 * float(wanted.abs().max()))
