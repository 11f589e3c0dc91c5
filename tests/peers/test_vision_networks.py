"""Networks of torchvision and timm, whose dropout and stochastic depth no list of module types would find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import GuidedBackprop, LayerGradCam, Saliency
from torch import nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.samplers._sites import drawing

torchvision = pytest.importorskip("torchvision", reason="needs torchvision (the peers extra)")
timm = pytest.importorskip("timm", reason="needs timm (the peers extra)")

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "densenet121(drop_rate=0.2)": (lambda: torchvision.models.densenet121(drop_rate=0.2), 32, 58),
    "vgg11": (lambda: torchvision.models.vgg11(num_classes=4), 32, 2),
    "alexnet": (lambda: torchvision.models.alexnet(num_classes=4), 64, 2),
    "efficientnet_b0, stochastic depth": (lambda: torchvision.models.efficientnet_b0(num_classes=4), 32, 10),
    "googlenet, with heads in train mode only": (
        lambda: torchvision.models.googlenet(num_classes=4, init_weights=False),
        64,
        1,
    ),
    "vit, attention": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, dropout=0.1, attention_dropout=0.2),
        32,
        9,
    ),
    "timm resnet10t, DropPath and functional dropout": (
        lambda: timm.create_model("resnet10t", num_classes=4, drop_rate=0.3, drop_path_rate=0.2),
        32,
        4,
    ),
    "timm vit_tiny, DropPath": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", img_size=32, num_classes=4, depth=2, drop_path_rate=0.3, attn_drop_rate=0.2
        ),
        32,
        4,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_site_is_found_and_every_draw_is_plain_captum_on_its_network(name: str) -> None:
    make, size, sites = NETWORKS[name]
    torch.manual_seed(0)
    network, inputs = make(), torch.randn(3, 3, size, size)
    for parameter in network.parameters():
        if not parameter.any():  # a head that begins at zero would hide the draws
            nn.init.normal_(parameter, std=0.1)
    sampler = MCDropout(network)
    bound: Any = sampler.bind(network)
    bound.probe(network, (inputs,), {})
    assert len(drawing(bound.scopes)) == sites
    dist = StochasticAttribution(Saliency(network), sampler).attribute(inputs, target=1, n_draws=2, seed=0, abs=False)
    for index in range(2):
        draw = sampler.network(index, inputs, seed=0)
        assert torch.equal(dist.draws[index], Saliency(draw).attribute(inputs, target=1, abs=False))
        alone = draw(inputs[1:2])
        torch.testing.assert_close(alone, draw(inputs)[1:2], rtol=1e-3, atol=1e-4)
    assert not torch.equal(dist.draws[0], dist.draws[1])
    assert all(module.training for module in network.modules())


def test_layer_methods_and_guided_backprop_on_vgg() -> None:
    torch.manual_seed(0)
    network, inputs = torchvision.models.vgg11(num_classes=4), torch.randn(2, 3, 32, 32)
    sampler = MCDropout(network)
    for make in (GuidedBackprop, lambda net: LayerGradCam(net, net.features[18])):
        dist = StochasticAttribution(make(network), sampler).attribute(inputs, target=1, n_draws=2, seed=0)
        draw = sampler.network(1, inputs, seed=0)
        assert torch.equal(dist.draws[1], make(draw).attribute(inputs, target=1))
