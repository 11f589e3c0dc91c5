"""Layer-wise relevance propagation: rules, composites, and Captum's LRP with both.

Captum's LRP passes relevance through modules by rules. Here are the rules of the papers as Captum rules, composites
that give every layer of a network its rule, and `LRP` and `LayerLRP` that take a composite:

    >>> import torch
    >>> from captum_uq.lrp import LRP, ZPlusComposite
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2))
    >>> LRP(model, composite=ZPlusComposite()).attribute(torch.ones(5, 3, requires_grad=True), target=1).shape
    torch.Size([5, 3])

`captum_uq.attr.LRP` takes the same ``composite`` and returns a distribution.
"""

from captum_uq.lrp.base import LayerRule
from captum_uq.lrp.batchnorm import BatchNormRule
from captum_uq.lrp.box import BoxRule
from captum_uq.lrp.composites import Composite, RuleMapping
from captum_uq.lrp.method import LRP, LayerLRP
from captum_uq.lrp.passing import PassRule
from captum_uq.lrp.pooling import AveragePoolRule
from captum_uq.lrp.presets import (
    IMAGENET_HIGH,
    IMAGENET_LOW,
    LRPCMP,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    ZPlusComposite,
)
from captum_uq.lrp.rules import EpsilonRule, GammaRule, ZPlusRule

__all__ = [
    "IMAGENET_HIGH",
    "IMAGENET_LOW",
    "LRP",
    "LRPCMP",
    "AveragePoolRule",
    "BatchNormRule",
    "BoxRule",
    "Composite",
    "EpsilonComposite",
    "EpsilonGammaBox",
    "EpsilonPlus",
    "EpsilonRule",
    "GammaRule",
    "LayerLRP",
    "LayerRule",
    "PassRule",
    "RuleMapping",
    "ZPlusComposite",
    "ZPlusRule",
]
