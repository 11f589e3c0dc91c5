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
    BoxRule,
    Composite,
    EpsilonComposite,
    GammaRule,
    LayerLRP,
    ZPlusComposite,
    ZPlusRule,
)
from captum_uq.lrp._affine import affine_of, positive
from captum_uq.samplers import Compose, DropConnect, Ensemble, MCDropout, NoiseGrad, Sampler, WeightSamples
from captum_uq.samplers._of_no_draw import Hidden
from captum_uq.samplers._order import Order
from lrp.shipped import shipped

N_DRAWS = 9
COMPOSITES: dict[str, Callable[[], Composite]] = shipped() | {
    "epsilon, average": lambda: EpsilonComposite(max_pool="average"),
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
        if execution == "fold":
            reads = composite_name.startswith("Captum's") and sampler_name != "the normalisation's"
            assert (dist.execution.road == "loop") == reads, dist.execution.reason


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


@pytest.mark.parametrize(("rule", "road"), [(ZPlusRule, "fold"), (CaptumGamma, "loop")])
def test_the_weights_of_no_draw_are_refused_and_not_found_by_luck(rule, road: str) -> None:
    """One unit that is alive takes all relevance, whatever the weights: the two draws of a check show nothing then.

    Rules of this package are given the weights of each draw; Captum's read those of the layer.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
    inputs, sampler = torch.randn(1, 5).double(), NoiseGrad(std=0.2)
    method = LayerLRP(model, model[1], composite=EpsilonComposite(rules={nn.Linear: rule()}))
    uq = StochasticAttribution(method, sampler)
    loop, fold = (uq.attribute(inputs, target=0, n_draws=12, seed=0, execution=each) for each in ("loop", "fold"))
    torch.testing.assert_close(fold.draws, loop.draws, rtol=0, atol=1e-9)
    assert fold.execution.road == road
    assert ("must meet those of one draw" in str(fold.execution)) == (road == "loop")


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (4, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, bias=False), (4, 5, 5)),
    "Conv2d, circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 4, 4)),
    "Conv3d": (lambda: nn.Conv3d(4, 6, 2), (4, 3, 3, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), (4, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 2, groups=2), (4, 3, 3)),
}
NORMS = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@pytest.mark.parametrize("drawn", ["0", "1", "0.weight", "0.bias", "1.bias", ""])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", [ZPlusRule(), GammaRule(signed=True), GammaRule(bias="kept"), BoxRule(-9, 9)], ids=str)
def test_every_layer_and_the_normalisation_behind_it_meet_the_weights_of_the_draw(rule, name: str, drawn: str) -> None:
    """Whichever tensors are drawn; with as many draws as the layer has inputs, which must not be taken for them."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    norm = NORMS[len(shape) + 1](6)
    norm.running_mean = torch.randn(6)
    model = nn.Sequential(make(), norm, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.randn(1, *shape))
    model, inputs = model.double(), torch.randn(2, *shape, dtype=torch.float64)
    if not any(key.startswith(drawn) for key, _ in model.named_parameters()):
        pytest.skip("the layer has no bias")
    uq = StochasticAttribution(
        LRP(model, composite=EpsilonComposite(rules={"0": rule})), WeightSamples(samples(model, drawn))
    )
    loop, fold = (
        uq.attribute(inputs, target=0, n_draws=N_DRAWS, seed=0, execution=execution, draws_per_eval=4)
        for execution in ("loop", "fold")
    )
    assert fold.execution.road == "fold", fold.execution.reason
    torch.testing.assert_close(fold.draws, loop.draws, rtol=0, atol=1e-9 * float(loop.draws.abs().max()))


@pytest.mark.parametrize("drawn", ["0", "1", "1.bias", ""])
@pytest.mark.parametrize("composite", [EpsilonComposite, ZPlusComposite])
def test_a_normalisation_of_another_axis_meets_the_weights_of_the_draw(composite, drawn: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(25, 3)).double().eval()
    uq = StochasticAttribution(LRP(model, composite=composite()), WeightSamples(samples(model, drawn)))
    inputs = torch.randn(2, 5, 4, dtype=torch.float64)
    loop, fold = (
        uq.attribute(inputs, target=0, n_draws=N_DRAWS, seed=0, execution=execution) for execution in ("loop", "fold")
    )
    assert fold.execution.road == "fold", fold.execution.reason
    torch.testing.assert_close(fold.draws, loop.draws, rtol=0, atol=1e-9 * float(loop.draws.abs().max()))


def test_a_layer_in_a_forward_of_some_draws_has_their_weights() -> None:
    module, weights, inputs = nn.Linear(4, 3), torch.randn(3, 3, 4), torch.randn(4, 4)
    draws = torch.tensor([2, 0, 2, 0])
    order = Order.of(draws, 3)
    with Hidden(module, ["weight"], lambda _: weights, lambda: order):
        affine = affine_of(module, torch.empty(4, 3))
        assert affine is not None
        found, raised = affine(inputs), affine(inputs, positive)
    wanted = torch.stack([weights[draw] @ row for draw, row in zip(draws, inputs, strict=True)])
    torch.testing.assert_close(found, wanted + module.bias.detach())
    wanted = torch.stack([weights[draw].clamp(min=0) @ row for draw, row in zip(draws, inputs, strict=True)])
    torch.testing.assert_close(raised, wanted)
