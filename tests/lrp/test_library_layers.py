"""Layers of libraries that we do not import are known by names, which these libraries have."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from captum_uq._inside import own_class
from captum_uq.lrp import LRP, EpsilonComposite, ZPlusComposite
from captum_uq.lrp._layers import _BY_NAME, type_name


@pytest.mark.parametrize("name", _BY_NAME)
def test_a_name_is_a_layers_own(name: str) -> None:
    """An alias would never match."""
    library, (path, _, kind) = name.partition(".")[0], name.rpartition(".")
    pytest.importorskip(library, reason=f"the layer is {library}'s")
    layer = object.__new__(getattr(importlib.import_module(path), kind))
    assert isinstance(layer, nn.Module)
    assert (type_name(layer), own_class(layer).__name__) == (name, kind)


GATES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "SEModule": ("timm.layers", "SEModule", (16, 5, 5)),
    "SEModule by its other name": ("timm.layers", "SqueezeExcite", (16, 5, 5)),
    "EffectiveSEModule": ("timm.layers", "EffectiveSEModule", (16, 5, 5)),
    "SqueezeExciteCl": ("timm.layers.squeeze_excite", "SqueezeExciteCl", (5, 5, 16)),
    "the efficient networks' own": ("timm.models._efficientnet_blocks", "SqueezeExcite", (16, 5, 5)),
}


@pytest.mark.parametrize("composite", [EpsilonComposite(1e-15), ZPlusComposite()], ids=repr)
@pytest.mark.parametrize("name", GATES)
def test_a_gate_of_timms_counts_as_constant(name: str, composite: Any) -> None:
    pytest.importorskip("timm", reason="the gates are timm's")
    path, kind, shape = GATES[name]
    gate = getattr(importlib.import_module(path), kind)(16)
    size = int(torch.tensor(shape).prod())
    layers = [nn.Unflatten(1, shape), nn.ReLU(), gate, nn.Flatten(), nn.Linear(size, 3, bias=False)]
    model = nn.Sequential(nn.Linear(8, size, bias=False), *layers).double().eval()
    inputs = torch.randn(2, 8, dtype=torch.float64)
    relevance = LRP(model, composite).attribute(inputs.clone(), target=1)
    torch.testing.assert_close(relevance.sum(1), model(inputs)[:, 1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("composite", [EpsilonComposite(), ZPlusComposite()], ids=repr)
def test_a_batchnorm_of_timms_with_its_activation_is_folded(composite: Any) -> None:
    pytest.importorskip("timm", reason="the layer is timm's")
    layer = importlib.import_module("timm.layers.norm_act").BatchNormAct2d(4)
    norm, conv, head = nn.BatchNorm2d(4), nn.Conv2d(2, 4, 3), nn.Linear(36, 3)
    nn.init.normal_(layer.running_mean)
    nn.init.normal_(layer.weight)
    norm.load_state_dict(layer.state_dict())
    one = nn.Sequential(conv, layer, nn.Flatten(), head).double().eval()
    two = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), head).double().eval()
    inputs = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    found, expected = (LRP(model, composite).attribute(inputs.clone(), target=1) for model in (one, two))
    torch.testing.assert_close(found, expected)
