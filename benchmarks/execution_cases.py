"""The networks and the methods of ``execution.py``, each called as users do, by us, and as cheaply as can be."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from captum import attr
from captum.attr import Attribution
from torch import Tensor, nn

from captum_uq import StochasticAttribution, lrp
from captum_uq.samplers import Sampler


def lenet() -> nn.Module:
    """The LeNet of B-LRP's experiment, for pictures ``(N, 1, 32, 32)``."""
    return nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(1200, 240), nn.ReLU(), nn.Dropout(0.5), nn.Linear(240, 10)),
    ).eval()


def mlp() -> nn.Module:
    """A small network for a table of 8 columns, as California Housing is."""
    hidden = (nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1))
    return nn.Sequential(*hidden, nn.Linear(64, 3)).eval()


def convolutions(widths: tuple[int, ...]) -> Iterator[nn.Module]:
    """3x3 convolutions; a width of 0 is a pool."""
    before = 3
    for width in widths:
        if not width:
            yield nn.MaxPool2d(2)
            continue
        yield from (nn.Conv2d(before, width, 3, padding=1), nn.ReLU())
        before = width


class VGG(nn.Module):
    """VGG with dropout in its classifier, as torchvision has it."""

    def __init__(self, widths: tuple[int, ...], features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*convolutions(widths))
        self.classifier = nn.Sequential(
            *(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(N, classes)``."""
        return self.classifier(self.features(x).flatten(1))


def vgg16() -> nn.Module:
    """VGG-16, for pictures ``(N, 3, 224, 224)``."""
    widths = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
    return VGG(widths, 25088, 4096, 1000).eval()


def minivgg() -> nn.Module:
    """A small VGG, for pictures ``(N, 3, 32, 32)``."""
    return VGG((32, 32, 0, 64, 64, 0, 128, 128, 0), 2048, 128, 10).eval()


class Block(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.inside = nn.Sequential(
            *(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)),
        )
        past = (nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)) if stride > 1 else ()
        self.past, self.relu = nn.Sequential(*past), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Activations ``(N, width, *F)``."""
        return self.relu(self.inside(x) + self.past(x))


def resnet18() -> nn.Module:
    """ResNet-18 as it is used for pictures ``(N, 3, 32, 32)``, with dropout before its last layer."""
    widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
    blocks = (Block(before, width) for before, width in itertools.pairwise(widths))
    first = (nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(
        *first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, 10)
    ).eval()


@dataclass
class Case:
    """One method on one network, how it is called, and what we make of it where that is another."""

    name: str
    make: Callable[[nn.Module], Attribution]
    arguments: dict[str, Any] = field(default_factory=dict)
    steps: int = 1
    own: Callable[[nn.Module], Attribution] | None = None

    def naive(self, network: nn.Module, inputs: Tensor, draws: int) -> None:
        """Captum called so many times with dropout switched on."""
        method = self.make(network)
        for module in network.modules():
            module.training = isinstance(module, nn.Dropout)
        for _ in range(draws):
            method.attribute(inputs.clone(), target=1, **self.arguments).detach()
        network.eval()

    def once(self, network: nn.Module, inputs: Tensor) -> None:
        """One deterministic call."""
        self.make(network).attribute(inputs.clone(), target=1, **self.arguments)

    def ours(self, network: nn.Module, inputs: Tensor, draws: int, sampler: Sampler, execution: str) -> Any:
        """The same draws from the library, without what the naive loop does not give."""
        uq = StochasticAttribution((self.own or self.make)(network), sampler)
        return uq.attribute(
            inputs.clone(),
            target=1,
            n_draws=draws,
            seed=0,
            execution=execution,
            return_deterministic=False,
            return_predictions=False,
            **self.arguments,
        )

    def floor(self, network: nn.Module, inputs: Tensor, draws: int) -> None:
        """One forward of what the method runs, and a backward pass for each draw."""
        rows = inputs.repeat(self.steps, 1, 1, 1).requires_grad_()
        output = network(rows)[:, 1].sum()
        for _ in range(draws):
            torch.autograd.grad(output, rows, retain_graph=True)


def mask(size: int, patch: int) -> Tensor:
    """Square patches as features, ``(1, 1, size, size)``."""
    index = torch.arange(size) // patch
    return (index[:, None] * (size // patch) + index[None]).view(1, 1, size, size)


def cases(size: int, channels: int, patch: int, steps: int) -> dict[str, Case]:
    """The methods of the bars, on pictures."""
    window = {"sliding_window_shapes": (channels, patch, patch), "strides": (channels, patch, patch)}
    groups = {"feature_mask": mask(size, patch)}
    occlusion = Case("Occlusion", attr.Occlusion, window)
    return named(*gradients(steps), occlusion, *perturbations(groups), shap(torch.zeros(2, channels, size, size)))


def table_cases(features: int, steps: int) -> dict[str, Case]:
    """The same methods on a table, whose features stand by themselves."""
    return named(*gradients(steps), *perturbations({}), shap(torch.zeros(2, features)))


def named(*every: Case) -> dict[str, Case]:
    """Cases by their name."""
    return {case.name: case for case in every}


def gradients(steps: int) -> tuple[Case, ...]:
    """The methods that pass backwards and need to know nothing of the inputs."""
    epsilon = functools.partial(lrp.LRP, composite=lrp.EpsilonComposite())
    return (
        Case("Saliency", attr.Saliency, {"abs": False}),
        Case("InputXGradient", attr.InputXGradient),
        Case("GuidedBackprop", attr.GuidedBackprop),
        Case("IntegratedGradients", attr.IntegratedGradients, {"n_steps": steps}, steps),
        Case("DeepLift", attr.DeepLift),
        Case("LRP", lambda network: lrp.LRP(network), own=epsilon),
    )


def perturbations(groups: dict[str, Any]) -> tuple[Case, ...]:
    """Those of features, or of groups of them."""
    return (
        Case("FeatureAblation", attr.FeatureAblation, groups),
        Case("KernelShap", attr.KernelShap, groups | {"n_samples": 20}),
    )


def shap(baselines: Tensor) -> Case:
    """That of random baselines."""
    return Case("GradientShap", attr.GradientShap, {"baselines": baselines})
