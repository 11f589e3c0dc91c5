"""LRP of a network with drawn weights: its rules meet the weights of the draw, by every road."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
from captum.attr._utils.lrp_rules import GammaRule as CaptumGamma
from torch import Tensor, nn

from captum_uq import StochasticAttribution
from captum_uq.lrp import (
    LRP,
    LRPCMP,
    Composite,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    LayerLRP,
    ZPlusComposite,
)
from captum_uq.samplers import Compose, DropConnect, Ensemble, MCDropout, NoiseGrad, Sampler, WeightSamples

N_DRAWS = 9
COMPOSITES: dict[str, Callable[[], Composite]] = {
    "epsilon": EpsilonComposite,
    "epsilon, average": lambda: EpsilonComposite(max_pool="average"),
    "z+": ZPlusComposite,
    "epsilon plus": EpsilonPlus,
    "gamma and box": lambda: EpsilonGammaBox(-9, 9),
    "LRP-CMP": lambda: LRPCMP(-9, 9),
    "Captum's gamma": lambda: EpsilonComposite(rules={"0": CaptumGamma(), "7": CaptumGamma()}),
    "Captum's alpha 1 beta 0": lambda: EpsilonComposite(rules={"7": Alpha1_Beta0_Rule()}),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(12, 5), nn.Dropout(), nn.Linear(5, 3)),
    )
    model[1].running_mean = torch.randn(3)
    return model.double().eval()


def samples(model: nn.Module, under: str = "") -> list[dict[str, Tensor]]:
    own = {name: p.detach() for name, p in model.named_parameters() if name.startswith(under)}
    return [{name: p + 0.3 * torch.randn_like(p) for name, p in own.items()} for _ in range(N_DRAWS)]


def members(model: nn.Module) -> list[nn.Module]:
    made = [network() for _ in range(N_DRAWS)]
    for one, weights in zip(made, samples(model), strict=True):
        one.load_state_dict(model.state_dict() | weights)
        one[1].running_mean += torch.randn(3)
    return made


SAMPLERS: dict[str, Callable[[nn.Module], Sampler]] = {
    "noise": lambda model: NoiseGrad(std=0.3),
    "dropped weights": lambda model: DropConnect(p=0.3),
    "all weights": lambda model: WeightSamples(samples(model)),
    "the normalisation's": lambda model: WeightSamples(samples(model, "1")),
    "the last layer's": lambda model: WeightSamples(samples(model, "7")),
    "ensemble": lambda model: Ensemble(members(model)),
    "with dropout": lambda model: Compose(NoiseGrad(std=0.3), MCDropout()),
}


@pytest.mark.parametrize("layer", [None, 2, 5])
@pytest.mark.parametrize("sampler_name", SAMPLERS)
@pytest.mark.parametrize("composite_name", COMPOSITES)
def test_every_road_gives_the_rules_the_weights_of_the_draw(
    composite_name: str, sampler_name: str, layer: int | None
) -> None:
    """The reference is one network after another."""
    model, inputs = network(), torch.randn(2, 1, 6, 6, dtype=torch.float64)

    def method(of: nn.Sequential) -> LRP | LayerLRP:
        composite = COMPOSITES[composite_name]()
        return LRP(of, composite=composite) if layer is None else LayerLRP(of, of[layer], composite=composite)

    sampler = SAMPLERS[sampler_name](model)
    wanted = []
    for t in range(N_DRAWS):
        drawn = sampler.network(t, inputs, seed=0, model=model)
        wanted.append(method(drawn).attribute(inputs, target=0).detach())
    for execution in ("loop", "fold", "prefix", "auto"):
        uq = StochasticAttribution(method(model), sampler)
        dist = uq.attribute(inputs, target=0, n_draws=N_DRAWS, seed=0, execution=execution)
        limit = 1e-9 * float(torch.stack(wanted).abs().max())
        torch.testing.assert_close(dist.draws, torch.stack(wanted), rtol=0, atol=limit, msg=str(dist.execution))


@pytest.mark.parametrize("rule", [CaptumGamma, Alpha1_Beta0_Rule])
def test_captums_rules_change_the_weights_of_the_draw(rule) -> None:
    """Of Captum's own LRP, which deletes a rule after a call."""
    model, inputs = network()[5:], torch.randn(1, 12, dtype=torch.float64)
    sampler = WeightSamples(samples(model, "7"))

    class Ruled(captum.attr.LRP):
        def attribute(self, *args, **kwargs):
            self.model[0].rule, self.model[2].rule = rule(), rule()
            return super().attribute(*args, **kwargs)

    loop, *roads = (
        StochasticAttribution(Ruled(model), sampler).attribute(
            inputs, target=0, n_draws=N_DRAWS, seed=0, execution=execution
        )
        for execution in ("loop", "fold", "prefix")
    )
    for dist in roads:
        torch.testing.assert_close(dist.draws, loop.draws, rtol=0, atol=1e-9 * float(loop.draws.abs().max()))


def test_the_weights_of_no_draw_are_refused_and_not_found_by_luck() -> None:
    """One unit that is alive takes all relevance, whatever the weights: the two draws of a check show nothing then."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
    inputs, sampler = torch.randn(1, 5).double(), NoiseGrad(std=0.2)
    uq = StochasticAttribution(LayerLRP(model, model[1], composite=ZPlusComposite()), sampler)
    loop, fold = (uq.attribute(inputs, target=0, n_draws=12, seed=0, execution=road) for road in ("loop", "fold"))
    torch.testing.assert_close(fold.draws, loop.draws, rtol=0, atol=1e-9)
    assert "must meet those of one draw" in str(fold.execution)
