"""Zennit, an independent implementation, gives the same relevance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from captum_uq.lrp import (
    LRP,
    BoxRule,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonRule,
    GammaRule,
    ZPlusComposite,
)

pytest.importorskip("zennit", reason="the peer is not installed: pip install zennit (needs torchvision)")
models = pytest.importorskip("torchvision.models", reason="the residual network is torchvision's")

from zennit import attribution, canonizers, composites, layer, rules, torchvision, types  # noqa: E402

EPSILON, TINY, LOW, HIGH = 1e-6, 1e-12, -3.0, 3.0
BASE = [
    (types.Activation, rules.Pass()),
    (layer.Sum, rules.Norm(stabilizer=TINY)),
    (types.AvgPool, rules.Norm(stabilizer=TINY)),
    (types.BatchNorm, rules.Pass()),
]
NO_BIAS = {"stabilizer": TINY, "zero_params": "bias"}


def theirs(*mapping, first=()):
    def make(canonizer):
        if not first:
            return composites.LayerMapComposite([*BASE, *mapping], canonizers=[canonizer])
        return composites.SpecialFirstLayerMapComposite([*BASE, *mapping], list(first), canonizers=[canonizer])

    return make


class EverywhereGamma(EpsilonComposite):
    def linear_rule(self, layer):
        return GammaRule(0.25, signed=True)


class BoxThenEpsilon(EpsilonComposite):
    def linear_rule(self, layer):
        return BoxRule(LOW, HIGH) if layer.depth == 0 else super().linear_rule(layer)


BY_EPSILON = (types.Linear, rules.Epsilon(epsilon=EPSILON))
BOX = (types.Linear, rules.ZBox(low=torch.tensor(LOW), high=torch.tensor(HIGH), **NO_BIAS))
PAIRS = {
    "epsilon": (EpsilonComposite(EPSILON), theirs(BY_EPSILON)),
    "z+": (ZPlusComposite(addition=EpsilonRule(TINY)), theirs((types.Linear, rules.ZPlus(**NO_BIAS)))),
    "gamma": (EverywhereGamma(), theirs((types.Linear, rules.Gamma(gamma=0.25, stabilizer=TINY)))),
    "zB": (BoxThenEpsilon(EPSILON), theirs(BY_EPSILON, first=[BOX])),
    "epsilon-plus": (EpsilonPlus(EPSILON), theirs((types.Convolution, rules.ZPlus(**NO_BIAS)), BY_EPSILON)),
    "epsilon-gamma-box": (
        EpsilonGammaBox(LOW, HIGH, EPSILON),
        theirs((types.Convolution, rules.Gamma(gamma=0.25, stabilizer=TINY)), BY_EPSILON, first=[BOX]),
    ),
}


def vgg_like() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5)),
    )


def residual() -> nn.Module:
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)


NETWORKS = {
    "VGG-like": (vgg_like, canonizers.SequentialMergeBatchNorm),
    "residual": (residual, torchvision.ResNetCanonizer),
}


def trained(model: nn.Module) -> nn.Module:
    """With statistics and biases in its norms; without their eps, which zennit adds twice when it merges them."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 0.0
            nn.init.normal_(norm.running_mean, 0.0, 0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0.0, 0.1)
    return model.double().eval()


def by_zennit(model: nn.Module, composite, inputs: Tensor, target: int) -> Tensor:
    """Zennit starts from 1; Captum from the output."""
    with attribution.Gradient(model=model, composite=composite) as attributor:
        one = torch.eye(5, dtype=inputs.dtype)[[target] * len(inputs)]
        outputs, relevance = attributor(inputs.clone().requires_grad_(), one)
    return relevance * outputs[:, target].detach().reshape(-1, 1, 1, 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", PAIRS)
def test_zennit_agrees(name: str, network: str) -> None:
    make_model, canonizer = NETWORKS[network]
    ours, make_theirs = PAIRS[name]
    model, inputs = trained(make_model()), torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1
    relevance = LRP(model, ours).attribute(inputs, target=1).detach()
    expected = by_zennit(model, make_theirs(canonizer()), inputs, 1)
    assert (relevance - expected).abs().max() <= 1e-5 * expected.abs().max()
