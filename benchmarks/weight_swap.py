"""The price of a weight draw on a ResNet-18: the bar is a swap below 2% of an attribution, and no copy of the model.

A draw of `DropConnect` and `NoiseGrad` is 11.7 million random numbers and then a swap; one of `Ensemble` is a swap.
Everything is timed once in each round, and prices are medians over rounds of the ratio within the round.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/weight_swap.py``. Needs torchvision for its ResNet-18;
without it, a network of the same shapes is built here.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_uq.samplers import DropConnect, Ensemble, NoiseGrad, Sampler

ROUNDS = 15


class Block(nn.Module):
    """Two convolutions with a path around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        around = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.around = around if stride > 1 or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.around(x))


def resnet18() -> nn.Module:
    """ResNet-18 of He et al. (2016): 11.7 million parameters."""
    blocks, width = [], 64
    for stage, after in enumerate((64, 128, 256, 512)):
        blocks += [Block(width, after, 1 if stage == 0 else 2), Block(after, after, 1)]
        width = after
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)).eval()


def rounds(runs: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Seconds of each run in every round, after one round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in times.items()}


def enter_and_leave(sampler: Sampler, model: nn.Module) -> Callable[[], None]:
    """A draw in which nothing is run."""
    bound = sampler.bind(model)
    counter = iter(range(10**6))

    def run() -> None:
        with bound.draw(next(counter) % 2, 0):
            pass

    return run


def main() -> None:
    torch.manual_seed(0)
    model = resnet18()
    x, target = torch.randn(1, 3, 224, 224), torch.tensor([3])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters, one image of 224 x 224")
    members = [copy.deepcopy(model) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data = parameter.data + 0.01
    samplers = {
        "swap alone (Ensemble)": Ensemble(members),
        "DropConnect: draw and swap": DropConnect(),
        "NoiseGrad: draw and swap": NoiseGrad(),
    }
    integrated = {"n_steps": 50, "internal_batch_size": 10}
    draws = {name: enter_and_leave(sampler, model) for name, sampler in samplers.items()}
    draws["deepcopy of the model"] = lambda: copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum's, about gradients of inputs
        times = rounds({"Saliency": lambda: Saliency(model).attribute(x, target=target)} | draws, ROUNDS)
        start = time.perf_counter()
        IntegratedGradients(model).attribute(x, target=target, **integrated)
        steps = (time.perf_counter() - start) / statistics.median(times["Saliency"])
    print(f"Saliency {1e3 * statistics.median(times['Saliency']):.0f} ms, IntegratedGradients {steps:.0f} times that")
    print("| | ms a draw | of a Saliency | of an IntegratedGradients |\n|---|---|---|---|")
    for name in draws:
        share = statistics.median(a / b for a, b in zip(times[name], times["Saliency"], strict=True))
        print(f"| {name} | {1e3 * statistics.median(times[name]):.2f} | {share:.2%} | {share / steps:.2%} |")


if __name__ == "__main__":
    main()
