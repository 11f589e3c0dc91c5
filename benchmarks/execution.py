"""What T draws cost: the naive loop against ours by every road, ours against the least there is, and the batch by hand.

The naive loop is what users write today: Captum called T times with dropout switched on. All are timed in one run, in
turn, and the table gives ratios of medians; beside them stands how many rows of the network's first layer each of them
ran, which does not wobble. The random weights do not matter for the time.

Run from the repository: ``OMP_NUM_THREADS=2 python benchmarks/execution.py``, or with some of ``lenet``, ``vgg``,
``sources`` and ``batched``. The whole takes about half an hour on two cores, most of it the naive loop on the VGG-16.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from captum import attr
from captum.attr import Attribution
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution, lrp
from captum_uq.samplers import Ensemble, Sampler, WeightSamples

VGG_METHODS = ("Saliency", "GuidedBackprop", "IntegratedGradients", "LRP", "Occlusion", "FeatureAblation")


def lenet() -> nn.Module:
    """The LeNet of B-LRP's experiment, for pictures ``(N, 1, 32, 32)``."""
    return nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(1200, 240), nn.ReLU(), nn.Dropout(0.5), nn.Linear(240, 10)),
    ).eval()


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


@dataclass
class Case:
    """One method on one network, and how it is called."""

    name: str
    make: Callable[[nn.Module], Attribution]
    arguments: dict[str, Any] = field(default_factory=dict)
    steps: int = 1

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
        uq = StochasticAttribution(self.make(network), sampler)
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
    """The methods of the bars."""
    window = {"sliding_window_shapes": (channels, patch, patch), "strides": (channels, patch, patch)}
    every = (
        Case("Saliency", attr.Saliency, {"abs": False}),
        Case("InputXGradient", attr.InputXGradient),
        Case("GuidedBackprop", attr.GuidedBackprop),
        Case("IntegratedGradients", attr.IntegratedGradients, {"n_steps": steps}, steps),
        Case("DeepLift", attr.DeepLift),
        Case("LRP", lambda network: lrp.LRP(network)),
        Case("Occlusion", attr.Occlusion, window),
        Case("FeatureAblation", attr.FeatureAblation, {"feature_mask": mask(size, patch)}),
        Case("KernelShap", attr.KernelShap, {"feature_mask": mask(size, patch), "n_samples": 20}),
        Case("GradientShap", attr.GradientShap, {"baselines": torch.zeros(2, channels, size, size)}),
    )
    return {case.name: case for case in every}


