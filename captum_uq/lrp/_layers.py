"""The layers of a network as composites see them: their names, kinds and depths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from captum_uq._captum import Addition_Module
from captum_uq._inside import own_class
from captum_uq.lrp._affine import AFFINE
from captum_uq.lrp.batchnorm import BATCH_NORMS
from captum_uq.lrp.passing import MOVING, STAYING
from captum_uq.lrp.pooling import ADAPTIVE_MAX_POOLS, MAX_POOLS

LINEAR, CONVOLUTION = "linear", "convolution"
AVERAGE_POOL, MAX_POOL, BATCH_NORM, ADDITION, PASS = "average pool", "max pool", "batch norm", "addition", "pass"

_AVERAGE_POOLS = (
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_BY_TYPE: dict[tuple[type[nn.Module], ...], str] = {
    (nn.Linear,): LINEAR,
    AFFINE[1:]: CONVOLUTION,
    _AVERAGE_POOLS: AVERAGE_POOL,
    (*MAX_POOLS, *ADAPTIVE_MAX_POOLS): MAX_POOL,
    BATCH_NORMS: BATCH_NORM,
    (Addition_Module,): ADDITION,
    (*STAYING, *MOVING): PASS,
}
_BY_NAME = {
    "timm.layers.norm_act.BatchNormAct2d": BATCH_NORM,
    "torchvision.ops.stochastic_depth.StochasticDepth": PASS,
    "torchvision.ops.misc.SqueezeExcitation": PASS,
    "timm.layers.drop.DropPath": PASS,
    "timm.layers.squeeze_excite.SEModule": PASS,
    "timm.layers.squeeze_excite.SqueezeExciteCl": PASS,
    "timm.layers.squeeze_excite.EffectiveSEModule": PASS,
    "timm.models._efficientnet_blocks.SqueezeExcite": PASS,
}
"""Types of libraries that we do not import, each one layer with what is inside it.

A gate (squeeze and excitation) multiplies each channel by a number taken for constant: relevance goes to the signal and
none to the gate (Arras et al., Explaining recurrent neural network predictions in sentiment analysis, 2017,
"signal-take-all")."""

_OF_NO_LAYER = (nn.Module.forward, nn.Sequential.forward)
"""Forwards of a container that nothing is in: there is none (a ModuleList, a ParameterDict), or it is the identity."""


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: Its name in ``model.named_modules()``.
        module: The layer.
        kind: What it is, such as ``"convolution"``; None for a type that has no kind.
        depth: How many linear and convolutional layers stand before it, in the order of registration.
        convolutions: How many convolutional layers the network has.
        weighted: How many linear and convolutional layers it has.
    """

    name: str
    module: nn.Module
    kind: str | None
    depth: int
    convolutions: int
    weighted: int

    def __str__(self) -> str:
        return f"{own_class(self.module).__name__} {self.name!r}"


def find_layers(model: nn.Module, whole: Callable[[str, nn.Module], bool]) -> list[Layer]:
    """The layers of a network, in the order of registration, each module once.

    Args:
        model: The network.
        whole: Whether a module with others inside it is to be one layer.

    Returns:
        Every module that has none inside, or is one layer.
    """
    found = list(_leaves(model, "", whole, set()))
    kinds = [kind_of(module) for _, module in found]
    convolutions = kinds.count(CONVOLUTION)
    weighted = convolutions + kinds.count(LINEAR)
    layers, depth = [], 0
    for (name, module), kind in zip(found, kinds, strict=True):
        layers.append(Layer(name, module, kind, depth, convolutions, weighted))
        depth += kind in (LINEAR, CONVOLUTION)
    return layers


def _leaves(
    module: nn.Module, name: str, whole: Callable[[str, nn.Module], bool], seen: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    children = [
        own for own in module.named_children() if not (own[0] == "parametrizations" and is_parametrized(module))
    ]
    if not children or (name and (whole(name, module) or type_name(module) in _BY_NAME)):
        yield name, module
        return
    for child_name, child in children:
        yield from _leaves(child, f"{name}.{child_name}" if name else child_name, whole, seen)


def kind_of(module: nn.Module) -> str | None:
    """The kind of a layer; None for a type that has none. What a held draw drops passes relevance, of any type."""
    for types, kind in _BY_TYPE.items():
        if isinstance(module, types):
            return kind
    held = isinstance(inspect.getattr_static(type(module), "rule", None), property)
    passes = held or (type(module).forward in _OF_NO_LAYER and "forward" not in vars(module))
    return _BY_NAME.get(type_name(module)) or (PASS if passes else None)


def type_name(module: nn.Module) -> str:
    """The full name of a module's type."""
    kind = own_class(module)
    return f"{kind.__module__}.{kind.__qualname__}"