def medians(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def rows_of(network: nn.Module, way: Callable[[], object]) -> int:
    """How many rows the network's first layer ran."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    rows: list[int] = []
    handle = first.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    way()
    handle.remove()
    return sum(rows)


def lenet_table(repeats: int) -> None:
    """Bar 1: the naive loop over ours, T = 100."""
    draws, network = 100, lenet()
    print(f"\nLeNet 1x32x32, T = {draws}: time of the naive loop over ours; rows of the first layer\n")
    print("| method | batch | loop | auto | road | rows naive | rows auto |\n|---|---|---|---|---|---|---|")
    for batch in (1, 8):
        inputs = torch.randn(batch, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        for case in cases(32, 1, 8, 50).values():
            compare(case, network, inputs, draws, MCDropout(), repeats if batch == 1 else max(1, repeats // 2))


def compare(case: Case, network: nn.Module, inputs: Tensor, draws: int, sampler: Sampler, repeats: int) -> None:
    """One row of the table of the naive loop and ours."""
    ways: dict[str, Callable[[], Any]] = {
        "naive": lambda: case.naive(network, inputs, draws),
        "loop": lambda: case.ours(network, inputs, draws, sampler, "loop"),
        "auto": lambda: case.ours(network, inputs, draws, sampler, "auto"),
    }
    road = ways["auto"]().execution
    seconds = medians(ways, repeats)
    rows = {name: rows_of(network, ways[name]) for name in ("naive", "auto")}
    ratio = {name: seconds["naive"] / seconds[name] for name in ("loop", "auto")}
    print(
        f"| {case.name} | {len(inputs)} | {ratio['loop']:.2f} | **{ratio['auto']:.2f}** | {road.road} "
        f"| {rows['naive']} | {rows['auto']} |",
        flush=True,
    )


def vgg_table(repeats: int) -> None:
    """Bar 2: ours over the floor, and the naive loop over ours, T = 20."""
    draws, network = 20, vgg16()
    inputs = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    print(
        f"\nVGG-16 3x224x224, dropout in the classifier, T = {draws}: the naive loop over ours; ours over the floor\n"
    )
    print("The floor is one forward and T backward passes; for the last two, one deterministic run.\n")
    print("| method | naive / ours | ours / floor | road |\n|---|---|---|---|")
    every = cases(224, 3, 56, 8)
    for name in VGG_METHODS:
        case = every[name]
        lower = case.once if name in ("Occlusion", "FeatureAblation") else case.floor
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda case=case: case.ours(network, inputs, draws, MCDropout(), "auto"),
            "floor": lambda case=case, lower=lower: (
                lower(network, inputs) if lower == case.once else lower(network, inputs, draws)
            ),
        }
        road = ways["ours"]().execution
        seconds = medians(ways, repeats)
        naive = medians({"naive": lambda case=case: case.naive(network, inputs, 2)}, 1)["naive"] * draws / 2
        print(
            f"| {name} | **{naive / seconds['ours']:.2f}** | {seconds['ours'] / seconds['floor']:.2f} | {road} |",
            flush=True,
        )


def sources_table(repeats: int) -> None:
    """Bar 3: draws of the last layer, as a last-layer Laplace gives them, and an ensemble of 5."""
    network = minivgg()
    inputs = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    last = {name: p.detach() for name, p in network.named_parameters() if name.startswith("classifier.6")}

    def posterior(_: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {name: p + 0.05 * torch.randn(p.shape, generator=generator) for name, p in last.items()}

    members = [copy.deepcopy(network) for _ in range(5)]
    for member in members:
        for parameter in member.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape)
    print("\nA small VGG 3x32x32, batch 4: calling Captum on each network over ours\n")
    print("| source | T | method | naive / ours | road |\n|---|---|---|---|---|")
    sources = (("last layer", WeightSamples(posterior), 50), ("ensemble", Ensemble(members), 5))
    for label, sampler, draws in sources:
        for name in ("Saliency", "IntegratedGradients", "Occlusion"):
            case = cases(32, 3, 8, 20)[name]
            networks = [sampler.network(t, model=network, seed=0) for t in range(draws)]
            ways: dict[str, Callable[[], Any]] = {
                "naive": lambda case=case, networks=networks: [case.once(one, inputs) for one in networks],
                "ours": lambda case=case, sampler=sampler, draws=draws: case.ours(
                    network, inputs, draws, sampler, "auto"
                ),
            }
            road = ways["ours"]().execution
            seconds = medians(ways, repeats)
            print(
                f"| {label} | {draws} | {name} | **{seconds['naive'] / seconds['ours']:.2f}** | {road.road} |",
                flush=True,
            )


def batched_by_hand(network: nn.Sequential, image: Tensor, masks: list[Tensor], target: int) -> Tensor:
    """LRP-epsilon of a batch of draws of the LeNet, written for this network alone: a row for each draw."""
    layers, rows = list(network), [image.repeat(len(masks[0]), 1, 1, 1)]
    waiting = iter(masks)
    drawn = {index: next(waiting) for index, layer in enumerate(layers) if isinstance(layer, nn.Dropout)}
    for index, layer in enumerate(layers):
        rows.append(rows[-1] * drawn[index] if index in drawn else layer(rows[-1]))
    relevance = F.one_hot(torch.tensor(target), rows[-1].shape[1]) * rows[-1]
    for index in reversed(range(len(layers))):
        layer, x = layers[index], rows[index].detach().requires_grad_()
        if index in drawn or isinstance(layer, nn.ReLU):
            continue
        pooled = F.avg_pool2d(x, 2) if isinstance(layer, nn.MaxPool2d) else layer(x)
        share = relevance / (pooled + 1e-9 * pooled.detach().sign())
        relevance = (torch.autograd.grad(pooled, x, share.detach())[0] * x).detach()
    return relevance


def batched_table(repeats: int) -> None:
    """Bar 6: 100 draws of LRP-epsilon of one digit, against a batch written by hand."""
    draws, network = 100, lenet()
    assert isinstance(network, nn.Sequential)
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    case = Case("LRP", lambda net: lrp.LRP(net, composite=lrp.EpsilonComposite(epsilon=1e-9, max_pool="average")))
    shapes = ((48, 10, 10), (240,))
    masks = [torch.bernoulli(torch.full((draws, *shape), 0.5)) * 2 for shape in shapes]
    ways: dict[str, Callable[[], Any]] = {
        "loop": lambda: case.ours(network, image, draws, MCDropout(), "loop"),
        "auto": lambda: case.ours(network, image, draws, MCDropout(), "auto"),
        "by hand": lambda: batched_by_hand(network, image, masks, 1),
    }
    for way in ways.values():
        way()
    seconds = medians(ways, repeats)
    print(f"\nLRP-epsilon of one digit, T = {draws}: a batch written by hand for this network, without making masks\n")
    print("| | ms | over the batch by hand |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value * 1e3:.0f} | {value / seconds['by hand']:.2f} |", flush=True)


PARTS = {"lenet": lenet_table, "vgg": vgg_table, "sources": sources_table, "batched": batched_table}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which tables; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in given.parts or PARTS:
        PARTS[part](given.repeats)


if __name__ == "__main__":
    main()
